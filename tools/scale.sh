#!/usr/bin/env bash
# Tests the recipe of docs/scale.md: two `lfm2 serve` behind HAProxy on this machine, of which one ends under load.
# Needs HAProxy (Debian: haproxy) and Python 3.
#
#   cargo build && tools/scale.sh      takes about 10 seconds
set -euo pipefail
cd "$(dirname "$0")/.."

# Options in the environment would change the servers.
unset "${!LFM2_@}"

program=${CARGO_TARGET_DIR:-target}/debug/lfm2
folder=$(mktemp -d)
declare -A pids=()

say() { echo "scale.sh: $*" >&2; }
die() {
    say "$*"
    tail -n 15 "$folder"/*.log >&2 || true
    exit 1
}
finish() {
    for pid in "${pids[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

[ -x "$program" ] || die "there is no $program: run cargo build first"
haproxy=$(PATH="$PATH:/usr/sbin" command -v haproxy) || die "there is no haproxy: run tools/setup.sh --dev"

# Ports that are free now, and that the system gives to no connection meanwhile (Linux gives those from 32768 on).
read -r front a b < <(python3 -c '
import random, socket
sockets = []
while len(sockets) < 3:
    try:
        sockets.append(socket.create_server(("127.0.0.1", random.randrange(20000, 32000))))
    except OSError:
        pass
print(*(s.getsockname()[1] for s in sockets))')
export LFM2_FRONT=127.0.0.1:$front LFM2_A=127.0.0.1:$a LFM2_B=127.0.0.1:$b

serve() {
    "$program" serve --port "${2##*:}" --timeout 180 2>>"$folder/$1.log" &
    pids[$1]=$!
}
is_ready='import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)'
# Waits until a process answers /health with 200 at an address.
ready() {
    local end=$((SECONDS + 180))
    until python3 -c "$is_ready" "http://$2/health" 2>/dev/null; do
        kill -0 "${pids[$1]}" 2>/dev/null || die "$1 has ended before it was ready"
        [ $SECONDS -lt $end ] || die "$1 was not ready within three minutes"
        sleep 0.1
    done
}

serve a "$LFM2_A"
serve b "$LFM2_B"
ready a "$LFM2_A"
ready b "$LFM2_B"
"$haproxy" -f tests/scale/haproxy.cfg -db >"$folder/haproxy.log" 2>&1 &
pids[haproxy]=$!
ready haproxy "$LFM2_FRONT"
start=$SECONDS
LFM2_A_PID=${pids[a]} python3 tests/scale/load.py drain || die "a check failed"
wait "${pids[a]}" || die "the server that was told to end failed: status $?"
serve a "$LFM2_A"
ready a "$LFM2_A"
LFM2_B_PID=${pids[b]} python3 tests/scale/load.py kill || die "a check failed"
wait "${pids[b]}" 2>/dev/null || true
say "all checks passed in $((SECONDS - start)) s"
