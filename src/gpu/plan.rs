//! Plans: dispatches that are recorded once for each size of batch. An [`Encoder`] replays them for every
//! step, with the sizes of that step ([`StepShape`]).
//!
//! [`Encoder`]: super::Encoder

use std::ops::Range;
use std::sync::Arc;

use super::pipeline::PARAMS_STRIDE;
use super::tensor::Memory;
use super::{Binding, Caps, Device, Element, GpuError, Readback, Tensor, Variant};

/// Sizes that vary between replays of a plan. Grids are functions of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepShape {
    /// Token rows.
    pub rows: u32,
    /// Rows whose logits are wanted.
    pub logit_rows: u32,
    /// The same if a token of the step is drawn at a temperature above 0, else 0.
    pub drawn_rows: u32,
    /// The same if top-k or top-p restricts such a draw, else 0.
    pub truncated_rows: u32,
    /// The same if log-probabilities of the model's own logits are wanted, else 0.
    pub raw_logprob_rows: u32,
    /// The same if log-probabilities after biases and penalties are wanted, else 0.
    pub processed_logprob_rows: u32,
    /// Sequences.
    pub seqs: u32,
    /// Most rows of a sequence.
    pub seq_rows: u32,
    /// Splits of all query tiles of the sequences with many rows, for flash attention.
    pub tiles: u32,
    /// Most splits of a context of the sequences with few rows, for decode attention.
    pub splits: u32,
    /// Most splits of a context of the sequences with many rows, for flash attention.
    pub tiled_splits: u32,
}

/// One dimension of a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Always this many workgroups.
    Const(u32),
    /// `ceil(rows * times / per)`.
    Rows {
        /// Items of a row.
        times: u32,
        /// Items of a workgroup.
        per: u32,
    },
    /// `ceil(logit_rows / per)`.
    LogitRows {
        /// Rows of a workgroup.
        per: u32,
    },
    /// `drawn_rows`.
    DrawnRows,
    /// `truncated_rows`.
    TruncatedRows,
    /// `raw_logprob_rows`.
    RawLogprobRows,
    /// `processed_logprob_rows`.
    ProcessedLogprobRows,
    /// Either of the two.
    LogprobRows,
    /// One per sequence.
    Seqs,
    /// `ceil(seq_rows / per)`.
    SeqRows {
        /// Rows of a workgroup.
        per: u32,
    },
    /// One per query tile and split of its context.
    Tiles,
    /// Most splits of a context of a sequence with few rows.
    Splits,
    /// 1 if a context has several splits, which are joined; otherwise 0.
    SeveralSplits,
    /// Most tiles that `rows * top_k` items grouped by expert can fill.
    ExpertTiles {
        /// Experts.
        experts: u32,
        /// Experts of a row.
        top_k: u32,
        /// Items in a tile.
        tile: u32,
    },
}

impl Extent {
    /// Workgroups for `shape`.
    #[must_use]
    pub fn of(self, shape: &StepShape) -> u32 {
        match self {
            Self::Const(n) => n,
            Self::Rows { times, per } => (shape.rows * times).div_ceil(per),
            Self::LogitRows { per } => shape.logit_rows.div_ceil(per),
            Self::DrawnRows => shape.drawn_rows,
            Self::TruncatedRows => shape.truncated_rows,
            Self::RawLogprobRows => shape.raw_logprob_rows,
            Self::ProcessedLogprobRows => shape.processed_logprob_rows,
            Self::LogprobRows => shape.raw_logprob_rows.max(shape.processed_logprob_rows),
            Self::Seqs => shape.seqs,
            Self::SeqRows { per } => shape.seq_rows.div_ceil(per),
            Self::Tiles => shape.tiles,
            Self::Splits => shape.splits,
            Self::SeveralSplits => u32::from(shape.splits.max(shape.tiled_splits) > 1),
            Self::ExpertTiles { experts, top_k, tile } => {
                // Every expert may have one tile that is not full. A tile has at least one item.
                let items = shape.rows * top_k;
                (items / tile + experts).min(items)
            }
        }
    }
}

/// Workgroups in x, y and z.
pub type Grid = [Extent; 3];

/// One call of a kernel.
#[derive(Debug)]
pub struct Dispatch {
    /// The shader.
    pub variant: Variant,
    /// The bytes of its `Params`.
    pub params: Vec<u8>,
    /// Its tensors, by the names of the shader's variables.
    pub bindings: Vec<Binding>,
    /// Its grid.
    pub grid: Grid,
    /// Multiply-adds of a row, by which long passes are cut into short submissions.
    pub macs_per_row: u64,
    /// Weights that it reads, for profiles.
    pub reads: Reads,
}

impl Dispatch {
    /// Its workgroups in a replay for `shape`; `None` if the replay skips it.
    #[must_use]
    pub fn workgroups(&self, shape: &StepShape) -> Option<[u32; 3]> {
        workgroups(&self.grid, shape)
    }
}

/// Weights that a dispatch reads of a tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reads {
    /// Bytes of the tensor.
    pub bytes: u64,
    /// Share of the tensor that one row reads: 1, or its experts' share of all experts.
    pub share: f64,
}

impl Reads {
    /// Bytes read for `rows` rows, each byte once, if rows choose experts evenly.
    #[must_use]
    pub fn of(&self, rows: u32) -> f64 {
        self.bytes as f64 * (1.0 - (1.0 - self.share).powf(f64::from(rows)))
    }
}

enum Recorded {
    Dispatch(Dispatch),
    Probe { name: String, source: Binding, bytes: u64 },
}

/// Collects the dispatches of a forward pass.
pub struct Recorder {
    caps: Caps,
    probing: bool,
    recorded: Vec<Recorded>,
    pause: Option<usize>,
}

impl Recorder {
    /// A recorder for a device with `caps`. With `probing`, [`Recorder::probe`] keeps copies.
    #[must_use]
    pub fn new(caps: Caps, probing: bool) -> Self {
        Self { caps, probing, recorded: Vec::new(), pause: None }
    }

    /// Capabilities by which kernels are chosen.
    #[must_use]
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// Whether [`Recorder::probe`] keeps copies.
    #[must_use]
    pub fn probing(&self) -> bool {
        self.probing
    }

    /// Appends a dispatch.
    pub fn push(&mut self, dispatch: Dispatch) {
        self.recorded.push(Recorded::Dispatch(dispatch));
    }

    /// Marks the place up to which a replay needs no input that the host may still have to compute.
    pub fn pause_here(&mut self) {
        self.pause = Some(self.recorded.len());
    }

    /// The variants recorded so far, in order.
    pub fn variants(&self) -> impl Iterator<Item = &Variant> {
        self.recorded.iter().filter_map(|r| match r {
            Recorded::Dispatch(d) => Some(&d.variant),
            Recorded::Probe { .. } => None,
        })
    }

    /// The recorded dispatches, in order.
    pub fn into_dispatches(self) -> impl Iterator<Item = Dispatch> {
        self.recorded.into_iter().filter_map(|r| match r {
            Recorded::Dispatch(d) => Some(d),
            Recorded::Probe { .. } => None,
        })
    }

    /// Copies the current content of `tensor` under a name, so that a test can compare it with a golden.
    /// Does nothing unless the recorder probes.
    pub fn probe<T: Element>(&mut self, name: std::fmt::Arguments<'_>, tensor: &Tensor<T>) {
        if self.probing {
            let (source, bytes) = (tensor.bind("probe"), tensor.bytes());
            self.recorded.push(Recorded::Probe { name: name.to_string(), source, bytes });
        }
    }

    /// Compiles the missing kernels and makes the plan. `batch` is the batch table, which every kernel reads.
    ///
    /// # Errors
    /// [`GpuError::Pipeline`] if the driver refuses a kernel, or memory errors.
    pub async fn finish(self, device: &Device, batch: &Tensor<u32>) -> Result<Plan, GpuError> {
        device.compile(self.variants(), &|_, _| ()).await?;
        let mut params = Vec::new();
        let mut commands = Vec::new();
        for recorded in self.recorded {
            match recorded {
                Recorded::Dispatch(d) => {
                    let offset = params.len();
                    params.extend_from_slice(&d.params);
                    params.resize(offset + PARAMS_STRIDE as usize, 0);
                    commands.push(device.command(d, offset as u32).await?);
                }
                Recorded::Probe { name, source, bytes } => {
                    let target = device.readback(bytes).await?;
                    commands.push(Command::Probe { name, source, target });
                }
            }
        }
        params.resize(params.len().max(PARAMS_STRIDE as usize), 0);
        let made = device
            .guard("params", params.len() as u64, || {
                let wgpu_device = &device.inner.device;
                let uniform = wgpu_device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("params"),
                    size: params.len() as u64,
                    usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                });
                device.inner.queue.write_buffer(&uniform, 0, &params);
                let group = wgpu_device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some("params and batch"),
                    layout: &device.inner.layouts.group0,
                    entries: &[
                        wgpu::BindGroupEntry {
                            binding: 0,
                            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                                buffer: &uniform,
                                offset: 0,
                                size: std::num::NonZeroU64::new(PARAMS_STRIDE),
                            }),
                        },
                        wgpu::BindGroupEntry {
                            binding: 1,
                            resource: batch.memory.buffer.as_entire_binding(),
                        },
                    ],
                });
                (uniform, group)
            })
            .await?;
        let (params, group0) = made;
        let held = vec![Memory::new(params, &device.inner.ledger), batch.memory.clone()];
        let pause = self.pause.unwrap_or(commands.len());
        Ok(Plan { commands, pause, group0, _held: held })
    }
}

pub(super) enum Command {
    Dispatch {
        label: String,
        pipeline: wgpu::ComputePipeline,
        group1: wgpu::BindGroup,
        params_offset: u32,
        grid: Grid,
        macs_per_row: u64,
        reads: Reads,
        /// Memory that its bind group keeps, so that it stays counted.
        _held: Vec<Arc<Memory>>,
    },
    Probe {
        name: String,
        source: Binding,
        target: Readback,
    },
}

/// A recorded forward pass. A replay allocates nothing and looks nothing up.
pub struct Plan {
    pub(super) commands: Vec<Command>,
    /// Commands before the mark of [`Recorder::pause_here`].
    pause: usize,
    pub(super) group0: wgpu::BindGroup,
    /// Memory that its bind groups keep, so that it stays counted.
    _held: Vec<Arc<Memory>>,
}

impl Plan {
    /// The commands from `start` on, at least one, that take at most about `macs` multiply-adds for `rows`
    /// rows, and their number of multiply-adds. A long chunk is cut into such pieces, so that no
    /// submission exceeds a driver's watchdog.
    #[must_use]
    pub fn piece(&self, start: usize, rows: u32, macs: u64) -> (Range<usize>, u64) {
        let mut sum = 0u64;
        for (i, command) in self.commands.iter().enumerate().skip(start) {
            let Command::Dispatch { macs_per_row, .. } = command else { continue };
            let cost = macs_per_row * u64::from(rows);
            if sum > 0 && sum + cost > macs {
                return (start..i, sum);
            }
            sum += cost;
        }
        (start..self.commands.len(), sum)
    }

    /// The commands before the mark of [`Recorder::pause_here`], and those behind it.
    #[must_use]
    pub fn halves(&self) -> [Range<usize>; 2] {
        [0..self.pause, self.pause..self.commands.len()]
    }

    /// Multiply-adds of a row.
    #[must_use]
    pub fn macs_per_row(&self) -> u64 {
        self.commands
            .iter()
            .map(|s| if let Command::Dispatch { macs_per_row, .. } = s { *macs_per_row } else { 0 })
            .sum()
    }

    /// Labels of the variants that a replay for `shape` dispatches, in order, and the bytes of weights that
    /// each reads.
    pub fn labels(&self, shape: &StepShape) -> impl Iterator<Item = (&str, f64)> {
        self.commands.iter().filter_map(move |command| match command {
            Command::Dispatch { label, grid, reads, .. } if workgroups(grid, shape).is_some() => {
                Some((label.as_str(), reads.of(shape.rows)))
            }
            _ => None,
        })
    }

    /// The probes' values after a replay, by name.
    ///
    /// # Errors
    /// Any failure of the read-back.
    pub async fn probes(&self) -> Result<Vec<(String, Vec<u32>)>, GpuError> {
        let mut all = Vec::new();
        for command in &self.commands {
            if let Command::Probe { name, target, .. } = command {
                all.push((name.clone(), target.read(None).await?));
            }
        }
        Ok(all)
    }
}

/// Workgroups of a dispatch; `None` if there are none.
pub(super) fn workgroups(grid: &Grid, shape: &StepShape) -> Option<[u32; 3]> {
    let groups = grid.map(|extent| extent.of(shape));
    (!groups.contains(&0)).then_some(groups)
}

impl Device {
    async fn command(&self, d: Dispatch, params_offset: u32) -> Result<Command, GpuError> {
        let broken = |reason: String| GpuError::Pipeline { kernel: d.variant.to_string(), reason };
        let made = self.pipeline(&d.variant).ok_or_else(|| broken("not compiled".to_owned()))?;
        let mut entries = Vec::new();
        for (binding, declared) in (0..).zip(&made.declared) {
            let bound = d
                .bindings
                .iter()
                .find(|b| b.name == declared.name)
                .ok_or_else(|| broken(format!("nothing bound to {}", declared.name)))?;
            entries.push(wgpu::BindGroupEntry {
                binding,
                resource: bound.memory.buffer.as_entire_binding(),
            });
        }
        if let Some(extra) =
            d.bindings.iter().find(|b| !made.declared.iter().any(|n| n.name == b.name))
        {
            return Err(broken(format!("{} is not a variable of the shader", extra.name)));
        }
        let label = d.variant.to_string();
        let group1 = self
            .guard(&label, 0, || {
                self.inner.device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(&label),
                    layout: &made.group1,
                    entries: &entries,
                })
            })
            .await?;
        Ok(Command::Dispatch {
            label,
            pipeline: made.pipeline,
            group1,
            params_offset,
            grid: d.grid,
            macs_per_row: d.macs_per_row,
            reads: d.reads,
            _held: d.bindings.into_iter().map(|b| b.memory).collect(),
        })
    }
}
