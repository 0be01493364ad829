//! `lfm2 logits`: the logits of a text as a file, to compare with the reference.

use std::path::{Path, PathBuf};

use clap::Args;
use safetensors::tensor::{Dtype, TensorView};

use super::options::Common;
use super::tokenize::{argument, ids};
use super::{CliError, load};
use crate::engine::{GenerateOptions, SamplingOptions, Session};
use crate::kernels::KvFormat;

/// Keys and values are f32 here whatever the weights are: this command measures.
#[derive(Debug, Args)]
pub struct Logits {
    /// Token ids: `1,2,3`, or @FILE with such a list or a JSON array
    #[arg(long, value_name = "IDS|@FILE", env = "LFM2_TOKENS")]
    tokens: String,
    /// At most N tokens per forward pass; 1 is token by token. Default: 512
    #[arg(long, value_name = "N", env = "LFM2_CHUNK", value_parser = clap::value_parser!(u32).range(1..))]
    chunk: Option<u32>,
    /// Add N greedy tokens after the text; end tokens do not stop them
    #[arg(long, value_name = "N", env = "LFM2_GREEDY", value_parser = clap::value_parser!(u32).range(1..))]
    greedy: Option<u32>,
    /// File to write: tensor `logits`, f32 [tokens, vocabulary], and `greedy`, i32 [N]
    #[arg(long, value_name = "FILE.safetensors", env = "LFM2_OUT")]
    out: PathBuf,
}

impl Logits {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let tokens = ids(&argument(&self.tokens)?)?;
        let engine = load::engine_with(common, |b| b.kv_format(KvFormat::F32))?;
        let need = tokens.len() + self.greedy.unwrap_or(0) as usize;
        if need > engine.context_length() {
            return Err(CliError::User(format!(
                "--tokens: {} tokens and {} greedy ones need a context of {need}, it is {}; \
                 try a larger --context",
                tokens.len(),
                self.greedy.unwrap_or(0),
                engine.context_length()
            )));
        }
        let mut session = engine.session()?;
        let chunk = self.chunk.unwrap_or(512) as usize;
        let logits = pollster::block_on(session.logits(&tokens, chunk))?;
        let greedy = match self.greedy {
            Some(n) => Some(greedy(&mut session, &tokens, n as usize)?),
            None => None,
        };
        self.write(&logits, tokens.len(), greedy.as_deref())
    }

    fn write(&self, logits: &[f32], rows: usize, greedy: Option<&[i32]>) -> Result<(), CliError> {
        let internal = |e: safetensors::SafeTensorError| CliError::Internal(e.to_string());
        let shape = vec![rows, logits.len() / rows.max(1)];
        let bytes = bytemuck::cast_slice(logits);
        let mut tensors =
            vec![("logits", TensorView::new(Dtype::F32, shape, bytes).map_err(internal)?)];
        if let Some(ids) = greedy {
            let bytes = bytemuck::cast_slice(ids);
            let view = TensorView::new(Dtype::I32, vec![ids.len()], bytes).map_err(internal)?;
            tensors.push(("greedy", view));
        }
        let file = safetensors::serialize(tensors, None).map_err(internal)?;
        write_whole(&self.out, &file)
    }
}

fn greedy(session: &mut Session, tokens: &[u32], n: usize) -> Result<Vec<i32>, CliError> {
    let options = GenerateOptions {
        sampling: Some(SamplingOptions::greedy()),
        max_tokens: Some(n),
        ignore_end: true,
        ..Default::default()
    };
    let mut generation = session.generate(tokens, &options)?;
    let mut ids = Vec::with_capacity(n);
    while let Some(delta) = pollster::block_on(generation.next()) {
        // Ids are below the vocabulary size, far from i32's end.
        ids.extend(delta?.token.map(|t| t as i32));
    }
    Ok(ids)
}

/// Writes beside `path` and renames: there is never half a file of that name.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&beside);
        CliError::file(path, "write", &e)
    })
}
