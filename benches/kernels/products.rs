//! Cases of `matvec`, `matmul` and `matmul_coop`: in_proj in every format, experts in the formats of the
//! published files, the head.

use lfm2_wgpu::gpu::{Recorder, Tensor};
use lfm2_wgpu::kernels::{
    Activations, Epilogue, ExpertChoice, Format, Grouped, Matmul, MatmulCoop, Matrix, Matvec,
    MatvecItems, MoeGroup, Multiply, Norm, Reduce, TILE_ITEMS, groups_len,
};

use super::cases::Case;
use super::setup::Setup;

/// Formats of the published files' experts.
const EXPERTS: [Format; 4] = [Format::Q4, Format::Q8, Format::Q4K, Format::Q6K];

/// Products of an item.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Dense,
    /// w13 of a row's experts.
    Gather,
    /// w2 of a row's experts, summed.
    Combine,
    /// w13 of many rows, grouped by expert.
    GroupedIn,
    /// w2 of many rows, grouped by expert.
    GroupedOut,
}

/// The kernel and its choices.
#[derive(Clone, Copy)]
enum Way {
    Matvec { reduce: Reduce, activations: Activations, items: u32 },
    Matmul(Multiply),
}

impl Way {
    fn kernel(self) -> &'static str {
        match self {
            Self::Matvec { .. } => "matvec",
            Self::Matmul(Multiply::Lanes) => "matmul",
            Self::Matmul(Multiply::MatrixUnits) => "matmul_coop",
        }
    }
}

struct Product {
    mode: Mode,
    format: Format,
    /// Experts, rows, columns.
    shape: [usize; 3],
    /// Rows of the pass.
    rows: usize,
    way: Way,
}

pub fn all(s: &Setup) -> Vec<Case> {
    let (hidden, moe) = (s.config.hidden_size, &s.moe);
    let in_proj = [1, 3 * hidden, hidden];
    let head = [1, s.config.vocab_size, hidden];
    let w13 = [moe.num_experts, 2 * moe.intermediate_size, hidden];
    let w2 = [moe.num_experts, hidden, moe.intermediate_size];
    let reduce = s.choices.reduce;
    let way = |activations, items| Way::Matvec { reduce, activations, items };
    let mut all = Vec::new();
    let mut push = |mode, format, shape, rows, way| {
        all.push(Product { mode, format, shape, rows, way }.case(s));
    };
    for format in Format::ALL {
        for activations in activations(format) {
            push(Mode::Dense, format, in_proj, 1, way(activations, 1));
        }
    }
    for other in Reduce::available(s.device.caps()).into_iter().filter(|r| *r != reduce) {
        let way = Way::Matvec { reduce: other, activations: Activations::Float, items: 1 };
        push(Mode::Dense, Format::Q4, in_proj, 1, way);
    }
    for (rows, items) in [(2, 2), (4, 4), (8, 4), (8, 8)] {
        push(Mode::Dense, Format::Q4, in_proj, rows, way(Activations::Float, items));
    }
    let (tile, float) = (Matvec::tile_items(reduce), Activations::Float);
    let most = Matvec::most_items(reduce, float, s.device.caps());
    // A batch of decoding sequences.
    for rows in [8, 32] {
        push(Mode::GroupedIn, Format::Q4, w13, rows, way(float, tile));
        push(Mode::GroupedOut, Format::Q4, w2, rows, way(float, tile));
    }
    push(Mode::Dense, Format::Q6K, head, 1, way(Activations::Float, 1));
    let router = [1, moe.num_experts, hidden];
    push(Mode::Dense, Format::F32, router, 1, way(Activations::Float, 1));
    for format in EXPERTS {
        for activations in activations(format) {
            push(Mode::Gather, format, w13, 1, way(activations, 1));
            push(Mode::Combine, format, w2, 1, way(activations, 1));
        }
    }
    // The engine's choice for a chunk on this device in all formats, then the others in one.
    let (matvec, matmul) = (way(float, most), Way::Matmul(Multiply::Lanes));
    let mut ways = if reduce.is_serial() { vec![matvec, matmul] } else { vec![matmul, matvec] };
    if MatmulCoop::available(s.device.caps()) {
        ways.push(Way::Matmul(Multiply::MatrixUnits));
    }
    for (i, way) in ways.into_iter().enumerate() {
        for format in Format::ALL.into_iter().filter(|f| i == 0 || *f == Format::Q4) {
            push(Mode::Dense, format, in_proj, s.chunk, way);
            if EXPERTS.contains(&format) {
                push(Mode::GroupedIn, format, w13, s.chunk, way);
                push(Mode::GroupedOut, format, w2, s.chunk, way);
            }
        }
    }
    all
}

fn activations(format: Format) -> Vec<Activations> {
    match format.block().0 {
        1 => vec![Activations::Float],
        _ => vec![Activations::Float, Activations::Int8],
    }
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Gather => "gather",
            Self::Combine => "combine",
            Self::GroupedIn => "grouped_in",
            Self::GroupedOut => "grouped_out",
        }
    }

    fn epilogue(self) -> Epilogue {
        match self {
            Self::Dense | Self::GroupedOut => Epilogue::Store,
            Self::Gather | Self::GroupedIn => Epilogue::Swiglu,
            Self::Combine => Epilogue::Add,
        }
    }
}

impl Product {
    /// Rows of inputs and of outputs, number of products, and number of experts that are read.
    fn counts(&self, s: &Setup) -> [usize; 4] {
        let (rows, items) = (self.rows, self.rows * s.moe.top_k);
        // The ids of a pass are distributed evenly.
        let touched = items.min(self.shape[0]);
        match self.mode {
            Mode::Dense => [rows, rows, rows, 1],
            Mode::Gather | Mode::GroupedIn => [rows, items, items, touched],
            Mode::Combine => [items, rows, items, touched],
            Mode::GroupedOut => [items, items, items, touched],
        }
    }

    fn width(&self) -> usize {
        let halves = self.mode.epilogue() == Epilogue::Swiglu;
        if halves { self.shape[1] / 2 } else { self.shape[1] }
    }

    fn case(self, s: &Setup) -> Case {
        let [_, rows, cols] = self.shape;
        let [inputs, outputs, products, experts] = self.counts(s);
        let how = match self.way {
            Way::Matmul(_) => String::new(),
            Way::Matvec { reduce, activations, items } => {
                format!(" {activations:?} {reduce:?} items={items}").to_lowercase()
            }
        };
        Case {
            kernel: self.way.kernel(),
            name: format!(
                "{} {}{how} {rows}x{cols} rows={}",
                self.format.name(),
                self.mode.name(),
                self.rows
            ),
            bytes: experts * rows * self.format.row_bytes(cols)
                + 4 * (inputs * cols + outputs * self.width()),
            operations: 2 * products * rows * cols,
            make: Box::new(move |s| {
                let [.., cols] = self.shape;
                let [inputs, outputs, ..] = self.counts(s);
                let weight = s.matrix(self.format, self.shape)?;
                let (x, out) = (s.floats(inputs * cols)?, s.floats(outputs * self.width())?);
                let ids = s.ids(self.rows)?;
                let experts = s.moe.num_experts as u32;
                let router = (
                    s.floats(self.rows * s.moe.num_experts)?,
                    s.floats(s.moe.num_experts)?,
                    s.floats(cols)?,
                );
                let (items_at, len) = groups_len(self.rows as u32, experts, s.moe.top_k as u32);
                let groups = s.zeros(len)?;
                s.plan(self.rows, self.rows, |r| {
                    self.record(s, r, &weight, (&x, &out), &router, (&ids, &groups, items_at));
                })
            }),
        }
    }

    fn record(
        &self,
        s: &Setup,
        r: &mut Recorder,
        weight: &Matrix,
        (x, out): (&Tensor<f32>, &Tensor<f32>),
        (logits, expert_bias, scale): &(Tensor<f32>, Tensor<f32>, Tensor<f32>),
        (ids, groups, items_at): (&Tensor<u32>, &Tensor<u32>, u32),
    ) {
        let (epilogue, top_k) = (self.mode.epilogue(), s.moe.top_k as u32);
        let grouped = matches!(self.mode, Mode::GroupedIn | Mode::GroupedOut).then(|| {
            let experts = s.moe.num_experts as u32;
            // Precedes the product in the same plan.
            let tile = match self.way {
                Way::Matvec { items, .. } => items.max(4),
                Way::Matmul(_) => TILE_ITEMS,
            };
            MoeGroup { ids, groups, items_at, experts, top_k, tile }.record(r);
            Grouped { groups, items_at, top_k, own_rows: self.mode == Mode::GroupedOut }
        });
        let matmul =
            Matmul { weight, bias: None, x, out, grouped, only_logit_rows: false, epilogue };
        let (reduce, activations, items_per_group) = match self.way {
            Way::Matvec { reduce, activations, items } => (reduce, activations, items),
            Way::Matmul(Multiply::Lanes) => return matmul.record(r),
            Way::Matmul(Multiply::MatrixUnits) => return MatmulCoop(matmul).record(r),
        };
        let choice = ExpertChoice {
            logits,
            expert_bias,
            top_k,
            norm_topk_prob: s.moe.norm_topk_prob,
            routed_scaling_factor: s.moe.routed_scaling_factor,
        };
        // As in the forward pass, which norms the inputs of in_proj, w13, router and head.
        let normed = matches!(self.mode, Mode::Dense | Mode::Gather) && self.rows <= 64;
        let items = match (self.mode, grouped) {
            (_, Some(grouped)) => MatvecItems::Grouped(grouped),
            (Mode::Gather, _) => MatvecItems::Gather(choice),
            (Mode::Combine, _) => MatvecItems::Combine(choice),
            _ => MatvecItems::Dense { only_logit_rows: false },
        };
        Matvec {
            weight,
            bias: None,
            x,
            norm: normed.then_some(Norm { scale, eps: s.config.norm_eps }),
            out,
            items,
            epilogue,
            reduce,
            activations,
            items_per_group,
        }
        .record(r);
    }
}
