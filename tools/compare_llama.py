#!/usr/bin/env python3
"""Compares lfm2 with llama.cpp on the same GGUF files: logits, and greedy answers to questions.

    pip install numpy diskcache jinja2 transformers
    # llama.cpp is in the source package llama_cpp_python 0.3.36. Build it for the CPU without AMX
    # (-DGGML_NATIVE=OFF and the machine's own -DGGML_AVX2=ON ...): AMX crashes on some virtual CPUs.
    export PYTHONPATH=.../llama_cpp_python-0.3.36 LLAMA_CPP_LIB_PATH=.../build/bin
    python3 tools/compare_llama.py logits  --lfm2 target/debug/lfm2 MODEL.gguf ...
    python3 tools/compare_llama.py answers --lfm2 target/debug/lfm2 --limit 100 demo-q8_0.gguf ...

`logits` feeds random tokens to both (llama.cpp on the CPU, one token per call, so that both see the same
positions). It prints the largest difference relative to the largest logit, the number of positions where the
greedy token differs, and the number of those where llama.cpp's margin is larger than twice that difference.
`answers` takes questions of assets/demo/eval.jsonl, rendered by transformers, and counts the answers that are
the same token for token, and the correct ones.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


def load_llama():
    try:
        import llama_cpp.llama_cpp as llama
    except (ImportError, FileNotFoundError) as error:
        sys.exit(f"compare_llama.py: {error}; see the top of this file for PYTHONPATH")
    folder = os.environ.get("LLAMA_CPP_LIB_PATH", "")
    if (Path(folder) / "libggml.so").exists():
        # A build with -DGGML_BACKEND_DL=ON needs the path of its backends.
        ggml = ctypes.CDLL(f"{folder}/libggml.so")
        ggml.ggml_backend_load_all_from_path(folder.encode())
    return llama


class Llama:
    """A llama.cpp context on the CPU with one sequence."""

    def __init__(self, llama, path: str, context: int, threads: int = 2):
        self.llama = llama
        options = llama.llama_model_default_params()
        options.n_gpu_layers = 0
        self.model = llama.llama_model_load_from_file(path.encode(), options)
        if not self.model:
            sys.exit(f"{path}: llama.cpp does not load it")
        self.vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))
        options = llama.llama_context_default_params()
        options.n_ctx = context
        options.n_batch = context
        options.n_threads = options.n_threads_batch = threads
        # The KV cache is f32, so that only the products are compared.
        options.type_k = options.type_v = 0
        self.context = llama.llama_init_from_model(self.model, options)

    def clear(self) -> None:
        self.llama.llama_memory_clear(self.llama.llama_get_memory(self.context), True)

    def feed(self, tokens: list[int]) -> np.ndarray:
        """The logits after the last token."""
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        if self.llama.llama_decode(self.context, self.llama.llama_batch_get_one(array, len(tokens))):
            sys.exit("llama.cpp: llama_decode failed")
        row = self.llama.llama_get_logits_ith(self.context, -1)
        return np.ctypeslib.as_array(row, shape=(self.vocab,)).copy()

    def close(self) -> None:
        self.llama.llama_free(self.context)
        self.llama.llama_model_free(self.model)


def ours(lfm2: str, path: str, tokens: list[int], options: list[str], greedy: int = 1):
    from safetensors.numpy import load_file

    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/logits.safetensors"
        ids = f"{folder}/ids"
        Path(ids).write_text(",".join(map(str, tokens)))
        command = [lfm2, "-q", "--skip-selftest", "-m", path, *options, "logits"]
        command += ["--tokens", f"@{ids}", "--greedy", str(greedy), "--out", out]
        subprocess.run(command, check=True)
        return load_file(out)


def logits(arguments) -> None:
    llama = load_llama()
    print(f"{'file':40} {'options':28} {'max difference':>14} {'greedy differs':>15} {'clearly':>8}")
    for path in arguments.models:
        model = Llama(llama, path, 512)
        rng = np.random.default_rng(arguments.seed)
        tokens = [int(t) for t in rng.integers(3, model.vocab, arguments.tokens)]
        theirs = np.stack([model.feed([t]) for t in tokens])
        model.close()
        for options in arguments.options or [""]:
            got = ours(arguments.lfm2, path, tokens, options.split())["logits"]
            share = np.abs(got - theirs).max() / np.abs(theirs).max()
            differs = got.argmax(1) != theirs.argmax(1)
            top = np.sort(theirs, 1)[:, -2:]
            clear = (top[:, 1] - top[:, 0]) > 2 * np.abs(got - theirs).max(1)
            print(f"{Path(path).name:40} {options:28} {share:14.2e} {differs.sum():9} of {len(tokens):3}"
                  f" {(differs & clear).sum():8}", flush=True)


def answers(arguments) -> None:
    from transformers import AutoTokenizer

    llama = load_llama()
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "assets/demo")
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    lines = (ROOT / "assets/demo/eval.jsonl").read_text().splitlines()[: arguments.limit]
    for path in arguments.models:
        model = Llama(llama, path, 1024)
        same = right = ours_right = 0
        for line in lines:
            question = json.loads(line)
            text = tokenizer.apply_chat_template(
                question["messages"], tools=question.get("tools"), tokenize=False,
                add_generation_prompt=True)
            tokens = tokenizer.encode(text, add_special_tokens=False)
            model.clear()
            answer: list[int] = []
            row = model.feed(tokens)
            while len(answer) < arguments.most and (token := int(row.argmax())) != end:
                answer.append(token)
                row = model.feed([token])
            got = ours(arguments.lfm2, path, tokens, [], len(answer) + 1)["greedy"].tolist()
            same += got[: len(answer)] == answer and got[len(answer)] == end
            mine = got[: got.index(end)] if end in got else got
            decode = lambda ids: tokenizer.decode(ids, skip_special_tokens=False)
            right += decode(answer) == question["expected"]
            ours_right += decode(mine) == question["expected"]
        model.close()
        print(f"{Path(path).name}: {same} of {len(lines)} answers the same; "
              f"right: llama.cpp {right}, lfm2 {ours_right}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["logits", "answers"])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--lfm2", default=str(ROOT / "target/debug/lfm2"))
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--options", action="append", help="options for lfm2, e.g. '--activations float'; repeatable")
    parser.add_argument("--limit", type=int, default=100, help="questions")
    parser.add_argument("--most", type=int, default=96, help="tokens of an answer")
    arguments = parser.parse_args()
    {"logits": logits, "answers": answers}[arguments.what](arguments)


if __name__ == "__main__":
    main()
