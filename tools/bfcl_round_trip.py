#!/usr/bin/env python3
"""Answers of the Berkeley Function Calling Leaderboard, written as models write them, for the test that
reads them again.

The data is that of PyPI's bfcl-eval 2026.3.23 (Apache License 2.0, (c) its authors); nothing of it is
installed:

  python3 -m pip download --no-deps bfcl-eval==2026.3.23 -d DIR
  tools/bfcl_round_trip.py DIR/bfcl_eval-2026.3.23-py3-none-any.whl --out all.jsonl
  LFM2_BFCL=all.jsonl cargo test --test it text::bfcl

With --sample every 40th answer is written: tests/fixtures/tool_calls/bfcl_sample.jsonl is that.
A line is {"python": the answer in LFM2's form, "json": the same in JSON, "calls": [[name, arguments]]}.
"""

import argparse
import json
import zipfile

SETS = ["simple_python", "multiple", "parallel", "parallel_multiple", "live_simple", "live_multiple",
        "live_parallel", "live_parallel_multiple"]
START, END = "<|tool_call_start|>", "<|tool_call_end|>"


def value_of(allowed):
    """The first allowed value. Dictionaries in it again have lists of allowed values."""
    return plain(allowed[0])


def plain(value):
    if isinstance(value, dict):
        return {key: value_of(inner) if isinstance(inner, list) else plain(inner)
                for key, inner in value.items() if inner not in ([], [""])}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


def calls_of(truth):
    for call in truth:
        for name, arguments in call.items():
            # "" in the list means that the argument is optional.
            yield name, {key: value_of(allowed) for key, allowed in arguments.items() if allowed[:1] not in ([], [""])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("wheel")
    parser.add_argument("--out", required=True)
    parser.add_argument("--sample", action="store_true")
    options = parser.parse_args()
    lines, calls_in_all = [], 0
    with zipfile.ZipFile(options.wheel) as wheel:
        for name in SETS:
            text = wheel.read(f"bfcl_eval/data/possible_answer/BFCL_v4_{name}.json").decode()
            for line in text.splitlines():
                calls = list(calls_of(json.loads(line)["ground_truth"]))
                calls_in_all += len(calls)
                python = ", ".join(f"{name}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})"
                                   for name, arguments in calls)
                in_json = json.dumps([{"name": name, "arguments": arguments} for name, arguments in calls],
                                     ensure_ascii=False)
                lines.append({"python": f"{START}[{python}]{END}", "json": f"{START}{in_json}{END}",
                              "calls": calls})
    print(f"{len(lines)} answers, {calls_in_all} calls")
    with open(options.out, "w") as out:
        for line in lines[::40] if options.sample else lines:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
