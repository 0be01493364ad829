#!/usr/bin/env python3
"""Makes small random LoRA adapters for the fixtures, and computes the logits with them by PEFT.

The reference is PEFT on transformers, eager attention and a plain loop over the experts, in f32. Written with
peft 0.21.2, transformers 5.23.0, torch 2.15.0, safetensors 0.8.0, numpy 2.4.6, Python 3.11:

    pip install peft==0.21.2 transformers==5.23.0 torch==2.15.0
    tools/lora_goldens.py                           # rebuild every case in tests/fixtures/lora
    tools/lora_goldens.py --only attention router   # rebuild some
    tools/lora_goldens.py --check                   # recompute all logits and compare
    tools/lora_goldens.py --gguf LLAMA_CPP          # also convert each case with llama.cpp's own script

LLAMA_CPP is a folder with llama.cpp's convert_lora_to_gguf.py. It was taken from the source package of
llama-cpp-python 0.3.36 on PyPI, which has llama.cpp in vendor/; it needs gguf 0.19.0.

A case is a folder with

adapter_config.json, adapter_model.safetensors
    As PEFT's save_pretrained writes them, but with sorted lists and the fixture's name for the model's path. The
    files of `experts-reversed` and `experts-by-module` are made from those: neither can be written with
    transformers 5 (see CASES).
adapter.gguf
    The same adapter by llama.cpp's conversion, if it knows all of its targets: it does not know stacked parameters,
    and its files have neither rsLoRA nor alpha_pattern.
logits.safetensors
    input_ids    i32 [T], the prompt of the fixture's golden
    logits       f32 [T, vocab]
logits.json
    `base`: the fixture; `change`: largest change of a logit by the adapter, in units of the largest logit;
    `router_select_margin` and `router_order_margin`: how far the routers are from a tie, as in
    tests/fixtures/README.md; `deltas`: for each adapted matrix under its name on the hub, `scale`, `rank`, and of
    the addition by PEFT's get_delta_weight `sum`, `abs` (the sum of magnitudes) and `elements` [[row, col, value]].

All factors are random, B too: PEFT begins with B = 0, which would change nothing. A case is refused if a factor pair
changes the logits by less than 0.5 % of the largest.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from reference import FIXTURES, ROUTER_MARGIN, Tensors, Trace, load, stored_golden, versions
from safetensors.torch import load_file, save_file

OUT = FIXTURES / "lora"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
STACKED = ["gate_up_proj", "down_proj"]


@dataclass(frozen=True)
class Case:
    name: str
    special: str
    config: dict[str, Any] = field(default_factory=dict)
    """What differs from rank 2 and alpha 4."""
    base: str = "top-3-of-7"
    dtype: torch.dtype = torch.float32
    rewrite: str | None = None
    """How the files differ from PEFT's: "reversed" or "by-module"."""


CASES = [
    Case(
        "attention",
        "q, k, v and out projections of the attention",
        dict(target_modules=["q_proj", "k_proj", "v_proj", "self_attn.out_proj"]),
    ),
    Case(
        "conv",
        "in and out projections of the convolutions, in a model with biases",
        dict(target_modules=["in_proj", "conv.out_proj"]),
        base="conv-bias",
    ),
    Case("dense-ffn", "w1, w2 and w3 of dense FFNs", dict(target_modules=["w1", "w2", "w3"]), base="dense"),
    Case("experts-stacked", "both stacked parameters of the experts", dict(target_parameters=STACKED)),
    Case(
        "experts-reversed",
        "`experts-stacked` with the wrappers in the other order, as other versions of PEFT may nest them",
        dict(target_parameters=STACKED),
        rewrite="reversed",
    ),
    Case("experts-gate-up", "gate_up_proj alone", dict(target_parameters=["experts.gate_up_proj"])),
    Case("experts-down", "down_proj alone", dict(target_parameters=["experts.down_proj"])),
    Case(
        "experts-by-module",
        "experts by module, as PEFT writes them with transformers 4. Computed from the stacked equivalent: "
        "gate_up_proj has twice the rank and alpha, A of w1 above that of w3, and a block diagonal B",
        dict(
            target_parameters=STACKED,
            rank_pattern={r".*\.gate_up_proj": 4},
            alpha_pattern={r".*\.gate_up_proj": 8},
        ),
        rewrite="by-module",
    ),
    Case("rslora", "rsLoRA", dict(target_modules=["in_proj", "q_proj", "w2"], r=3, use_rslora=True), base="dense"),
    Case(
        "patterns",
        "rank_pattern and alpha_pattern, of modules and of a parameter",
        dict(
            target_modules=["in_proj", "out_proj", "v_proj"],
            target_parameters=STACKED,
            rank_pattern={"model.layers.0.conv.in_proj": 5, r"layers\.2\..*out_proj": 1, "gate_up_proj": 3},
            alpha_pattern={r".*self_attn\..*": 1, "down_proj": 7.5, "conv.in_proj": 12},
        ),
    ),
    Case(
        "router",
        "the routers, which transformers 5 has as a parameter of its own, and v_proj",
        dict(target_parameters=["gate.weight"], target_modules=["v_proj"]),
    ),
    Case(
        "all-linear",
        "`target_modules` all-linear, and both stacked parameters; the file is in bf16",
        dict(target_modules="all-linear", target_parameters=STACKED),
        base="odd-sizes",
        dtype=torch.bfloat16,
    ),
    Case(
        "everything",
        "every matrix that LoRA can change, in a model with f32 weights",
        dict(target_modules="all-linear", target_parameters=[*STACKED, "gate.weight"]),
        base="tiny-a",
    ),
]


def fixture(case: Case) -> tuple[transformers.PreTrainedModel, list[int]]:
    directory = FIXTURES / case.base
    return load(directory), stored_golden(directory)["input_ids"].tolist()


def lora_config(case: Case) -> LoraConfig:
    settings: dict[str, Any] = dict(r=2, lora_alpha=4, task_type="CAUSAL_LM") | case.config
    if "target_modules" not in settings:
        settings["target_modules"] = []
    return LoraConfig(**settings)


# ---------------------------------------------------------------------------------------------------
# An adapter in PEFT's files


def layers(model: PeftModel) -> dict[str, Any]:
    """The wrappers of modules and parameters by name, those inside others too."""
    prefix = "base_model.model."
    return {n.removeprefix(prefix): m for n, m in model.named_modules() if hasattr(m, "lora_A") and len(m.lora_A)}


def draw(model: PeftModel, seed: int) -> None:
    """Random factors: A keeps the variance of its inputs, and B makes an addition that is small beside the matrix."""
    rng = np.random.default_rng([seed, 7])
    for layer in layers(model).values():
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        for weight, gain in ((a, a.shape[1] ** -0.5), (b, 0.25)):
            noise = rng.standard_normal(tuple(weight.shape), dtype=np.float32)
            weight.data = torch.from_numpy(noise) * gain


def save(case: Case, seed: int, out: Path) -> None:
    """Draws an adapter and writes PEFT's files."""
    base, _ = fixture(case)
    model = get_peft_model(base, lora_config(case), autocast_adapter_dtype=False)
    draw(model, seed)
    if case.rewrite == "by-module":
        block_diagonal(model)
    model.save_pretrained(out)
    (out / "README.md").unlink()
    config = json.loads((out / CONFIG).read_text()) | {"base_model_name_or_path": f"tests/fixtures/{case.base}"}
    for key, value in config.items():
        if isinstance(value, list):
            config[key] = sorted(value)
    (out / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    if case.dtype != torch.float32:
        tensors = {name: tensor.to(case.dtype) for name, tensor in load_file(out / WEIGHTS).items()}
        save_file(tensors, out / WEIGHTS, {"format": "pt"})


def experts(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Copies of A [experts, rank, in] and B [experts, out, rank] of a stacked parameter."""
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    a = a.detach().reshape(layer.num_experts, -1, a.shape[-1])
    b = b.detach().reshape(b.shape[0], -1, layer.num_experts).permute(2, 0, 1)
    return a.clone(), b.clone()


def block_diagonal(model: PeftModel) -> None:
    """Makes w1 independent of w3: their rows of B use separate halves of the rank."""
    for layer in layers(model).values():
        if layer.parameter_name == "gate_up_proj":
            _, b = experts(layer)
            rows, rank = b.shape[1] // 2, b.shape[2] // 2
            b[:, :rows, rank:] = 0
            b[:, rows:, :rank] = 0
            layer.lora_B["default"].weight.data = b.permute(1, 2, 0).flatten(1)


def rewrite(case: Case, model: PeftModel, out: Path) -> None:
    """Writes the layouts that PEFT cannot write with transformers 5."""
    if case.rewrite is None:
        return
    tensors = load_file(out / WEIGHTS)
    inner, outer = ".experts.base_layer.", ".experts."
    renamed: Tensors = {}
    if case.rewrite == "reversed":
        for name, tensor in tensors.items():
            old, new = (inner, outer) if inner in name else (outer, inner)
            renamed[name.replace(old, new)] = tensor
    else:
        for name, layer in layers(model).items():
            a, b = experts(layer)
            container = "base_model.model." + name.removesuffix(".base_layer")
            rows, rank = b.shape[1] // 2, b.shape[2] // 2
            for e in range(layer.num_experts):
                parts = {"w2": (a[e], b[e])}
                if layer.parameter_name == "gate_up_proj":
                    parts = {
                        "w1": (a[e, :rank], b[e, :rows, :rank]),
                        "w3": (a[e, rank:], b[e, rows:, rank:]),
                    }
                for weight, (factor_a, factor_b) in parts.items():
                    renamed[f"{container}.{e}.{weight}.lora_A.weight"] = factor_a.contiguous()
                    renamed[f"{container}.{e}.{weight}.lora_B.weight"] = factor_b.contiguous()
        config = json.loads((out / CONFIG).read_text())
        config |= dict(target_modules=["w1", "w2", "w3"], target_parameters=None, rank_pattern={}, alpha_pattern={})
        # The dense FFNs have modules of these names too.
        config |= dict(layers_to_transform=[1, 2])
        (out / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    save_file(renamed, out / WEIGHTS, {"format": "pt"})


# ---------------------------------------------------------------------------------------------------
# The reference


def with_adapter(case: Case, directory: Path) -> tuple[PeftModel, list[int]]:
    base, ids = fixture(case)
    return PeftModel.from_pretrained(base, directory, autocast_adapter_dtype=False).eval(), ids


def deltas(model: PeftModel) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, layer in layers(model).items():
        delta = layer.get_delta_weight("default").detach().double()
        about = dict(scale=float(layer.scaling["default"]), rank=int(layer.r["default"]))
        name = name.removesuffix(".base_layer")
        parameter = getattr(layer, "parameter_name", "weight")
        if parameter == "weight":
            found[f"{name}.weight"] = about | summary(delta)
            continue
        for e in range(layer.num_experts):
            if parameter == "down_proj":
                found[f"{name}.{e}.w2.weight"] = about | summary(delta[e])
            else:
                gate, up = delta[e].chunk(2)
                found[f"{name}.{e}.w1.weight"] = about | summary(gate)
                found[f"{name}.{e}.w3.weight"] = about | summary(up)
    return dict(sorted(found.items()))


def summary(delta: torch.Tensor) -> dict[str, Any]:
    rows, cols = delta.shape
    places = [(0, 0), (rows // 2, cols // 3), (rows - 1, cols - 1)]
    return {
        "sum": short(float(delta.sum())),
        "abs": short(float(delta.abs().sum())),
        "elements": [[r, c, short(float(delta[r, c]))] for r, c in places],
    }


def short(value: float) -> float:
    return float(f"{value:.7g}")


def assert_every_pair_matters(model: PeftModel, ids: list[int], logits: torch.Tensor) -> None:
    for name, layer in layers(model).items():
        b = layer.lora_B["default"].weight
        saved = b.data
        b.data = torch.zeros_like(saved)
        change = float((Trace(inner_model(model), ids).logits - logits).abs().max() / logits.abs().max())
        b.data = saved
        if change < 0.005:
            raise SystemExit(f"without {name} the logits change by {change:.1e} only")


def inner_model(model: PeftModel) -> Any:
    """transformers' model, whose modules are PEFT's wrappers."""
    return model.base_model.model


def build(case: Case) -> None:
    for seed in range(1, 50):
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / case.name
            save(case, seed, path)
            model, ids = with_adapter(case, path)
            trace = Trace(inner_model(model), ids)
            select, order = (float(gap.amin()) for gap in trace.router_gaps()[:2])
            if trace.routers and min(select, order) < ROUTER_MARGIN:
                continue
            assert_every_pair_matters(model, ids, trace.logits)
            base, _ = fixture(case)
            change = (trace.logits - Trace(base, ids).logits).abs().max() / trace.logits.abs().max()
            rewrite(case, model, path)
            stored = {"input_ids": torch.tensor(ids, dtype=torch.int32), "logits": trace.logits.contiguous()}
            save_file(stored, path / "logits.safetensors")
            about = dict(special=case.special, base=case.base, seed=seed, peft=peft.__version__, **versions())
            about |= dict(change=round(float(change), 4))
            if trace.routers:
                about |= dict(router_select_margin=round(select, 6))
            if math.isfinite(order):
                about |= dict(router_order_margin=round(order, 6))
            about |= dict(deltas=deltas(model))
            (path / "logits.json").write_text(compact(about))
            shutil.rmtree(OUT / case.name, ignore_errors=True)
            shutil.copytree(path, OUT / case.name)
            for file in (OUT / case.name).iterdir():
                file.chmod(0o644)  # safetensors writes files for their owner only
        print(f"{case.name}: seed {seed}, change {change:.2f}")
        return
    raise SystemExit(f"{case.name}: no seed keeps clear of ties")


def compact(about: dict[str, Any]) -> str:
    """JSON with a line for each matrix."""
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in about.items() if key != "deltas"]
    matrices = [f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in about["deltas"].items()]
    lines.append('  "deltas": {\n' + ",\n".join(matrices) + "\n  }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def check(case: Case) -> None:
    """Recomputes the logits from the stored files; of a rewritten case, from those of its seed."""
    directory = OUT / case.name
    want = load_file(directory / "logits.safetensors")["logits"]
    with tempfile.TemporaryDirectory() as scratch:
        if case.rewrite:
            directory = Path(scratch) / case.name
            save(case, json.loads((OUT / case.name / "logits.json").read_text())["seed"], directory)
        model, ids = with_adapter(case, directory)
        have = Trace(inner_model(model), ids).logits
    worst = float((have - want).abs().max() / want.abs().max())
    if worst > 1e-4:
        raise SystemExit(f"{case.name}: differs by {worst:.1e} of the largest logit")
    print(f"{case.name}: ok, within {worst:.0e} of the largest logit")


def convert(case: Case, llama: Path) -> None:
    """Converts a case with llama.cpp's own script, in a process of its own."""
    if case.config.get("use_rslora"):
        print(f"{case.name}: not converted, since a GGUF file has no rsLoRA and the scale would be another one")
        return
    out = OUT / case.name / "adapter.gguf"
    script = llama / "convert_lora_to_gguf.py"
    command = [sys.executable, script, "--base", FIXTURES / case.base, "--outfile", out, OUT / case.name]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        out.unlink(missing_ok=True)
        print(f"{case.name}: llama.cpp cannot convert it: {done.stderr.strip().splitlines()[-1]}")
    else:
        print(f"{case.name}: {out.stat().st_size / 1000:.0f} kB as GGUF")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="recompute the logits of all cases and compare")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="these cases only")
    parser.add_argument("--gguf", type=Path, metavar="LLAMA_CPP", help="folder of convert_lora_to_gguf.py")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    names = [case.name for case in CASES]
    if unknown := set(options.only or []) - set(names):
        sys.exit(f"no case named {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    for case in CASES:
        if options.only and case.name not in options.only:
            continue
        if options.check:
            check(case)
        else:
            build(case)
        if options.gguf and not options.check:
            convert(case, options.gguf)


if __name__ == "__main__":
    main()
