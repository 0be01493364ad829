#!/usr/bin/env bash
# Measures a GPU: self-test, launch costs, speed by length, depth, sampling, number of sequences and LoRA adapter,
# kernels, tests.
# Needs no network. Takes at most 6 minutes; every step has a time limit, and one that fails stops no other.
#
#   tools/measure_gpu.sh --build            builds the programs into target/measure, stripped, and measures nothing
#   tools/measure_gpu.sh [OPTION]...        measures; builds the programs first if there are none
#     --model FILE.gguf    measures this file too: speed, also of the web package in Node (if web/ is built there), and
#                          time from the start to the first token
#     --llama LLAMA_BENCH  runs llama.cpp's llama-bench on the file beside it
#     --shape NAME         shape of the random weights that the other steps use (lfm2-8b-a1b); the steps with LoRA
#                          adapters know only this one and `mini`
#     --small              few and short tests on a small model, with development builds: for software drivers
#     --out FOLDER         where results and logs go (target/measure/results)
#
# All results are in FOLDER/measure.json at the end. `python3 tools/plot_bench.py FOLDER/measure.json` makes tables of
# it. On another machine, copy the tree with target/measure. The tests look for their files where they were built,
# so that path must lead to the tree there; if it does not, only their step fails.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
programs=${CARGO_TARGET_DIR:-target}/measure
out=$programs/results shape=lfm2-8b-a1b model='' llama='' small=no only_build=no
while [ $# -gt 0 ]; do
    case $1 in
        --build) only_build=yes ;;
        --small) small=yes shape=mini ;;
        --model | --llama | --shape | --out)
            [ $# -gt 1 ] || { echo "measure_gpu.sh: $1 needs a value" >&2; exit 2; }
            declare "${1#--}=$2"
            shift
            ;;
        *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done
[ -z "$llama" ] || [ -n "$model" ] || { echo "measure_gpu.sh: --llama needs --model FILE.gguf" >&2; exit 2; }

build() {
    local tests messages
    mkdir -p "$programs" || return
    tests=$(cargo test --locked --no-run --test it --bench kernels --bench launch --message-format json) || return
    messages=$tests
    if [ $small = no ]; then
        # Cargo builds the program too, as it does for every bench.
        messages=$(cargo bench --locked --no-run --bench kernels --bench launch --message-format json) || return
    fi
    take lfm2 "$messages" && take kernels "$messages" && take launch "$messages" && take it "$tests"
}

# Copies a program that cargo's messages name.
take() {
    local named="\"crate_types\":[\"bin\"],\"name\":\"$1\"" file
    file=$(grep -F "$named" <<<"$2" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
    strip -o "$programs/$1" "$file"
}

if [ $only_build = yes ] || [ ! -x "$programs/it" ]; then
    build || { echo "measure_gpu.sh: the programs could not be built" >&2; exit 1; }
fi
[ $only_build = no ] || exit 0

SECONDS=0
seconds_in_all=360
mkdir -p "$out" || exit 1
rm -f "$out"/*.json "$out"/*.log
steps=()

# JSON string of its argument.
quoted() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

# step NAME LIMIT COMMAND... : the command prints JSON to stdout.
step() {
    local name=$1 limit=$2 started=$SECONDS code result=null left=$((seconds_in_all - SECONDS))
    shift 2
    [ "$limit" -le "$left" ] || limit=$left
    if [ "$limit" -gt 0 ]; then
        timeout --kill-after=5 "$limit" "$@" >"$out/$name.json" 2>"$out/$name.log"
        code=$?
    else
        code=124
    fi
    # A self-test or test that fails has a report too.
    if [ -s "$out/$name.json" ]; then
        result=$(<"$out/$name.json")
        [ $code = 0 ] || [[ $result =~ ^[\{\[].*[\]\}]$ ]] || result=null
    fi
    steps+=("{\"name\":\"$name\",\"command\":$(quoted "${shown:-$*}"),\"seconds\":$((SECONDS - started)),\"code\":$code,\"result\":$result}")
    case $code in
        0) echo "$name: $((SECONDS - started)) s" ;;
        124 | 137) echo "$name: FAILED: more than its $limit s" ;;
        *) echo "$name: FAILED: $(tail -n 1 "$out/$name.log")" ;;
    esac
}

lfm2=("$programs/lfm2" -q --skip-selftest)
bench=("${lfm2[@]}" bench --shape "$shape" -o json)

# Runs the benches of the kernels and collects criterion's results in one array.
kernels() {
    local home=$out/criterion separator='' file
    rm -rf "$home"
    CRITERION_HOME=$home "$programs/kernels" --bench --noplot "$@" >&2 || return
    printf '['
    while IFS= read -r file; do
        printf '%s{"benchmark":%s,"estimates":%s}' "$separator" "$(<"$file")" "$(<"${file%benchmark.json}estimates.json")"
        separator=,
    done < <(find "$home" -path '*/new/benchmark.json' | sort)
    printf ']\n'
}

# Runs tests and counts them.
tests() {
    local report code=0
    report=$("$programs/it" "$@" 2>&1) || code=$?
    echo "$report" >&2
    sed -n 's/^test result: [^.]*\. \([0-9]*\) passed; \([0-9]*\) failed.*/{"passed":\1,"failed":\2}/p' <<<"$report"
    return $code
}

# Milliseconds from the start to the end of an answer of one token.
first_token() {
    local before after
    before=$(date +%s%N)
    "${lfm2[@]}" -m "$model" generate --raw --token-ids -n 1 The >&2 || return
    after=$(date +%s%N)
    echo "{\"ms\":$(((after - before) / 1000000))}"
}

# Decode with a LoRA adapter of random numbers. Arguments: its rank, the word `experts` if it adapts them too, and
# options of bench.
lora() {
    local rank=$1 adapter=$out/lora experts=()
    shift
    [ "$1" != experts ] || { experts=(--experts); shift; }
    python3 tools/make_lora.py --shape "$shape" --rank "$rank" "${experts[@]}" "$adapter" >&2 || return
    "${bench[@]}" --lora "$adapter" -p 0 "$@"
    local code=$?
    rm -r "$adapter"
    return $code
}

# Steps that are functions need their variables in a shell of their own, which `timeout` can end.
call() {
    local function=$1 name=$2 limit=$3
    shift 3
    local arguments
    printf -v arguments ' %q' "$@"
    shown="$function$arguments" step "$name" "$limit" bash -c "$(declare -f "$function"); $(declare -p programs out lfm2 bench shape model); $function$arguments"
}

if [ $small = yes ]; then
    step selftest 120 "$programs/lfm2" selftest --json
    step launch 30 "$programs/launch" --json
    step lengths 60 "${bench[@]}" -c 256 -p 1,8,16 -n 0 -r 1
    step depths 60 "${bench[@]}" -c 256 -p 0 -n 4 -d 0,32 -r 1
    step samplings 60 "${bench[@]}" -c 256 -p 0 -n 4 --sampling greedy,nucleus -r 1
    step parallel 60 "${bench[@]}" -p 0 -n 2 --parallel 1,2,8 -r 1
    step profile 60 "${bench[@]}" -c 256 --profile -p 1,16 -n 0
    call lora lora-16 60 16 -c 256 -n 4 -r 1
    call kernels kernels 60 --warm-up-time 0.05 --measurement-time 0.1 rms_norm
    call tests tests 60 tidy::
else
    step selftest 40 "$programs/lfm2" selftest --json
    step launch 30 "$programs/launch" --json
    rows=1,2,3,4,6,8,9,12,16,24,32,48,64
    step lengths 45 "${bench[@]}" -c 4096 -p $rows,128,256,512,1024,2048 -n 0 -r 2
    step depths 45 "${bench[@]}" -p 0 -n 128 -d 0,4096,30000 -r 2
    step samplings 20 "${bench[@]}" -c 1024 -p 0 -n 128 --sampling greedy,recommended,nucleus -r 2
    step parallel 45 "${bench[@]}" -p 0 -n 32 --parallel $rows -r 1
    step profile 25 "${bench[@]}" -c 4096 --profile -p 1,8,64,512 -n 0
    step profile-parallel 25 "${bench[@]}" --profile -p 0 -n 1 --parallel 8,32
    step lanes 20 "${bench[@]}" -c 1024 --multiply lanes -p 64,512 -n 0 -r 2
    step default-limits 25 "${bench[@]}" -c 1024 --limits default -p 64,512 -n 64 -r 2
    step int8 20 "${bench[@]}" -c 1024 --activations int8 -p 0 -n 64 -r 2
    # Beside the first of `depths`.
    for rank in 8 16 64; do
        call lora "lora-$rank" 20 $rank -n 128 -r 2
    done
    call lora lora-16-experts 35 16 experts -n 128 -r 2
    call kernels kernels 90 --warm-up-time 0.1 --measurement-time 0.3
    if [ -n "$model" ]; then
        step file 45 "${lfm2[@]}" -m "$model" -c 4608 bench -p 512,2048 -n 128 -d 0 -r 2 -o json
        call first_token first-token 15
        # The browser's shaders and compiler, without a browser: `cargo xtask web` builds the package.
        if command -v node >/dev/null && [ -e web/dist/node.js ] && [ -d web/node_modules/webgpu ]; then
            step node 60 node web/tools/measure_node.mjs "$model" -p 2048 -n 128
        fi
    fi
    [ -z "$llama" ] || step llama 60 "$llama" -m "$model" -ngl 99 -fa 1 -p 512,2048 -n 128 -r 2 -o json
    call tests tests 60 kernels:: goldens::
fi

commit=$(git rev-parse --short HEAD 2>/dev/null || true)
info=$("$programs/lfm2" info --shape "$shape" --json 2>/dev/null) || info=null
{
    printf '{"date":"%s","commit":"%s","info":%s,"steps":[\n' "$(date -u +%FT%TZ)" "$commit" "$info"
    (IFS=$'\n'; printf '%s' "${steps[0]}"; printf ',\n%s' "${steps[@]:1}")
    printf '\n]}\n'
} >"$out/measure.json"
echo "$out/measure.json: ${#steps[@]} steps in $SECONDS s"
