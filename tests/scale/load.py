"""Loads two `lfm2 serve` behind HAProxy while one of them ends. tools/scale.sh runs it; needs only Python.

LFM2_FRONT, LFM2_A and LFM2_B are the addresses (HOST:PORT) of HAProxy and of the servers, LFM2_A_PID and LFM2_B_PID
the servers' processes. The first check that fails ends the script with status 1.

1. Requests with one x-session-id reach one server, and both servers are used.
2. SIGTERM to a server under load: no request fails, streamed or not.
3. After its restart, SIGKILL to the other one under load: no request without a stream fails, and a stream that ran on
   the server ends with an error, and not as if its answer were complete.
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
# So long that it still runs when its server is killed.
LONGEST = {**LONG, "max_tokens": 1500}
# Seconds that a slow machine may need for anything.
LIMIT = 180
# Ends of a stream that its client notices.
BROKEN, REPORTED = "broken connection", "error event"


def post(address, session, body, stream=False, begun=None):
    """Returns the status and the text of an answer. A cut answer raises an exception. Its first byte sets `begun`."""
    connection = http.client.HTTPConnection(address, timeout=LIMIT)
    try:
        headers = {"content-type": "application/json", "x-session-id": session}
        request = json.dumps({"model": "demo", "stream": stream, **body})
        connection.request("POST", "/v1/chat/completions", request, headers)
        answer = connection.getresponse()
        first = answer.read(1)
        if begun:
            begun.set()
        return answer.status, (first + answer.read()).decode()
    finally:
        connection.close()


def answered(address):
    """Answers that a server has completed."""
    connection = http.client.HTTPConnection(address, timeout=LIMIT)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    return sum(int(n) for n in re.findall(r"^lfm2_requests_total\{[^}]*chat/completions[^}]*\} (\d+)", text, re.M))


def is_whole(text):
    """Whether a stream ended as complete answers do."""
    return '"finish_reason":"' in text and text.rstrip().endswith("data: [DONE]")


def problem_of(session, body, stream, begun=None):
    """Returns the kind and the description of an answer's problem, or None if the answer is whole."""
    try:
        status, text = post(FRONT, session, body, stream, begun)
    except (ConnectionError, http.client.IncompleteRead) as error:
        return BROKEN, repr(error)
    except (OSError, http.client.HTTPException) as error:
        return "exception", repr(error)
    if status != 200:
        return f"status {status}", text[-200:]
    if stream and re.search(r'^data: \{"error":', text, re.M):
        return REPORTED, text[-200:]
    whole = is_whole(text) if stream else '"finish_reason":"length"' in text
    return None if whole else ("incomplete answer without an error", text[-200:])


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
            self.count(problem_of(f"load-{number}-{turn}", LONG, stream), stream)

    def count(self, problem, stream):
        with self.lock:
            if problem is None:
                self.good += 1
            else:
                (self.cut if stream else self.failed).append(problem)

    def hold(self, session):
        """Starts a stream that runs for long, and waits until its client has the beginning."""
        begun = threading.Event()
        ask = lambda: self.count(problem_of(session, LONGEST, True, begun), True)
        self.threads.append(threading.Thread(target=ask, daemon=True))
        self.threads[-1].start()
        assert begun.wait(LIMIT), f"a stream did not begin within {LIMIT} s"

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(LIMIT)
            assert not thread.is_alive(), "a client still waits for its answer"
        return self


def wait_until(condition, name):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"{name} took more than {LIMIT} s"
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


def session_of(server):
    """Asks until HAProxy sends a request to a server, and returns the request's session."""
    before, asked = answered(server), []

    def reached():
        asked.append(f"session-{len(asked)}")
        status, text = post(FRONT, asked[-1], {"messages": SUM, "max_tokens": 1})
        assert status == 200, text
        return answered(server) > before

    wait_until(reached, f"a request that reaches {server}")
    return asked[-1]


def ends(server, pid, how, session=None):
    """Ends a server under load, of which a long stream of this session is a part."""
    load = Load(clients=4, streams=4)
    # Both servers have answers that run.
    wait_until(lambda: load.good >= 8, "eight answers")
    if session:
        load.hold(session)
    os.kill(pid, how)
    wait_until(lambda: gone(pid), "the end of a server")
    before = load.good
    wait_until(lambda: load.good >= before + 8, "eight answers of the other server")
    load.end()
    assert not load.failed, f"{how.name}: requests without streams failed: {load.failed}"
    if how == signal.SIGTERM:
        assert not load.cut, f"{how.name}: streams failed: {load.cut}"
    else:
        assert load.cut, f"{how.name}: no stream was cut"
        unnoticed = [one for one in load.cut if one[0] not in (BROKEN, REPORTED)]
        assert not unnoticed, f"{how.name}: clients did not notice that streams were cut: {unnoticed}"
    print(f"scale: {how.name} to {server}: {load.good} answers, 0 failed, {len(load.cut)} streams ended with an error")


if __name__ == "__main__":
    if sys.argv[1] == "drain":
        sessions()
        ends("a", int(os.environ["LFM2_A_PID"]), signal.SIGTERM)
    else:
        # HAProxy has noticed that a is back.
        session_of(A)
        ends("b", int(os.environ["LFM2_B_PID"]), signal.SIGKILL, session_of(B))
