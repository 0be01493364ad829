"""Trains the demonstration model on the CPU and writes an ordinary checkpoint directory.

    python tools/demo_tokenizer.py assets/demo                     # once: the tokenizer
    python tools/demo_corpus.py --eval assets/demo/eval.jsonl      # once: the held-out conversations
    python tools/train_demo.py --out assets/demo                  # the model
    python tools/eval_demo.py assets/demo                          # its score

The maths is transformers' Lfm2MoeForCausalLM, written out below in the form that trains fastest for so
small a model: rows of similar length are batched together, all experts are computed as one product, and
the head runs on the scored positions only. export() writes the weights in bf16 under the names of the
hub's layout, loads them with transformers and compares the logits of both.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F
from demo_corpus import Generator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

CONFIG: dict[str, Any] = {
    "architectures": ["Lfm2MoeForCausalLM"],
    "model_type": "lfm2_moe",
    "vocab_size": 2688,  # the tokenizer has fewer ids: the rest is padding, as in LFM2
    "hidden_size": 192,
    "intermediate_size": 448,
    "moe_intermediate_size": 64,
    "num_hidden_layers": 7,
    "layer_types": ["conv", "conv", "full_attention", "conv", "full_attention", "conv", "full_attention"],
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "num_dense_layers": 1,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "use_expert_bias": True,
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.0,
    "conv_L_cache": 3,
    "conv_bias": False,
    "norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 7,
    "pad_token_id": 0,
    "initializer_range": 0.02,
    "dtype": "bfloat16",
    "use_cache": True,
}
GENERATION_CONFIG = {"bos_token_id": 1, "eos_token_id": 7, "pad_token_id": 0, "do_sample": True, "temperature": 0.3, "min_p": 0.15, "repetition_penalty": 1.05}

HIDDEN, LAYERS, EXPERTS, TOP_K = (CONFIG[key] for key in ("hidden_size", "num_hidden_layers", "num_experts", "num_experts_per_tok"))
HEADS, KV_HEADS = CONFIG["num_attention_heads"], CONFIG["num_key_value_heads"]
HEAD_DIM = HIDDEN // HEADS
IM_START, IM_END = 6, 7
LONGEST = 448  # tokens of a training conversation


# ------------------------------------------------------------------------------------------- the model


def matrix(*shape: int) -> nn.Parameter:
    """A weight of [.., out, in] with the spread that keeps activations at their size."""
    return nn.Parameter(torch.randn(*shape) * (0.6 / math.sqrt(shape[-1])))


def norm(x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x.float(), weight.shape, weight, 1e-5)


class ShortConv(nn.Module):
    """Gated causal convolution over three tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.in_proj = matrix(3 * HIDDEN, HIDDEN)
        self.conv = nn.Parameter(torch.randn(HIDDEN, 1, 3) * 0.4)
        self.out_proj = matrix(HIDDEN, HIDDEN)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        b, c, v = F.linear(x, self.in_proj).chunk(3, -1)
        bx = F.pad(b * v, (0, 0, 2, 0))
        w = self.conv[:, 0]
        length = x.shape[1]
        y = bx[:, :length] * w[:, 0] + bx[:, 1 : length + 1] * w[:, 1] + bx[:, 2:] * w[:, 2]
        return F.linear(c * y, self.out_proj)


class Attention(nn.Module):
    """Grouped-query attention with normalised queries and keys, and rotary positions."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = matrix(HEADS * HEAD_DIM, HIDDEN)
        self.k_proj = matrix(KV_HEADS * HEAD_DIM, HIDDEN)
        self.v_proj = matrix(KV_HEADS * HEAD_DIM, HIDDEN)
        self.out_proj = matrix(HIDDEN, HEADS * HEAD_DIM)
        self.q_layernorm = nn.Parameter(torch.ones(HEAD_DIM))
        self.k_layernorm = nn.Parameter(torch.ones(HEAD_DIM))

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        rows, length, _ = x.shape
        cos, sin = rope

        def heads(weight: Tensor, count: int) -> Tensor:
            return F.linear(x, weight).view(rows, length, count, HEAD_DIM).transpose(1, 2)

        def rotate(h: Tensor) -> Tensor:
            left, right = h.chunk(2, -1)
            return h * cos[:length] + torch.cat((-right, left), -1) * sin[:length]

        q = rotate(norm(heads(self.q_proj, HEADS), self.q_layernorm))
        k = rotate(norm(heads(self.k_proj, KV_HEADS), self.k_layernorm))
        v = heads(self.v_proj, KV_HEADS)
        group = HEADS // KV_HEADS
        q, k = q.to(v.dtype), k.to(v.dtype)
        # Plain products: for short rows much faster on a CPU than scaled_dot_product_attention's backward pass.
        q = q.unflatten(1, (KV_HEADS, group)) * HEAD_DIM**-0.5
        future = torch.full((length, length), -math.inf, dtype=v.dtype).triu_(1)
        weights = (q @ k.unsqueeze(2).transpose(-1, -2) + future).softmax(-1)
        y = (weights.to(v.dtype) @ v.unsqueeze(2)).flatten(1, 2)
        return F.linear(y.transpose(1, 2).reshape(rows, length, -1), self.out_proj)


class DenseFfn(nn.Module):
    def __init__(self, inner: int) -> None:
        super().__init__()
        self.w1, self.w3, self.w2 = matrix(inner, HIDDEN), matrix(inner, HIDDEN), matrix(HIDDEN, inner)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.silu(F.linear(x, self.w1)) * F.linear(x, self.w3), self.w2)


class MoeFfn(nn.Module):
    """All experts as one wide layer, the unchosen ones multiplied by zero.

    The bias that chooses the experts is not trained by gradient: after each step it moves up for
    experts with too few tokens and down for those with too many.
    """

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.inner = inner
        self.gate = matrix(EXPERTS, HIDDEN)
        self.w1, self.w3 = matrix(EXPERTS, inner, HIDDEN), matrix(EXPERTS, inner, HIDDEN)
        self.w2 = nn.Parameter(torch.randn(EXPERTS, HIDDEN, inner) * (0.6 / math.sqrt(inner)))
        self.register_buffer("expert_bias", torch.zeros(EXPERTS))
        self.register_buffer("load", torch.zeros(EXPERTS), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            scores = torch.sigmoid(F.linear(x.float(), self.gate))
        chosen = (scores.detach() + self.expert_bias).topk(TOP_K, -1).indices
        mask = torch.zeros_like(scores).scatter_(-1, chosen, 1.0)
        if self.training:
            self.load += mask.sum((0, 1))
        weights = scores * mask
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-6)
        h = F.silu(F.linear(x, self.w1.flatten(0, 1))) * F.linear(x, self.w3.flatten(0, 1))
        h = (h.unflatten(-1, (EXPERTS, self.inner)) * weights.to(h.dtype).unsqueeze(-1)).flatten(-2)
        return F.linear(h, self.w2.transpose(0, 1).flatten(1))

    def balance(self, rate: float) -> None:
        self.expert_bias += rate * torch.sign(self.load.mean() - self.load)
        self.load.zero_()


class Block(nn.Module):
    def __init__(self, index: int) -> None:
        super().__init__()
        attention = CONFIG["layer_types"][index] == "full_attention"
        self.mixer: nn.Module = Attention() if attention else ShortConv()
        dense = index < CONFIG["num_dense_layers"]
        self.ffn: nn.Module = DenseFfn(CONFIG["intermediate_size"]) if dense else MoeFfn(CONFIG["moe_intermediate_size"])
        self.operator_norm = nn.Parameter(torch.ones(HIDDEN))
        self.ffn_norm = nn.Parameter(torch.ones(HIDDEN))

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.mixer(norm(x, self.operator_norm), rope)
        return x + self.ffn(norm(x, self.ffn_norm))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Parameter(torch.randn(CONFIG["vocab_size"], HIDDEN) * 0.05)
        self.blocks = nn.ModuleList(Block(i) for i in range(LAYERS))
        self.final_norm = nn.Parameter(torch.ones(HIDDEN))
        frequency = CONFIG["rope_theta"] ** (-torch.arange(0, HEAD_DIM, 2).float() / HEAD_DIM)
        angle = torch.arange(2048).float()[:, None] * torch.cat((frequency, frequency))
        self.rope = (angle.cos(), angle.sin())

    def hidden(self, ids: Tensor) -> Tensor:
        x = F.embedding(ids, self.embed)
        for block in self.blocks:
            x = block(x, self.rope)
        return norm(x, self.final_norm)

    def loss(self, ids: Tensor, scored: Tensor) -> Tensor:
        """Mean cross-entropy of the tokens marked in `scored`, each predicted from those before it."""
        states = self.hidden(ids)[:, :-1].flatten(0, 1)
        targets = torch.where(scored[:, 1:], ids[:, 1:], -1).flatten()
        # The scored positions, and a few others so that their number is a multiple of 256.
        order = torch.argsort(targets < 0, stable=True)
        order = order[: -(-int(scored.sum()) // 256) * 256]
        return F.cross_entropy(F.linear(states[order], self.embed).float(), targets[order], ignore_index=-1)


# ------------------------------------------------------------------------------------------- export


def hub_tensors(model: Model) -> dict[str, Tensor]:
    """The model's own weights under the hub's names."""
    out: dict[str, Tensor] = {"model.embed_tokens.weight": model.embed, "model.embedding_norm.weight": model.final_norm}
    for i, block in enumerate(model.blocks):
        prefix = f"model.layers.{i}."
        out[prefix + "operator_norm.weight"] = block.operator_norm
        out[prefix + "ffn_norm.weight"] = block.ffn_norm
        mixer = "self_attn." if isinstance(block.mixer, Attention) else "conv."
        for name, value in block.mixer.named_parameters():
            out[f"{prefix}{mixer}{name}.weight"] = value
        ffn = block.ffn
        if isinstance(ffn, MoeFfn):
            out[prefix + "feed_forward.gate.weight"] = ffn.gate
            out[prefix + "feed_forward.expert_bias"] = ffn.expert_bias
            for e in range(EXPERTS):
                for name in ("w1", "w2", "w3"):
                    out[f"{prefix}feed_forward.experts.{e}.{name}.weight"] = getattr(ffn, name)[e]
        else:
            for name, value in ffn.named_parameters():
                out[f"{prefix}feed_forward.{name}.weight"] = value
    return {name: value.detach() for name, value in out.items()}


def load(model: Model, folder: Path) -> None:
    """Reads a checkpoint that export() wrote."""
    stored = load_file(folder / "model.safetensors")
    for name, value in hub_tensors(model).items():
        value.copy_(stored[name])


def export(model: Model, folder: Path) -> float:
    """Writes the checkpoint; returns the largest difference of logits from transformers'."""
    # bf16, but the expert biases stay f32.
    tensors = {
        name: value.to(torch.float32 if name.endswith("expert_bias") else torch.bfloat16).contiguous().clone()
        for name, value in hub_tensors(model).items()
    }
    config = dict(CONFIG)
    config["rope_parameters"] = {"rope_theta": config.pop("rope_theta"), "rope_type": "default"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "generation_config.json").write_text(json.dumps(GENERATION_CONFIG, indent=2) + "\n", encoding="utf-8")
    save_file(tensors, folder / "model.safetensors.part", {"format": "pt"})
    (folder / "model.safetensors.part").chmod(0o644)
    (folder / "model.safetensors.part").replace(folder / "model.safetensors")

    rounded = Model()
    rounded.load_state_dict(model.state_dict())
    with torch.no_grad():
        for parameter in rounded.parameters():
            parameter.copy_(parameter.to(torch.bfloat16))
    rounded.eval()
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.randint(0, 2000, (2, 80), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = F.linear(rounded.hidden(ids), rounded.embed)
        theirs = reference(input_ids=ids, use_cache=False).logits
    return (ours - theirs).abs().max().item()


# ------------------------------------------------------------------------------------------- data


def encode(tokenizer: PreTrainedTokenizerBase, messages: list[dict], tools: list[dict]) -> tuple[list[int], list[bool]]:
    """Token ids of a conversation, and which of them the assistant wrote (with the closing <|im_end|>)."""
    text = tokenizer.apply_chat_template(messages, tools=tools or None, tokenize=False)
    ids = tokenizer.encode(text, add_special_tokens=False)
    scored = [False] * len(ids)
    head = tokenizer.encode("assistant\n", add_special_tokens=False)
    position = 0
    while position < len(ids):
        if ids[position] == IM_START and ids[position + 1 : position + 1 + len(head)] == head:
            position += 1 + len(head)
            while True:
                scored[position] = True
                if ids[position] == IM_END:
                    break
                position += 1
        position += 1
    return ids, scored


def batches(tokenizer: PreTrainedTokenizerBase, seed: int, tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    """An endless stream of batches of about `tokens` tokens.

    The rows of a batch have the same length, rounded up to a multiple of 16, so that only a few shapes
    occur: the CPU's matrix products are compiled once for each shape.
    """
    generator = Generator(seed)
    waiting: dict[int, list[tuple[list[int], list[bool]]]] = defaultdict(list)
    while True:
        c = generator.conversation()
        ids, scored = encode(tokenizer, c.messages, c.tools)
        width = -(-len(ids) // 16) * 16
        if width > LONGEST:
            continue
        rows = waiting[width]
        rows.append((ids + [0] * (width - len(ids)), scored + [False] * (width - len(ids))))
        if len(rows) == max(1, tokens // width):
            yield torch.tensor([ids for ids, _ in rows]), torch.tensor([marks for _, marks in rows])
            rows.clear()


# ------------------------------------------------------------------------------------------- training


class Muon:
    """Momentum whose step is made orthogonal (Newton-Schulz), for the weight matrices.

    Each worker works out the steps of its share of the matrices; their sum over the workers gives all.
    """

    def __init__(self, parameters: list[nn.Parameter], rate: float, decay: float, rank: int, workers: int) -> None:
        self.parameters, self.rate, self.decay = parameters, rate, decay
        self.momenta = [torch.zeros_like(p) for p in parameters]
        costs = [0.0] * workers
        self.own: set[int] = set()
        for i in sorted(range(len(parameters)), key=lambda i: -parameters[i].numel()):
            worker = costs.index(min(costs))
            costs[worker] += parameters[i].numel() * min(parameters[i].shape[-2:])
            if worker == rank:
                self.own.add(i)

    @staticmethod
    def orthogonal(x: Tensor) -> Tensor:
        tall = x.shape[-2] > x.shape[-1]
        if tall:
            x = x.transpose(-1, -2)
        x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
        for _ in range(5):
            a = x @ x.transpose(-1, -2)
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
        return x.transpose(-1, -2) if tall else x

    @torch.no_grad()
    def step(self, scale: float) -> None:
        steps = []
        for i, (p, momentum) in enumerate(zip(self.parameters, self.momenta)):
            assert p.grad is not None
            momentum.lerp_(p.grad, 0.05)
            steps.append(self.orthogonal(torch.lerp(p.grad, momentum, 0.95)) if i in self.own else torch.zeros_like(p))
        flat = torch.cat([step.flatten() for step in steps])
        dist.all_reduce(flat)
        rate = self.rate * scale
        for p, step in zip(self.parameters, flat.split([p.numel() for p in self.parameters])):
            p.mul_(1 - rate * self.decay)
            p.add_(step.view_as(p), alpha=-rate * max(1.0, p.shape[-2] / p.shape[-1]) ** 0.5)


def train(rank: int, args: argparse.Namespace) -> None:
    """One of the worker processes: its own conversations, gradients averaged over all workers.

    Each worker computes on one thread. Where other programs compete for the cores this is much faster
    than one process with many threads, which waits for its slowest thread in every operation.
    """
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{args.rendezvous}", rank=rank, world_size=args.workers)
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.out)
    model = Model()
    if args.start_from:
        load(model, args.start_from)
    parameters = list(model.parameters())
    matrices = [p for n, p in model.named_parameters() if p.ndim >= 2 and not n.endswith((".gate", ".conv")) and n != "embed"]
    others = [p for p in parameters if not any(p is m for m in matrices)]
    muon = Muon(matrices, args.rate, 0.05, rank, args.workers)
    adam = torch.optim.AdamW(others, lr=args.rate * 0.2, betas=(0.9, 0.97), weight_decay=0.0)
    moes = [b.ffn for b in model.blocks if isinstance(b.ffn, MoeFfn)]
    if rank == 0:
        print(f"{sum(p.numel() for p in parameters):,} parameters; logits differ from transformers' by {export(model, args.out):.1e}", flush=True)

    start, last_save, step, seen, average = time.time(), 0.0, 0, 0, 0.0
    for ids, scored in batches(tokenizer, args.seed * 1000 + rank, args.tokens // args.workers):
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss = model.loss(ids, scored)
        loss.backward()
        # One exchange a step: the gradients, the experts' loads, the loss, the tokens, the time.
        minutes = (time.time() - start) / 60
        own = [p.grad for p in parameters] + [m.load for m in moes] + [loss.detach(), torch.tensor(float(ids.numel())), torch.tensor(minutes)]
        flat = torch.cat([t.reshape(-1) for t in own]) / args.workers
        dist.all_reduce(flat)
        shared = flat.split([t.numel() for t in own])
        for tensor, mean in zip(own, shared):
            tensor.copy_(mean.view_as(tensor))
        mean_loss, tokens, minutes = (s.item() for s in shared[-3:])

        scale = min(1.0, (step + 1) / 60) * (0.5 + 0.5 * math.cos(math.pi * step / args.steps))
        for group in adam.param_groups:
            group["lr"] = args.rate * 0.2 * scale
        nn.utils.clip_grad_norm_(others, 1.0)
        muon.step(scale)
        adam.step()
        for p in parameters:
            p.grad = None
        for moe in moes:
            moe.balance(0.002 * scale)
        step += 1
        seen += round(tokens * args.workers)
        average = mean_loss if step == 1 else 0.97 * average + 0.03 * mean_loss
        if rank == 0 and step % 20 == 0:
            print(f"{minutes:5.1f} min  step {step}  loss {average:.4f}  {seen / minutes / 60:.0f} tokens/s  {seen / 1e6:.2f} M tokens", flush=True)
        if rank == 0 and minutes - last_save >= args.save_every:
            last_save = minutes
            export(model, args.out)
        if step == args.steps:
            break
    if rank == 0:
        difference = export(model, args.out)
        assert difference < 1e-4, f"logits differ from transformers' by {difference}"
        print(f"done: {step} steps, {seen:,} tokens, {minutes:.1f} minutes; logits within {difference:.1e} of transformers'")
        for i, moe in enumerate(moes):
            print(f"expert bias of MoE layer {i}:", [round(b, 3) for b in moe.expert_bias.tolist()])
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that has the tokenizer and gets the model")
    parser.add_argument("--start-from", type=Path, help="checkpoint to continue from, with a schedule of its own")
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--tokens", type=int, default=6144, help="tokens per step, over all workers")
    parser.add_argument("--rate", type=float, default=0.02, help="Muon's learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--no-bf16", dest="bf16", action="store_false", help="multiply in f32 instead of bf16")
    parser.add_argument("--save-every", type=float, default=5, help="minutes between checkpoints")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        args.rendezvous = f"{folder}/workers"
        torch.multiprocessing.spawn(train, (args,), nprocs=args.workers)


if __name__ == "__main__":
    main()
