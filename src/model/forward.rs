//! The forward pass of LFM2. It is recorded as a plan once for each size of batch; each pass replays a plan.
//!
//! The same code serves decode and prefill. A batch is a list of rows, which may belong to several sequences. A row is
//! one token with its position. A logit row is a row whose logits are wanted. The plan's number of rows and the
//! device's [`Choices`] select the kernels. Source: transformers `Lfm2MoeModel.forward`.

use super::scratch::Scratch;
use super::weights::{AttentionWeights, Ffn, Operator, ShortConvWeights, Weights};
use super::{ModelConfig, MoeConfig};
use crate::gpu::{Recorder, Tensor};
use crate::kernels::{
    Attention, AttentionCombine, Choices, Embed, Epilogue, ExpertChoice, ExpertLinear,
    FlashAttention, Grouped, InProjConv, Linear, Logprobs, LogprobsBuffers, LogprobsMode,
    LoraShrink, Matrix, Matvec, MatvecItems, MoeCombine, MoeGroup, Norm, OfExpert,
    QkNormRopeAppend, RmsNorm, Route, Sample, SampleShare, ShortConv,
};
use crate::state::State;

/// Inputs and buffers of a pass.
pub struct Forward<'a> {
    /// Sizes and options of the model.
    pub config: &'a ModelConfig,
    /// Weights. A matrix may have the factors of LoRA adapters ([`Weights::with_lora`]).
    pub weights: &'a Weights,
    /// State of the sequences.
    pub state: &'a State,
    /// Activations: `x`, the residual stream; `h`, the normed `x`; `wide`, which holds B, C and x' of a convolution or
    /// q, k and v of attention; and the outputs `y` of a convolution, `o` of attention and `a` of SwiGLU.
    pub scratch: &'a Scratch,
    /// `[logit rows, vocab_size]`: the head's output. In a plan that draws tokens it is [`Scratch::logits`], otherwise
    /// a buffer of the caller.
    pub logits: &'a Tensor<f32>,
    /// Log-probabilities. In a plan that draws tokens they are [`Scratch::logprobs`], otherwise buffers of the caller.
    pub logprobs: &'a LogprobsBuffers,
    /// Kernel choices of the device.
    pub choices: Choices,
    /// Maximum number of rows of a batch that replays this plan.
    pub rows: u32,
}

/// Output of a pass, for its logit rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PassOutput {
    /// The next token of each logit row, and log-probabilities of the logit rows that want them. A sequence has at most
    /// one logit row.
    Tokens,
    /// Log-probabilities of given tokens.
    Logprobs,
    /// Logits.
    Logits,
}

/// The input of a product: rows of `x`. If `norm` is set, the product applies RMSNorm to them itself.
#[derive(Clone, Copy)]
struct Input<'a> {
    x: &'a Tensor<f32>,
    norm: Option<Norm<'a>>,
}

impl<'a> From<&'a Tensor<f32>> for Input<'a> {
    fn from(x: &'a Tensor<f32>) -> Self {
        Self { x, norm: None }
    }
}

impl<'a> Forward<'a> {
    /// Records embedding, layers, head and output into the plan `p`. `w` are the weights, `s` the activations.
    pub fn record(&self, p: &mut Recorder, output: PassOutput) {
        let (w, s) = (self.weights, self.scratch);
        self.embed(p);
        p.probe(format_args!("model.embed_tokens"), &s.x);
        for (i, layer) in w.layers.iter().enumerate() {
            // x += operator(norm(x))
            let h = self.norm(p, &layer.operator_norm, false);
            match &layer.operator {
                Operator::ShortConv(conv) => self.short_conv(p, conv, h),
                Operator::Attention(attention) => self.attention(p, attention, h),
            }
            // x += ffn(norm(x))
            let h = self.norm(p, &layer.ffn_norm, false);
            match (&layer.ffn, &self.config.moe) {
                (Ffn::Moe { router, expert_bias, w13, w2 }, Some(moe)) => {
                    let choice = self.route(p, moe, router, expert_bias, w13, h);
                    p.probe(format_args!("model.layers.{i}.feed_forward.ids"), &s.ids);
                    p.probe(format_args!("model.layers.{i}.feed_forward.gates"), &s.gates);
                    self.experts(p, choice, w13, w2, h);
                }
                (Ffn::Dense { w13, w2 } | Ffn::Moe { w13, w2, .. }, _) => {
                    self.linear(p, w13, None, h, &s.a, Epilogue::Swiglu);
                    self.linear(p, w2, None, (&s.a).into(), &s.x, Epilogue::Add);
                }
            }
            p.probe(format_args!("model.layers.{i}"), &s.x);
        }
        self.head(p, output);
        match output {
            PassOutput::Tokens => self.sample(p),
            PassOutput::Logprobs => {
                let logprobs = self.logprobs(p);
                logprobs.record_spans(p, LogprobsMode::Raw);
                logprobs.record(p);
            }
            PassOutput::Logits => {}
        }
    }

    /// `x = embed_tokens[token]`. The kernel also writes each token into the history of its sequence, which the sampler
    /// reads for its penalties.
    fn embed(&self, p: &mut Recorder) {
        Embed {
            embedding: &self.weights.embedding,
            next_token: &self.state.next_token,
            x: &self.scratch.x,
            history: &self.state.history,
            context: self.state.context,
        }
        .record(p);
    }

    /// `x += out_proj(C * conv(B * x'))` with `B, C, x' = in_proj(h)`.
    fn short_conv(&self, p: &mut Recorder, conv: &ShortConvWeights, h: Input<'_>) {
        let (s, state) = (self.scratch, self.state);
        let (taps, ring, y) = (&conv.taps, &state.rings[conv.index], &s.y);
        let (l_cache, ring_columns) = (self.config.conv_l_cache as u32, state.ring_columns);
        let biases = (conv.in_proj_bias.as_ref(), conv.taps_bias.as_ref());
        let in_proj = &conv.in_proj;
        match (self.rows, h.norm, biases) {
            // For one row, a single kernel computes `in_proj` and the convolution, which saves a dispatch.
            (1, Some(norm), (None, None)) if InProjConv::takes(in_proj, p.caps()) => {
                self.lora(p, in_proj, OfExpert::None, h, false);
                let Choices { reduce, activations, .. } = self.choices;
                let x = h.x;
                InProjConv {
                    in_proj,
                    x,
                    norm,
                    taps,
                    ring,
                    y,
                    l_cache,
                    ring_columns,
                    reduce,
                    activations,
                }
                .record(p);
            }
            (_, _, (in_proj_bias, bias)) => {
                self.linear(p, in_proj, in_proj_bias, h, &s.wide, Epilogue::Store);
                let (bcx, hidden_size) = (&s.wide, self.config.hidden_size as u32);
                ShortConv { bcx, taps, bias, ring, y, hidden_size, l_cache, ring_columns }
                    .record(p);
            }
        }
        let bias = conv.out_proj_bias.as_ref();
        self.linear(p, &conv.out_proj, bias, y.into(), &s.x, Epilogue::Add);
    }

    /// `x += out_proj(softmax(q k^T / sqrt(head_dim)) v)` with `q, k, v = qkv(h)`. RMSNorm (per head) and RoPE are
    /// applied to q and k before they are multiplied.
    fn attention(&self, p: &mut Recorder, attention: &AttentionWeights, h: Input<'_>) {
        let (c, s, state) = (self.config, self.scratch, self.state);
        let heads = c.heads(state.kv_format);
        let kv = &state.kv[attention.index];
        self.linear(p, &attention.qkv, None, h, &s.wide, Epilogue::Store);
        QkNormRopeAppend {
            qkv: &s.wide,
            norms: &attention.qk_norms,
            rope: &state.rope,
            q: &s.q,
            keys: &kv.keys,
            values: &kv.values,
            kv: heads.kv,
            n_heads: heads.n_heads,
            n_kv_heads: heads.n_kv_heads,
            head_dim: heads.head_dim,
            eps: c.norm_eps,
        }
        .record(p);
        let (q, keys, values, o) = (&s.q, &kv.keys, &kv.values, &s.o);
        let partial = &s.partial;
        let Choices { reduce, multiply, .. } = self.choices;
        let typical_context = state.context / 2;
        // The first kernel computes the sequences with few rows in the pass, the second one all others. Both cut long
        // contexts into splits, whose results the third one joins.
        Attention { q, keys, values, partial, o, heads, reduce }.record(p);
        FlashAttention { q, keys, values, partial, o, heads, typical_context }.record(p, multiply);
        AttentionCombine { partial, o, heads }.record(p);
        self.linear(p, &attention.out_proj, None, o.into(), &s.x, Epilogue::Add);
    }

    /// `logits = router h`. The logits determine the `top_k` experts of each row and their gates, the factors of their
    /// outputs. The kernel [`Route`] makes this choice. In a pass of one row, the kernels of the experts make it
    /// themselves (`products_choose`).
    fn route(
        &self,
        p: &mut Recorder,
        moe: &MoeConfig,
        router: &Matrix,
        expert_bias: &'a Tensor<f32>,
        w13: &Matrix,
        h: Input<'_>,
    ) -> ExpertChoice<'a> {
        let s = self.scratch;
        self.linear(p, router, None, h, &s.router_logits, Epilogue::Store);
        let choice = ExpertChoice {
            logits: &s.router_logits,
            expert_bias,
            top_k: moe.top_k as u32,
            norm_topk_prob: moe.norm_topk_prob,
            routed_scaling_factor: moe.routed_scaling_factor,
        };
        if !self.products_choose(p, w13) || p.probing() {
            Route { choice, ids: &s.ids, gates: &s.gates }.record(p);
        }
        choice
    }

    /// Whether the kernels that multiply by the experts' matrices also choose the experts, which saves a dispatch.
    fn products_choose(&self, p: &Recorder, w13: &Matrix) -> bool {
        self.rows == 1 && Matvec::gathers(w13, p.caps())
    }

    /// `x += sum_j gate_j * w2_j(silu(w1_j h) * w3_j h)` over each row's experts.
    fn experts(
        &self,
        p: &mut Recorder,
        choice: ExpertChoice<'_>,
        w13: &Matrix,
        w2: &Matrix,
        h: Input<'_>,
    ) {
        let (s, top_k) = (self.scratch, choice.top_k);
        if self.products_choose(p, w13) {
            self.lora(p, w13, OfExpert::Chosen(choice), h, false);
            let Choices { reduce, activations, .. } = self.choices;
            Matvec {
                weight: w13,
                bias: None,
                x: h.x,
                norm: h.norm,
                out: &s.a,
                items: MatvecItems::Gather(choice),
                epilogue: Epilogue::Swiglu,
                reduce,
                activations,
                items_per_group: 1,
            }
            .record(p);
            self.lora(p, w2, OfExpert::Chosen(choice), (&s.a).into(), true);
            Matvec {
                weight: w2,
                bias: None,
                x: &s.a,
                norm: None,
                out: &s.x,
                items: MatvecItems::Combine(choice),
                epilogue: Epilogue::Add,
                reduce,
                activations,
                items_per_group: 1,
            }
            .record(p);
            return;
        }
        let (ids, groups, items_at) = (&s.ids, &s.groups, s.items_at);
        let (experts, tile) = (w13.experts as u32, ExpertLinear::tile(&self.choices, self.rows));
        MoeGroup { ids, groups, items_at, experts, top_k, tile }.record(p);
        for (weight, input, out, epilogue, own_rows) in [
            (w13, h, &s.a, Epilogue::Swiglu, false),
            (w2, (&s.a).into(), &s.expert_out, Epilogue::Store, true),
        ] {
            self.lora(p, weight, OfExpert::Listed { ids, top_k }, input, own_rows);
            let grouped = Grouped { groups, items_at, top_k, own_rows };
            let Input { x, norm } = input;
            ExpertLinear { weight, x, norm, out, grouped, epilogue }.record(
                p,
                &self.choices,
                self.rows,
            );
        }
        MoeCombine {
            y: &s.expert_out,
            gates: &s.gates,
            x: &s.x,
            hidden_size: self.config.hidden_size as u32,
            top_k,
        }
        .record(p);
    }

    /// `logits = head(norm(x))` for the logit rows.
    fn head(&self, p: &mut Recorder, output: PassOutput) {
        let Input { x, norm } = self.norm(p, &self.weights.embedding_norm, true);
        let rows = match output {
            // A sequence has at most one logit row, even in a long chunk.
            PassOutput::Tokens => self.rows.min(self.state.n_slots),
            PassOutput::Logprobs | PassOutput::Logits => self.rows,
        };
        Linear {
            weight: self.weights.head(),
            bias: None,
            x,
            norm,
            out: self.logits,
            epilogue: Epilogue::Store,
            only_logit_rows: true,
        }
        .record(p, &self.choices, rows);
        p.probe(format_args!("logits"), self.logits);
    }

    /// Draws the next token of each logit row and writes it to `next_token[slot]` of the row's sequence. [`Sample`]
    /// records four kernels: `sample_prepare` (biases and penalties), `sample_histogram` (for top-k and top-p),
    /// `sample_draw` and `sample_select`. A row may want log-probabilities, either of the logits before biases and
    /// penalties ([`LogprobsMode::Raw`]) or after them ([`LogprobsMode::Processed`]).
    fn sample(&self, p: &mut Recorder) {
        let logprobs = self.logprobs(p);
        logprobs.record_spans(p, LogprobsMode::Raw);
        // Here the pass can be submitted in two parts. While the GPU runs the dispatches above, the host computes the
        // masks of allowed tokens.
        p.pause_here();
        Sample {
            history: &self.state.history,
            logits: self.logits,
            allowed: &self.scratch.allowed,
            buffers: &self.scratch.sample,
            next_token: &self.state.next_token,
            vocab: self.config.vocab_size as u32,
            context: self.state.context,
            share: SampleShare::by_capability(p.caps()),
        }
        .record(p);
        logprobs.record_spans(p, LogprobsMode::Processed);
        logprobs.record(p);
    }

    /// The kernels of log-probabilities, with their buffers.
    fn logprobs(&self, p: &Recorder) -> Logprobs<'_> {
        Logprobs {
            logits: self.logits,
            allowed: &self.scratch.allowed,
            drawn: self.scratch.sample.drawn(),
            buffers: self.logprobs,
            vocab: self.config.vocab_size as u32,
            share: SampleShare::by_capability(p.caps()),
        }
    }

    /// RMSNorm of the residual stream, or of its logit rows only. In passes of few rows the norm has no dispatch of its
    /// own: the returned [`Input`] tells each product that reads it to apply the norm itself.
    fn norm<'b>(
        &'b self,
        p: &mut Recorder,
        scale: &'b Tensor<f32>,
        only_logit_rows: bool,
    ) -> Input<'b> {
        let (x, h, eps) = (&self.scratch.x, &self.scratch.h, self.config.norm_eps);
        if self.few_rows() {
            return Input { x, norm: Some(Norm { scale, eps }) };
        }
        RmsNorm { x, scale, h, eps, only_logit_rows, reduce: self.choices.reduce }.record(p);
        h.into()
    }

    /// A LoRA adapter changes a matrix `W` to `W + scale B A`. This records its first product, `v = scale A input`, for
    /// the rows that have an adapter. The product with `W`, which follows, adds `B v`. With `own_rows`, each expert of
    /// a row has an input row of its own; otherwise all experts of a row read the same one.
    fn lora(
        &self,
        p: &mut Recorder,
        weight: &Matrix,
        experts: OfExpert<'_>,
        Input { x, norm }: Input<'_>,
        own_rows: bool,
    ) {
        if let Some(lora) = &weight.lora {
            let reduce = self.choices.reduce;
            LoraShrink { lora, x, norm, experts, own_rows, reduce }.record(p);
        }
    }

    /// The product with a matrix, for all rows: `out = epilogue(weight input + bias)`. Adapters are included.
    fn linear(
        &self,
        p: &mut Recorder,
        weight: &Matrix,
        bias: Option<&Tensor<f32>>,
        input: Input<'_>,
        out: &Tensor<f32>,
        epilogue: Epilogue,
    ) {
        self.lora(p, weight, OfExpert::None, input, false);
        let Input { x, norm } = input;
        Linear { weight, bias, x, norm, out, epilogue, only_logit_rows: false }.record(
            p,
            &self.choices,
            self.rows,
        );
    }

    /// Whether this plan uses the kernels for few rows.
    fn few_rows(&self) -> bool {
        self.rows <= self.choices.matvec_rows
    }
}
