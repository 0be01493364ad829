#!/usr/bin/env bash
# Sets up this machine, builds `lfm2` and asks the model one question.
#
#   tools/try.sh ["YOUR QUESTION"]
set -euo pipefail
cd "$(dirname "$0")/.."
# If rustup was installed in this shell, its PATH does not have cargo's folder yet.
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

tools/setup.sh
cargo build --release --locked
question=${1:-"What is lfm2-wgpu?"}
printf '\n> %s\n' "$question" >&2
exec cargo run --quiet --release --locked -- generate --stats --prompt "$question"
