//! Cases of the benchmark: kernels, formats and shapes. `products` has those of the products.

use lfm2_wgpu::kernels::{
    ATTENTION_ROWS, Attention, AttentionCombine, Embed, ExpertChoice, FlashAttention, Format,
    InProjConv, KvFormat, Logprobs, LogprobsBuffers, LogprobsMode, MatmulCoop, MoeCombine,
    MoeGroup, Multiply, Norm, PAGE, QkNormRopeAppend, RmsNorm, Route, Sample, SampleBuffers,
    SampleShare, ShortConv, TILE_ITEMS, groups_len,
};

use super::setup::{Made, Setup};
use super::{lora, products};

/// Positions of the sequence in the cases of attention.
const POSITIONS: usize = 4096;
/// Rows of a question behind a long conversation.
const SHORT_PROMPT: usize = 20;

/// A kernel with one shape.
pub struct Case {
    /// Stem of the kernel's shader.
    pub kernel: &'static str,
    /// Formats and shape.
    pub name: String,
    /// Bytes that it has to read and write.
    pub bytes: usize,
    /// Multiplications and additions; 0 for a kernel that only moves data.
    pub operations: usize,
    /// Makes its tensors and plan.
    pub make: Box<dyn Fn(&Setup) -> Made>,
}

/// Every case.
pub fn all(s: &Setup) -> Vec<Case> {
    let mut all = products::all(s);
    for format in [Format::F16, Format::Q8, Format::Q6K] {
        all.push(embed(s, format));
    }
    all.extend([Format::Q4, Format::Q8].map(|format| in_proj_conv(s, format)));
    all.extend(lora::all(s));
    for rows in [1, s.chunk] {
        all.extend([rms_norm(s, rows), short_conv(s, rows)]);
        all.extend(KvFormat::ALL.map(|kv| qk_norm_rope_append(s, rows, kv)));
    }
    for kv in KvFormat::ALL {
        all.push(attention(s, "attention", kv, POSITIONS));
        all.push(flash_attention(s, kv, Multiply::Lanes, s.chunk));
    }
    all.push(flash_attention(s, KvFormat::F16, Multiply::Lanes, SHORT_PROMPT));
    if MatmulCoop::available(s.device.caps()) {
        for rows in [SHORT_PROMPT, s.chunk] {
            all.push(flash_attention(s, KvFormat::F16, Multiply::MatrixUnits, rows));
        }
    }
    all.push(attention(s, "attention", KvFormat::F16, 256));
    all.push(attention(s, "attention", KvFormat::F16, 30_000));
    all.push(attention(s, "attention_combine", KvFormat::F16, POSITIONS));
    all.push(attention(s, "attention_combine", KvFormat::F16, 30_000));
    all.extend([route(s), moe_group(s), moe_combine(s)]);
    all.extend(
        [
            "sample_prepare",
            "sample_histogram",
            "sample_draw",
            "sample_select",
            "logprobs_spans",
            "logprobs",
        ]
        .map(|kernel| sample(s, kernel)),
    );
    all
}

fn embed(s: &Setup, format: Format) -> Case {
    let (rows, vocab, hidden) = (s.chunk, s.config.vocab_size, s.config.hidden_size);
    Case {
        kernel: "embed",
        name: format!("{} {vocab}x{hidden} rows={rows}", format.name()),
        bytes: rows * (format.row_bytes(hidden) + 4 * hidden),
        operations: 0,
        make: Box::new(move |s| {
            let embedding = s.matrix(format, [1, vocab, hidden])?;
            let (next_token, history) = (s.zeros(1)?, s.zeros(POSITIONS)?);
            let x = s.floats(rows * hidden)?;
            s.plan(rows, rows, |r| {
                let context = POSITIONS as u32;
                let (embedding, next_token, x, history) = (&embedding, &next_token, &x, &history);
                Embed { embedding, next_token, x, history, context }.record(r);
            })
        }),
    }
}

fn rms_norm(s: &Setup, rows: usize) -> Case {
    let (hidden, eps, reduce) = (s.config.hidden_size, s.config.norm_eps, s.choices.reduce);
    Case {
        kernel: "rms_norm",
        name: format!("{hidden} rows={rows}"),
        bytes: 4 * hidden * (2 * rows + 1),
        operations: 4 * hidden * rows,
        make: Box::new(move |s| {
            let (x, scale) = (s.floats(rows * hidden)?, s.floats(hidden)?);
            let h = s.floats(rows * hidden)?;
            s.plan(rows, rows, |r| {
                let (x, scale, h) = (&x, &scale, &h);
                RmsNorm { x, scale, h, eps, only_logit_rows: false, reduce }.record(r);
            })
        }),
    }
}

fn route(s: &Setup) -> Case {
    let (rows, moe) = (s.chunk, s.moe);
    let experts = moe.num_experts;
    Case {
        kernel: "route",
        name: format!("{experts} experts rows={rows}"),
        bytes: 4 * (rows * (experts + 2 * moe.top_k) + experts),
        operations: 0,
        make: Box::new(move |s| {
            let (logits, expert_bias) = (s.floats(rows * experts)?, s.floats(experts)?);
            let (ids, gates) = (s.ids(rows)?, s.floats(rows * moe.top_k)?);
            s.plan(rows, rows, |r| {
                let choice = ExpertChoice {
                    logits: &logits,
                    expert_bias: &expert_bias,
                    top_k: moe.top_k as u32,
                    norm_topk_prob: moe.norm_topk_prob,
                    routed_scaling_factor: moe.routed_scaling_factor,
                };
                Route { choice, ids: &ids, gates: &gates }.record(r);
            })
        }),
    }
}

fn short_conv(s: &Setup, rows: usize) -> Case {
    let (hidden, l_cache) = (s.config.hidden_size, s.config.conv_l_cache);
    let ring_columns = s.config.state_dims().ring_columns();
    Case {
        kernel: "short_conv",
        name: format!("{hidden} {l_cache} taps rows={rows}"),
        bytes: 4 * hidden * (4 * rows + l_cache + ring_columns as usize),
        operations: rows * hidden * (2 * l_cache + 1),
        make: Box::new(move |s| {
            let (bcx, taps) = (s.floats(rows * 3 * hidden)?, s.floats(hidden * l_cache)?);
            let (ring, y) = (s.floats(ring_columns as usize * hidden)?, s.floats(rows * hidden)?);
            s.plan(rows, rows, |r| {
                ShortConv {
                    bcx: &bcx,
                    taps: &taps,
                    bias: None,
                    ring: &ring,
                    y: &y,
                    hidden_size: hidden as u32,
                    l_cache: l_cache as u32,
                    ring_columns,
                }
                .record(r);
            })
        }),
    }
}

fn in_proj_conv(s: &Setup, format: Format) -> Case {
    let (hidden, l_cache) = (s.config.hidden_size, s.config.conv_l_cache);
    let ring_columns = s.config.state_dims().ring_columns();
    let (eps, choices) = (s.config.norm_eps, s.choices);
    Case {
        kernel: "in_proj_conv",
        name: format!("{} {}x{hidden} {l_cache} taps rows=1", format.name(), 3 * hidden),
        bytes: 3 * hidden * format.row_bytes(hidden) + 4 * hidden * (3 + 2 * l_cache),
        operations: 6 * hidden * hidden,
        make: Box::new(move |s| {
            let in_proj = s.matrix(format, [1, 3 * hidden, hidden])?;
            let (x, scale) = (s.floats(hidden)?, s.floats(hidden)?);
            let (taps, y) = (s.floats(hidden * l_cache)?, s.floats(hidden)?);
            let ring = s.floats(ring_columns as usize * hidden)?;
            s.plan(1, 1, |r| {
                InProjConv {
                    in_proj: &in_proj,
                    x: &x,
                    norm: Norm { scale: &scale, eps },
                    taps: &taps,
                    ring: &ring,
                    y: &y,
                    l_cache: l_cache as u32,
                    ring_columns,
                    reduce: choices.reduce,
                    activations: choices.activations,
                }
                .record(r);
            })
        }),
    }
}

fn qk_norm_rope_append(s: &Setup, rows: usize, kv: KvFormat) -> Case {
    let c = s.config.clone();
    let (q, both) = (c.n_heads * c.head_dim, 2 * c.n_kv_heads);
    let qkv = q + both * c.head_dim;
    let pool = rows.next_multiple_of(PAGE as usize) * c.n_kv_heads;
    Case {
        kernel: "qk_norm_rope_append",
        name: format!("{} {}+{both}x{} rows={rows}", kv.option(), c.n_heads, c.head_dim),
        bytes: rows * 4 * (qkv + q + c.head_dim + kv.words(both, c.head_dim)),
        // Of q and k: square and add, scale twice, rotate.
        operations: rows * 7 * (q + c.n_kv_heads * c.head_dim),
        make: Box::new(move |s| {
            let (norms, rope) = (s.floats(2 * c.head_dim)?, s.floats(POSITIONS * c.head_dim)?);
            let (qkv, q) = (s.floats(rows * qkv)?, s.floats(rows * q)?);
            let keys = s.words(kv.words(pool, c.head_dim))?;
            let values = s.words(kv.words(pool, c.head_dim))?;
            s.plan(rows, rows, |r| {
                QkNormRopeAppend {
                    qkv: &qkv,
                    norms: &norms,
                    rope: &rope,
                    q: &q,
                    keys: &keys,
                    values: &values,
                    kv,
                    n_heads: c.n_heads as u32,
                    n_kv_heads: c.n_kv_heads as u32,
                    head_dim: c.head_dim as u32,
                    eps: c.norm_eps,
                }
                .record(r);
            })
        }),
    }
}

/// The two kernels of attention for few rows. Both cases have the same plan and measure one kernel of it.
fn attention(s: &Setup, kernel: &'static str, kv: KvFormat, positions: usize) -> Case {
    let (heads, c) = (s.config.heads(kv), &s.config);
    let pool = positions.next_multiple_of(PAGE as usize) * c.n_kv_heads;
    let (q, pool) = (c.n_heads * c.head_dim, kv.words(pool, c.head_dim));
    let partial = heads.partial_len(positions as u32);
    let splits = kernel == "attention";
    let reduce = s.choices.reduce;
    Case {
        kernel,
        name: format!(
            "{} {}/{}x{} behind {positions}",
            kv.option(),
            c.n_heads,
            c.n_kv_heads,
            c.head_dim
        ),
        bytes: 4 * (q + partial + if splits { 2 * pool } else { 0 }),
        operations: if splits { 4 * q * positions } else { 2 * partial },
        make: Box::new(move |s| {
            let (o, partial) = (s.floats(q)?, s.floats(partial)?);
            let (q, keys, values) = (s.floats(q)?, s.words(pool)?, s.words(pool)?);
            s.plan(1, positions, |r| {
                let (q, keys, values, partial, o) = (&q, &keys, &values, &partial, &o);
                Attention { q, keys, values, partial, o, heads, reduce }.record(r);
                AttentionCombine { partial, o, heads }.record(r);
            })
        }),
    }
}

/// Attention of many rows. Few of them behind a long context have partial results, which are joined.
fn flash_attention(s: &Setup, kv: KvFormat, multiply: Multiply, rows: usize) -> Case {
    let (heads, c) = (s.config.heads(kv), &s.config);
    let partial = ATTENTION_ROWS as usize * heads.partial_len(POSITIONS as u32);
    let (q, pool) = (rows * c.n_heads * c.head_dim, kv.words(POSITIONS * c.n_kv_heads, c.head_dim));
    Case {
        kernel: match multiply {
            Multiply::Lanes => "flash_attention",
            Multiply::MatrixUnits => "flash_attention_coop",
        },
        name: format!(
            "{} {}/{}x{} rows={rows} of {POSITIONS}",
            kv.option(),
            c.n_heads,
            c.n_kv_heads,
            c.head_dim
        ),
        bytes: 4 * (2 * q + 2 * pool),
        // A row does not attend to later rows.
        operations: 4 * q * (POSITIONS - rows / 2),
        make: Box::new(move |s| {
            let (o, q, partial) = (s.floats(q)?, s.floats(q)?, s.floats(partial)?);
            let (keys, values) = (s.words(pool)?, s.words(pool)?);
            s.plan_of_tiles(rows, POSITIONS, heads.tile_rows(multiply), |r| {
                let (q, keys, values, partial, o) = (&q, &keys, &values, &partial, &o);
                let typical_context = POSITIONS as u32;
                FlashAttention { q, keys, values, partial, o, heads, typical_context }
                    .record(r, multiply);
                AttentionCombine { partial, o, heads }.record(r);
            })
        }),
    }
}

fn moe_group(s: &Setup) -> Case {
    let (rows, experts, top_k) = (s.chunk, s.moe.num_experts as u32, s.moe.top_k as u32);
    let (items_at, len) = groups_len(rows as u32, experts, top_k);
    Case {
        kernel: "moe_group",
        name: format!("{experts} experts rows={rows}"),
        bytes: 4 * (rows * top_k as usize + len),
        operations: 0,
        make: Box::new(move |s| {
            let (ids, groups) = (s.ids(rows)?, s.zeros(len)?);
            s.plan(rows, rows, |r| {
                let (ids, groups, tile) = (&ids, &groups, TILE_ITEMS);
                MoeGroup { ids, groups, items_at, experts, top_k, tile }.record(r);
            })
        }),
    }
}

fn moe_combine(s: &Setup) -> Case {
    let (rows, hidden, top_k) = (s.chunk, s.config.hidden_size, s.moe.top_k);
    Case {
        kernel: "moe_combine",
        name: format!("{hidden} {top_k} experts rows={rows}"),
        bytes: 4 * rows * (hidden * (top_k + 2) + top_k),
        operations: 2 * rows * hidden * top_k,
        make: Box::new(move |s| {
            let (y, gates) = (s.floats(rows * top_k * hidden)?, s.floats(rows * top_k)?);
            let x = s.floats(rows * hidden)?;
            s.plan(rows, rows, |r| {
                let (y, gates, x) = (&y, &gates, &x);
                let (hidden_size, top_k) = (hidden as u32, top_k as u32);
                MoeCombine { y, gates, x, hidden_size, top_k }.record(r);
            })
        }),
    }
}

/// One of the kernels of sampling, for one row of logits. All have the same plan, with every option on, and with
/// log-probabilities of the five most probable tokens.
fn sample(s: &Setup, kernel: &'static str) -> Case {
    let vocab = s.config.vocab_size;
    Case {
        kernel,
        name: match kernel {
            "sample_prepare" => format!("{vocab} behind {POSITIONS}"),
            _ => format!("{vocab}"),
        },
        bytes: match kernel {
            "sample_prepare" => 4 * (vocab + POSITIONS) + vocab / 8,
            "sample_select" | "logprobs" => 0,
            "logprobs_spans" => 8 * vocab,
            _ => 4 * vocab + vocab / 8,
        },
        operations: 0,
        make: Box::new(move |s| {
            let (logits, history) = (s.logits(vocab)?, s.ids(POSITIONS)?);
            let next_token = s.zeros(1)?;
            let allowed = vec![u32::MAX; vocab.div_ceil(32)];
            let allowed = pollster::block_on(s.device.tensor_of("allowed", &allowed))?;
            let buffers = pollster::block_on(SampleBuffers::new(&s.device, 1, vocab))?;
            let kept = pollster::block_on(LogprobsBuffers::new(&s.device, 1, vocab, true))?;
            s.plan(1, POSITIONS, |r| {
                let (context, vocab, buffers) = (POSITIONS as u32, vocab as u32, &buffers);
                let (history, logits, allowed) = (&history, &logits, &allowed);
                let (next_token, share) = (&next_token, SampleShare::by_capability(r.caps()));
                let (drawn, kept) = (buffers.drawn(), &kept);
                let logprobs = Logprobs { logits, allowed, drawn, buffers: kept, vocab, share };
                logprobs.record_spans(r, LogprobsMode::Raw);
                Sample { history, logits, allowed, buffers, next_token, vocab, context, share }
                    .record(r);
                logprobs.record(r);
            })
        }),
    }
}
