"""Loads two `lfm2 serve` behind HAProxy while one of them ends. tools/scale.sh runs it; needs only Python.

LFM2_FRONT, LFM2_A and LFM2_B are the addresses (HOST:PORT) of HAProxy and of the servers, LFM2_A_PID and LFM2_B_PID
the servers' processes. The first check that fails ends the script with status 1.

1. Requests with one x-session-id reach one server, and both servers are used.
2. SIGTERM to a server under load: no request fails, streamed or not.
3. After its restart, SIGKILL under load: no request without a stream fails, and none of the streams that ran on the
   server ends as if its answer were complete.
"""

import http.client
import json
import os
import re
import signal
import sys
import threading
import time

FRONT, A, B = (os.environ[name] for name in ("LFM2_FRONT", "LFM2_A", "LFM2_B"))
SUM = [{"role": "user", "content": "What is 2 + 3?"}]
# A long text, so that answers run while the server ends.
LONG = {"messages": SUM, "ignore_eos": True, "max_tokens": 60, "temperature": 0}


def post(address, session, body, stream=False):
    """Returns the status and the text of an answer. A cut answer raises an exception."""
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        headers = {"content-type": "application/json", "x-session-id": session}
        request = json.dumps({"model": "demo", "stream": stream, **body})
        connection.request("POST", "/v1/chat/completions", request, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def answered(address):
    """Answers that a server has completed."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    return sum(int(n) for n in re.findall(r"^lfm2_requests_total\{[^}]*chat/completions[^}]*\} (\d+)", text, re.M))


def is_whole(text):
    """Whether a stream ended as complete answers do."""
    return '"finish_reason":"' in text and text.rstrip().endswith("data: [DONE]")


class Load:
    """Clients that ask again and again until they are told to stop."""

    def __init__(self, clients, streams):
        self.stop, self.lock = threading.Event(), threading.Lock()
        self.good, self.failed, self.cut = 0, [], []
        kinds = [False] * clients + [True] * streams
        self.threads = [threading.Thread(target=self.ask, args=(n, s), daemon=True) for n, s in enumerate(kinds)]
        for thread in self.threads:
            thread.start()

    def ask(self, number, stream):
        turn = 0
        while not self.stop.is_set():
            turn += 1
            try:
                status, text = post(FRONT, f"load-{number}-{turn}", LONG, stream)
                whole = is_whole(text) if stream else '"finish_reason":"length"' in text
                problem = None if status == 200 and whole else f"{status}: {text[-200:]}"
            except (OSError, http.client.HTTPException) as error:
                problem = repr(error)
            with self.lock:
                if problem is None:
                    self.good += 1
                else:
                    (self.cut if stream else self.failed).append(problem)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a client still waits for its answer"
        return self


def wait_until(condition, name):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, f"{name} took more than 30 s"
        time.sleep(0.05)


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def sessions():
    before = answered(A), answered(B)
    for session in ("one", "two", "three", "four", "five", "six", "seven", "eight"):
        counts = set()
        for _ in range(2):
            was = answered(A)
            status, text = post(FRONT, session, {"messages": SUM, "max_tokens": 8})
            assert status == 200, text
            counts.add(answered(A) - was)
        assert len(counts) == 1, f"the conversation {session} reached both servers"
    after = answered(A), answered(B)
    assert all(now > was for was, now in zip(before, after)), f"one server got all conversations: {before} {after}"
    print("scale: each conversation reaches one server, and both servers are used")


def ends(server, pid, how):
    load = Load(clients=4, streams=4)
    # Both servers have answers that run.
    wait_until(lambda: load.good >= 8, "eight answers")
    os.kill(pid, how)
    wait_until(lambda: gone(pid), "the end of a server")
    before = load.good
    wait_until(lambda: load.good >= before + 8, "eight answers of the other server")
    load.end()
    assert not load.failed, f"{how.name}: requests without streams failed: {load.failed}"
    if how == signal.SIGTERM:
        assert not load.cut, f"{how.name}: streams failed: {load.cut}"
    print(f"scale: {how.name} to {server}: {load.good} answers, 0 failed, {len(load.cut)} streams ended with an error")


if __name__ == "__main__":
    if sys.argv[1] == "drain":
        sessions()
        ends("a", int(os.environ["LFM2_A_PID"]), signal.SIGTERM)
    else:
        ends("b", int(os.environ["LFM2_B_PID"]), signal.SIGKILL)
