#!/usr/bin/env python3
"""Compares `lfm2 serve` with transformers by lm-evaluation-harness, on the demonstration model.

    python3 -m venv .cache/lm_eval
    .cache/lm_eval/bin/pip install "lm_eval[api,hf]==0.4.13" transformers==5.23.0 torch==2.15.0
    cargo build && .cache/lm_eval/bin/python tools/lm_eval_check.py
    .cache/lm_eval/bin/python tools/lm_eval_check.py --write   # and writes tests/fixtures/lm_eval/requests.json

The tasks of tests/fixtures/lm_eval run with the harness's own `hf` model (transformers, f32), and with its
`local-completions` model on the server, whose tokenizer is transformers' (`tokenizer_backend=huggingface`) or the
server's (`remote`); generation runs in the chat format too. Every log-likelihood must agree within 1e-3, `is_greedy`
and the greedy texts exactly. It needs no network after the installation. tests/cli/lm_eval.rs sends the requests of
requests.json without the harness.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
ROOT = Path(__file__).resolve().parent.parent
os.chdir(ROOT)

import torch

# A CPU build of torch without CUDA's libraries crashes in this query, which transformers makes.
torch.cuda.is_current_stream_capturing = lambda: False

import lm_eval
from lm_eval.models.api_models import TemplateAPI
from lm_eval.tasks import TaskManager

FIXTURES = Path("tests/fixtures/lm_eval")
CHECKPOINT = "assets/demo"
CHOICE, GENERATE = "lfm2_tiny_choice", "lfm2_tiny_generate"
TOLERANCE = 1e-3

Answers = dict[tuple[str, str], Any]


def run(model: str, args: str, chat: bool = False) -> Answers:
    """The answer to each request: (log-likelihood, is_greedy) or a text."""
    manager = TaskManager(include_path=str(FIXTURES), include_defaults=False)
    tasks = [GENERATE] if chat else [CHOICE, GENERATE]
    results = lm_eval.simple_evaluate(
        model=model, model_args=args, tasks=tasks, task_manager=manager, device="cpu", log_samples=True,
        bootstrap_iters=0, batch_size=1, apply_chat_template=chat,
    )
    answers: Answers = {}
    for task in tasks:
        for sample in results["samples"][task]:
            for (context, more), answer in zip(sample["arguments"], sample["resps"], strict=True):
                key = (context, more) if isinstance(more, str) else (context, "")
                answers[key] = answer[0]
    return answers


def scored(answer: Any) -> tuple[float, bool]:
    """A log-likelihood, which the harness's samples may hold as text."""
    value, greedy = answer
    return float(value), greedy in (True, "True")


def compare(name: str, ours: Answers, theirs: Answers) -> bool:
    assert ours.keys() == theirs.keys() and len(theirs) >= 12, (len(ours), len(theirs))
    worst, wrong = 0.0, []
    for key, expected in theirs.items():
        got = ours[key]
        if key[1] == "":
            right = got == expected
        else:
            (value, greedy), (wanted, is_greedy) = scored(got), scored(expected)
            worst = max(worst, abs(value - wanted))
            right = abs(value - wanted) <= TOLERANCE and greedy == is_greedy
        if not right:
            wrong.append(f"  {key}: {got}, transformers: {expected}")
    print(f"{name}: {len(theirs)} answers, {len(wrong)} differ; log-likelihoods differ by at most {worst:.1e}")
    print("\n".join(wrong), end="\n" if wrong else "")
    return not wrong


def record(requests: list[dict[str, Any]]) -> None:
    """Lets the harness note the requests that it sends."""
    call = TemplateAPI.model_call

    def noting(self: Any, messages: Any, *, generate: bool = True, gen_kwargs: Any = None, **more: Any) -> Any:
        fields = dict(gen_kwargs or {})
        prompt = self.create_message(messages)
        requests.append(
            self._create_payload(prompt, generate=generate, gen_kwargs=fields, seed=self._seed, eos=self.eos_string)
        )
        return call(self, messages, generate=generate, gen_kwargs=gen_kwargs, **more)

    TemplateAPI.model_call = noting


def golden(requests: list[dict[str, Any]], theirs: Answers, chat: bool = False) -> list[dict[str, Any]]:
    """The requests with transformers' answers. A chat template writes the beginning-of-text token itself."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    scores, texts = {}, {}
    for (context, more), answer in theirs.items():
        ids = tokenizer(context, add_special_tokens=not chat).input_ids
        if more == "":
            texts[tuple(ids)] = answer
        else:
            scores[tuple(tokenizer(context + more).input_ids)] = (len(ids), *scored(answer))
    cases = []
    for request in requests:
        (ids,) = request["prompt"]
        if request.get("echo"):
            context, logprob, greedy = scores[tuple(ids)]
            cases.append({"request": request, "context": context, "logprob": logprob, "greedy": greedy})
        else:
            cases.append({"request": request, "text": texts[tuple(ids)]})
    return cases


def main() -> int:
    parser = argparse.ArgumentParser()
    program = os.environ.get("CARGO_TARGET_DIR", "target") + "/debug/lfm2"
    parser.add_argument("--program", default=program, help=f"default: {program}")
    parser.add_argument("--write", action="store_true", help="write requests.json")
    options = parser.parse_args()
    hf = f"pretrained={CHECKPOINT},dtype=float32,add_bos_token="
    with_bos, without = run("hf", hf + "True"), run("hf", hf + "False")
    in_chat = run("hf", hf + "False", chat=True)
    # The model's weights are bf16; transformers' keys and values are f32.
    serve = [options.program, "-m", CHECKPOINT, "serve", "--port", "0"]
    with subprocess.Popen([*serve, "--kv", "f32"], stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr
            url = next(m[1] for line in server.stderr if (m := re.match(r"listening on (http://\S+):", line)))
            # The server would wait if nobody read its log.
            threading.Thread(target=server.stderr.read, daemon=True).start()
            api = f"model=demo,base_url={url}/v1/completions,tokenizer_backend="
            requests: list[dict[str, Any]] = []
            record(requests)
            args = f"{api}huggingface,tokenizer={CHECKPOINT}"
            huggingface = run("local-completions", f"{args},add_bos_token=True")
            cases = golden(requests, with_bos)
            fine = compare("tokenizer_backend=huggingface", huggingface, with_bos)
            requests.clear()
            chat = run("local-completions", args, chat=True)
            cases += golden(requests, in_chat, chat=True)
            fine &= compare("the same in the chat format", chat, in_chat)
            remote = run("local-completions", f"{api}remote")
            fine &= compare("tokenizer_backend=remote", remote, without)
        finally:
            server.terminate()
    if options.write:
        import transformers

        versions = {"lm_eval": lm_eval.__version__, "transformers": transformers.__version__}
        versions["torch"] = torch.__version__.split("+")[0]
        lines = ",\n".join(json.dumps(case) for case in cases)
        (FIXTURES / "requests.json").write_text(f'{{"versions": {json.dumps(versions)}, "cases": [\n{lines}\n]}}\n')
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
