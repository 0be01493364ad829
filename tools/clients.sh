#!/usr/bin/env bash
# Checks `lfm2 serve` with OpenAI's and Anthropic's clients for Python and JavaScript. Needs Python 3, Node 20, and the
# registries of both for the first run; the clients are kept in .cache/clients.
#
#   cargo build && tools/clients.sh      takes less than a minute, the first time a minute more, at most three
#   tools/clients.sh --all               frameworks too, each in its own environment: LangChain, Pydantic AI,
#                                        Instructor, OpenAI's Agents SDK, Vercel's AI SDK, and Codex with a scripted
#                                        model; minutes for the first time
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
    "") all=no limit=180 ;;
    --all) all=yes limit=1800 ;;
    *) echo "usage: tools/clients.sh [--all]" >&2; exit 2 ;;
esac

# Options in the environment would change the server.
unset "${!LFM2_@}"
# If rustup was installed in this shell, its PATH does not have cargo's folder yet.
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

program=${CARGO_TARGET_DIR:-target}/debug/lfm2
sources=tests/clients
python=.cache/clients/python npm=.cache/clients/npm log=.cache/clients/server.log
# Processes and a folder that must not outlive this script.
server= agent= work=

say() { echo "clients.sh: $*" >&2; }
die() {
    say "$*"
    if [ -s "$log" ]; then
        say "the server's log ends with:"
        tail -n 30 "$log" >&2
    fi
    exit 1
}
# Seconds that are left of the limit.
left() { echo $((SECONDS < limit - 1 ? limit - SECONDS : 1)); }
finish() {
    if [ -n "$server" ]; then
        kill -KILL "$server" 2>/dev/null || true
    fi
    if [ -n "$agent" ]; then
        kill -KILL -- "-$agent" 2>/dev/null || true
    fi
    if [ -n "$work" ]; then
        rm -rf "$work"
    fi
}
trap finish EXIT
trap 'exit 130' INT TERM

mkdir -p "$npm"
rm -f "$log"
[ -x "$program" ] || die "there is no $program: run cargo build first"

[ -x $python/bin/python ] || python3 -m venv $python
timeout "$(left)" $python/bin/python -m pip install --quiet --disable-pip-version-check \
    --requirement $sources/requirements.txt || die "the clients for Python could not be installed"
# The copies of the scripts find the clients beside them.
cp $sources/*-client.mjs $sources/package.json $sources/package-lock.json $npm
if ! cmp --silent $npm/package-lock.json $npm/installed.json; then
    timeout "$(left)" npm ci --silent --no-audit --no-fund --prefix $npm ||
        die "the clients for JavaScript could not be installed"
    cp $npm/package-lock.json $npm/installed.json
fi

# Commands that check the server, beside the package of each.
clients=("$python/bin/python $sources/openai_client.py" "node $npm/openai-client.mjs"
    "$python/bin/python $sources/anthropic_client.py" "node $npm/anthropic-client.mjs")
if [ $all = yes ]; then
    while read -r script package; do
        environment=.cache/clients/$script
        [ -x "$environment/bin/python" ] || python3 -m venv "$environment"
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$package" ||
            die "$package could not be installed"
        clients+=("$environment/bin/python $sources/frameworks/$script.py")
    done <<'END'
langchain_client langchain-openai==1.7.4
pydantic_ai_client pydantic-ai-slim[openai,anthropic]==2.68.0
instructor_client instructor==1.17.0
agents_client openai-agents==0.24.0
END
    mkdir -p .cache/clients/vercel
    cp $sources/frameworks/vercel.mjs $sources/frameworks/package.json .cache/clients/vercel
    npm install --silent --no-audit --no-fund --prefix .cache/clients/vercel || die "the AI SDK could not be installed"
    clients+=("node .cache/clients/vercel/vercel.mjs")
fi

is_ready='import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)'
# Requests that name no adapter use the model alone. With its own scale the adapter does not change short answers.
python3 tools/make_lora.py --shape demo .cache/clients/lora
"$program" serve --port 0 --lora tuned=.cache/clients/lora --lora-scale tuned=5 2>"$log" &
server=$!
url=
until [ -n "$url" ] && $python/bin/python -c "$is_ready" "$url/health" 2>/dev/null; do
    kill -0 $server 2>/dev/null || die "the server has ended before it was ready"
    [ "$(left)" -gt 1 ] || die "the server was not ready in time"
    sleep 0.1
    url=$(sed -n 's|^listening on \(http://[^ ]*\): .*|\1|p' "$log")
done
say "the server is $url"

export LFM2_URL=$url LFM2_PROGRAM=$program
for client in "${clients[@]}"; do
    say "$client"
    start=$SECONDS
    # The command is split into words.
    timeout "$(left)" $client || die "a check failed or took too long: $client"
    say "$client: all checks passed in $((SECONDS - start)) s"
done

# A port that is free now, and that the system gives to no connection meanwhile (Linux gives those from 32768 on).
free_port='
import random, socket
while True:
    try:
        with socket.create_server(("127.0.0.1", random.randrange(20000, 32000))) as server:
            print(server.getsockname()[1])
        break
    except OSError:
        pass'

# Codex completes a task of two tool calls with a scripted model, which a test of the server serves.
codex() {
    local folder=$PWD/.cache/clients/codex port answer
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$folder" @openai/codex@0.171.0 ||
        die "Codex could not be installed"
    port=$($python/bin/python -c "$free_port")
    work=$(mktemp -d)
    mkdir "$work/home" "$work/project"
    echo "water the plants" >"$work/project/notes.txt"
    cat >"$work/home/config.toml" <<END
model = "demo"
model_provider = "lfm2"
[model_providers.lfm2]
name = "lfm2"
base_url = "http://127.0.0.1:$port/v1"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
END
    cargo test --locked --quiet --lib --no-run || die "the tests do not compile"
    # The process leads a group of its own, with which its children are killed too.
    LFM2_AGENT_PORT=$port setsid timeout 300 \
        cargo test --locked --quiet --lib scripted_model_for_an_agent -- --ignored >/dev/null &
    agent=$!
    until $python/bin/python -c "$is_ready" "http://127.0.0.1:$port/health" 2>/dev/null; do
        kill -0 "$agent" 2>/dev/null || die "the scripted model has ended before it was ready"
        sleep 0.2
    done
    answer=$(cd "$work/project" && CODEX_HOME=$work/home timeout 120 \
        "$folder"/node_modules/@openai/codex-*/vendor/*/bin/codex exec --skip-git-repo-check \
        --dangerously-bypass-approvals-and-sandbox "What do the notes say?" 2>"$work/log" </dev/null) ||
        die "Codex failed: $(tail -n 5 "$work/log")"
    wait "$agent" || die "the scripted model was not asked for all of its answers"
    agent=
    [ "$answer" = "The notes say: water the plants." ] || die "Codex answered: $answer"
    say "Codex: two tool calls and an answer"
}
if [ $all = yes ]; then
    codex
fi

kill -TERM $server
for _ in $(seq 100); do
    kill -0 $server 2>/dev/null || break
    sleep 0.1
done
kill -0 $server 2>/dev/null && die "the server did not end within 10 s of SIGTERM"
status=0
wait $server || status=$?
server=
[ $status = 0 ] || die "the server ended with status $status after SIGTERM, and not 0"
say "all checks passed in $SECONDS s"
