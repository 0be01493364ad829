//! Everything that puts a model on a device, for the first time and again after the device was lost.

use super::progress::Reporter;
use super::runner::Runner;
use crate::error::Error;
use crate::formats::Checkpoint;
use crate::formats::source::BoxFuture;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::GpuError;
use crate::gpu::{Caps, Device};
use crate::kernels::Choices;
use crate::model::{
    LoadError, LoadProgress, ModelConfig, Recipe, ResolvedTensors, Scratch, ScratchShape,
    make_weights,
};
use crate::state::{State, StateShape};

/// A model's source and the sizes of its buffers.
pub(super) struct Loader {
    pub config: ModelConfig,
    pub checkpoint: Checkpoint,
    pub tensors: ResolvedTensors,
    pub recipe: Option<Recipe>,
    pub choices: Choices,
    /// Whether a row's value must not depend on the size of its pass.
    pub reproducible: bool,
    pub state: StateShape,
    pub scratch: ScratchShape,
    /// Mask of the ids that have a token.
    pub all_tokens: Vec<u32>,
}

impl Loader {
    /// Makes the buffers, loads the weights and compiles the kernels.
    ///
    /// The future is boxed: as an `async fn`, each caller gets a copy of it (14 kB of the browser's wasm, gzipped).
    pub fn runner<'a>(
        &'a self,
        device: &'a Device,
        reporter: Reporter,
    ) -> BoxFuture<'a, Result<Runner, Error>> {
        Box::pin(self.make(device, reporter))
    }

    async fn make(&self, device: &Device, reporter: Reporter) -> Result<Runner, Error> {
        let weights_reporter = reporter.clone();
        let mut on_progress = move |progress: LoadProgress| weights_reporter.weights(progress);
        let Self { config, checkpoint, tensors, recipe, .. } = self;
        let (weights, unread) =
            make_weights(device, config, checkpoint, tensors, recipe.as_ref()).await?;
        let state = State::new(device, &self.state).await?;
        let n_slots = self.state.n_slots as usize;
        let scratch = Scratch::new(device, &self.scratch, n_slots, &self.all_tokens).await?;
        let runner = Runner::new(
            device.clone(),
            config.clone(),
            weights,
            state,
            scratch,
            choices_on(self.choices, device.caps(), self.reproducible),
            self.scratch.rows as u32,
        )
        .await?;
        let compiled = runner.compile(reporter);
        let runner = compile_while_loading(compiled, unread.load(&mut on_progress)).await?;
        device.keep_pipelines();
        Ok(runner)
    }
}

/// The choices that were made for the `first` device, if this one has them, else those that suit it. The buffers are
/// planned for the first one's `attention_rows`.
fn choices_on(first: Choices, caps: &Caps, reproducible: bool) -> Choices {
    if first.available(caps) {
        return first;
    }
    let Choices { activations, attention_rows, .. } = first;
    let own = Choices { activations, attention_rows, ..Choices::by_capability(caps) };
    if reproducible { own.reproducible(caps) } else { own }
}

/// Compiles kernels while weights load: the runner is made on a thread of its own.
#[cfg(not(target_arch = "wasm32"))]
async fn compile_while_loading(
    runner: impl Future<Output = Result<Runner, Error>> + Send + 'static,
    load: impl Future<Output = Result<(), LoadError>>,
) -> Result<Runner, Error> {
    let compiling = std::thread::spawn(move || pollster::block_on(runner));
    let loaded = load.await;
    let runner = compiling.join().map_err(|_| GpuError::Pipeline {
        kernel: "(unknown)".to_owned(),
        reason: "the compiler panicked".to_owned(),
    })?;
    loaded?;
    runner
}

/// The same without threads.
#[cfg(target_arch = "wasm32")]
async fn compile_while_loading(
    runner: impl Future<Output = Result<Runner, Error>>,
    load: impl Future<Output = Result<(), LoadError>>,
) -> Result<Runner, Error> {
    let runner = runner.await?;
    load.await?;
    Ok(runner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_device_takes_the_rows_that_buffers_are_planned_for() {
        let everything = Caps::everything();
        let first = Choices { attention_rows: 6, ..Choices::by_capability(&everything) };
        assert_eq!(choices_on(first, &everything, false), first);
        let core = Caps::core();
        assert!(!first.available(&core));
        let own = choices_on(first, &core, false);
        assert_eq!(own, Choices { attention_rows: 6, ..Choices::by_capability(&core) });
        let same = choices_on(first.reproducible(&everything), &core, true);
        assert_eq!(same, own.reproducible(&core));
    }
}
