//! Executes statements.

use super::ast::{Body, Expr, ExprKind, Macro, Stmt, StmtKind, Target};
use super::error::{Res, error};
use super::escape::escape;
use super::interp::{Interp, lookup};
use super::repr::to_str;
use super::value::{CallArgs, MacroValue, Scope, Value, insert};
use std::rc::Rc;
use std::sync::Arc;

/// The control flow after a statement.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Flow {
    Next,
    Break,
    Continue,
}

impl Interp<'_> {
    pub(super) fn body(&self, body: &Body, scope: &Rc<Scope>, out: &mut String) -> Res<Flow> {
        for stmt in body {
            let flow = self.statement(stmt, scope, out).map_err(|e| e.at(stmt.line))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    pub(super) fn write(&self, text: &str, out: &mut String) -> Res<()> {
        self.meter.pay(1 + text.len() / 64)?;
        out.push_str(text);
        Ok(())
    }

    fn print(&self, value: &Value, out: &mut String) -> Res<()> {
        let text = if self.autoescape.get() { escape(self, value)? } else { to_str(self, value)? };
        self.write(&text, out)
    }

    /// The output of a block as a value; safe text if autoescape is on.
    pub(super) fn captured(&self, text: String) -> Value {
        if self.autoescape.get() { Value::Markup(text.into()) } else { Value::str(text) }
    }

    /// Writes the result of a call or filter on a block, which must be text.
    fn write_text(&self, value: &Value, out: &mut String) -> Res<()> {
        match value.as_str() {
            Some(text) => self.write(text, out),
            None => Err(error!(Type, "expected str instance, {} found", value.type_name())),
        }
    }

    fn statement(&self, stmt: &Stmt, scope: &Rc<Scope>, out: &mut String) -> Res<Flow> {
        self.meter.pay(1)?;
        match &stmt.kind {
            StmtKind::Text(text) => self.write(text, out)?,
            StmtKind::Print(expr) => {
                let value = self.eval(expr, scope)?;
                self.print(&value, out)?;
            }
            StmtKind::Set(target, expr) => {
                let value = self.eval(expr, scope)?;
                self.assign(target, value, scope)?;
            }
            StmtKind::If { branches, otherwise } => {
                return self.branch(branches, otherwise, scope, out);
            }
            StmtKind::For(node) => {
                let iterable = self.eval(&node.iter, scope)?;
                self.deeper(|| self.run_loop(node, iterable, scope, 0, out))?;
            }
            StmtKind::Macro(node) => {
                let value = self.make_macro(node, scope);
                if let Some(name) = &node.name {
                    self.assign(&Target::Name(Arc::clone(name)), value, scope)?;
                }
            }
            StmtKind::Break => return Ok(Flow::Break),
            StmtKind::Continue => return Ok(Flow::Continue),
            _ => return self.deeper(|| self.block_statement(stmt, scope, out)),
        }
        Ok(Flow::Next)
    }

    fn branch(
        &self,
        branches: &[(Expr, Body)],
        otherwise: &Body,
        scope: &Rc<Scope>,
        out: &mut String,
    ) -> Res<Flow> {
        for (test, body) in branches {
            if self.eval(test, scope)?.truthy() {
                return self.deeper(|| self.body(body, scope, out));
            }
        }
        self.deeper(|| self.body(otherwise, scope, out))
    }

    /// Executes statements with a frame of their own.
    fn block_statement(&self, stmt: &Stmt, scope: &Rc<Scope>, out: &mut String) -> Res<Flow> {
        match &stmt.kind {
            StmtKind::SetBlock { target, filter, body, loads } => {
                let inner = self.enter(loads, Some(scope));
                let mut text = String::new();
                let flow = self.body(body, &inner, &mut text)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = match filter {
                    Some(filter) => {
                        let made = self.eval_with(filter, &inner, Some(self.captured(text)))?;
                        match (self.autoescape.get(), &made) {
                            (true, value) => Value::Markup(to_str(self, value)?),
                            _ => made,
                        }
                    }
                    None => self.captured(text),
                };
                self.assign(target, value, scope)?;
            }
            StmtKind::CallBlock(call, node) => {
                let caller = self.make_macro(node, scope);
                let value = self.call_with_caller(call, caller, scope)?;
                self.write_text(&value, out)?;
            }
            StmtKind::FilterBlock { filter, body, loads } => {
                let inner = self.enter(loads, Some(scope));
                let mut text = String::new();
                let flow = self.body(body, &inner, &mut text)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = self.eval_with(filter, &inner, Some(self.captured(text)))?;
                self.write_text(&value, out)?;
            }
            StmtKind::With { targets, body, loads } => {
                let inner = self.enter(loads, Some(scope));
                for (target, expr) in targets {
                    let value = self.eval(expr, scope)?;
                    self.assign(target, value, &inner)?;
                }
                return self.body(body, &inner, out);
            }
            StmtKind::Autoescape { on, body, loads } => {
                let inner = self.enter(loads, Some(scope));
                let on = self.eval(on, &inner)?.truthy();
                let before = self.autoescape.replace(on);
                let flow = self.body(body, &inner, out);
                self.autoescape.set(before);
                return flow;
            }
            StmtKind::Block { name, scoped, required } => {
                if *required {
                    return Err(error!(Runtime, "required block '{name}' not found"));
                }
                self.run_block(name, scoped.then_some(scope), out)?;
            }
            StmtKind::Loader(tag) => {
                return Err(error!(Type, "{tag}: there is no other template to load"));
            }
            _ => {}
        }
        Ok(Flow::Next)
    }

    /// Runs a `{% block %}`. It sees the outermost variables and, if scoped, the surrounding ones.
    pub(super) fn run_block(
        &self,
        name: &str,
        around: Option<&Rc<Scope>>,
        out: &mut String,
    ) -> Res<()> {
        let Some(block) = self.blocks.get(name) else {
            return Err(error!(Undefined, "there is no block '{name}'"));
        };
        let scope = self.enter(&block.loads, None);
        if let Some(around) = around {
            for (name, value) in scope.vars.borrow_mut().iter_mut() {
                if let Some(seen) = lookup(around, name) {
                    *value = Some(seen);
                }
            }
        }
        self.deeper(|| self.body(&block.body, &scope, out))?;
        Ok(())
    }

    fn call_with_caller(&self, call: &Expr, caller: Value, scope: &Rc<Scope>) -> Res<Value> {
        let ExprKind::Call(callee, args) = &call.kind else {
            return Err(error!(Runtime, "expected a call"));
        };
        let callee = self.eval(callee, scope)?;
        let mut args = self.args(args, scope)?;
        args.named.push((Arc::from("caller"), caller));
        self.call(&callee, args)
    }

    pub(super) fn assign(&self, target: &Target, value: Value, scope: &Rc<Scope>) -> Res<()> {
        match target {
            Target::Name(name) => {
                if scope.outermost {
                    self.exported.borrow_mut().insert(Arc::clone(name), value.clone());
                }
                scope.vars.borrow_mut().insert(Arc::clone(name), Some(value));
            }
            Target::Field(name, field) => {
                let Value::Namespace(namespace) = self.variable(name, scope) else {
                    return Err(error!(Runtime, "cannot assign attribute on non-namespace object"));
                };
                check_field(field)?;
                insert(&mut namespace.fields.borrow_mut(), Value::Str(Arc::clone(field)), value)?;
            }
            Target::Tuple(targets) => {
                let iter = self.iterate(&value).map_err(|e| match &value {
                    Value::Undefined(_) => e,
                    other => {
                        error!(Type, "cannot unpack non-iterable {} object", other.type_name())
                    }
                })?;
                let mut values = Vec::new();
                while values.len() <= targets.len()
                    && let Some(item) = self.advance(&iter)?
                {
                    values.push(item);
                }
                if values.len() != targets.len() {
                    let expected = targets.len();
                    return Err(error!(Value, "cannot unpack: expected {expected} values"));
                }
                for (target, value) in targets.iter().zip(values) {
                    self.assign(target, value, scope)?;
                }
            }
        }
        Ok(())
    }

    fn make_macro(&self, node: &Arc<Macro>, scope: &Rc<Scope>) -> Value {
        self.frames.borrow_mut().push(Rc::clone(scope));
        let autoescape = self.autoescape.get();
        Value::Macro(Rc::new(MacroValue {
            node: Arc::clone(node),
            scope: Rc::clone(scope),
            autoescape,
        }))
    }

    pub(super) fn call_macro(&self, value: &MacroValue, args: CallArgs) -> Res<Value> {
        let node = &value.node;
        let name = node.name.as_deref().unwrap_or("None");
        let CallArgs { positional, mut named } = args;
        let scope = self.enter(&node.loads, Some(&value.scope));
        let mut given = positional.into_iter();
        let mut take = |name: &str| {
            let at = named.iter().position(|(other, _)| &**other == name)?;
            Some(named.remove(at).1)
        };
        let mut values: Vec<Option<Value>> =
            given.by_ref().take(node.params.len()).map(Some).collect();
        for (param, _) in node.params.iter().skip(values.len()) {
            values.push(take(param));
        }
        let set = |name: &Arc<str>, value: Option<Value>| {
            scope.vars.borrow_mut().insert(Arc::clone(name), value);
        };
        if node.uses_caller {
            let caller = take("caller").filter(|v| !matches!(v, Value::None));
            set(
                &"caller".into(),
                Some(caller.unwrap_or_else(|| Value::undefined("No caller defined"))),
            );
        }
        let rest: Vec<Value> = given.collect();
        if node.uses_kwargs {
            let pairs = named.into_iter().map(|(name, value)| (Value::Str(name), value));
            set(&"kwargs".into(), Some(Value::dict(pairs.collect())?));
        } else if let Some((unknown, _)) = named.first() {
            return Err(error!(Type, "macro '{name}' takes no keyword argument '{unknown}'"));
        }
        if node.uses_varargs {
            set(&"varargs".into(), Some(Value::tuple(rest)?));
        } else if !rest.is_empty() {
            let most = node.params.len();
            return Err(error!(Type, "macro '{name}' takes not more than {most} argument(s)"));
        }
        let mut text = String::new();
        let before = self.autoescape.replace(value.autoescape);
        let run = self.deeper(|| {
            for ((param, _), value) in node.params.iter().zip(&values) {
                set(param, value.clone());
            }
            for ((param, default), value) in node.params.iter().zip(values) {
                if value.is_none() {
                    let value = match default {
                        Some(default) => self.eval(default, &scope)?,
                        None => Value::undefined(format!("parameter '{param}' was not provided")),
                    };
                    set(param, Some(value));
                }
            }
            self.body(&node.body, &scope, &mut text)
        });
        self.autoescape.set(before);
        run?;
        self.meter.pay(1)?;
        Ok(if value.autoescape { Value::Markup(text.into()) } else { Value::str(text) })
    }
}

/// Refuses names that transformers' namespaces do not store.
pub(super) fn check_field(name: &str) -> Res<()> {
    if name.starts_with('_') {
        return Err(error!(Security, "a namespace cannot store the attribute '{name}'"));
    }
    Ok(())
}
