#!/usr/bin/env python3
"""Writes a checkpoint directory of an LFM2 model as an ONNX graph for transformers.js 4.

    pip install --only-binary :all: onnx==1.23.2 onnxruntime==1.32.0 numpy
    python3 tools/make_onnx.py assets/demo /tmp/compare/demo-onnx
    target/debug/lfm2 -m assets/demo --activations float logits --tokens 1,6,9 --greedy 8 --out /tmp/logits.safetensors
    python3 tools/make_onnx.py assets/demo /tmp/compare/demo-onnx --check 1,6,9 /tmp/logits.safetensors

The graph is in f32, with the inputs and outputs of the classes `Lfm2ForCausalLM` and `Lfm2MoeForCausalLM`. It uses
operators that ONNX Runtime supports on WebGPU: GroupQueryAttention with its rotary embedding and cache, and
SimplifiedLayerNormalization. The experts are products of all experts at once, weighted by the router, because
QMoE supports only 4 and 8 bits. On request it computes only the last position's logits.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

try:
    import numpy as np
    import onnx
    from make_gguf import safetensors
    from onnx import TensorProto, helper, numpy_helper
except (ModuleNotFoundError, SystemExit) as error:
    sys.exit(f"make_onnx.py: {error}; run: pip install onnx==1.23.2 onnxruntime==1.32.0 gguf==0.19.0")

MS = "com.microsoft"
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class Graph:
    """Nodes, weights and the names between them."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.known: set[str] = set()

    def const(self, name: str, values: Any) -> str:
        if name not in self.known:
            self.known.add(name)
            self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def ints(self, *values: int) -> str:
        return self.const("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def op(self, kind: str, inputs: list[str], out: str | list[str] = "", domain: str = "", **attributes: Any) -> Any:
        outs = out if isinstance(out, list) else [out or f"n{len(self.nodes)}"]
        node = helper.make_node(kind, inputs, outs, f"{kind}_{len(self.nodes)}", domain=domain, **attributes)
        self.nodes.append(node)
        return outs if isinstance(out, list) else outs[0]

    def norm(self, x: str, name: str, weight: Any, eps: float) -> str:
        inputs = [x, self.const(name, weight)]
        return self.op("SimplifiedLayerNormalization", inputs, axis=-1, epsilon=eps, stash_type=1)

    def linear(self, x: str, name: str, weight: Any) -> str:
        return self.op("MatMul", [x, self.const(name, weight.T)])

    def silu(self, x: str) -> str:
        return self.op("Mul", [x, self.op("Sigmoid", [x])])


def convolution(g: Graph, x: str, i: int, prefix: str, w: dict[str, Any], config: dict[str, Any]) -> str:
    taps = config["conv_L_cache"]
    hidden = config["hidden_size"]
    rows = g.linear(x, f"{prefix}.in", w[f"{prefix}.conv.in_proj.weight"])
    columns = g.op("Transpose", [rows], perm=[0, 2, 1])
    b, c, value = g.op("Split", [columns], [f"b.{i}", f"c.{i}", f"v.{i}"], axis=1, num_outputs=3)
    gated = g.op("Mul", [b, value])
    padded = g.op("Concat", [f"past_conv.{i}", gated], axis=2)
    g.op("Slice", [padded, g.ints(-(taps - 1)), g.ints(2**62), g.ints(2)], f"present_conv.{i}")
    kernel = g.const(f"{prefix}.taps", w[f"{prefix}.conv.conv.weight"])
    mixed = g.op("Conv", [padded, kernel], group=hidden, kernel_shape=[taps])
    back = g.op("Transpose", [g.op("Mul", [c, mixed])], perm=[0, 2, 1])
    return g.linear(back, f"{prefix}.out", w[f"{prefix}.conv.out_proj.weight"])


def attention(g: Graph, x: str, i: int, prefix: str, w: dict[str, Any], config: dict[str, Any], eps: float) -> str:
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    name = f"{prefix}.self_attn"

    def normed(which: str, count: int) -> str:
        flat = g.linear(x, f"{name}.{which}", w[f"{name}.{which}_proj.weight"])
        split = g.op("Reshape", [flat, g.ints(0, 0, count, size)])
        split = g.norm(split, f"{name}.{which}_norm", w[f"{name}.{which}_layernorm.weight"], eps)
        return g.op("Reshape", [split, g.ints(0, 0, count * size)])

    value = g.linear(x, f"{name}.v", w[f"{name}.v_proj.weight"])
    past = [f"past_key_values.{i}.key", f"past_key_values.{i}.value"]
    present = [f"present.{i}.key", f"present.{i}.value"]
    inputs = [normed("q", heads), normed("k", kv_heads), value, *past, "seqlens_k", "total_length", "cos", "sin"]
    mixed, *_ = g.op(
        "GroupQueryAttention", inputs, [f"attention.{i}", *present], MS,
        num_heads=heads, kv_num_heads=kv_heads, do_rotary=1, rotary_interleaved=0, scale=size**-0.5,
    )  # fmt: skip
    return g.linear(mixed, f"{name}.out", w[f"{name}.out_proj.weight"])


def feed_forward(g: Graph, x: str, prefix: str, w: dict[str, Any]) -> str:
    w1, w2, w3 = (w[f"{prefix}.feed_forward.w{n}.weight"] for n in (1, 2, 3))
    gate, up = g.linear(x, f"{prefix}.w1", w1), g.linear(x, f"{prefix}.w3", w3)
    return g.linear(g.op("Mul", [g.silu(gate), up]), f"{prefix}.w2", w2)


def experts(g: Graph, x: str, prefix: str, w: dict[str, Any], config: dict[str, Any]) -> str:
    """The output of all experts, weighted by the router; the others have weight 0."""
    ff, count = f"{prefix}.feed_forward", config["num_experts"]
    scores = g.op("Sigmoid", [g.linear(x, f"{prefix}.router", w[f"{ff}.gate.weight"])])
    ranked = scores
    if config.get("use_expert_bias"):
        ranked = g.op("Add", [scores, g.const(f"{prefix}.bias", w[f"{ff}.expert_bias"])])
    top = [f"{prefix}.top", f"{prefix}.chosen"]
    _, chosen = g.op("TopK", [ranked, g.ints(config["num_experts_per_tok"])], top, axis=-1)
    weights = g.op("GatherElements", [scores, chosen], axis=-1)
    if config.get("norm_topk_prob"):
        total = g.op("ReduceSum", [weights, g.ints(-1)], keepdims=1)
        weights = g.op("Div", [weights, g.op("Add", [total, g.const("tiny", np.float32(1e-6))])])
    if (factor := config.get("routed_scaling_factor", 1.0)) != 1.0:
        weights = g.op("Mul", [weights, g.const("scaling", np.float32(factor))])
    nothing = g.op("Mul", [scores, g.const("zero", np.float32(0))])
    spread = g.op("ScatterElements", [nothing, chosen, weights], axis=-1)
    # [batch, tokens, experts] to [batch, experts, tokens, 1]
    spread = g.op("Unsqueeze", [g.op("Transpose", [spread], perm=[0, 2, 1]), g.ints(3)])
    stack = lambda n: np.stack([w[f"{ff}.experts.{e}.w{n}.weight"].T for e in range(count)])[None]
    each = g.op("Unsqueeze", [x, g.ints(1)])
    gate = g.op("MatMul", [each, g.const(f"{prefix}.e1", stack(1))])
    up = g.op("MatMul", [each, g.const(f"{prefix}.e3", stack(3))])
    inner = g.op("Mul", [g.op("Mul", [g.silu(gate), up]), spread])
    down = g.op("MatMul", [inner, g.const(f"{prefix}.e2", stack(2))])
    return g.op("ReduceSum", [down, g.ints(1)], keepdims=0)


def build(config: dict[str, Any], w: dict[str, Any]) -> Any:
    g = Graph()
    eps = config.get("norm_eps", config.get("block_norm_eps"))
    kv_heads, hidden = config["num_key_value_heads"], config["hidden_size"]
    size = config.get("head_dim") or hidden // config["num_attention_heads"]
    theta = (config.get("rope_parameters") or {}).get("rope_theta") or config["rope_theta"]
    positions = np.arange(config["max_position_embeddings"])[:, None]
    angles = positions * theta ** (-np.arange(0, size, 2)[None] / size)
    g.const("cos", np.cos(angles).astype(np.float32))
    g.const("sin", np.sin(angles).astype(np.float32))
    # Inputs of GroupQueryAttention: the last position's index in i32, and the number of positions.
    total = g.op("ReduceSum", ["attention_mask", g.ints(1)], keepdims=1)
    g.op("Cast", [g.op("Sub", [total, g.ints(1)])], "seqlens_k", to=TensorProto.INT32)
    length = g.op("Gather", [g.op("Shape", ["attention_mask"]), g.const("one", np.int64(1))])
    g.op("Cast", [length], "total_length", to=TensorProto.INT32)

    embedding = w["model.embed_tokens.weight"]
    x = g.op("Gather", [g.const("embedding", embedding), "input_ids"])
    inputs, outputs = [], []
    tensor = helper.make_tensor_value_info
    for i, kind in enumerate(config["layer_types"]):
        prefix = f"model.layers.{i}"
        normed = g.norm(x, f"{prefix}.operator_norm", w[f"{prefix}.operator_norm.weight"], eps)
        if kind == "conv":
            shape = ["batch_size", hidden, config["conv_L_cache"] - 1]
            inputs.append(tensor(f"past_conv.{i}", FLOAT, shape))
            outputs.append(tensor(f"present_conv.{i}", FLOAT, shape))
            mixed = convolution(g, normed, i, prefix, w, config)
        else:
            for part in ("key", "value"):
                shape = ["batch_size", kv_heads, "past_sequence_length", size]
                inputs.append(tensor(f"past_key_values.{i}.{part}", FLOAT, shape))
                shape = ["batch_size", kv_heads, "total_sequence_length", size]
                outputs.append(tensor(f"present.{i}.{part}", FLOAT, shape))
            mixed = attention(g, normed, i, prefix, w, config, eps)
        x = g.op("Add", [x, mixed])
        normed = g.norm(x, f"{prefix}.ffn_norm", w[f"{prefix}.ffn_norm.weight"], eps)
        dense = f"{prefix}.feed_forward.w1.weight" in w
        x = g.op("Add", [x, feed_forward(g, normed, prefix, w) if dense else experts(g, normed, prefix, w, config)])
    # 0 keeps all positions: it is a slice from -0.
    begin = g.op("Reshape", [g.op("Neg", ["num_logits_to_keep"]), g.ints(1)])
    x = g.op("Slice", [x, begin, g.ints(2**62), g.ints(1)])
    x = g.norm(x, "embedding_norm", w["model.embedding_norm.weight"], eps)
    g.op("MatMul", [x, g.const("head", w.get("lm_head.weight", embedding).T)], "logits")

    ids = tensor("input_ids", INT64, ["batch_size", "sequence_length"])
    mask = tensor("attention_mask", INT64, ["batch_size", "total_sequence_length"])
    keep = tensor("num_logits_to_keep", INT64, [])
    logits = tensor("logits", FLOAT, ["batch_size", "num_logits", config["vocab_size"]])
    graph = helper.make_graph(g.nodes, "lfm2", [ids, mask, keep, *inputs], [logits, *outputs], g.weights)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MS, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def check(out: Path, ids: list[int], expected: Path) -> None:
    """The graph's logits, all positions at once and its greedy tokens one by one, beside those of a file."""
    import onnxruntime as ort

    golden = read(expected)
    session = ort.InferenceSession(out / "onnx/model.onnx", providers=["CPUExecutionProvider"])
    sizes = {"batch_size": 1, "past_sequence_length": 0}
    state = {
        i.name: np.zeros([sizes.get(size, size) for size in i.shape], np.float32)
        for i in session.get_inputs()
        if i.name.startswith("past")
    }
    names = [o.name for o in session.get_outputs()]
    greedy: list[int] = []
    worst, past, todo = 0.0, 0, ids
    while len(greedy) < len(golden["greedy"]):
        past += len(todo)
        mask = np.ones([1, past], np.int64)
        feed = {"input_ids": np.array([todo]), "attention_mask": mask, "num_logits_to_keep": np.array(0)}
        result = dict(zip(names, session.run(None, feed | state)))
        if not greedy:
            worst = np.abs(result["logits"][0] - golden["logits"][: len(ids)]).max() / np.abs(golden["logits"]).max()
        rename = lambda name: name.replace("present_conv", "past_conv").replace("present.", "past_key_values.")
        state = {rename(name): values for name, values in result.items() if name.startswith("present")}
        todo = [int(result["logits"][0, -1].argmax())]
        greedy += todo
    same = greedy == golden["greedy"].tolist()
    tokens = "the same" if same else f"other ones: {greedy}"
    print(f"largest difference {worst:.2e} of the largest logit; greedy tokens: {tokens}")
    sys.exit(0 if same and worst < 5e-3 else 1)


def read(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    kinds = {"F32": np.float32, "I32": np.int32}
    entries = json.loads(data[8 : 8 + length]).items()
    return {
        name: np.frombuffer(data[8 + length :][slice(*e["data_offsets"])], kinds[e["dtype"]]).reshape(e["shape"])
        for name, e in entries
        if name != "__metadata__"
    }


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("directory", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--check", nargs=2, metavar=("IDS", "FILE"), help="compare with `lfm2 logits` instead")
    arguments = options.parse_args()
    config = json.loads((arguments.directory / "config.json").read_text(encoding="utf-8"))
    if arguments.check:
        check(arguments.out, [int(i) for i in arguments.check[0].split(",")], Path(arguments.check[1]))
    weights = {}
    for file in sorted(arguments.directory.glob("model*.safetensors")):
        weights |= dict(safetensors(file))
    model = build(config, weights)
    (arguments.out / "onnx").mkdir(parents=True, exist_ok=True)
    onnx.save(model, arguments.out / "onnx/model.onnx")
    for name in ("config.json", "generation_config.json", "tokenizer.json"):
        if (arguments.directory / name).exists():
            shutil.copy(arguments.directory / name, arguments.out / name)
    # transformers.js reads the chat template from here only.
    tokenizer = json.loads((arguments.directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokenizer["chat_template"] = (arguments.directory / "chat_template.jinja").read_text(encoding="utf-8")
    (arguments.out / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")


if __name__ == "__main__":
    main()
