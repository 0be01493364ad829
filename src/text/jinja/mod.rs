//! An interpreter of jinja2 as transformers sets it up for chat templates: `trim_blocks`,
//! `lstrip_blocks`, loop controls, `generation` tags and the immutable sandbox.
//!
//! Templates were written and tested with jinja2 and Python's types, and models were trained on their
//! output. Output must therefore match jinja2's to the last character. Features of Python that this
//! interpreter lacks are errors and never give other text.
//!
//! We wrote our own interpreter because no crate does this. minijinja and similar crates are languages
//! of their own: scoping, operators, methods and the text of values differ from jinja2's. They also
//! cannot meter a template's work on its values.
//!
//! A template is as untrusted as any other file of a model. Every step, value and 64 bytes of text cost
//! fuel ([`meter`]). Nesting of source, values and calls is limited, and no method changes a list or
//! dict.
//!
//! [`parser`] and [`parse_expr`] define the language, [`symbols`] the scopes of variables, [`eval`] and
//! [`exec`] the execution, [`attrs`] the sandbox. The tests compare the output of some 3,300 templates
//! with jinja2 3.1.6 (`tools/template_goldens.py`).

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

/// Maximum size of a template, far above that of any published one.
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
    /// The problem in the template, with its line.
    pub(super) fn compile(source: &str) -> Result<Self, Error> {
        if source.len() > MAX_SOURCE_BYTES {
            let length = source.len();
            return Err(error!(Limit, "{length} bytes long (at most {MAX_SOURCE_BYTES})"));
        }
        let (body, blocks) = parser::parse(source)?;
        let (body, loads, blocks) = symbols::analyse(body, blocks)?;
        Ok(Self { body, loads, blocks })
    }

    /// Runs the template with `vars` for at most `fuel` steps. `clock` implements `strftime_now`.
    ///
    /// # Errors
    /// An error of the running template, with its line.
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
        // Frames may refer to each other in a cycle.
        drop(scope.vars.take());
        Ok(out)
    }
}
