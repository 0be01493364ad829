//! Recorded passes: those of the model itself, and those in which rows may have LoRA adapters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::runner::Runner;
use crate::error::Error;
use crate::gpu::{GpuError, Plan};
use crate::model::lora::{LoraAdapter, LoraCapacity};
use crate::model::{PassOutput, Weights};

/// Key of a recorded plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PlanKey {
    /// Most rows.
    pub rows: u32,
    pub output: PassOutput,
}

/// Weights, and the plans of passes with them.
pub(super) struct Passes {
    pub weights: Weights,
    plans: Mutex<BTreeMap<PlanKey, Arc<Plan>>>,
}

/// Passes in which rows may have adapters.
struct Adapted {
    capacity: LoraCapacity,
    passes: Arc<Passes>,
}

/// The adapters on the GPU; `None` without any. A change replaces it: passes that were submitted keep the one before.
#[derive(Default)]
pub(super) struct AdaptedPasses(Mutex<Option<Adapted>>);

impl Passes {
    pub fn new(weights: Weights) -> Self {
        Self { weights, plans: Mutex::new(BTreeMap::new()) }
    }

    pub fn plan(&self, key: PlanKey) -> Option<Arc<Plan>> {
        lock(&self.plans).get(&key).cloned()
    }

    pub fn insert(&self, key: PlanKey, plan: Plan) -> Arc<Plan> {
        let plan = Arc::new(plan);
        lock(&self.plans).insert(key, plan.clone());
        plan
    }
}

impl AdaptedPasses {
    pub fn passes(&self) -> Option<Arc<Passes>> {
        lock(&self.0).as_ref().map(|adapted| adapted.passes.clone())
    }
}

impl Runner {
    /// The capacity for adapters on this device.
    pub fn lora_capacity(&self) -> LoraCapacity {
        lock(&self.adapted.0).as_ref().map(|adapted| adapted.capacity.clone()).unwrap_or_default()
    }

    /// Makes passes for adapters up to `capacity`, with these in their slots. Nothing uses them before
    /// [`Runner::set_adapted`].
    ///
    /// # Errors
    /// [`Error::Gpu`] if they do not fit the device's memory or bindings.
    pub async fn adapt(
        &self,
        capacity: &LoraCapacity,
        adapters: impl IntoIterator<Item = (u32, Arc<LoraAdapter>)>,
    ) -> Result<Arc<Passes>, Error> {
        let (device, config) = (&self.device, &self.config);
        let rows = self.max_rows as usize;
        let weights = self.weights().with_lora(device, config, capacity, rows).await?;
        let passes = Passes::new(weights);
        self.compile_passes(&passes, &|_, _| {}).await?;
        for (slot, adapter) in adapters {
            passes.weights.write_lora(device, config, slot as usize, &adapter);
        }
        device.check()?;
        Ok(Arc::new(passes))
    }

    /// Lets passes with adapters be `passes` from now on.
    pub fn set_adapted(&self, capacity: LoraCapacity, passes: Arc<Passes>) {
        *lock(&self.adapted.0) = Some(Adapted { capacity, passes });
    }

    /// Frees the memory of adapters.
    pub fn remove_adapted(&self) {
        *lock(&self.adapted.0) = None;
    }

    /// Writes an adapter into a slot. The capacity must hold it.
    ///
    /// # Errors
    /// [`GpuError::DeviceLost`].
    pub fn write_lora(&self, slot: u32, adapter: &LoraAdapter) -> Result<(), GpuError> {
        if let Some(passes) = self.adapted.passes() {
            passes.weights.write_lora(&self.device, &self.config, slot as usize, adapter);
        }
        self.device.check()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
