//! Recorded passes: those of the model itself, and those in which rows may have LoRA adapters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

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

/// The adapters on the GPU. A change replaces the passes: those that were submitted keep the ones before.
#[derive(Default)]
pub(super) struct AdaptedPasses(Mutex<Present>);

#[derive(Default)]
struct Present {
    /// `None` without adapters.
    adapted: Option<Adapted>,
    /// The passes before, while a caller holds them who has prepared one of their plans.
    before: Weak<Passes>,
}

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
        lock(&self.0).adapted.as_ref().map(|adapted| adapted.passes.clone())
    }

    /// A plan of the passes before, which have the adapters of all batches that were prepared with them.
    pub fn plan_before(&self, key: PlanKey) -> Option<Arc<Plan>> {
        lock(&self.0).before.upgrade()?.plan(key)
    }

    /// The capacity for adapters.
    pub fn capacity(&self) -> LoraCapacity {
        let present = lock(&self.0);
        present.adapted.as_ref().map(|adapted| adapted.capacity.clone()).unwrap_or_default()
    }

    /// Lets passes with adapters be `passes` from now on.
    pub fn set(&self, capacity: LoraCapacity, passes: Arc<Passes>) {
        let mut present = lock(&self.0);
        if let Some(old) = present.adapted.replace(Adapted { capacity, passes }) {
            present.before = Arc::downgrade(&old.passes);
        }
    }

    /// Frees the memory of adapters.
    pub fn remove(&self) {
        lock(&self.0).adapted = None;
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
