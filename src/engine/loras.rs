//! The LoRA adapters of an engine: their names, and their places on the GPU.

use std::sync::{Arc, Mutex, Weak};

use super::Engine;
use super::passes::lock;
use super::runner::Runner;
use crate::error::Error;
use crate::kernels::SeqLora;
use crate::model::ModelConfig;
use crate::model::lora::{LoraAdapter, LoraCapacity};

/// The LoRA adapter of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraChoice {
    /// Its name, as [`Engine::load_lora`] was given it.
    pub name: String,
    /// Factor of its addition; `None`: the one that it was loaded with.
    pub scale: Option<f32>,
}

/// A loaded LoRA adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraInfo {
    /// Its name.
    pub name: String,
    /// Largest rank of its factors.
    pub rank: usize,
    /// Factor of its addition, beside the adapter's own.
    pub scale: f32,
}

/// An adapter with a slot on the GPU. The slot is free when the last clone is dropped.
pub(super) struct Loaded {
    name: String,
    slot: u32,
    /// Tells its state in the prefix cache from that of others; never 0, never used again.
    key: u32,
    scale: f32,
    adapter: Arc<LoraAdapter>,
}

/// The adapter of a sequence.
#[derive(Clone)]
pub(super) struct LoraOfSeq {
    loaded: Arc<Loaded>,
    scale: f32,
}

impl LoraOfSeq {
    /// Its place for the kernels.
    pub fn place(&self) -> SeqLora {
        SeqLora { slot: self.loaded.slot, scale: self.scale }
    }

    /// Identity of state that was computed with it.
    pub fn key(&self) -> u64 {
        u64::from(self.loaded.key) << 32 | u64::from(self.scale.to_bits())
    }
}

/// The adapters of an engine.
#[derive(Default)]
pub(super) struct Loras(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// In the order of their loading.
    named: Vec<Arc<Loaded>>,
    /// The adapters in slots, those that only answers in progress use included.
    slots: Vec<Weak<Loaded>>,
    last_key: u32,
    /// Number of changes of `slots`.
    changes: u64,
}

impl Table {
    fn find(&self, name: &str) -> Option<&Arc<Loaded>> {
        self.named.iter().find(|loaded| loaded.name == name)
    }

    fn live(&self) -> Vec<Arc<Loaded>> {
        self.slots.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Loras {
    /// Gives an adapter a slot; its name is not known yet.
    fn reserve(
        &self,
        name: &str,
        adapter: Arc<LoraAdapter>,
        scale: f32,
    ) -> Result<Arc<Loaded>, Error> {
        let mut table = lock(&self.0);
        if table.find(name).is_some() {
            return Err(wrong(name, "is loaded already: choose another name, or remove that one"));
        }
        let free = table.slots.iter().position(|slot| slot.strong_count() == 0);
        let slot = free.unwrap_or(table.slots.len());
        table.last_key += 1;
        table.changes += 1;
        let (key, name) = (table.last_key, name.to_owned());
        let loaded = Arc::new(Loaded { name, slot: slot as u32, key, scale, adapter });
        match table.slots.get_mut(slot) {
            Some(free) => *free = Arc::downgrade(&loaded),
            None => table.slots.push(Arc::downgrade(&loaded)),
        }
        Ok(loaded)
    }

    fn publish(&self, loaded: Arc<Loaded>) -> Result<(), Error> {
        let mut table = lock(&self.0);
        if table.find(&loaded.name).is_some() {
            return Err(wrong(&loaded.name, "was loaded meanwhile: choose another name"));
        }
        table.named.push(loaded);
        Ok(())
    }

    /// Puts the adapters of all slots on the GPU: `new` into its slot if there is room, else all of them into new
    /// buffers.
    pub async fn put(&self, runner: &Runner, new: Option<&Loaded>) -> Result<(), Error> {
        loop {
            let (live, changes) = {
                let table = lock(&self.0);
                (table.live(), table.changes)
            };
            let needed = capacity(&runner.config, &live);
            if live.is_empty() {
                return Ok(());
            }
            if let (Some(new), true) = (new, runner.lora_capacity().holds(&needed)) {
                return Ok(runner.write_lora(new.slot, &new.adapter)?);
            }
            // Some room for later ones, so that not each of many is put there anew.
            let roomy = LoraCapacity { slots: needed.slots + needed.slots / 4, ..needed };
            let adapters = live.iter().map(|loaded| (loaded.slot, loaded.adapter.clone()));
            let passes = runner.adapt(&roomy, adapters).await?;
            let table = lock(&self.0);
            if table.changes == changes {
                runner.set_adapted(roomy, passes);
                return Ok(());
            }
        }
    }

    /// Frees the memory on the GPU if no adapter is there.
    pub fn free_unused(&self, runner: &Runner) {
        let table = lock(&self.0);
        if table.slots.iter().all(|slot| slot.strong_count() == 0) {
            runner.remove_adapted();
        }
    }

    fn choose(&self, choice: &LoraChoice) -> Result<LoraOfSeq, Error> {
        let table = lock(&self.0);
        let loaded = table.find(&choice.name).ok_or_else(|| unknown(&table, &choice.name))?;
        let scale = check_scale(choice.scale.unwrap_or(loaded.scale))?;
        Ok(LoraOfSeq { loaded: loaded.clone(), scale })
    }
}

fn capacity(config: &ModelConfig, live: &[Arc<Loaded>]) -> LoraCapacity {
    let slots = live.iter().map(|loaded| loaded.slot as usize + 1).max().unwrap_or(0);
    LoraCapacity::of(config, slots, live.iter().map(|loaded| &*loaded.adapter))
}

fn wrong(name: &str, problem: &str) -> Error {
    Error::Lora { name: name.to_owned(), problem: problem.to_owned() }
}

fn unknown(table: &Table, name: &str) -> Error {
    let names: Vec<_> = table.named.iter().map(|loaded| loaded.name.as_str()).collect();
    match names.is_empty() {
        true => wrong(name, "is not loaded; no adapter is"),
        false => wrong(name, &format!("is not loaded; these are: {}", names.join(", "))),
    }
}

fn check_scale(scale: f32) -> Result<f32, Error> {
    if scale.is_finite() {
        return Ok(scale);
    }
    let need = "a finite number".to_owned();
    Err(Error::Option { option: "lora scale", got: scale.to_string(), need })
}

impl Engine {
    /// Loads a LoRA adapter, also while answers are generated. Answers use it by its name
    /// ([`GenerateOptions::lora`](super::GenerateOptions::lora)); each of a batch may have another one or none.
    /// `scale`: factor of its addition, usually 1. The GPU keeps the factors in f32, in memory beyond
    /// [`Engine::memory`]. The first adapter takes some time: kernels with adapters are compiled.
    ///
    /// # Errors
    /// [`Error::Lora`] if the name is empty or taken; [`Error::Option`] for a scale that is not finite;
    /// [`Error::Gpu`] if there is no memory for it. Then nothing has changed.
    pub async fn load_lora(
        &self,
        name: &str,
        adapter: impl Into<Arc<LoraAdapter>>,
        scale: f32,
    ) -> Result<(), Error> {
        if name.trim().is_empty() {
            return Err(wrong("\"\"", "is an empty name: give the adapter a name"));
        }
        let core = self.core();
        let loaded = core.loras.reserve(name, adapter.into(), check_scale(scale)?)?;
        loop {
            let runner = core.runner();
            core.loras.put(&runner, Some(&loaded)).await?;
            // The device may have been replaced meanwhile.
            if Arc::ptr_eq(&runner, &core.runner()) {
                return core.loras.publish(loaded);
            }
        }
    }

    /// Removes a LoRA adapter. Answers in progress go on with it; its memory is freed when they have ended.
    ///
    /// # Errors
    /// [`Error::Lora`] if there is none of this name.
    pub fn unload_lora(&self, name: &str) -> Result<(), Error> {
        let core = self.core();
        {
            let mut table = lock(&core.loras.0);
            if table.find(name).is_none() {
                return Err(unknown(&table, name));
            }
            table.named.retain(|loaded| loaded.name != name);
        }
        core.loras.free_unused(&core.runner());
        Ok(())
    }

    /// The loaded LoRA adapters, in the order of their loading.
    #[must_use]
    pub fn loras(&self) -> Vec<LoraInfo> {
        let table = lock(&self.core().loras.0);
        let info = |loaded: &Arc<Loaded>| LoraInfo {
            name: loaded.name.clone(),
            rank: loaded.adapter.rank(),
            scale: loaded.scale,
        };
        table.named.iter().map(info).collect()
    }

    /// The adapter of a request.
    pub(super) fn lora(&self, choice: Option<&LoraChoice>) -> Result<Option<LoraOfSeq>, Error> {
        choice.map(|choice| self.core().loras.choose(choice)).transpose()
    }
}
