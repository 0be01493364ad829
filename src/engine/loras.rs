//! The LoRA adapters of an engine: their names, and their places on the GPU.

use std::sync::{Arc, Mutex, Weak};

use super::answer::LoraChoice;
use super::passes::lock;
use super::runner::Runner;
use crate::error::Error;
use crate::kernels::SeqLora;
use crate::model::ModelConfig;
use crate::model::lora::{LoraAdapter, LoraCapacity};

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
        key(&self.loaded, self.scale.to_bits())
    }

    /// The same in a file, for later runs of the program.
    pub fn identity(&self) -> String {
        identity(&self.loaded.adapter, self.scale.to_bits())
    }
}

/// Identity of an adapter's state in a file.
fn identity(adapter: &LoraAdapter, scale_bits: u32) -> String {
    format!("{:016x}-{scale_bits:08x}", adapter.fingerprint())
}

fn key(loaded: &Loaded, scale_bits: u32) -> u64 {
    u64::from(loaded.key) << 32 | u64::from(scale_bits)
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
    pub fn reserve(
        &self,
        name: &str,
        adapter: Arc<LoraAdapter>,
        scale: f32,
    ) -> Result<Arc<Loaded>, Error> {
        let scale = check_scale(scale)?;
        if name.trim().is_empty() {
            return Err(wrong("\"\"", "is an empty name: give the adapter a name"));
        }
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

    /// Lets requests find a reserved adapter.
    pub fn publish(&self, loaded: Arc<Loaded>) -> Result<(), Error> {
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
            if let (Some(new), true) = (new, runner.adapted.capacity().suits(&needed)) {
                return Ok(runner.write_lora(new.slot, &new.adapter)?);
            }
            // Some room for later ones, so that not each of many is put there anew.
            let roomy = LoraCapacity { slots: needed.slots + needed.slots / 4, ..needed };
            let adapters = live.iter().map(|loaded| (loaded.slot, loaded.adapter.clone()));
            let passes = runner.adapt(&roomy, adapters).await?;
            let table = lock(&self.0);
            if table.changes == changes {
                runner.adapted.set(roomy, passes);
                return Ok(());
            }
        }
    }

    /// Frees the memory on the GPU if no adapter is there.
    pub fn free_unused(&self, runner: &Runner) {
        let table = lock(&self.0);
        if table.slots.iter().all(|slot| slot.strong_count() == 0) {
            runner.adapted.remove();
        }
    }

    /// Forgets an adapter's name.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let mut table = lock(&self.0);
        if table.find(name).is_none() {
            return Err(unknown(&table, name));
        }
        table.named.retain(|loaded| loaded.name != name);
        Ok(())
    }

    /// The adapters with names, in the order of their loading.
    pub fn infos(&self) -> Vec<LoraInfo> {
        let table = lock(&self.0);
        let info = |loaded: &Arc<Loaded>| LoraInfo {
            name: loaded.name.clone(),
            rank: loaded.adapter.rank(),
            scale: loaded.scale,
        };
        table.named.iter().map(info).collect()
    }

    /// The key of a loaded adapter's state, by the identity in a file.
    pub fn key_of(&self, wanted: &str) -> Option<u64> {
        let scale_bits = u32::from_str_radix(wanted.split_once('-')?.1, 16).ok()?;
        let named = lock(&self.0).named.clone();
        let found = named.iter().find(|loaded| identity(&loaded.adapter, scale_bits) == wanted)?;
        Some(key(found, scale_bits))
    }

    /// The adapter of a sequence.
    pub fn choose(&self, choice: &LoraChoice) -> Result<LoraOfSeq, Error> {
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
