//! Cases of the product kernels, `matvec` and `matmul`.

use super::compare::Comparison;
use super::data::{Output, Pass, WeightsImport, run};
use super::lora::{Factors, Shrink};
use super::routing::{Routing, groups_words};
use super::stored::Stored;
use super::words::{count, filled, routed};
use super::{Fill, KernelCheck, Rng};
use crate::gpu::{Caps, Device, GpuError, Recorder};
use crate::kernels::{
    Activations, Epilogue, ExpertChoice, Format, Grouped, LoraShape, Matmul, MatmulCoop, Matvec,
    MatvecItems, Norm, Reduce, TILE_ITEMS,
};
use crate::reference::{self, After, Jobs, Product};

/// Assignment of rows to matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Every row takes the one matrix.
    Dense,
    /// As dense, with the logit rows as items.
    LogitRows,
    /// `matvec`: item `row * top_k + j` takes its expert.
    Gather,
    /// `matvec`: a row adds up its experts.
    Combine,
    /// `matmul`: items by expert, which read their rows.
    GroupedIn,
    /// `matmul`: items by expert, each with its own row.
    GroupedOut,
}

impl Rows {
    fn by_expert(self) -> bool {
        !matches!(self, Self::Dense | Self::LogitRows)
    }
}

/// A product.
#[derive(Clone, Debug)]
pub struct LinearCase {
    /// Assignment of rows.
    pub mode: Rows,
    /// Rows of the pass.
    pub items: usize,
    /// Rows of each matrix; even with [`Epilogue::Swiglu`].
    pub rows: usize,
    /// Columns, a multiple of 4.
    pub cols: usize,
    /// Matrices; 1 if dense.
    pub experts: usize,
    /// Experts a row goes to; 1 if dense.
    pub top_k: usize,
    /// Choice of experts.
    pub routing: Routing,
    /// Fill of weights and inputs.
    pub fill: Fill,
    /// Epilogue of the product.
    pub epilogue: Epilogue,
    /// With a bias.
    pub bias: bool,
    /// `matvec`: of normed rows.
    pub norm: bool,
    /// Rank of the rows' LoRA adapters, a multiple of 4; 0: none.
    pub lora: usize,
    /// Split the matrix into parts of about this many rows; 0: as the device demands.
    pub part_rows: usize,
    /// Seed of the values.
    pub seed: u64,
}

/// A product kernel and its choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinearKernel {
    /// For few items.
    Matvec {
        /// Reduction.
        reduce: Reduce,
        /// Precision of activations.
        activations: Activations,
        /// Items that share a weight read.
        items: u32,
    },
    /// For many items.
    Matmul,
    /// For many items, by matrix units.
    MatmulCoop,
}

/// Rounding of a product's operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    None,
    /// Inputs to 8 bits in blocks of 32.
    Int8,
    /// Weights to f16, and inputs after a division by 64.
    Half,
}

impl LinearKernel {
    /// The kernels for many items that a device has.
    #[must_use]
    pub fn of_many_items(caps: &Caps) -> Vec<Self> {
        let mut all = vec![Self::Matmul];
        if MatmulCoop::available(caps) {
            all.push(Self::MatmulCoop);
        }
        all
    }

    /// Summation of the adapters' products.
    pub(super) fn reduce(self) -> Reduce {
        match self {
            Self::Matvec { reduce, .. } => reduce,
            Self::Matmul | Self::MatmulCoop => Reduce::Tree,
        }
    }

    /// Items of a tile.
    fn tile(self) -> u32 {
        match self {
            Self::Matvec { items, .. } => items.max(4),
            Self::Matmul | Self::MatmulCoop => TILE_ITEMS,
        }
    }

    pub(super) fn rounding(self, format: Format) -> Rounding {
        match self {
            Self::Matvec { activations: Activations::Int8, .. } if format.is_quantised() => {
                Rounding::Int8
            }
            Self::MatmulCoop => Rounding::Half,
            _ => Rounding::None,
        }
    }
}

/// Added to the mean square.
pub(super) const EPS: f32 = 1e-5;
/// Factor of the gates.
const ROUTED_SCALING: f32 = 0.75;

/// Nearly the largest input that a division by 64 brings into f16's range.
const LARGEST_HALF: f32 = 64.0 * 65_000.0;

pub(super) struct Inputs {
    pub weight: Vec<f32>,
    pub bias: Option<Vec<f32>>,
    /// Rows that the kernel reads, and their norm's weight.
    pub raw: Vec<f32>,
    pub scale: Vec<f32>,
    /// Rows that are multiplied: the same, or normed.
    pub x: Vec<f32>,
    pub before: Vec<f32>,
    pub lora: Option<Factors>,
    /// The router's logits and the experts' biases, by which `matvec` chooses `ids` and `gates`.
    pub router: (Vec<f32>, Vec<f32>),
    pub ids: Vec<u32>,
    pub gates: Vec<f32>,
}

impl LinearCase {
    /// The same case with whole blocks of columns.
    pub(super) fn in_blocks(&self, format: Format) -> Self {
        Self { cols: self.cols.next_multiple_of(format.block().0), ..self.clone() }
    }

    /// The case's fill, restricted to values that the kernel supports.
    pub(super) fn inputs(&self, format: Format, kernel: LinearKernel) -> (Stored, Inputs) {
        let half = kernel.rounding(format) == Rounding::Half;
        let weight_fill = if half && self.fill == Fill::Extreme { Fill::Normal } else { self.fill };
        let mut rng = Rng::new(self.seed);
        let n_ids = if self.mode.by_expert() { self.items * self.top_k } else { 0 };
        let inputs = match self.mode {
            Rows::Combine | Rows::GroupedOut => self.items * self.top_k,
            _ => self.items,
        };
        let outputs = match self.mode {
            Rows::Gather | Rows::GroupedIn | Rows::GroupedOut => self.items * self.top_k,
            _ => self.items,
        };
        let stored =
            Stored::new(format, weight_fill, &mut rng, self.experts * self.rows * self.cols);
        let weight = stored.values.clone();
        let width = if self.epilogue == Epilogue::Swiglu { self.rows / 2 } else { self.rows };
        // An extreme row has squares beyond f32.
        let fill = if self.norm && self.fill == Fill::Extreme { Fill::Normal } else { self.fill };
        let raw = fill.values(&mut rng, inputs * self.cols);
        let scale = Fill::Normal.values(&mut rng, if self.norm { self.cols } else { 0 });
        let x = match self.norm {
            true => reference::rms_norm(EPS, &raw, &scale, &(0..inputs).collect::<Vec<_>>()),
            false => raw.clone(),
        };
        let before = Fill::Normal.values(&mut rng, outputs * width);
        let bias = self.bias.then(|| Fill::Normal.values(&mut rng, self.rows));
        let (router, ids, gates) = match self.mode {
            Rows::Gather | Rows::Combine => {
                let router = self.routing.logits(&mut rng, self.items, self.experts);
                let options = reference::Router {
                    expert_bias: &router.1,
                    top_k: self.top_k,
                    norm_topk_prob: true,
                    routed_scaling_factor: ROUTED_SCALING,
                };
                let routes = reference::route(&options, &router.0);
                let rows = routes.ids.chunks(self.top_k).zip(routes.scores.chunks(self.experts));
                let gates = rows.flat_map(|(ids, scores)| options.gates(scores, ids)).collect();
                (router, routes.ids, gates)
            }
            _ => {
                let ids = self.routing.ids(&mut rng, n_ids, self.experts);
                (Default::default(), ids, Vec::new())
            }
        };
        let Self { rows, cols, experts, top_k, items, lora: rank, .. } = *self;
        let shape = LoraShape { experts, rows, cols, rank, slots: 2, products: items * top_k };
        let lora = Factors::of(shape, items, top_k, &mut rng);
        let mut inputs = Inputs { weight, bias, raw, scale, x, before, lora, router, ids, gates };
        if half {
            inputs.x.iter_mut().for_each(|x| *x = x.clamp(-LARGEST_HALF, LARGEST_HALF));
            inputs.raw.clone_from(&inputs.x);
        }
        (stored, inputs)
    }

    pub(super) fn product<'a>(&self, i: &'a Inputs, after: After<'a>) -> Product<'a> {
        let (ids, gates, top_k) = (&i.ids[..], &i.gates[..], self.top_k);
        let jobs = match self.mode {
            Rows::Dense | Rows::LogitRows => Jobs::Dense,
            Rows::Gather | Rows::GroupedIn => Jobs::Experts { ids, top_k, own_rows: false },
            Rows::GroupedOut => Jobs::Experts { ids, top_k, own_rows: true },
            Rows::Combine => Jobs::Combine { ids, gates, top_k },
        };
        let (rows, cols, lora) = (self.rows, self.cols, i.lora.as_ref().map(Factors::twin));
        let bias = i.bias.as_deref();
        Product { weight: &i.weight, rows, cols, bias, lora, x: &i.x, jobs, after }
    }
}

impl Inputs {
    /// No values.
    pub fn none() -> Self {
        let (weight, raw, scale, x, before, router, ids, gates) = Default::default();
        Self { weight, bias: None, raw, scale, x, before, lora: None, router, ids, gates }
    }
}

/// Output of a product kernel.
struct Products {
    got: Vec<f32>,
    variant: String,
}

/// The products of a case by a kernel.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn products(
    device: &Device,
    case: &LinearCase,
    weights: WeightsImport,
    kernel: LinearKernel,
) -> Result<Vec<f32>, GpuError> {
    let case = &case.in_blocks(weights.format);
    let (stored, inputs) = case.inputs(weights.format, kernel);
    let ran = run_linear(device, case, (&stored, &inputs), weights, kernel, &mut Comparison::new())
        .await?;
    Ok(ran.got)
}

/// Runs a product kernel on a case.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn check_linear(
    device: &Device,
    case: &LinearCase,
    weights: WeightsImport,
    kernel: LinearKernel,
) -> Result<KernelCheck, GpuError> {
    let case = &case.in_blocks(weights.format);
    let (stored, inputs) = case.inputs(weights.format, kernel);
    let rounded = kernel.rounding(weights.format);
    let (want, bounds) = case.expected(&inputs, weights.format, rounded);
    let mut c = Comparison::new();
    let ran = run_linear(device, case, (&stored, &inputs), weights, kernel, &mut c).await?;
    c.floats("out", &ran.got, &want, |i| bounds[i]);
    if case.fill == Fill::Normal {
        // Rounding errors are random: the mean over few products, or after silu, has no bound.
        match rounded {
            Rounding::None => c.nmse("out", &ran.got, &want, 1e-7),
            _ if want.len() < 128 || case.epilogue == Epilogue::Swiglu => {}
            Rounding::Half => c.nmse("out", &ran.got, &want, 1e-6),
            Rounding::Int8 => c.nmse("out", &ran.got, &want, 1e-3),
        }
    }
    let name = match kernel {
        LinearKernel::Matvec { .. } => "matvec",
        LinearKernel::Matmul => "matmul",
        LinearKernel::MatmulCoop => "matmul_coop",
    };
    Ok(c.finish(name, ran.variant, in_words(case, weights, kernel)))
}

async fn run_linear(
    device: &Device,
    case: &LinearCase,
    (stored, i): (&Stored, &Inputs),
    weights: WeightsImport,
    kernel: LinearKernel,
    c: &mut Comparison,
) -> Result<Products, GpuError> {
    let format = weights.format;
    let most = match case.part_rows {
        0 => u64::MAX,
        rows => (rows * case.experts * format.row_bytes(case.cols)) as u64,
    };
    let shape = (case.experts, case.rows, case.cols);
    let mut weight = stored.matrix(device, shape, most).await?;
    if let Some(lora) = &i.lora {
        weight.lora = Some(lora.matrix(device).await?);
    }
    let logit_rows = case.mode == Rows::LogitRows;
    // With a norm, an item reads its logit row.
    let raw: Vec<f32> = match case.norm && logit_rows {
        true => {
            i.raw.chunks(case.cols).flat_map(|row| [&vec![7.0; case.cols], row].concat()).collect()
        }
        false => i.raw.clone(),
    };
    let x = device.tensor_of("x", &raw).await?;
    let scale = device.tensor_of("norm_scale", &i.scale).await?;
    let router_logits = device.tensor_of("logits", &i.router.0).await?;
    let expert_bias = device.tensor_of("expert_bias", &i.router.1).await?;
    let bias = match &i.bias {
        Some(bias) => Some(device.tensor_of("bias", bias).await?),
        None => None,
    };
    let (groups, items_at) =
        groups_words(&i.ids, case.items, case.experts as u32, case.top_k as u32, kernel.tile());
    let groups = device.tensor_of("groups", &groups).await?;
    let out = match case.epilogue {
        Epilogue::Add => Output::with(device, &i.before).await?,
        _ => Output::empty(device, i.before.len()).await?,
    };
    let ids = device.tensor_of("ids", &i.ids).await?;
    let mut pass = Pass::of_rows(case.items);
    if let Some(lora) = &i.lora {
        pass = Pass::of_sequences(case.items);
        lora.assign(&mut pass.batch);
    }
    if logit_rows {
        // There are more rows than logits, so that the two cannot be confused.
        pass = Pass::of_rows(2 * case.items + 1);
        pass.want_logits(&(0..case.items).map(|i| 2 * i + 1).collect::<Vec<_>>());
    }
    let top_k = case.top_k as u32;
    let grouped =
        Grouped { groups: &groups, items_at, top_k, own_rows: case.mode == Rows::GroupedOut };
    let choice = ExpertChoice {
        logits: &router_logits,
        expert_bias: &expert_bias,
        top_k,
        norm_topk_prob: true,
        routed_scaling_factor: ROUTED_SCALING,
    };
    let matmul = Matmul {
        weight: &weight,
        bias: bias.as_ref(),
        x: &x,
        out: &out.tensor,
        grouped: case.mode.by_expert().then_some(grouped),
        only_logit_rows: logit_rows,
        epilogue: case.epilogue,
    };
    let norm = case.norm.then_some(Norm { scale: &scale, eps: EPS });
    let chooses = matches!(case.mode, Rows::Gather | Rows::Combine);
    let shrink = Shrink {
        lora: weight.lora.as_ref(),
        x: &x,
        norm,
        choice: chooses.then_some(choice),
        ids: case.mode.by_expert().then_some(&ids),
        top_k,
        own_rows: matches!(case.mode, Rows::GroupedOut | Rows::Combine),
    };
    let record = |r: &mut Recorder| match kernel {
        LinearKernel::Matvec { reduce, activations, items } => Matvec {
            weight: &weight,
            bias: bias.as_ref(),
            x: &x,
            norm,
            out: &out.tensor,
            items: match case.mode {
                Rows::Gather => MatvecItems::Gather(choice),
                Rows::Combine => MatvecItems::Combine(choice),
                Rows::GroupedIn | Rows::GroupedOut => MatvecItems::Grouped(grouped),
                _ => MatvecItems::Dense { only_logit_rows: logit_rows },
            },
            epilogue: case.epilogue,
            reduce,
            activations,
            items_per_group: items,
        }
        .record(r),
        LinearKernel::Matmul => matmul.record(r),
        LinearKernel::MatmulCoop => MatmulCoop(matmul).record(r),
    };
    let variant = run(device, weights.caps(device), &pass.batch, 1, |r| {
        shrink.record(r, kernel.reduce());
        record(r);
    })
    .await?;
    let got = out.read(device, c).await?;
    Ok(Products { got, variant })
}

/// Description of a product: its weights, its sizes, its special features.
fn in_words(case: &LinearCase, weights: WeightsImport, kernel: LinearKernel) -> String {
    let mut text = format!("{} weights", weights.format.name());
    if let LinearKernel::Matvec { activations: Activations::Int8, .. } = kernel {
        text += ", inputs in 8 bits";
    }
    text += &format!(", {} x {}, {}", case.rows, case.cols, count(case.items, "row"));
    if case.experts > 1 {
        text += &format!(", {} of {} experts{}", case.top_k, case.experts, routed(case.routing));
    }
    text += match case.mode {
        Rows::Dense | Rows::Gather => "",
        Rows::LogitRows => ", only rows with logits",
        Rows::Combine => ", experts added up",
        Rows::GroupedIn => ", into experts",
        Rows::GroupedOut => ", out of experts",
    };
    text += match case.epilogue {
        Epilogue::Store => "",
        Epilogue::Add => ", added to its target",
        Epilogue::Swiglu => ", gated",
    };
    if case.bias {
        text += ", with bias";
    }
    if case.norm {
        text += ", normed";
    }
    if case.lora > 0 {
        text += ", with adapters";
    }
    text + filled(case.fill)
}
