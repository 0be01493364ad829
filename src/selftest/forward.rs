//! A small model on a device, and passes of its forward pass, for [`check_model`](super::check_model).
//!
//! It uses the forward pass and the state directly, so that the self-test depends on no engine.

use std::sync::Arc;

use crate::error::Error;
use crate::formats::{Checkpoint, ModelFiles, read_small};
use crate::gpu::{Device, GpuError, Plan, Recorder, Tensor};
use crate::kernels::{
    Batch, Choices, FROM_SLOT, KvFormat, LogitRow, NOT_FINITE, PAGE, Row, SampleParams, SeqRows,
};
use crate::model::config::MAX_CONFIG_BYTES;
use crate::model::{
    Forward, ModelConfig, PassOutput, Recipe, Scratch, ScratchShape, Weights, all_token_ids,
    make_weights, validate,
};
use crate::state::{State, StateShape};

/// Positions of the one sequence, and most rows of a pass: one page.
pub(super) const CONTEXT: u32 = PAGE;

/// Results at one position.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Outputs {
    /// Experts of all layers, sorted in each.
    pub experts: Vec<u32>,
    pub logits: Vec<f32>,
}

impl Outputs {
    /// Adds a layer's experts.
    pub fn add_experts(&mut self, ids: &[u32]) {
        self.experts.extend(sorted(ids));
    }
}

/// A model on a device.
pub(super) struct ModelOnDevice {
    pub config: ModelConfig,
    device: Device,
    weights: Weights,
    state: State,
    scratch: Scratch,
    choices: Choices,
    batch_table: Tensor<u32>,
    /// `[CONTEXT, vocab_size]`: logits of passes that draw no token.
    logits: Tensor<f32>,
}

impl ModelOnDevice {
    /// Loads a checkpoint's weights, with keys and values in f32.
    ///
    /// # Errors
    /// An invalid model; [`GpuError`].
    pub async fn load(
        device: &Device,
        files: ModelFiles,
        choices: Choices,
        recipe: Option<&Recipe>,
    ) -> Result<Self, Error> {
        let source = files.require("config.json")?;
        let bytes = read_small(&*source, MAX_CONFIG_BYTES).await?;
        let config = ModelConfig::from_json(source.name(), &bytes)?;
        let checkpoint = Checkpoint::open(Arc::new(files)).await?;
        let tensors = validate(&config, &checkpoint).await?;
        let (weights, unread) =
            make_weights(device, &config, &checkpoint, &tensors, recipe).await?;
        unread.load(&mut |_| true).await?;
        let dims = config.state_dims();
        let state = StateShape {
            dims,
            n_slots: 1,
            context: CONTEXT,
            n_pages: CONTEXT.div_ceil(PAGE),
            n_snapshots: 1,
            kv_format: KvFormat::F32,
        };
        let scratch = ScratchShape::new(&config, &state, CONTEXT as usize, choices.attention_rows);
        let allowed = all_token_ids(config.vocab_size);
        let table_words = Batch::capacity(CONTEXT as usize, 1, 1);
        let vocab = config.vocab_size;
        Ok(Self {
            config,
            device: device.clone(),
            weights,
            state: State::new(device, &state).await?,
            scratch: Scratch::new(device, &scratch, 1, &allowed).await?,
            choices,
            batch_table: device.tensor("batch", table_words).await?,
            logits: device.tensor("logits of all rows", CONTEXT as usize * vocab).await?,
        })
    }

    /// Experts and logits after each token of a prompt, in passes of at most `per` rows.
    ///
    /// # Errors
    /// [`GpuError`].
    pub async fn outputs(&self, ids: &[u32], per: usize) -> Result<Vec<Outputs>, GpuError> {
        let top_k = self.config.moe.as_ref().map_or(0, |moe| moe.top_k);
        let mut all = Vec::new();
        for piece in ids.chunks(per) {
            let batch = batch(all.len(), piece, (0..piece.len() as u32).collect());
            let plan = self.plan(piece.len(), PassOutput::Logits).await?;
            self.run(&plan, &batch).await?;
            let mut outputs = vec![Outputs::default(); piece.len()];
            for (name, words) in plan.probes().await? {
                // The buffers are whole: rows beyond the pass hold older values.
                if name.ends_with(".feed_forward.ids") && top_k > 0 {
                    for (row, ids) in outputs.iter_mut().zip(words.chunks(top_k)) {
                        row.add_experts(ids);
                    }
                } else if name == "logits" {
                    for (row, words) in outputs.iter_mut().zip(words.chunks(self.config.vocab_size))
                    {
                        row.logits = words.iter().map(|w| f32::from_bits(*w)).collect();
                    }
                }
            }
            all.extend(outputs);
        }
        Ok(all)
    }

    /// Up to `count` greedy tokens after a prompt: fewer if a logit is NaN or infinite.
    ///
    /// # Errors
    /// [`GpuError`].
    pub async fn greedy(&self, ids: &[u32], count: usize) -> Result<Vec<u32>, GpuError> {
        let prompt = self.plan(ids.len(), PassOutput::Tokens).await?;
        let decode = self.plan(1, PassOutput::Tokens).await?;
        self.run(&prompt, &batch(0, ids, vec![ids.len() as u32 - 1])).await?;
        let mut tokens = Vec::new();
        loop {
            match self.device.read(&self.state.next_token).await?.first() {
                Some(token) if *token != NOT_FINITE => tokens.push(*token),
                _ => return Ok(tokens),
            }
            if tokens.len() == count {
                return Ok(tokens);
            }
            let position = ids.len() + tokens.len() - 1;
            self.run(&decode, &batch(position, &[FROM_SLOT], vec![0])).await?;
        }
    }

    /// Records a plan for `rows` rows, as an engine does: for one row, for few or for many. A plan
    /// that draws no token keeps all intermediates.
    async fn plan(&self, rows: usize, output: PassOutput) -> Result<Plan, GpuError> {
        let few = self.choices.matvec_rows;
        let rows = match rows as u32 {
            1 => 1,
            rows if rows <= few => few,
            _ => CONTEXT,
        };
        let tokens = output == PassOutput::Tokens;
        let mut recorder = Recorder::new(*self.device.caps(), !tokens);
        let forward = Forward {
            config: &self.config,
            weights: &self.weights,
            state: &self.state,
            scratch: &self.scratch,
            logits: if tokens { &self.scratch.logits } else { &self.logits },
            logprobs: &self.scratch.logprobs,
            choices: self.choices,
            rows,
        };
        forward.record(&mut recorder, output);
        recorder.finish(&self.device, &self.batch_table).await
    }

    async fn run(&self, plan: &Plan, batch: &Batch) -> Result<(), GpuError> {
        let Choices { multiply, attention_rows, .. } = self.choices;
        let tile_rows = self.config.heads(self.state.kv_format).tile_rows(multiply);
        let (table, shape) = batch.encode(tile_rows, attention_rows);
        self.device.write(&self.batch_table, 0, &table);
        let mut encoder = self.device.encoder();
        encoder.replay_all(plan, &shape);
        self.device.wait_for(&encoder.submit()).await
    }
}

/// These tokens at the positions from `first` on.
fn batch(first: usize, tokens: &[u32], logit_rows: Vec<u32>) -> Batch {
    let rows =
        (first as u32..).zip(tokens).map(|(position, token)| Row { token: *token, position });
    let seq = SeqRows {
        slot: 0,
        rows: rows.collect(),
        generated_from: (first + tokens.len()) as u32,
        lora: None,
        sample: SampleParams::GREEDY,
        pages: vec![0],
        logit_rows: logit_rows.into_iter().map(LogitRow::new).collect(),
        snapshot_columns: Vec::new(),
    };
    Batch { seqs: vec![seq] }
}

/// The experts of one layer, in ascending order.
pub(super) fn sorted(ids: &[u32]) -> Vec<u32> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}
