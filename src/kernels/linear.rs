//! The choice between the product kernels, by number of rows and device. It is made only here.

use serde::{Deserialize, Serialize};

use super::matmul::Grouped;
use super::{
    ATTENTION_ROWS, Activations, Epilogue, Format, Matmul, MatmulCoop, Matrix, Matvec, MatvecItems,
    Norm, Reduce, TILE_ITEMS,
};
use crate::gpu::{Caps, Recorder, Tensor};

/// Arithmetic units for products of many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Multiply {
    /// Ordinary invocations, in f32: [`Matmul`].
    Lanes,
    /// Matrix units, in f16 with sums in f32: [`MatmulCoop`].
    MatrixUnits,
}

/// Most rows of a pass for which the `matvec` family is used. It gives each row the same value in a batch as alone, so
/// answers of up to 64 sequences do not depend on each other. Where a driver chooses the size of subgroups for each
/// kernel (Intel's do), the order of a sum may differ in its last bits; [`Choices::reproducible`] rules that out.
/// Matrix units would be faster from fewer rows on: with eight rows, matvec takes 1.5 instructions for a multiply-add (Q4,
/// gfx1150). An H100 executes 9 to 10 instructions in the time of a byte; two rows already take 9.4 for a byte of Q4.
const MATVEC_ROWS: u32 = 64;

/// Most rows of a pass in which a row's value does not depend on their number, with [`Choices::reproducible`].
pub const REPRODUCIBLE_ROWS: u32 = MATVEC_ROWS;

/// Choices of an engine between equivalent ways to compute. They round differently, so they are fixed
/// for an engine and follow from the device's capabilities, the model and the engine's options only. They are never
/// measured, so that a seed gives the same text after every start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Choices {
    /// Summation within a workgroup.
    pub reduce: Reduce,
    /// Precision of activations in products with quantised weights.
    pub activations: Activations,
    /// Arithmetic units for products of many rows.
    pub multiply: Multiply,
    /// Most rows of a pass for which the `matvec` family is used.
    pub matvec_rows: u32,
    /// Most rows of a sequence in a pass whose attention `attention` computes; `flash_attention` computes more. An
    /// engine takes fewer if the partial results of so many rows of all sequences do not fit a binding of the device.
    pub attention_rows: u32,
}

impl Choices {
    /// The fastest choices on devices with these capabilities. On a GPU lanes share a row; on a CPU driver
    /// each lane owns rows, which doubles the speed of decoding. Matrix units, where kernels can use
    /// them, run prompts four times as fast as lanes (H100: 5,440 and 1,244 tokens a second). Int8
    /// activations gain nothing: 311 tokens a second on an H100 against 315 in f32, and half the speed
    /// on llvmpipe.
    #[must_use]
    pub fn by_capability(caps: &Caps) -> Self {
        let reduce = if caps.software { Reduce::serial(caps) } else { Reduce::shared_rows(caps) };
        let multiply = match MatmulCoop::available(caps) && !reduce.is_serial() {
            true => Multiply::MatrixUnits,
            false => Multiply::Lanes,
        };
        Self {
            reduce,
            activations: Activations::Float,
            multiply,
            matvec_rows: MATVEC_ROWS,
            attention_rows: ATTENTION_ROWS,
        }
    }

    /// The same with one order of summation for the products and the attention of a row in every pass of at most
    /// [`REPRODUCIBLE_ROWS`] rows.
    #[must_use]
    pub fn reproducible(self, caps: &Caps) -> Self {
        // A driver may compile each kernel for subgroups of another size, whose sums differ.
        let reduce = match self.reduce {
            Reduce::Subgroup if caps.min_subgroup != caps.max_subgroup => Reduce::Tree,
            Reduce::SerialSubgroup if caps.min_subgroup != caps.max_subgroup => Reduce::Serial,
            own => own,
        };
        Self {
            reduce,
            multiply: Multiply::Lanes,
            matvec_rows: REPRODUCIBLE_ROWS,
            attention_rows: REPRODUCIBLE_ROWS,
            ..self
        }
    }

    /// Whether kernels can make these choices on a device with these capabilities.
    #[must_use]
    pub fn available(&self, caps: &Caps) -> bool {
        let units = self.multiply == Multiply::Lanes || MatmulCoop::available(caps);
        let rows = 1..=MATVEC_ROWS;
        let rows = rows.contains(&self.matvec_rows) && rows.contains(&self.attention_rows);
        units && rows && Reduce::available(caps).contains(&self.reduce)
    }

    /// Whether products of a pass of `rows` rows take the `matvec` family. On CPU drivers, where lanes own rows,
    /// all do, since the barriers of tiles cost more than tiles save: on llvmpipe 512 x 2048 x 2048 in f16 takes
    /// 0.87 s by matvec and 2.96 s by matmul.
    fn takes_matvec(&self, rows: u32) -> bool {
        rows <= self.matvec_rows || self.reduce.is_serial()
    }

    /// Appends the kernel of these choices for a product of many rows. Weights in f32, which a router always
    /// has, are not rounded for matrix units.
    fn record_matmul(&self, matmul: Matmul<'_>, r: &mut Recorder) {
        let f32 = matmul.weight.parts.iter().any(|part| part.format == Format::F32);
        match self.multiply {
            Multiply::MatrixUnits if !f32 => MatmulCoop(matmul).record(r),
            _ => matmul.record(r),
        }
    }
}

/// Most rows of a router, a matrix in f32 with a row for each expert.
const ROUTER_ROWS: usize = 64;

/// `out (+)= weight x (+ bias)` for the rows of a pass.
pub struct Linear<'a> {
    /// `[1, rows, cols]`.
    pub weight: &'a Matrix,
    /// `[rows]`.
    pub bias: Option<&'a Tensor<f32>>,
    /// `[items, cols]`.
    pub x: &'a Tensor<f32>,
    /// RMSNorm of `x` before the product, as in [`Matvec`]; only for passes that take `Matvec`.
    pub norm: Option<Norm<'a>>,
    /// `[items, rows]`, or half as wide with [`Epilogue::Swiglu`].
    pub out: &'a Tensor<f32>,
    /// Operation on the result.
    pub epilogue: Epilogue,
    /// Items are the rows whose logits are wanted instead of all rows.
    pub only_logit_rows: bool,
}

impl Linear<'_> {
    /// Appends the kernel that suits `rows` rows.
    pub fn record(&self, r: &mut Recorder, choices: &Choices, rows: u32) {
        // A router takes matvec in long passes too. The 32 rows of LFM2-8B-A1B's fill a quarter of a tile of matmul,
        // which would run eight workgroups for 512 items; matvec runs a thousand.
        let is_router = self.weight.rows <= ROUTER_ROWS
            && self.weight.parts.iter().all(|part| part.format == Format::F32);
        if choices.takes_matvec(rows) || is_router {
            // A router's few rows make few workgroups, so they get more by smaller tiles.
            let most = match is_router {
                true => Matvec::tile_items(choices.reduce),
                false => Matvec::most_items(choices.reduce, choices.activations, r.caps()),
            };
            Matvec {
                weight: self.weight,
                bias: self.bias,
                x: self.x,
                norm: self.norm,
                out: self.out,
                items: MatvecItems::Dense { only_logit_rows: self.only_logit_rows },
                epilogue: self.epilogue,
                reduce: choices.reduce,
                activations: choices.activations,
                items_per_group: rows.next_power_of_two().min(most),
            }
            .record(r);
        } else {
            debug_assert!(self.norm.is_none(), "RMSNorm has a dispatch of its own in long passes");
            let matmul = Matmul {
                weight: self.weight,
                bias: self.bias,
                x: self.x,
                out: self.out,
                grouped: None::<Grouped<'_>>,
                only_logit_rows: self.only_logit_rows,
                epilogue: self.epilogue,
            };
            choices.record_matmul(matmul, r);
        }
    }
}

/// The products of several rows with their experts, grouped by expert.
pub struct ExpertLinear<'a> {
    /// `[experts, rows, cols]`.
    pub weight: &'a Matrix,
    /// `[inputs, cols]`.
    pub x: &'a Tensor<f32>,
    /// RMSNorm of `x` before the product, as in [`Linear`].
    pub norm: Option<Norm<'a>>,
    /// `[rows * top_k, rows]`, or half as wide with [`Epilogue::Swiglu`].
    pub out: &'a Tensor<f32>,
    /// The items of each expert, in tiles of [`ExpertLinear::tile`].
    pub grouped: Grouped<'a>,
    /// Operation on the result.
    pub epilogue: Epilogue,
}

impl ExpertLinear<'_> {
    /// Most items of a tile for passes of `rows` rows.
    #[must_use]
    pub fn tile(choices: &Choices, rows: u32) -> u32 {
        if choices.takes_matvec(rows) { Matvec::tile_items(choices.reduce) } else { TILE_ITEMS }
    }

    /// Appends the kernel that suits `rows` rows.
    pub fn record(&self, r: &mut Recorder, choices: &Choices, rows: u32) {
        let Self { weight, x, norm, out, grouped, epilogue } = *self;
        // On CPU drivers the reason is that of Linear: on llvmpipe 64 rows of 16 experts, six layers of w13 (1792 x
        // 1024) in Q4, took 1.35 s by matvec and 3.27 s by matmul, on a busy machine.
        if choices.takes_matvec(rows) {
            Matvec {
                weight,
                bias: None,
                x,
                norm,
                out,
                items: MatvecItems::Grouped(grouped),
                epilogue,
                reduce: choices.reduce,
                activations: choices.activations,
                items_per_group: Matvec::tile_items(choices.reduce),
            }
            .record(r);
        } else {
            debug_assert!(norm.is_none(), "RMSNorm has a dispatch of its own in long passes");
            let grouped = Some(grouped);
            let matmul =
                Matmul { weight, bias: None, x, out, grouped, only_logit_rows: false, epilogue };
            choices.record_matmul(matmul, r);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_follow_from_capabilities() {
        let core = Choices::by_capability(&Caps::core());
        assert_eq!((core.reduce, core.multiply), (Reduce::Tree, Multiply::Lanes));
        let gpu = Caps::everything();
        let choices = Choices::by_capability(&gpu);
        assert_eq!((choices.reduce, choices.multiply), (Reduce::Subgroup, Multiply::MatrixUnits));
        // Cooperative matrices that no kernel can use, and those of a software adapter.
        for caps in [Caps { max_workgroup_memory: 16 << 10, ..gpu }, Caps { software: true, ..gpu }]
        {
            assert_eq!(Choices::by_capability(&caps).multiply, Multiply::Lanes);
        }
    }

    #[test]
    fn reproducible_choices_need_no_subgroups_of_one_size() {
        let gpu = Caps::everything();
        let of = |caps: Caps| Choices::by_capability(&caps).reproducible(&caps);
        let choices = of(gpu);
        assert_eq!((choices.reduce, choices.multiply), (Reduce::Subgroup, Multiply::Lanes));
        assert_eq!((choices.matvec_rows, choices.attention_rows), (64, 64));
        let varying = Caps { min_subgroup: 8, ..gpu };
        assert_eq!(of(varying).reduce, Reduce::Tree);
        assert_eq!(of(Caps { software: true, ..varying }).reduce, Reduce::Serial);
        assert!(of(varying).available(&varying));
    }

    #[test]
    fn choices_survive_json() {
        let choices = Choices {
            reduce: Reduce::SerialSubgroup,
            activations: Activations::Int8,
            multiply: Multiply::MatrixUnits,
            matvec_rows: 8,
            attention_rows: 64,
        };
        let text = serde_json::to_string(&choices).unwrap();
        assert_eq!(
            text,
            r#"{"reduce":"serial-subgroup","activations":"int8","multiply":"matrix-units","matvec_rows":8,"attention_rows":64}"#
        );
        assert_eq!(serde_json::from_str::<Choices>(&text).unwrap(), choices);
    }
}
