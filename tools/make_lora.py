#!/usr/bin/env python3
"""Writes a LoRA adapter of random numbers in PEFT's format, to measure its cost or to see that it is used. It needs
only Python.

    tools/make_lora.py --shape lfm2-8b-a1b --rank 16 [--experts] FOLDER

It adapts all linear modules, and with --experts the experts' stacked parameters too.
"""

import argparse
import json
import random
import struct
from pathlib import Path

# Two shapes of `lfm2 bench --shape` (src/model/published.rs), and the demonstration model.
SHAPES = {
    "demo": {
        "hidden": 192, "dense": 448, "expert": 64, "n_dense_layers": 1, "n_experts": 8,
        "n_layers": 7, "attention": [2, 4, 6], "keys": 64,
    },
    "lfm2-8b-a1b": {
        "hidden": 2048, "dense": 7168, "expert": 1792, "n_dense_layers": 2, "n_experts": 32,
        "n_layers": 24, "attention": [2, 6, 10, 14, 18, 21], "keys": 512,
    },
    "mini": {
        "hidden": 1024, "dense": 3584, "expert": 896, "n_dense_layers": 2, "n_experts": 16,
        "n_layers": 8, "attention": [2, 5], "keys": 256,
    },
}


def halves(numbers: random.Random, n: int) -> bytes:
    """n random f16 numbers of either sign between 2^-4 and 2^-3, so small that no product overflows."""
    sign_and_mantissa = int.from_bytes(b"\xff\x83" * n, "little")
    exponent = int.from_bytes(b"\x00\x2c" * n, "little")
    return (int.from_bytes(numbers.randbytes(2 * n), "little") & sign_and_mantissa | exponent).to_bytes(2 * n, "little")


def factors(shape: dict, rank: int, experts: bool) -> dict[str, tuple[int, int]]:
    """Shapes of all lora_A and lora_B by name."""
    hidden, dense, expert, keys = (shape[name] for name in ("hidden", "dense", "expert", "keys"))
    shapes: dict[str, tuple[int, int]] = {}

    def add(name: str, rows: int, cols: int, copies: int = 1) -> None:
        shapes[f"base_model.model.model.layers.{name}.lora_A.weight"] = (rank * copies, cols)
        shapes[f"base_model.model.model.layers.{name}.lora_B.weight"] = (rows, rank * copies)

    for layer in range(shape["n_layers"]):
        if layer in shape["attention"]:
            for name, rows in (("q_proj", hidden), ("k_proj", keys), ("v_proj", keys), ("out_proj", hidden)):
                add(f"{layer}.self_attn.{name}", rows, hidden)
        else:
            add(f"{layer}.conv.in_proj", 3 * hidden, hidden)
            add(f"{layer}.conv.out_proj", hidden, hidden)
        if layer < shape["n_dense_layers"]:
            add(f"{layer}.feed_forward.w1", dense, hidden)
            add(f"{layer}.feed_forward.w3", dense, hidden)
            add(f"{layer}.feed_forward.w2", hidden, dense)
        elif experts:
            # gate_up_proj, then down_proj: PEFT names them by the order in which it wraps them.
            add(f"{layer}.feed_forward.experts.base_layer", 2 * expert, hidden, shape["n_experts"])
            add(f"{layer}.feed_forward.experts", hidden, expert, shape["n_experts"])
    return shapes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="lfm2-8b-a1b")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--experts", action="store_true", help="adapt the experts too")
    args = parser.parse_args()

    shapes = factors(SHAPES[args.shape], args.rank, args.experts)
    header, end = {}, 0
    for name, (rows, cols) in shapes.items():
        header[name] = {"dtype": "F16", "shape": [rows, cols], "data_offsets": [end, end := end + 2 * rows * cols]}
    text = json.dumps(header).encode()

    # The same in every run.
    numbers = random.Random(1)
    args.folder.mkdir(parents=True, exist_ok=True)
    with (args.folder / "adapter_model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for rows, cols in shapes.values():
            file.write(halves(numbers, rows * cols))
    names = ["in_proj", "out_proj", "q_proj", "k_proj", "v_proj", "w1", "w2", "w3"]
    config = {"peft_type": "LORA", "r": args.rank, "lora_alpha": args.rank, "bias": "none", "target_modules": names}
    if args.experts:
        config["target_parameters"] = ["feed_forward.experts.gate_up_proj", "feed_forward.experts.down_proj"]
    (args.folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
