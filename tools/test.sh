#!/usr/bin/env bash
# Sets up this machine and runs every check. CI runs only this script.
#
#   tools/test.sh         about half an hour on two cores; slow tests run on a part of their cases
#   tools/test.sh --all   every test in full, the published web package and its size, and longer fuzzing;
#                         takes hours on a software driver; run it before a release
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
    "") unset LFM2_TESTS; all=no ;;
    --all) export LFM2_TESTS=all; all=yes ;;
    *) echo "usage: tools/test.sh [--all]" >&2; exit 2 ;;
esac
# If rustup was installed in this shell, its PATH does not have cargo's folder yet.
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
if [ $all = yes ]; then
    # The demonstration model's scores in assets/demo/README.md are over all questions.
    eval_limit=() gguf_limit=200 web=() fuzz_seconds=1200
else
    eval_limit=(--limit 100) gguf_limit=40 web=(--dev) fuzz_seconds=60
    # The same cases every time, so that CI judges a change and not a random draw.
    export PROPTEST_RNG_SEED=1
fi
# A test whose tool is missing now fails instead of being skipped, since setup has installed all tools.
export LFM2_REQUIRE_TINT=1 LFM2_REQUIRE_REAL_TOKENIZER=1
if [ "$(uname -s) $(uname -m)" = "Linux x86_64" ] && command -v apt-get >/dev/null; then
    export LFM2_REQUIRE_DX12=1
fi

step() {
    local start=$SECONDS
    echo "== $*"
    "$@" || { echo "test.sh: FAILED: $*" >&2; exit 1; }
    echo "== $((SECONDS - start)) s"
}

# A driver that aborts kills its process. nextest runs each test in its own process, so that only one test fails.
# Without nextest, cargo's own runner is used.
unit_tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --no-fail-fast && cargo test --locked --doc
    else
        cargo test --locked --no-fail-fast
    fi
}

# Includes the examples, because they need the tests' dependencies: without them cargo would choose other features
# for wgpu and check it and its dependencies again.
docs() {
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet --lib --examples
}

# All interleavings of the engine's loop and its callers.
interleavings() {
    RUSTFLAGS="--cfg loom" cargo test --locked --quiet --release --manifest-path loom/Cargo.toml
}

# The header, and C and Python programs. The engine's package is selected too, so that cargo compiles the engine with
# the features of the tests above, which is once.
c_api() {
    cargo xtask capi-header --check &&
        cargo test --locked --quiet --package lfm2-wgpu --package lfm2-wgpu-capi --test c
}

# The code paths for matrix units, on a driver that has them.
matrix_units() {
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=$PWD/tools/mesa.sh LFM2_REQUIRE_MATRIX_UNITS=1 \
        cargo test --locked --quiet --test it -- cooperative &&
        tools/mesa.sh "${CARGO_TARGET_DIR:-target}/debug/lfm2" selftest &&
        HOME=$(mktemp -d) tools/mesa.sh "${CARGO_TARGET_DIR:-target}/debug/lfm2" generate "What is 2 + 3?"
}

# Checks that the document's table and plot match its results, and that this program's results can be plotted.
plots() {
    local results=${CARGO_TARGET_DIR:-target}/bench.json
    python3 tools/plot_bench.py docs/bench/mini-*.json --svg docs/bench/mini.svg \
        --into docs/performance.md --check &&
        "${CARGO_TARGET_DIR:-target}/debug/lfm2" -q bench -p 8,16 -n 4 -d 0,16 -r 1 -o json >"$results" &&
        python3 tools/plot_bench.py "$results" --svg "${results%.json}.svg"
}

# The chat page of examples/web. The one that `lfm2 serve` sends is compiled in, and must be that of the sources.
chat_pages() {
    local built
    built=$(realpath -m "${CARGO_TARGET_DIR:-target}")/page
    npm run build --silent --prefix examples/web &&
        npm run build:served --silent --prefix examples/web -- --outDir "$built" || return
    diff -r "$built" assets/page || {
        echo "test.sh: assets/page is out of date: npm run build:served --prefix examples/web" >&2
        return 1
    }
}

# The demonstration model as GGUF files, written by the gguf package.
demo_gguf() {
    local python=.cache/gguf/bin/python target=${CARGO_TARGET_DIR:-target} type
    [ -x $python ] || python3 -m venv .cache/gguf || return
    $python -m pip install --quiet --disable-pip-version-check gguf==0.19.0 || return
    for type in f16 q8_0 q4_0; do
        $python tools/make_gguf.py assets/demo "$target/demo-$type.gguf" --type $type &&
            "$target/debug/lfm2" -q -m "$target/demo-$type.gguf" eval assets/demo/eval.jsonl \
                --limit $gguf_limit --min-exact 0.90 --min-tool-calls 0.90 || return
    done
}

step tools/setup.sh --dev
step cargo fetch --locked --quiet
step cargo fmt --all --check
step cargo clippy --locked --quiet --package lfm2-wgpu --package lfm2-wgpu-capi --all-targets -- -D warnings
if [ $all = yes ]; then
    # The library without the command line, and the README's program, set up as the README says. Otherwise the
    # browser's and the fuzz targets' builds compile the library so.
    step cargo clippy --locked --quiet --no-default-features --features demo-model --lib \
        --example quickstart -- -D warnings
fi
step docs
step python3 tools/real_tokenizer.py --expected
step unit_tests
step interleavings
step c_api
# The server with OpenAI's and Anthropic's clients for Python and JavaScript.
step tools/clients.sh
# Two servers behind HAProxy, of which one ends under load.
step tools/scale.sh
# The wheel for Python, from the program that the tests have built.
step tools/wheel.sh "${CARGO_TARGET_DIR:-target}/debug/lfm2"
if command -v dpkg-deb >/dev/null && [ "$(uname -m)" = x86_64 ]; then
    step matrix_units
else
    echo "== skipped: matrix units are tested with a driver from Debian's packages (tools/mesa.sh)"
fi
# Runs every bench once to see that it works. Nothing is measured, so a development build suffices.
step cargo bench --locked --quiet --profile dev --bench kernels -- --test
# Uses the program that the tests have built.
step "${CARGO_TARGET_DIR:-target}/debug/lfm2" -q eval assets/demo/eval.jsonl "${eval_limit[@]}" \
    --min-exact 0.90 --min-tool-calls 0.95
step demo_gguf
step cargo xtask web "${web[@]}"
step cargo xtask web-tests "${web[@]}"
step chat_pages
# Browser tests, which compare with the program that the tests have built.
step npm test --silent --prefix web
step plots
step tools/fuzz.sh "$fuzz_seconds"
echo "test.sh: all checks passed in $((SECONDS / 60)) min $((SECONDS % 60)) s"
