"""The cases of tests/fixtures: what each one has that the others have not. Built by reference.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    name: str
    special: str
    config: dict[str, Any] = field(default_factory=dict)
    """What differs from `BASE` and, unless `dense`, `MOE`."""
    dtype: str = "bf16"
    tokens: int = 12
    dense: bool = False
    config_json: dict[str, Any] = field(default_factory=dict)
    """Old spellings: set in the saved config.json by hand; None removes a key."""
    max_shard: str | None = None
    last_hidden_only: bool = False
    fused_twin_of: str | None = None


CONV, ATTN = "conv", "full_attention"

BASE: dict[str, Any] = dict(
    vocab_size=101,
    hidden_size=48,
    num_attention_heads=3,
    num_key_value_heads=1,
    intermediate_size=52,
    layer_types=[CONV, ATTN, CONV],
    eos_token_id=7,
)
MOE: dict[str, Any] = dict(num_dense_layers=1, num_experts=7, num_experts_per_tok=3, moe_intermediate_size=12)

CASES = [
    Case(
        "odd-sizes",
        "hidden 96, intermediate 100, MoE intermediate 36, vocab 101: none a power of two; head_dim 48, GQA 2",
        dict(
            hidden_size=96,
            num_attention_heads=2,
            intermediate_size=100,
            moe_intermediate_size=36,
            layer_types=[ATTN, CONV],
        ),
    ),
    Case(
        "odd-ffn",
        "FFN widths 51 and 13, no multiple of 4; head_dim 12; in_proj and taps for L = 2",
        dict(
            hidden_size=60,
            num_attention_heads=5,
            num_key_value_heads=5,
            intermediate_size=51,
            moe_intermediate_size=13,
            conv_L_cache=2,
            layer_types=[CONV, ATTN],
            num_dense_layers=1,
        ),
    ),
    Case(
        "mha-head-32",
        "hidden 160, head_dim 32, 5 heads and 5 kv heads",
        dict(
            hidden_size=160,
            num_attention_heads=5,
            num_key_value_heads=5,
            intermediate_size=12,
            moe_intermediate_size=4,
            num_experts=4,
            num_experts_per_tok=2,
            layer_types=[CONV, ATTN],
        ),
        dtype="f16",
    ),
    Case(
        "head-128",
        "head_dim 128 with a single head; no dense layer at all",
        dict(
            hidden_size=128,
            num_attention_heads=1,
            num_dense_layers=0,
            num_experts=4,
            num_experts_per_tok=2,
            moe_intermediate_size=8,
            layer_types=[CONV, ATTN],
        ),
    ),
    Case(
        "gqa-8",
        "8 query heads on 1 kv head (head_dim 16); attention layers only",
        dict(
            hidden_size=128,
            num_attention_heads=8,
            intermediate_size=36,
            moe_intermediate_size=8,
            num_experts=4,
            num_experts_per_tok=2,
            layer_types=[ATTN, ATTN],
        ),
    ),
    Case(
        "gqa-3",
        "2 kv heads for 6 query heads (head_dim 16, group 3); vocab 300",
        dict(
            hidden_size=96,
            num_attention_heads=6,
            num_key_value_heads=2,
            vocab_size=300,
            num_experts=4,
            num_experts_per_tok=2,
            layer_types=[CONV, ATTN],
        ),
        dtype="f16",
    ),
    Case(
        "head-dim-key",
        "config.json says head_dim 32 where hidden/heads is 16 (q_proj is wider than hidden)",
        dict(head_dim=32, layer_types=[ATTN, CONV]),
    ),
    Case("conv-l4", "conv_L_cache 4", dict(conv_L_cache=4), dtype="f32"),
    Case(
        "conv-bias",
        "conv_bias: in_proj, out_proj and conv have a bias each",
        dict(conv_bias=True),
        dtype="f16",
    ),
    Case("no-expert-bias", "use_expert_bias false: no expert_bias tensor", dict(use_expert_bias=False)),
    Case("no-renorm", "norm_topk_prob false", dict(norm_topk_prob=False)),
    Case("scaling", "routed_scaling_factor 1.7", dict(routed_scaling_factor=1.7)),
    Case("top-1-of-7", "one expert per token (its weight is then 1 - 1e-6/s)", dict(num_experts_per_tok=1)),
    Case("top-3-of-7", "nothing else: the plain odd case, twin of `fused`", tokens=20),
    Case(
        "fused",
        "`top-3-of-7` in transformers' in-memory layout: experts.gate_up_proj, experts.down_proj",
        tokens=20,
        fused_twin_of="top-3-of-7",
    ),
    Case(
        "sharded",
        "several shards with model.safetensors.index.json",
        dtype="f16",
        max_shard="55KB",
    ),
    Case("untied", "tie_word_embeddings false: its own lm_head.weight", dict(tie_word_embeddings=False)),
    Case(
        "rope-theta",
        "rope_parameters.rope_theta 10000",
        dict(rope_parameters=dict(rope_theta=1e4, rope_type="default"), layer_types=[ATTN, CONV, ATTN]),
        tokens=24,
    ),
    Case(
        "long",
        "330 tokens: attention spans more than 256; hidden states of the last position only; head_dim 32, GQA 2",
        dict(
            hidden_size=64,
            num_attention_heads=2,
            layer_types=[ATTN, CONV, ATTN],
            num_experts_per_tok=2,
            vocab_size=97,
        ),
        tokens=330,
        last_hidden_only=True,
    ),
    Case(
        "moe-old-keys",
        "config.json as of 2025: flat rope_theta (20000), tie_embedding (false, so lm_head.weight), torch_dtype",
        dict(rope_parameters=dict(rope_theta=2e4, rope_type="default"), tie_word_embeddings=False),
        config_json=dict(
            rope_parameters=None,
            rope_theta=20000.0,
            tie_word_embeddings=None,
            tie_embedding=False,
            dtype=None,
            torch_dtype="bfloat16",
        ),
    ),
    Case(
        "dense",
        "lfm2, block_auto_adjust_ff_dim false: intermediate_size 100 as it is; norm_eps 0.05",
        dict(block_auto_adjust_ff_dim=False, intermediate_size=100, norm_eps=0.05),
        dense=True,
    ),
    Case(
        "dense-old-keys",
        "lfm2 as of 2025: block_ff_dim 150 auto-adjusted (2/3, times 1.1, up to a multiple of 12) to 120, "
        "full_attn_idxs, flat rope_theta, tie_embedding",
        dict(
            intermediate_size=150,
            block_auto_adjust_ff_dim=True,
            block_ffn_dim_multiplier=1.1,
            block_multiple_of=12,
            rope_parameters=dict(rope_theta=5e4, rope_type="default"),
            layer_types=[CONV, CONV, ATTN],
        ),
        dense=True,
        config_json=dict(
            intermediate_size=None,
            block_ff_dim=150,
            layer_types=None,
            full_attn_idxs=[2],
            rope_parameters=None,
            rope_theta=50000.0,
            tie_word_embeddings=None,
            tie_embedding=True,
            dtype=None,
            torch_dtype="bfloat16",
            block_dim=48,
            block_norm_eps=1e-5,
            conv_dim=48,
            conv_dim_out=48,
            block_use_swiglu=True,
            num_heads=3,
            use_pos_enc=True,
        ),
    ),
]
