//! The state of a running template.

use super::ast::{Block, Load, Loads, Name};
use super::error::{Res, error};
use super::meter::Meter;
use super::value::{Function, Namespace, Scope, Value};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Maximum nesting at run time. It fits a browser's stack.
const MAX_RECURSION: usize = 150;

/// A running template.
pub(super) struct Interp<'p> {
    pub blocks: &'p HashMap<Name, Block>,
    pub meter: Meter,
    /// The input variables.
    pub vars: HashMap<Arc<str>, Value>,
    /// Variables assigned at the outermost level.
    pub exported: RefCell<HashMap<Arc<str>, Value>>,
    pub autoescape: Cell<bool>,
    depth: Cell<usize>,
    /// Frames of macros, and namespaces. They may refer to each other in a cycle.
    pub frames: RefCell<Vec<Rc<Scope>>>,
    pub namespaces: RefCell<Vec<Rc<Namespace>>>,
    pub clock: &'p dyn Fn(&str) -> Result<String, String>,
    pub random: Cell<u64>,
}

impl Drop for Interp<'_> {
    fn drop(&mut self) {
        // One by one: cycles would never be dropped, and long chains would be dropped recursively.
        for frame in self.frames.take() {
            drop(frame.vars.take());
        }
        let fields: Vec<_> = self.namespaces.borrow().iter().map(|n| n.fields.take()).collect();
        drop(fields);
    }
}

impl<'p> Interp<'p> {
    pub(super) fn new(
        blocks: &'p HashMap<Name, Block>,
        vars: HashMap<Arc<str>, Value>,
        fuel: u64,
        clock: &'p dyn Fn(&str) -> Result<String, String>,
    ) -> Self {
        Self {
            blocks,
            meter: Meter::new(fuel),
            vars,
            exported: RefCell::default(),
            autoescape: Cell::new(false),
            depth: Cell::new(0),
            frames: RefCell::default(),
            namespaces: RefCell::default(),
            clock,
            random: Cell::new(0x9e37_79b9_7f4a_7c15),
        }
    }

    /// Runs `work` one level deeper.
    pub(super) fn deeper<T>(&self, work: impl FnOnce() -> Res<T>) -> Res<T> {
        let depth = self.depth.get();
        if depth >= MAX_RECURSION {
            return Err(error!(Limit, "the template calls itself too deeply (recursion limit)"));
        }
        self.depth.set(depth + 1);
        let result = work();
        self.depth.set(depth);
        result
    }

    fn global(name: &str) -> Option<Value> {
        Some(match name {
            "range" => Value::Function(Function::Range),
            "dict" => Value::Function(Function::Dict),
            "lipsum" => Value::Function(Function::Lipsum),
            "cycler" => Value::Function(Function::Cycler),
            "joiner" => Value::Function(Function::Joiner),
            "namespace" => Value::Function(Function::Namespace),
            "raise_exception" => Value::Function(Function::RaiseException),
            "strftime_now" => Value::Function(Function::StrftimeNow),
            _ => return None,
        })
    }

    /// Looks up a name outside of all frames.
    pub(super) fn resolve(&self, name: &str) -> Option<Value> {
        if name == "self" {
            return Some(Value::Template);
        }
        let exported = self.exported.borrow().get(name).cloned();
        exported.or_else(|| self.vars.get(name).cloned()).or_else(|| Self::global(name))
    }

    /// A new frame with the initial values of its variables.
    pub(super) fn enter(&self, loads: &Loads, parent: Option<&Rc<Scope>>) -> Rc<Scope> {
        self.new_frame(loads, parent, false)
    }

    /// The outermost frame of a template.
    pub(super) fn outermost(&self, loads: &Loads) -> Rc<Scope> {
        self.new_frame(loads, None, true)
    }

    fn new_frame(&self, loads: &Loads, parent: Option<&Rc<Scope>>, outermost: bool) -> Rc<Scope> {
        let mut vars = HashMap::with_capacity(loads.len());
        for (name, load) in loads {
            let value = match load {
                Load::Parameter | Load::Undefined => None,
                Load::Resolve => self.resolve(name),
                Load::Alias => parent.and_then(|scope| lookup(scope, name)),
            };
            vars.insert(Arc::clone(name), value);
        }
        Rc::new(Scope { vars: RefCell::new(vars), parent: parent.cloned(), outermost })
    }

    pub(super) fn variable(&self, name: &Arc<str>, scope: &Rc<Scope>) -> Value {
        lookup(scope, name).unwrap_or_else(|| Value::undefined(format!("'{name}' is undefined")))
    }
}

/// The variable in the nearest frame that declares it; `None` if it is not assigned there.
pub(super) fn lookup(scope: &Rc<Scope>, name: &str) -> Option<Value> {
    let mut at = Some(scope);
    while let Some(scope) = at {
        if let Some(value) = scope.vars.borrow().get(name) {
            return value.clone();
        }
        at = scope.parent.as_ref();
    }
    None
}
