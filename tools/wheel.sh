#!/usr/bin/env bash
# Packs a built program into a wheel for Python, which puts `lfm2` on the path, and tries the wheel in a fresh
# environment. Needs Python 3 and PyPI, from which it takes maturin (for the metadata of pyproject.toml) and wheel.
#
#   cargo build --release && tools/wheel.sh    makes target/wheels/*.whl from target/release/lfm2
#   tools/wheel.sh PROGRAM                     the same from another build
#
# The wheel is for this kind of machine, and for systems whose C library is not older than this one's. For PyPI, which
# takes only wheels that run on old systems, run `maturin build --release` in a container of manylinux.
set -euo pipefail
cd "$(dirname "$0")/.."
# Options in the environment would change the program's answer.
unset "${!LFM2_@}"
program=${1:-${CARGO_TARGET_DIR:-target}/release/lfm2}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

say() { echo "wheel.sh: $*" >&2; }
# The log holds the output of maturin and wheel.
die() {
    say "$*"
    cat "$folder/log" >&2 2>/dev/null || true
    exit 1
}
[ -x "$program" ] || die "there is no $program: run cargo build --release first"

tools=.cache/wheel/bin
[ -x $tools/python ] || python3 -m venv .cache/wheel
$tools/python -m pip install --quiet --disable-pip-version-check maturin==1.16.0 wheel==0.47.0
mkdir "$folder/content"
name=$($tools/maturin pep517 write-dist-info --quiet --interpreter python3 \
    --metadata-directory "$folder/content" 2>>"$folder/log") || die "maturin failed"
scripts=$folder/content/${name%.dist-info}.data/scripts
mkdir -p "$scripts"
cp "$program" "$scripts/lfm2"
strip "$scripts/lfm2" 2>/dev/null || true
wheels=${CARGO_TARGET_DIR:-target}/wheels
mkdir -p "$wheels"
$tools/python -m wheel pack "$folder/content" --dest-dir "$wheels" >>"$folder/log" 2>&1 ||
    die "the wheel was not packed"
wheel=$(sed -n 's/^Repacking wheel as \(.*\.whl\)\.\.\.OK$/\1/p' "$folder/log")
[ -n "$wheel" ] || die "wheel names no file"

python3 -m venv "$folder/fresh"
"$folder/fresh/bin/pip" install --quiet --disable-pip-version-check --no-index "$wheel"
version=$("$folder/fresh/bin/lfm2" --version)
answer=$(HOME=$folder "$folder/fresh/bin/lfm2" -q generate --temp 0 "What is 2 + 3?")
[ "$answer" = "2 + 3 = 5." ] || die "the installed program answered: $answer"
say "$wheel ($(du -h "$wheel" | cut -f 1)) works: $version"
