//! Cases of LoRA adapters: the shrink kernel, and products that add an adapter, at in_proj's shape.

use lfm2_wgpu::gpu::GpuError;
use lfm2_wgpu::kernels::{
    Epilogue, Format, LoraMatrix, LoraShape, LoraShrink, Matrix, Matvec, MatvecItems, Norm,
    OfExpert,
};

use super::cases::Case;
use super::setup::Setup;

const RANKS: [usize; 3] = [8, 16, 64];

pub fn all(s: &Setup) -> Vec<Case> {
    RANKS
        .into_iter()
        .flat_map(|rank| [shrink(s, rank, 1), shrink(s, rank, s.chunk), product(s, rank)])
        .collect()
}

/// in_proj with an adapter.
fn in_proj(s: &Setup, rank: usize, rows: usize) -> Result<Matrix, GpuError> {
    let hidden = s.config.hidden_size;
    let shape =
        LoraShape { experts: 1, rows: 3 * hidden, cols: hidden, rank, slots: 1, products: rows };
    let data = s.floats(shape.len())?;
    let matrix = s.matrix(Format::Q4, [1, 3 * hidden, hidden])?;
    Ok(Matrix { lora: Some(LoraMatrix { data, shape }), ..matrix })
}

fn shrink(s: &Setup, rank: usize, rows: usize) -> Case {
    let (hidden, reduce) = (s.config.hidden_size, s.choices.reduce);
    Case {
        kernel: "lora_shrink",
        name: format!("rank {rank} {hidden} rows={rows}"),
        bytes: 4 * hidden * (rank + rows) + 4 * rank * rows,
        operations: 2 * hidden * rank * rows,
        make: Box::new(move |s| {
            let (weight, x) = (in_proj(s, rank, rows)?, s.floats(rows * hidden)?);
            s.plan(rows, rows, |r| {
                if let Some(lora) = &weight.lora {
                    let experts = OfExpert::None;
                    LoraShrink { lora, x: &x, norm: None, experts, own_rows: false, reduce }
                        .record(r);
                }
            })
        }),
    }
}

fn product(s: &Setup, rank: usize) -> Case {
    let (hidden, choices, eps) = (s.config.hidden_size, s.choices, s.config.norm_eps);
    let weights = 3 * hidden * Format::Q4.row_bytes(hidden);
    Case {
        kernel: "matvec",
        name: format!("Q4 dense {}x{hidden} rank {rank} rows=1", 3 * hidden),
        bytes: weights + 4 * 3 * hidden * (rank + 1) + 8 * hidden,
        operations: 6 * hidden * (hidden + rank),
        make: Box::new(move |s| {
            let (weight, out) = (in_proj(s, rank, 1)?, s.floats(3 * hidden)?);
            let (x, scale) = (s.floats(hidden)?, s.floats(hidden)?);
            s.plan(1, 1, |r| {
                Matvec {
                    weight: &weight,
                    bias: None,
                    x: &x,
                    norm: Some(Norm { scale: &scale, eps }),
                    out: &out,
                    items: MatvecItems::Dense { only_logit_rows: false },
                    epilogue: Epilogue::Store,
                    reduce: choices.reduce,
                    activations: choices.activations,
                    items_per_group: 1,
                }
                .record(r);
            })
        }),
    }
}
