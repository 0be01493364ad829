//! Descriptions of cases in words: people paste the output of `lfm2 selftest` into reports.

use std::fmt;

use super::route::Bias;
use super::routing::Routing;
use super::{
    AttentionCase, ConvCase, EmbedCase, Fill, GroupCase, HeadsCase, NormCase, RouteCase,
    SampleCase, Span,
};

pub(super) fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

pub(super) fn filled(fill: Fill) -> &'static str {
    match fill {
        Fill::Normal => "",
        Fill::Extreme => ", extreme values",
        Fill::Equal => ", all values equal",
        Fill::Zero => ", all zeros",
        Fill::OneNan => ", one NaN",
    }
}

pub(super) fn routed(routing: Routing) -> &'static str {
    match routing {
        Routing::Random => "",
        Routing::One => " (always the same)",
        Routing::HalfIdle => " (half of them idle)",
    }
}

/// `16 rows of 3 sequences`.
fn rows(spans: &[Span]) -> String {
    let rows: u32 = spans.iter().map(|span| span.rows).sum();
    format!("{} of {}", count(rows as usize, "row"), count(spans.len(), "sequence"))
}

fn heads(n_heads: usize, n_kv_heads: usize, head_dim: usize) -> String {
    format!("heads {n_heads}/{n_kv_heads} of {head_dim}")
}

impl fmt::Display for NormCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = if self.logit_rows { ", only rows with logits" } else { "" };
        let fill = filled(self.fill);
        write!(f, "{} of {}{some}{fill}", count(self.rows, "row"), self.hidden_size)
    }
}

impl fmt::Display for RouteCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bias = match self.bias {
            Bias::Zero => "",
            Bias::Normal => ", with bias",
            Bias::Overwhelming => ", with a bias that decides",
        };
        write!(f, "{}, {} of {} experts{bias}", count(self.rows, "row"), self.top_k, self.experts)
    }
}

impl fmt::Display for ConvCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bias = if self.bias { ", with bias" } else { "" };
        write!(
            f,
            "{} channels, {} taps, {}{bias}{}",
            self.hidden_size,
            self.l_cache,
            match self.passes.len() {
                1 => "1 pass".to_owned(),
                n => format!("{n} passes"),
            },
            filled(self.fill)
        )
    }
}

impl fmt::Display for HeadsCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = heads(self.n_heads, self.n_kv_heads, self.head_dim);
        write!(f, "{heads}, {}{}", rows(&self.spans), filled(self.fill))
    }
}

impl fmt::Display for AttentionCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sharp = if self.sharpness > 1.0 { ", few keys win" } else { "" };
        let heads = heads(self.n_heads, self.n_kv_heads, self.head_dim);
        write!(f, "{heads}, {}{sharp}{}", rows(&self.spans), filled(self.values))
    }
}

impl fmt::Display for GroupCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, routed) = (count(self.rows, "row"), routed(self.routing));
        write!(f, "{rows}, {} of {} experts{routed}", self.top_k, self.experts)
    }
}

impl fmt::Display for EmbedCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = if self.part_rows > 0 { ", in parts" } else { "" };
        write!(f, "{} tokens of {}, {}{parts}", self.vocab, self.hidden_size, rows(&self.spans))
    }
}

impl fmt::Display for SampleCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broken = if self.broken.is_some() { ", one logit is no number" } else { "" };
        write!(f, "{} tokens, {}{broken}", self.vocab, count(self.options.len(), "sequence"))
    }
}
