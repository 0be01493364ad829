#!/usr/bin/env python3
"""Makes random LFM2 checkpoints, and computes their goldens with the reference implementation.

The reference is transformers' `Lfm2MoeForCausalLM` / `Lfm2ForCausalLM`, eager attention and a plain
loop over the experts, in f32, from the values stored in the checkpoint. Written with
transformers 5.23.0, torch 2.15.0, safetensors 0.8.0, numpy 2.4.6, Python 3.11:

    pip install transformers==5.23.0 torch==2.15.0
    tools/reference.py                              # rebuild every case in tests/fixtures
    tools/reference.py --only conv-l4 fused         # rebuild some
    tools/reference.py --check                      # recompute all goldens and compare
    tools/reference.py generate-random --hidden 512 --layers 8 --dtype bf16 --seed 3 --out DIR

tiny-a and tiny-b are not made here; `--check` checks them too.

A case is a directory in the hub's layout, plus

golden.safetensors
    input_ids       i32 [T]
    logits          f32 [T, vocab]
    hidden          f32 [layers + 1, P, hidden]   the residual stream: 0 = embeddings, i = after layer
                                                  i - 1; never normed. P = T, or 1: the last position
    final_hidden    f32 [P, hidden]               after the final norm (`embedding_norm`)
    router_experts  i32 [moe_layers, T, top_k]    descending by sigmoid + expert_bias
    router_weights  f32 [moe_layers, T, top_k]    as multiplied with the experts' outputs
    greedy          i32 [16]                      argmax continuation, end tokens not stopping it
golden.json
    `moe_layers`: the layers that axis 0 of the router tensors stands for; `hidden_positions`; and how
    far from a tie everything is, over the prompt and the 15 greedy tokens fed back:
    `router_select_margin` (k-th over k+1-th score), `router_order_margin` (between the chosen ones),
    `greedy_margin` (best over second-best logit); `bias_changes_selection`: in how many of all
    router decisions the expert bias matters.

The random weights make every tensor matter: logits are O(1), and norms and biases are random. A case is refused
if neutralising any one tensor (or column of the convolution) changes the logits by less than 1 % of the largest.
Prompts are redrawn position by position until nothing is near a tie.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from reference_cases import ATTN, BASE, CASES, CONV, MOE, Case
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, DynamicCache, Lfm2Config, Lfm2MoeConfig, PreTrainedModel

# A CPU build of torch without CUDA's libraries crashes in this query, which transformers makes.
torch.cuda.is_current_stream_capturing = lambda: False

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
GREEDY = 16
ROUTER_MARGIN = 1e-3
GREEDY_MARGIN = 1e-2
BOS = 1

Tensors = dict[str, torch.Tensor]

# ---------------------------------------------------------------------------------------------------
# Building a checkpoint


def model_config(config: dict[str, Any], dense: bool) -> Lfm2Config | Lfm2MoeConfig:
    merged = BASE | ({} if dense else MOE) | config
    merged |= dict(num_hidden_layers=len(merged["layer_types"]))
    return (Lfm2Config if dense else Lfm2MoeConfig)(**merged)


def random_model(config: Lfm2Config | Lfm2MoeConfig, dtype: torch.dtype, seed: int) -> PreTrainedModel:
    """A model whose parameters are random in `dtype`; the expert bias, a buffer, stays f32 as on the hub."""
    rng = np.random.default_rng(seed)
    model = AutoModelForCausalLM.from_config(config)

    def draw(name: str, shape: torch.Size) -> torch.Tensor:
        noise = torch.from_numpy(rng.standard_normal(tuple(shape), dtype=np.float32))
        if name.endswith(("q_layernorm.weight", "k_layernorm.weight")):
            return 1.5 + 0.4 * noise  # sharp attention: a wrong score shows
        if name.endswith("norm.weight"):
            return 1.0 + 0.3 * noise
        if name.endswith(("bias", "expert_bias")):
            return 0.3 * noise
        if name.endswith("conv.conv.weight"):
            return 1.2 * shape[-1] ** -0.5 * noise
        # Larger than the 1/sqrt(fan_in) that keeps the variance; the embeddings are small beside what
        # the layers add, or the greedy continuation would only repeat its last token.
        gain = 1.0 if name.endswith(("in_proj.weight", "_proj.weight")) else 1.5
        return gain * shape[-1] ** -0.5 * noise

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.data = draw(name, parameter.shape).to(dtype)
        for name, buffer in model.named_buffers():
            if name.endswith("expert_bias"):
                buffer.copy_(draw(name, buffer.shape))
    return model


def fuse_experts(tensors: Tensors) -> Tensors:
    """The hub's per-expert tensors as transformers holds them in memory."""
    fused: Tensors = {}
    experts: dict[str, dict[tuple[int, str], torch.Tensor]] = {}
    for name, tensor in tensors.items():
        prefix, sep, rest = name.partition(".experts.")
        if sep:
            index, weight, _ = rest.split(".")
            experts.setdefault(prefix, {})[int(index), weight] = tensor
        else:
            fused[name] = tensor
    for prefix, parts in experts.items():
        count = 1 + max(index for index, _ in parts)
        fused[f"{prefix}.experts.gate_up_proj"] = torch.stack(
            [torch.cat([parts[e, "w1"], parts[e, "w3"]]) for e in range(count)]
        )
        fused[f"{prefix}.experts.down_proj"] = torch.stack([parts[e, "w2"] for e in range(count)])
    return fused


def write_checkpoint(
    model: PreTrainedModel, out: Path, max_shard: str | None, config_json: dict[str, Any]
) -> None:
    model.save_pretrained(out, max_shard_size=max_shard or "50GB")
    if config_json:
        path = out / "config.json"
        config = json.loads(path.read_text()) | config_json
        config = {key: value for key, value in sorted(config.items()) if value is not None}
        path.write_text(json.dumps(config, indent=2) + "\n")


def load(directory: Path) -> PreTrainedModel:
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        directory,
        dtype=torch.float32,
        attn_implementation="eager",
        experts_implementation="eager",
        output_loading_info=True,
    )
    model, info = loaded
    problems = {key: value for key, value in info.items() if value}
    if problems:
        raise SystemExit(f"{directory}: transformers reports {problems}")
    return model.eval()


# ---------------------------------------------------------------------------------------------------
# Running it


class Trace:
    """Residual stream and router decisions of one forward pass over `ids`, without a cache."""

    def __init__(self, model: PreTrainedModel, ids: list[int]):
        self.embeddings = torch.empty(0)
        self.layers: list[torch.Tensor] = []
        self.final = torch.empty(0)
        self.routers: dict[int, tuple[torch.Tensor, ...]] = {}
        """layer → scores [T, experts], expert bias [experts], weights and experts [T, top_k]."""
        hooks = [
            model.model.embed_tokens.register_forward_hook(lambda m, i, o: setattr(self, "embeddings", o[0])),
            model.model.embedding_norm.register_forward_hook(lambda m, i, o: setattr(self, "final", o[0])),
        ]
        for index, layer in enumerate(model.model.layers):
            hooks.append(layer.register_forward_hook(lambda m, i, o: self.layers.append(o[0])))
            if hasattr(layer.feed_forward, "gate"):
                hooks.append(layer.feed_forward.gate.register_forward_hook(self._router(index)))
        try:
            with torch.no_grad():
                self.logits = model(torch.tensor([ids]), use_cache=False).logits[0]
        finally:
            for hook in hooks:
                hook.remove()

    def _router(self, index: int) -> Any:
        def hook(module: Any, args: tuple[torch.Tensor, ...], out: tuple[torch.Tensor, ...]) -> None:
            logits, weights, experts = out
            bias = args[1] if len(args) > 1 and args[1] is not None else torch.zeros(logits.shape[-1])
            self.routers[index] = (logits.sigmoid(), bias, weights, experts)

        return hook

    def router_gaps(self) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Smallest gap per position that decides which experts, and which order; how often the bias does."""
        tokens = self.logits.shape[0]
        select = torch.full((tokens,), torch.inf)
        order = torch.full((tokens,), torch.inf)
        changed, decisions = 0, 0
        for scores, bias, _, experts in self.routers.values():
            top_k = experts.shape[-1]
            ranked = (scores + bias).sort(dim=-1, descending=True)
            assert torch.equal(ranked.indices[:, :top_k], experts), (
                "the router does not order by score + bias"
            )
            gaps = -ranked.values.diff(dim=-1)
            if top_k < scores.shape[-1]:
                select = torch.minimum(select, gaps[:, top_k - 1])
            if top_k > 1:
                order = torch.minimum(order, gaps[:, : top_k - 1].amin(dim=-1))
            unbiased = scores.topk(top_k, dim=-1).indices.sort(dim=-1).values
            changed += int((unbiased != experts.sort(dim=-1).values).any(dim=-1).sum())
            decisions += tokens
        return select, order, changed / max(decisions, 1)


def greedy(model: PreTrainedModel, ids: list[int]) -> tuple[list[int], Trace, float]:
    """The continuation, a trace over the prompt and all of it but its last token, its smallest margin."""
    ids = list(ids)
    prompt, margin = len(ids), float("inf")
    for _ in range(GREEDY):
        trace = Trace(model, ids)
        best = trace.logits[-1].topk(2)
        margin = min(margin, float(best.values[0] - best.values[1]))
        ids.append(int(best.indices[0]))
    return ids[prompt:], trace, margin


def find_prompt(model: PreTrainedModel, tokens: int, rng: np.random.Generator) -> list[int] | None:
    """A random prompt where neither the routers nor the greedy continuation come near a tie."""
    vocab = model.config.vocab_size
    ids = [BOS, *map(int, rng.integers(0, vocab, tokens - 1))]
    for _ in range(100 + tokens):
        select, order, _ = Trace(model, ids).router_gaps()
        near = (torch.minimum(select, order) < ROUTER_MARGIN).nonzero()
        if len(near) == 0:
            continuation, trace, margin = greedy(model, ids)
            select, order, _ = trace.router_gaps()
            gap = float(torch.minimum(select, order).amin())
            if gap >= ROUTER_MARGIN and margin >= GREEDY_MARGIN and len(set(continuation)) >= 6:
                return ids
        bad = int(near[0]) if len(near) else tokens - 1
        if bad == 0:
            return None
        ids[bad] = int(rng.integers(0, vocab))
    return None


def golden(model: PreTrainedModel, ids: list[int], last_hidden_only: bool) -> tuple[Tensors, dict[str, Any]]:
    tokens = len(ids)
    trace = Trace(model, ids)
    continuation, long_trace, margin = greedy(model, ids)
    select, order, changed = long_trace.router_gaps()
    kept = slice(tokens - 1, tokens) if last_hidden_only else slice(tokens)
    tensors = {
        "input_ids": torch.tensor(ids),
        "logits": trace.logits,
        "hidden": torch.stack([trace.embeddings, *trace.layers])[:, kept],
        "final_hidden": trace.final[kept],
        "greedy": torch.tensor(continuation),
    }
    about: dict[str, Any] = {
        "tokens": tokens,
        "hidden_positions": list(range(tokens))[kept],
        "moe_layers": list(trace.routers),
        "max_abs_logit": round(float(trace.logits.abs().max()), 6),
        "greedy_margin": round(margin, 6),
    }
    if trace.routers:
        tensors["router_experts"] = torch.stack([experts for *_, experts in trace.routers.values()])
        tensors["router_weights"] = torch.stack([weights for *_, weights, _ in trace.routers.values()])
        about["router_select_margin"] = round(float(select.amin()), 6)
        if torch.isfinite(order).all():
            about["router_order_margin"] = round(float(order.amin()), 6)
        if model.config.use_expert_bias:
            about["bias_changes_selection"] = round(changed, 3)
    stored = {k: v.to(torch.float32 if v.is_floating_point() else torch.int32) for k, v in tensors.items()}
    return {k: v.contiguous() for k, v in stored.items()}, about


# ---------------------------------------------------------------------------------------------------
# Checking that every tensor matters


def neutralised(model: PreTrainedModel) -> Iterator[str]:
    """Takes each tensor out of the model in turn (norms become 1, the rest 0), yielding its name."""
    expert_biases = [(n, b) for n, b in model.named_buffers() if n.endswith("expert_bias")]
    for name, tensor in [*model.named_parameters(), *expert_biases]:
        saved = tensor.detach().clone()
        columns = range(saved.shape[-1]) if name.endswith("conv.conv.weight") else [None]
        for column in columns:
            with torch.no_grad():
                target = tensor if column is None else tensor[..., column]
                target.fill_(1.0 if name.endswith("norm.weight") else 0.0)
            yield name if column is None else f"{name}[..., {column}]"
            with torch.no_grad():
                tensor.copy_(saved)


def assert_everything_matters(model: PreTrainedModel, ids: list[int], logits: torch.Tensor) -> None:
    scale = logits.abs().max()
    for name in neutralised(model):
        change = float((Trace(model, ids).logits - logits).abs().max() / scale)
        if change < 0.01:
            raise SystemExit(f"{model.name_or_path}: without {name} the logits change by {change:.1e} only")


def assert_cache_agrees(model: PreTrainedModel, ids: list[int], logits: torch.Tensor) -> None:
    """The reference itself, token by token and in chunks of 7, gives the same logits."""
    for chunk in (1, 7):
        cache = DynamicCache(config=model.config)
        parts = []
        for start in range(0, len(ids), chunk):
            piece = torch.tensor([ids[start : start + chunk]])
            with torch.no_grad():
                parts.append(model(piece, past_key_values=cache, use_cache=True).logits[0])
        worst = float((torch.cat(parts) - logits).abs().max() / logits.abs().max())
        if worst > 1e-4:
            raise SystemExit(
                f"{model.name_or_path}: in chunks of {chunk} the reference differs by {worst:.1e}"
            )


# ---------------------------------------------------------------------------------------------------
# Commands


def write_golden(directory: Path, tensors: Tensors, about: dict[str, Any]) -> None:
    save_file(tensors, directory / "golden.safetensors")
    (directory / "golden.json").write_text(json.dumps(about, indent=2) + "\n")


def versions() -> dict[str, str]:
    return {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}


def build(case: Case) -> None:
    out = FIXTURES / case.name
    shutil.rmtree(out, ignore_errors=True)
    if case.fused_twin_of:
        twin = FIXTURES / case.fused_twin_of
        shutil.copytree(twin, out)
        about = json.loads((out / "golden.json").read_text()) | {"special": case.special}
        (out / "golden.json").write_text(json.dumps(about, indent=2) + "\n")
        save_file(
            fuse_experts(load_file(twin / "model.safetensors")), out / "model.safetensors", {"format": "pt"}
        )
        check(out)  # transformers reads this layout too
        return
    for seed in range(1, 30):
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / case.name
            drawn = random_model(model_config(case.config, case.dense), DTYPES[case.dtype], seed)
            write_checkpoint(drawn, path, case.max_shard, case.config_json)
            model = load(path)
            ids = find_prompt(model, case.tokens, np.random.default_rng([seed, 1]))
            if ids is None:
                continue
            tensors, about = golden(model, ids, case.last_hidden_only)
            assert_cache_agrees(model, ids, tensors["logits"])
            assert_everything_matters(model, ids, tensors["logits"])
            write_golden(path, tensors, {"special": case.special, "seed": seed, **versions(), **about})
            shutil.copytree(path, out)
        print(f"{case.name}: seed {seed}, {size(out) / 1000:.0f} kB")
        return
    raise SystemExit(f"{case.name}: no seed keeps clear of ties")


def stored_golden(directory: Path) -> Tensors:
    """A case's golden; that of tiny-a and tiny-b, which is JSON with its own shape, in the same terms."""
    path = directory / "golden.safetensors"
    if path.exists():
        return load_file(path)
    old = json.loads((directory / "golden.json").read_text())
    hidden = torch.tensor(old["hidden_states"])
    return {
        "input_ids": torch.tensor(old["input_ids"], dtype=torch.int32),
        "logits": torch.tensor(old["logits"]),
        "hidden": hidden[:-1],  # its last one is after the final norm
        "final_hidden": hidden[-1],
        "router_experts": torch.tensor([r["experts"] for r in old["router"].values()], dtype=torch.int32),
        "router_weights": torch.tensor([r["weights"] for r in old["router"].values()]),
        "greedy": torch.tensor(old["greedy_16"], dtype=torch.int32),
    }


def check(directory: Path) -> None:
    want = stored_golden(directory)
    last_only = want["final_hidden"].shape[0] == 1 and len(want["input_ids"]) > 1
    have, _ = golden(load(directory), want["input_ids"].tolist(), last_only)
    worst = 0.0
    for name, tensor in want.items():
        ours = have[name][: len(tensor)]
        if tensor.dtype == torch.int32:
            if not torch.equal(tensor, ours):
                raise SystemExit(f"{directory.name}: {name} differs")
        else:
            worst = max(worst, float((tensor - ours).abs().max() / tensor.abs().max()))
    if worst > 1e-4:
        raise SystemExit(f"{directory.name}: differs by {worst:.1e} of the largest value")
    print(f"{directory.name}: ok, within {worst:.0e} of the largest value")


def generate_random(options: argparse.Namespace) -> None:
    attention = list(range(2, options.layers, 4))
    if options.attention:
        attention = [int(index) for index in options.attention.split(",")]
    config = dict(
        vocab_size=options.vocab,
        hidden_size=options.hidden,
        num_attention_heads=options.heads,
        num_key_value_heads=options.kv_heads,
        intermediate_size=options.intermediate or 7 * options.hidden // 2,
        layer_types=[ATTN if i in attention else CONV for i in range(options.layers)],
    )
    if options.dense:
        config |= dict(block_auto_adjust_ff_dim=False)
    else:
        config |= dict(
            num_dense_layers=options.dense_layers,
            num_experts=options.experts,
            num_experts_per_tok=options.top_k,
            moe_intermediate_size=options.moe_intermediate or 7 * options.hidden // 8,
        )
    model = random_model(model_config(config, options.dense), DTYPES[options.dtype], options.seed)
    write_checkpoint(model, options.out, None, {})
    rng = np.random.default_rng([options.seed, 1])
    ids = [BOS, *map(int, rng.integers(0, options.vocab, options.tokens - 1))]
    tensors, about = golden(load(options.out), ids, options.tokens > 64)
    about = {"special": "random", "seed": options.seed, **versions(), **about}
    write_golden(options.out, tensors, about)
    print(json.dumps(about | {"hidden_positions": f"{len(about['hidden_positions'])} positions"}))


def size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.iterdir())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="recompute the goldens of all cases and compare")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="these cases only")
    commands = parser.add_subparsers(dest="command")
    random = commands.add_parser(
        "generate-random",
        help="one random checkpoint of a given size, with its golden (ties are reported, not avoided)",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    random.add_argument("--out", type=Path, required=True)
    random.add_argument("--seed", type=int, default=1)
    random.add_argument("--dtype", choices=DTYPES, default="bf16")
    random.add_argument("--dense", action="store_true", help="lfm2 instead of lfm2_moe")
    random.add_argument("--attention", help="indices of the attention layers (default: 2,6,10,…)")
    random.add_argument("--intermediate", type=int, help="(default: 3.5 × hidden)")
    random.add_argument("--moe-intermediate", type=int, help="(default: 0.875 × hidden)")
    for name, default in dict(
        hidden=256, layers=6, heads=4, kv_heads=2, vocab=1024, dense_layers=2, experts=32, top_k=4, tokens=16
    ).items():
        random.add_argument("--" + name.replace("_", "-"), type=int, default=default)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if options.command == "generate-random":
        generate_random(options)
        return
    names = [case.name for case in CASES]
    if options.check:
        names = ["tiny-a", "tiny-b", *names]
    chosen = options.only or names
    if unknown := set(chosen) - set(names):
        sys.exit(f"no case named {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    for name in chosen:
        if options.check:
            check(FIXTURES / name)
        else:
            build(next(case for case in CASES if case.name == name))


if __name__ == "__main__":
    main()
