"""Scores a checkpoint directory on the held-out conversations with transformers, in f32, greedily.

    python tools/eval_demo.py assets/demo [--file assets/demo/eval.jsonl] [--limit N] [--show 20]

An answer counts when it equals the expected text exactly, tool-call markers included.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TOOL_CALL = "<|tool_call_start|>"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--file", type=Path, help="default: eval.jsonl in the model's folder")
    parser.add_argument("--limit", type=int, help="score only the first lines")
    parser.add_argument("--show", type=int, default=0, help="print this many wrong answers")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    text = (args.file or args.model / "eval.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()][: args.limit]
    prompts = []
    for line in lines:
        rendered = tokenizer.apply_chat_template(line["messages"], tools=line.get("tools"), add_generation_prompt=True, tokenize=False)
        prompts.append(tokenizer.encode(rendered, add_special_tokens=False))

    order = sorted(range(len(lines)), key=lambda i: len(prompts[i]))
    answers: dict[int, str] = {}
    for first in range(0, len(order), args.batch):
        group = order[first : first + args.batch]
        width = max(len(prompts[i]) for i in group)
        ids = torch.tensor([[0] * (width - len(prompts[i])) + prompts[i] for i in group])
        mask = torch.tensor([[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in group])
        with torch.no_grad():
            out = model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=96,
                do_sample=False, temperature=None, min_p=None, repetition_penalty=1.0,
            )
        for i, row in zip(group, out[:, width:].tolist()):
            end = row.index(7) if 7 in row else len(row)
            answers[i] = tokenizer.decode(row[:end])

    scores: dict[str, list[bool]] = defaultdict(list)
    wrong = []
    for i, line in enumerate(lines):
        right = answers[i] == line["expected"]
        for group_name in ("ALL", "tool calls" if line["expected"].startswith(TOOL_CALL) else "text", "  " + line.get("category", "")):
            scores[group_name].append(right)
        if not right:
            wrong.append((line, answers[i]))
    for name in sorted(scores, key=lambda n: (n.startswith(" "), n)):
        results = scores[name]
        print(f"{name:22} {sum(results):5} / {len(results):5}  {100 * sum(results) / len(results):6.2f} %")
    for line, answer in wrong[: args.show]:
        print(f"\n[{line.get('category')}] {line['messages'][-1]['content']}\n  expected {line['expected']!r}\n  answered {answer!r}")


if __name__ == "__main__":
    main()
