#!/usr/bin/env python3
"""Writes tests/fixtures/blocks.safetensors: random blocks of every supported ggml type, and their values as
dequantised by PyPI's `gguf`.

    pip install gguf==0.19.0 numpy safetensors
    python3 tools/block_fixtures.py

Tensors `Q4_K` (U8, [blocks, bytes]) and `Q4_K.values` (F32, [blocks, elements]) for each type.
"""

from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file

# Offsets of the f16 values in a block; random bits could make them infinite.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}

rng = np.random.default_rng(1)
tensors = {}
for name, halves in HALVES.items():
    kind = gguf.GGMLQuantizationType[name]
    _, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (6, size), dtype=np.uint8)
    for at in halves:
        d = rng.normal(size=6).astype(np.float16)
        blocks[:, at : at + 2] = d.view(np.uint8).reshape(6, 2)
    tensors[name] = blocks
    tensors[f"{name}.values"] = gguf.quants.dequantize(blocks, kind).astype(np.float32)
out = Path(__file__).parent.parent / "tests/fixtures/blocks.safetensors"
save_file(tensors, out)
print(out, out.stat().st_size, "bytes")
