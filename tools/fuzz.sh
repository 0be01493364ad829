#!/usr/bin/env bash
# Fuzzes every reader of untrusted input, starting from fuzz/corpus. All targets together take SECONDS (240),
# after they are built.
#
#   tools/fuzz.sh [SECONDS [TARGET...]]
#
# Two targets run at a time. They work on a copy of the corpus in fuzz/target/found, which keeps new inputs.
# An input that fails is stored in fuzz/artifacts. Run it again with
#   RUSTC_BOOTSTRAP=1 cargo fuzz run TARGET fuzz/artifacts/TARGET/crash-...
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
# Sanitizers and coverage are unstable options of the stable compiler; no nightly is needed.
export RUSTC_BOOTSTRAP=1

total=${1:-240}
[[ $total =~ ^[1-9][0-9]*$ ]] || { echo "usage: tools/fuzz.sh [SECONDS [TARGET...]]" >&2; exit 2; }
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | tail -n +2)

# Two targets share the time. Less than 10 seconds hardly suffice to read the corpus.
seconds=$((total * 2 / ${#targets[@]}))
[ "$seconds" -ge 10 ] || seconds=10

cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked --version 0.13.2
cargo fuzz build --codegen-units 16

# Recording the stack of every allocation would take most of the time.
export ASAN_OPTIONS=malloc_context_size=0:quarantine_size_mb=16:detect_leaks=0

found=fuzz/target/found
mkdir -p "$found"

# libFuzzer's own limits include the sanitizer; the targets themselves limit each input to 100 MB and five seconds
# of CPU time. The seed is the run's length, so that runs of the same length are the same: CI judges a change and
# not a random draw. Runs of other lengths try other inputs.
run() {
    local target=$1 corpus=$found/$1 dictionary=() log=$found/$1.log
    mkdir -p "$corpus"
    cp "fuzz/corpus/$target/"* "$corpus/"
    [ ! -f "fuzz/dict/$target.dict" ] || dictionary=("-dict=fuzz/dict/$target.dict")
    if cargo fuzz run --codegen-units 16 "$target" "$corpus" -- "${dictionary[@]}" \
        -seed="$seconds" -max_total_time="$seconds" -timeout=60 -malloc_limit_mb=100 -rss_limit_mb=2048 \
        -max_len=65536 -len_control=20 -detect_leaks=0 -print_final_stats=1 >"$log" 2>&1; then
        echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: //p' "$log") executions"
    else
        tail -n 60 "$log"
        echo "fuzz: $target FAILED, see $log"
        return 1
    fi
}

failed=no
for ((i = 0; i < ${#targets[@]}; i += 2)); do
    jobs=()
    for target in "${targets[@]:i:2}"; do
        run "$target" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do wait "$job" || failed=yes; done
done
[ "$failed" = no ]
