//! Recorded passes: those of the model itself, and those in which rows may have LoRA adapters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gpu::Plan;
use crate::model::lora::LoraCapacity;
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

    /// The capacity for adapters.
    pub fn capacity(&self) -> LoraCapacity {
        lock(&self.0).as_ref().map(|adapted| adapted.capacity.clone()).unwrap_or_default()
    }

    /// Lets passes with adapters be `passes` from now on.
    pub fn set(&self, capacity: LoraCapacity, passes: Arc<Passes>) {
        *lock(&self.0) = Some(Adapted { capacity, passes });
    }

    /// Frees the memory of adapters.
    pub fn remove(&self) {
        *lock(&self.0) = None;
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
