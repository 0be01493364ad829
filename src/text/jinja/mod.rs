//! jinja2, as transformers sets it up for chat templates: `trim_blocks`, `lstrip_blocks`, loop controls,
//! `generation` tags and the immutable sandbox.
//!
//! Templates are programs that were written and tested with jinja2 and Python's own types, and the model
//! was trained on what they print, so they run here with the same meaning down to the last character; what
//! Python could do and this interpreter does not is an error, never another text. No crate does this:
//! minijinja and its kin are languages of their own beside jinja2 (other scoping, operators, methods, text
//! of values), and cannot meter what a template does with its values.
//!
//! A template is as untrusted as any other file of a model. Every step, value and 64 bytes of text cost
//! fuel, nesting is limited in source, values and calls, and no method exists that changes a value.
//!
//! Read [`parser`] and [`expressions`] for the language, [`symbols`] for the scopes of variables, [`eval`]
//! and [`exec`] for what runs, [`attrs`] for the sandbox. `tools/template_goldens.py` writes what jinja2
//! makes of several hundred templates; the tests here hold this interpreter to it.

mod ast;
mod attrs;
mod bind;
mod calls;
mod compare;
mod convert;
mod error;
mod escape;
mod eval;
mod exec;
mod filters;
mod format_spec;
mod interp;
mod iter;
mod lexer;
mod loops;
mod meter;
mod methods;
pub(super) mod numbers;
mod operands;
mod ops;
mod parse_expr;
mod parser;
mod predicates;
mod printf;
mod properties;
mod repr;
mod split;
mod str_format;
mod str_methods;
mod symbols;
#[cfg(test)]
mod tests;
mod tojson;
mod unicode;
mod value;

use ast::{Block, Body, Loads, Name};
use error::error;
pub(super) use error::{Class, Error};
use interp::Interp;
use serde_json::{Map, Value as Json};
use std::collections::HashMap;
use std::sync::Arc;
use value::Value;

/// Far more than any published template.
const MAX_SOURCE_BYTES: usize = 256 << 10;

/// A compiled template.
#[derive(Debug)]
pub(super) struct Program {
    body: Body,
    loads: Loads,
    blocks: HashMap<Name, Block>,
}

impl Program {
    /// Compiles a template.
    ///
    /// # Errors
    /// What is wrong with it, and the line.
    pub(super) fn compile(source: &str) -> Result<Self, Error> {
        if source.len() > MAX_SOURCE_BYTES {
            let length = source.len();
            return Err(error!(Limit, "{length} bytes long (at most {MAX_SOURCE_BYTES})"));
        }
        let (body, blocks) = parser::parse(source)?;
        let (body, loads, blocks) = symbols::analyse(body, blocks)?;
        Ok(Self { body, loads, blocks })
    }

    /// Runs the template with `vars`, for at most `fuel` steps; `clock` is `strftime_now`.
    ///
    /// # Errors
    /// What the template does wrong, and the line.
    pub(super) fn render(
        &self,
        vars: &Map<String, Json>,
        fuel: u64,
        clock: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<String, Error> {
        let mut values = HashMap::with_capacity(vars.len());
        for (name, json) in vars {
            values.insert(Arc::from(name.as_str()), Value::from_json(json)?);
        }
        let interp = Interp::new(&self.blocks, values, fuel, clock);
        let scope = interp.outermost(&self.loads);
        let mut out = String::new();
        interp.body(&self.body, &scope, &mut out)?;
        // Frames may hold each other in a ring.
        drop(scope.vars.take());
        Ok(out)
    }
}
