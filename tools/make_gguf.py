#!/usr/bin/env python3
"""Writes a checkpoint directory of an LFM2 model as a GGUF file, as llama.cpp's conversion does.

    pip install gguf==0.19.0
    python3 tools/make_gguf.py assets/demo demo.gguf --type q8_0
    python3 tools/make_gguf.py DIR OUT.gguf --type q4_0 --split 3     # OUT-00001-of-00003.gguf, ...

Types: f32, f16, bf16, q8_0, q4_0. Norms, routers, expert biases and the convolution's taps stay in
f32, as in llama.cpp; so does a matrix whose rows are no whole blocks. Reads config.json, safetensors
(one file or shards), tokenizer.json and chat_template.jinja. Needs numpy and gguf, no torch.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any, Iterator

try:
    import gguf
    import numpy as np
except ModuleNotFoundError as error:
    sys.exit(f"make_gguf.py: {error}; run: pip install gguf==0.19.0")

TYPES = {
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "bf16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (gguf.GGMLQuantizationType.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
}
# The hub's names of a layer's tensors, and ggml's.
LAYER = {
    "operator_norm.weight": "attn_norm.weight",
    "ffn_norm.weight": "ffn_norm.weight",
    "conv.in_proj.weight": "shortconv.in_proj.weight",
    "conv.conv.weight": "shortconv.conv.weight",
    "conv.out_proj.weight": "shortconv.out_proj.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.out_proj.weight": "attn_output.weight",
    "self_attn.q_layernorm.weight": "attn_q_norm.weight",
    "self_attn.k_layernorm.weight": "attn_k_norm.weight",
    "feed_forward.w1.weight": "ffn_gate.weight",
    "feed_forward.w2.weight": "ffn_down.weight",
    "feed_forward.w3.weight": "ffn_up.weight",
    "feed_forward.gate.weight": "ffn_gate_inp.weight",
    "feed_forward.expert_bias": "exp_probs_b.bias",
}
EXPERTS = {"w1": "ffn_gate_exps.weight", "w2": "ffn_down_exps.weight", "w3": "ffn_up_exps.weight"}
WHOLE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.embedding_norm.weight": "token_embd_norm.weight",
    "lm_head.weight": "output.weight",
}


def safetensors(path: Path) -> Iterator[tuple[str, Any]]:
    """The tensors of one file, in f32."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + at for at in entry["data_offsets"])
        raw = data[begin:end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        elif entry["dtype"] in ("F16", "F32"):
            values = np.frombuffer(raw, np.float16 if entry["dtype"] == "F16" else np.float32).astype(np.float32)
        else:
            sys.exit(f"make_gguf.py: {name}: {entry['dtype']} is not F32, F16 or BF16")
        yield name, values.reshape(entry["shape"])


def tensors(directory: Path) -> dict[str, Any]:
    """ggml's names and values, experts stacked, in the order of the layers."""
    named: dict[str, Any] = {}
    experts: dict[str, dict[int, Any]] = {}
    for file in sorted(directory.glob("*.safetensors")):
        if file.name.startswith("golden"):
            continue
        for name, values in safetensors(file):
            layer = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", name)
            if name in WHOLE:
                named[WHOLE[name]] = values
            elif layer and (expert := re.fullmatch(r"feed_forward\.experts\.(\d+)\.(w[123])\.weight", layer[2])):
                stack = experts.setdefault(f"blk.{layer[1]}.{EXPERTS[expert[2]]}", {})
                stack[int(expert[1])] = values
            elif layer and layer[2] in LAYER:
                squeezed = values.squeeze(1) if layer[2] == "conv.conv.weight" else values
                named[f"blk.{layer[1]}.{LAYER[layer[2]]}"] = squeezed
            else:
                sys.exit(f"make_gguf.py: {name}: not a tensor that llama.cpp converts")
    for name, stack in experts.items():
        named[name] = np.stack([stack[i] for i in range(len(stack))])
    order = lambda name: [int(part) if part.isdigit() else -1 for part in name.split(".")] + [0]
    return dict(sorted(named.items(), key=lambda item: (order(item[0])[:2], item[0])))


def feed_forward_length(config: dict[str, Any]) -> int:
    width = config.get("block_ff_dim", config.get("intermediate_size"))
    if config["model_type"] == "lfm2" and config.get("block_auto_adjust_ff_dim", True):
        width = int(2 * width / 3)
        if (multiplier := config.get("block_ffn_dim_multiplier", 1.0)) is not None:
            multiple = config.get("block_multiple_of", 256)
            width = multiple * ((int(multiplier * width) + multiple - 1) // multiple)
    return width


def model_keys(writer: Any, config: dict[str, Any]) -> None:
    layers = config.get("layer_types") or [
        "full_attention" if i in config["full_attn_idxs"] else "conv" for i in range(config["num_hidden_layers"])
    ]
    kv_heads = config["num_key_value_heads"]
    rope = config.get("rope_parameters") or {}
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_block_count(len(layers))
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(feed_forward_length(config))
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv([kv_heads if kind == "full_attention" else 0 for kind in layers])
    writer.add_rope_freq_base(rope.get("rope_theta", config.get("rope_theta")))
    writer.add_layer_norm_rms_eps(config.get("norm_eps", config.get("block_norm_eps")))
    if "head_dim" in config:
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_shortconv_l_cache(config["conv_L_cache"])
    if config["model_type"] == "lfm2_moe":
        writer.add_expert_count(config["num_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
        writer.add_leading_dense_block_count(config["num_dense_layers"])
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)


def tokenizer_keys(writer: Any, directory: Path, config: dict[str, Any]) -> None:
    for name, id_of in [("bos", "bos_token_id"), ("eos", "eos_token_id"), ("pad", "pad_token_id")]:
        if isinstance(token := config.get(id_of), int):
            getattr(writer, f"add_{name}_token_id")(token)
    file = directory / "tokenizer.json"
    if not file.exists():
        return
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    tokens = [f"[PAD{i}]" for i in range(config["vocab_size"])]
    types = [gguf.TokenType.UNUSED] * len(tokens)
    for token, at in tokenizer["model"]["vocab"].items():
        tokens[at], types[at] = token, gguf.TokenType.NORMAL
    for added in tokenizer["added_tokens"]:
        text, at = added["content"], added["id"]
        special = added["special"] or (text.startswith("<|") and text.endswith("|>"))
        tokens[at] = text
        types[at] = gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("lfm2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    if (template := directory / "chat_template.jinja").exists():
        writer.add_chat_template(template.read_text(encoding="utf-8"))


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("directory", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--type", choices=TYPES, default="f16")
    options.add_argument("--split", type=int, default=0, metavar="N", help="at most N tensors in a file")
    arguments = options.parse_args()
    config = json.loads((arguments.directory / "config.json").read_text(encoding="utf-8"))
    kind, file_type = TYPES[arguments.type]
    arch = "lfm2moe" if config["model_type"] == "lfm2_moe" else "lfm2"
    writer = gguf.GGUFWriter(arguments.out, arch, split_max_tensors=arguments.split)
    model_keys(writer, config)
    writer.add_file_type(file_type)
    tokenizer_keys(writer, arguments.directory, config)
    block = gguf.GGML_QUANT_SIZES[kind][0]
    for name, values in tensors(arguments.directory).items():
        plain = values.ndim == 1 or "shortconv.conv" in name or "ffn_gate_inp" in name
        plain = plain or values.shape[-1] % block != 0
        one = gguf.GGMLQuantizationType.F32 if plain else kind
        writer.add_tensor(name, gguf.quants.quantize(np.ascontiguousarray(values), one), raw_dtype=one)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
