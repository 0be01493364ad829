//! Memory of a model on a device with given options, and options with which it would fit.

use crate::error::Error;
use crate::gpu::Caps;
use crate::kernels::{KvFormat, PAGE};
use crate::model::{MemoryPlan, ModelConfig, Recipe, ResolvedTensors, ScratchShape, WeightChoice};
use crate::state::StateShape;

/// The shortest context that is chosen or advised if a longer one does not fit.
const LEAST_CONTEXT: u32 = 256;

/// The fixed inputs: the model, the device, and options that do not serve to save memory.
pub(super) struct Planning<'a> {
    pub config: &'a ModelConfig,
    pub tensors: &'a ResolvedTensors,
    pub caps: &'a Caps,
    pub n_slots: u32,
    pub chunk: u32,
    /// Most rows of a sequence that `attention` computes, as requested.
    pub attention_rows: u32,
    /// Whether that number may not be reduced.
    pub reproducible: bool,
}

/// The options that serve to save memory.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub context: u32,
    pub kv: KvFormat,
    pub recipe: Option<Recipe>,
}

/// The sizes of everything.
pub(super) struct Planned {
    pub state: StateShape,
    pub scratch: ScratchShape,
    pub memory: MemoryPlan,
    /// Most tokens of a prompt in a pass.
    pub chunk: u32,
    /// [`Choices::attention_rows`](crate::kernels::Choices::attention_rows).
    pub attention_rows: u32,
}

impl Planning<'_> {
    /// Computes all sizes, with a pool of pages for the contexts of all sequences, or for as many as one binding
    /// holds.
    pub fn plan(&self, setup: &Setup) -> Planned {
        let one = setup.context.div_ceil(PAGE);
        let most = (self.longest_in_binding(setup.kv) / PAGE).max(one);
        self.with_pool(setup, one.saturating_mul(self.n_slots).min(most))
    }

    /// The same with a pool for the context of one sequence.
    pub fn least(&self, setup: &Setup) -> Planned {
        self.with_pool(setup, setup.context.div_ceil(PAGE))
    }

    /// The plan with the largest pool that fits `have` bytes.
    pub fn fitting(&self, setup: &Setup, have: u64) -> Option<Planned> {
        let (full, least) = (self.plan(setup), self.least(setup));
        if full.memory.total() <= have {
            return Some(full);
        }
        let room = have.checked_sub(least.memory.total())?;
        let more = u64::from(full.state.n_pages - least.state.n_pages).max(1);
        let a_page = (full.memory.total() - least.memory.total()).div_ceil(more).max(1);
        let pages = least.state.n_pages + u32::try_from(room / a_page).unwrap_or(0);
        // Some pages bring a snapshot with them, so the bytes of a page are a mean.
        let mut sizes =
            (least.state.n_pages..=pages).rev().map(|pages| self.with_pool(setup, pages));
        sizes.find(|planned| planned.memory.total() <= have)
    }

    fn with_pool(&self, setup: &Setup, n_pages: u32) -> Planned {
        let state = self.state(setup.context, n_pages, setup.kv);
        // A pass has a row of each sequence, or a chunk.
        let chunk = self.chunk.min(setup.context);
        let rows = chunk.max(self.n_slots) as usize;
        let attention_rows = self.attention_rows(&state, rows as u64);
        let scratch = ScratchShape::new(self.config, &state, rows, attention_rows);
        let weights = self.weights(setup.recipe.as_ref());
        let memory = MemoryPlan::new(weights, &state, &scratch);
        Planned { state, scratch, memory, chunk, attention_rows }
    }

    /// Fewer than requested if the partial results of so many rows of each sequence would not fit a binding.
    fn attention_rows(&self, state: &StateShape, rows: u64) -> u32 {
        let heads = self.config.heads(state.kv_format);
        let row = 4 * heads.partial_len(state.context) as u64;
        let n_slots = u64::from(self.n_slots);
        let fit = self.caps.max_part() / row.max(1);
        let requested = u64::from(self.attention_rows);
        if self.reproducible || rows.min(n_slots * requested) <= fit {
            return self.attention_rows;
        }
        u32::try_from(fit / n_slots).map_or(self.attention_rows, |rows| rows.max(1))
    }

    fn state(&self, context: u32, n_pages: u32, kv_format: KvFormat) -> StateShape {
        let (dims, n_slots) = (self.config.state_dims(), self.n_slots);
        let n_snapshots = StateShape::snapshots(&dims, n_slots, n_pages, self.caps.max_part());
        StateShape { dims, n_slots, context, n_pages, n_snapshots, kv_format }
    }

    /// Bytes of the weights.
    fn weights(&self, recipe: Option<&Recipe>) -> u64 {
        self.tensors.gpu_bytes(recipe, self.caps.max_part())
    }

    /// The plan with the context halved until it fits `have` bytes.
    pub fn shorter(&self, setup: &Setup, have: u64) -> Option<Planned> {
        (1..)
            .map(|halvings| setup.context.checked_shr(halvings).unwrap_or(0))
            .take_while(|context| *context >= LEAST_CONTEXT)
            .find_map(|context| self.fitting(&Setup { context, ..setup.clone() }, have))
    }

    /// Options with which the model would fit `have` bytes: single ones, or else all together.
    pub fn advice(&self, setup: &Setup, have: u64) -> String {
        let fits = |setup: &Setup| self.least(setup).memory.total() <= have;
        let smaller_kv = self.smaller_kv(setup.kv);
        let smaller_weights = self.smaller_weights(setup);
        let with_kv = |kv: KvFormat| Setup { kv, ..setup.clone() };
        let with_weights = |w| Setup { recipe: Some(Recipe::new(w)), ..setup.clone() };
        let context = self.shorter(setup, have).map(|p| format!("--context {}", p.state.context));
        let kv = smaller_kv.iter().find(|kv| fits(&with_kv(**kv)));
        let weights = smaller_weights.iter().find(|w| fits(&with_weights(**w)));
        let alone: Vec<String> = [
            context,
            kv.map(|kv| format!("--kv {}", kv.option())),
            weights.map(|w| format!("--weights {}", w.option())),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !alone.is_empty() {
            return alone.join(", or ");
        }
        let mut least = setup.clone();
        let mut all = Vec::new();
        if let Some(weights) = smaller_weights.last() {
            least.recipe = Some(Recipe::new(*weights));
            all.push(format!("--weights {}", weights.option()));
        }
        if let Some(kv) = smaller_kv.last() {
            least.kv = *kv;
            all.push(format!("--kv {}", kv.option()));
        }
        if !fits(&least) {
            match self.shorter(&least, have) {
                Some(planned) => all.push(format!("--context {}", planned.state.context)),
                None => return "a smaller model".to_owned(),
            }
        }
        all.join(" with ")
    }

    /// The context that the model was made for.
    pub fn models_own(&self) -> u32 {
        u32::try_from(self.config.max_position_embeddings).unwrap_or(u32::MAX)
    }

    /// The longest context that the model supports and whose keys and values fit one binding a
    /// layer.
    pub fn longest(&self, kv_format: KvFormat) -> u32 {
        self.longest_in_binding(kv_format).min(self.models_own())
    }

    /// Positions of the largest pool whose keys, or values, fit one binding a layer.
    fn longest_in_binding(&self, kv_format: KvFormat) -> u32 {
        let page = self.state(PAGE, 1, kv_format);
        let pages = self.caps.max_part() / (4 * page.kv_words() as u64).max(1);
        u32::try_from(pages.saturating_mul(u64::from(PAGE))).unwrap_or(u32::MAX)
    }

    /// Refuses a context that is too long for one binding or for the model.
    ///
    /// # Errors
    /// [`Error::Option`], naming the format of keys and values with which it would fit.
    pub fn check_context(&self, context: u32, kv: KvFormat) -> Result<(), Error> {
        let longest = self.longest(kv);
        if (1..=longest).contains(&context) {
            return Ok(());
        }
        let mut need = format!("1 to {longest}");
        let own = self.models_own();
        if context > own {
            need += &format!(" (this model was made for {own})");
        }
        let fits = |kv: &KvFormat| (1..=self.longest(*kv)).contains(&context);
        if let Some(smaller) = self.smaller_kv(kv).into_iter().find(fits) {
            need += &format!(" on this device, or --kv {}", smaller.option());
        }
        Err(Error::Option { option: "context", got: context.to_string(), need })
    }

    /// Formats of keys and values that take less memory than `now`, the largest first.
    fn smaller_kv(&self, now: KvFormat) -> Vec<KvFormat> {
        let head_dim = self.config.head_dim;
        let words = |kv: KvFormat| kv.words(1, head_dim);
        let smaller = |kv: &KvFormat| kv.takes(head_dim) && words(*kv) < words(now);
        let mut all: Vec<KvFormat> = KvFormat::ALL.into_iter().filter(smaller).collect();
        all.sort_by_key(|kv| std::cmp::Reverse(words(*kv)));
        all
    }

    /// Weight formats that take less memory, the largest first.
    fn smaller_weights(&self, setup: &Setup) -> Vec<WeightChoice> {
        let bytes = |weights| self.weights(Some(&Recipe::new(weights)));
        let now = self.weights(setup.recipe.as_ref());
        let mut all: Vec<WeightChoice> =
            WeightChoice::ALL.into_iter().filter(|w| bytes(*w) < now).collect();
        all.sort_by_key(|w| std::cmp::Reverse(bytes(*w)));
        all
    }
}

/// Warns about a large model on an adapter that does not report its memory: loading may fail late.
pub(super) fn warn_unknown(plan: &MemoryPlan, known: Option<u64>) {
    const LARGE: u64 = 2 << 30;
    if known.is_none() && plan.total() > LARGE {
        log::warn!(
            "the model needs {} MiB of GPU memory and this adapter does not report its memory; \
             if loading fails, set --memory and a smaller --context",
            plan.total() >> 20
        );
    }
}
