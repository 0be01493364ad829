//! `lfm2 logits`: writes logits to a file, for comparison with a reference.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::error::CliError;
use super::options::Common;
use super::part_file::PartFile;
use super::tokenize::{argument, ids};
use super::{interrupt, load, loras, progress};
use crate::engine::{Engine, GenerateOptions, ModelText, OpenedModel, SamplingOptions};

/// Default number of tokens in a forward pass.
const CHUNK: u32 = 512;
/// Most tokens that an engine accepts in a forward pass.
const MOST_ROWS: u32 = 4096;

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Logits {
    /// Token ids: `1,2,3`, a JSON array, or @FILE with one of them (@- is stdin)
    #[arg(long, value_name = "IDS|@FILE", env = "LFM2_TOKENS", allow_hyphen_values = true)]
    tokens: String,
    /// Maximum number of tokens in a forward pass
    #[arg(long, value_name = "N", env = "LFM2_CHUNK", default_value_t = CHUNK, value_parser = clap::value_parser!(u32).range(1..))]
    chunk: u32,
    /// Also generate N tokens greedily; end tokens do not stop it
    #[arg(long, value_name = "N", env = "LFM2_GREEDY", value_parser = clap::value_parser!(u32).range(1..))]
    greedy: Option<u32>,
    /// File to write: tensors `logits`, f32 [tokens, vocabulary], and `greedy`, i32 [N]
    #[arg(long, value_name = "FILE.safetensors", env = "LFM2_OUT")]
    out: PathBuf,
}

const NOTES: &str = "\
Defaults here: f32 for --kv, the length needed for --context. --greedy takes the id of the largest logit, \
even if the tokenizer has no token for it. (Answers of other commands never contain such ids.) The file \
appears once it is complete.

Examples:
  lfm2 logits --tokens 1,2,3 --out logits.safetensors
  lfm2 logits -m DIR --tokens @ids.json --chunk 1 --greedy 16 --out logits.safetensors";

impl Logits {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let tokens = ids(&argument(&self.tokens)?)?;
        let opened = load::open(common)?;
        let vocab = opened.config.vocab_size;
        let context = self.context(tokens.len(), &opened, common)?;
        if let Some((index, id)) = (0..).zip(&tokens).find(|(_, id)| **id as usize >= vocab) {
            return Err(crate::Error::TokenOutOfRange { index, id: *id, vocab }.into());
        }
        let mut file = PartFile::create(&self.out)?;
        file.write(&self.header(tokens.len(), vocab)?)?;
        let chunk = self.chunk.min(MOST_ROWS);
        let text = ModelText::without_tokenizer(opened.text);
        let engine = load::engine_of(OpenedModel { text, ..opened }, common, |b| {
            b.kv_format(common.kv_or_f32()).context_length(context).chunk(chunk)
        })?;
        let mut sequence = engine.sequence()?;
        sequence.set_lora(loras::first(&engine).as_ref())?;
        let bar = progress::bar(
            common,
            tokens.len() as u64,
            "logits [{bar:32}] {pos}/{len} tokens {eta}",
        );
        // One chunk at a time: the file may be larger than the memory.
        for piece in tokens.chunks(chunk as usize) {
            if interrupt::requested() {
                return Err(CliError::Interrupted);
            }
            let logits = pollster::block_on(sequence.logits(piece, piece.len()))?;
            file.write(bytemuck::cast_slice(&logits))?;
            bar.inc(piece.len() as u64);
        }
        bar.finish_and_clear();
        if let Some(n) = self.greedy {
            drop(sequence);
            let greedy = greedy(&engine, &tokens, n as usize)?;
            file.write(bytemuck::cast_slice(&greedy))?;
        }
        file.finish()
    }

    /// The context length: the positions needed, or --context.
    fn context(
        &self,
        tokens: usize,
        model: &OpenedModel,
        common: &Common,
    ) -> Result<u32, CliError> {
        if tokens == 0 {
            return Err(CliError::User("--tokens: the list is empty, need e.g. 1,2,3".to_owned()));
        }
        let greedy = self.greedy.unwrap_or(0);
        let need = tokens.saturating_add(greedy as usize);
        let most = model.config.max_position_embeddings;
        let have = common.context.filter(|c| *c > 0).map_or(most, |c| c as usize);
        if need > have {
            return Err(CliError::User(format!(
                "--tokens: {tokens} tokens and {greedy} greedy ones need a context of {need}, it \
                 is {have}; this model allows at most {most}"
            )));
        }
        Ok(common.context.unwrap_or(u32::try_from(need).unwrap_or(u32::MAX)))
    }

    /// The safetensors header, written first: the sizes are known before the first logits.
    fn header(&self, rows: usize, vocab: usize) -> Result<Vec<u8>, CliError> {
        let logits = rows as u64 * vocab as u64 * 4;
        let mut tensors = json!({
            "logits": { "dtype": "F32", "shape": [rows, vocab], "data_offsets": [0, logits] }
        });
        if let Some(n) = self.greedy {
            let end = logits + u64::from(n) * 4;
            tensors["greedy"] =
                json!({ "dtype": "I32", "shape": [n], "data_offsets": [logits, end] });
        }
        let mut json =
            serde_json::to_vec(&tensors).map_err(|e| CliError::Internal(e.to_string()))?;
        json.resize(json.len().next_multiple_of(8), b' ');
        Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
    }
}

fn greedy(engine: &Engine, tokens: &[u32], n: usize) -> Result<Vec<i32>, CliError> {
    let options = GenerateOptions {
        sampling: Some(SamplingOptions::greedy()),
        max_tokens: Some(n),
        ignore_end: true,
        lora: loras::first(engine),
        ..Default::default()
    };
    let mut generation = engine.session().generate(tokens, &options)?;
    let mut ids = Vec::with_capacity(n.min(1 << 16));
    while let Some(delta) = pollster::block_on(generation.next()) {
        if interrupt::requested() {
            return Err(CliError::Interrupted);
        }
        // Ids are below the vocabulary size, which i32 can hold.
        ids.extend(delta?.token.map(|t| t as i32));
    }
    Ok(ids)
}
