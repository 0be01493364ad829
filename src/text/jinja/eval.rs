//! Evaluates expressions.

use super::ast::{Args, Expr, ExprKind, Literal};
use super::error::{Res, error};
use super::escape::escape;
use super::interp::Interp;
use super::repr::to_str;
use super::value::{CallArgs, Function, Path, Scope, Value};
use std::rc::Rc;
use std::sync::Arc;

impl Interp<'_> {
    pub(super) fn eval(&self, expr: &Expr, scope: &Rc<Scope>) -> Res<Value> {
        self.eval_with(expr, scope, None)
    }

    /// Evaluates an expression. `input` is the operand of a filter without one.
    ///
    /// Chains that nest to the left (`a.b.c`, `a + b + c`) are evaluated without recursion.
    pub(super) fn eval_with(
        &self,
        expr: &Expr,
        scope: &Rc<Scope>,
        input: Option<Value>,
    ) -> Res<Value> {
        let mut spine = Vec::new();
        let mut at = expr;
        while let Some(inner) = left(at) {
            spine.push(at);
            at = inner;
        }
        self.deeper(|| {
            self.meter.pay(1 + spine.len())?;
            let mut value = self.leaf(at, scope, input).map_err(|e| e.at(at.line))?;
            while let Some(node) = spine.pop() {
                value = self.step(node, value, scope).map_err(|e| e.at(node.line))?;
            }
            Ok(value)
        })
    }

    fn leaf(&self, expr: &Expr, scope: &Rc<Scope>, input: Option<Value>) -> Res<Value> {
        match &expr.kind {
            ExprKind::Literal(literal) => Ok(match literal {
                Literal::None => Value::None,
                Literal::Bool(b) => Value::Bool(*b),
                Literal::Int(int) => Value::Int(*int),
                Literal::Float(float) => Value::Float(*float),
                Literal::Str(text) => Value::Str(Arc::clone(text)),
            }),
            ExprKind::Name(name) => Ok(self.variable(name, scope)),
            ExprKind::Tuple(items) => Value::tuple(self.items(items, scope)?),
            ExprKind::List(items) => Value::list(self.items(items, scope)?),
            ExprKind::Dict(pairs) => {
                let pair = |(key, value): &(Expr, Expr)| {
                    Ok((self.eval(key, scope)?, self.eval(value, scope)?))
                };
                Value::dict(pairs.iter().map(pair).collect::<Res<_>>()?)
            }
            ExprKind::Concat(parts) => {
                let mut text = String::new();
                let mut markup = false;
                let values = self.items(parts, scope)?;
                if self.autoescape.get() {
                    markup = values.iter().any(|v| matches!(v, Value::Markup(_)));
                }
                for value in &values {
                    let part = match markup {
                        true => escape(self, value)?,
                        false => to_str(self, value)?,
                    };
                    self.meter.pay_bytes(part.len())?;
                    text.push_str(&part);
                }
                Ok(if markup { Value::Markup(text.into()) } else { Value::str(text) })
            }
            ExprKind::Condition(value, test, otherwise) => {
                if self.eval(test, scope)?.truthy() {
                    return self.eval(value, scope);
                }
                match otherwise {
                    Some(otherwise) => self.eval(otherwise, scope),
                    None => Ok(Value::undefined(format!(
                        "the inline if-expression on line {} evaluated to false and no else section was defined.",
                        expr.line
                    ))),
                }
            }
            ExprKind::Filter(None, name, args) => {
                let args = self.args(args, scope)?;
                self.filter(name, input.unwrap_or(Value::None), args)
            }
            ExprKind::Generation => Ok(Value::Function(Function::Generation)),
            ExprKind::Slice(_) => Err(error!(Type, "a slice cannot be one of several indices")),
            _ => Err(error!(Runtime, "not an expression")),
        }
    }

    fn items(&self, items: &[Expr], scope: &Rc<Scope>) -> Res<Vec<Value>> {
        items.iter().map(|item| self.eval(item, scope)).collect()
    }

    /// Applies one operator of a chain to the value to its left.
    fn step(&self, node: &Expr, value: Value, scope: &Rc<Scope>) -> Res<Value> {
        match &node.kind {
            ExprKind::Attr(_, name) => self.attribute(&value, name),
            ExprKind::Item(_, index) => match &index.kind {
                ExprKind::Slice(bounds) => self.slice_expr(&value, bounds, scope),
                _ => {
                    let index = self.eval(index, scope)?;
                    self.item(&value, &index)
                }
            },
            ExprKind::Call(_, args) => {
                let args = self.args(args, scope)?;
                self.call(&value, args)
            }
            ExprKind::Filter(_, name, args) => {
                let args = self.args(args, scope)?;
                self.filter(name, value, args)
            }
            ExprKind::Test(_, name, args) => {
                let args = self.args(args, scope)?;
                self.test(name, value, args).map(Value::Bool)
            }
            ExprKind::Binary(op, _, right) => {
                let right = self.eval(right, scope)?;
                self.binary(*op, &value, &right)
            }
            ExprKind::And(_, right) => {
                if value.truthy() {
                    self.eval(right, scope)
                } else {
                    Ok(value)
                }
            }
            ExprKind::Or(_, right) => {
                if value.truthy() {
                    Ok(value)
                } else {
                    self.eval(right, scope)
                }
            }
            ExprKind::Not(_) => Ok(Value::Bool(!value.truthy())),
            ExprKind::Negative(_) => self.signed(&value, true),
            ExprKind::Positive(_) => self.signed(&value, false),
            ExprKind::Compare(_, others) => {
                let mut left = value;
                for (comparison, right) in others {
                    let right = self.eval(right, scope)?;
                    if !self.compare(*comparison, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            _ => Err(error!(Runtime, "not an operator")),
        }
    }

    fn slice_expr(
        &self,
        value: &Value,
        bounds: &[Option<Expr>; 3],
        scope: &Rc<Scope>,
    ) -> Res<Value> {
        let [start, stop, step] = bounds;
        let bound = |bound: &Option<Expr>| bound.as_ref().map(|e| self.eval(e, scope)).transpose();
        self.slice(value, bound(start)?, bound(stop)?, bound(step)?)
    }

    pub(super) fn args(&self, args: &Args, scope: &Rc<Scope>) -> Res<CallArgs> {
        let mut positional = self.items(&args.positional, scope)?;
        let mut named = Vec::with_capacity(args.named.len());
        for (name, value) in &args.named {
            named.push((Arc::clone(name), self.eval(value, scope)?));
        }
        if let Some(spread) = &args.spread {
            let spread = self.eval(spread, scope)?;
            positional.extend(self.collect(&spread)?);
        }
        if let Some(spread) = &args.spread_named {
            match self.eval(spread, scope)? {
                Value::Dict(dict) => {
                    self.meter.pay_values(dict.map.len())?;
                    for (key, value) in dict.map.values() {
                        let Some(key) = key.as_str() else {
                            return Err(error!(Type, "keywords must be strings"));
                        };
                        if named.iter().any(|(name, _)| name == key) {
                            return Err(error!(
                                Type,
                                "multiple values for keyword argument '{key}'"
                            ));
                        }
                        named.push((Arc::clone(key), value.clone()));
                    }
                }
                other => {
                    let kind = other.type_name();
                    return Err(error!(Type, "argument after ** must be a mapping, not {kind}"));
                }
            }
        }
        Ok(CallArgs { positional, named })
    }

    /// Follows an attribute path of a filter, e.g. `a.b`.
    pub(super) fn follow(&self, item: Value, path: &Path, default: Option<&Value>) -> Res<Value> {
        let mut item = item;
        for part in path {
            item = self.item(&item, part)?;
            if let (Some(default), Value::Undefined(_)) = (default, &item) {
                item = default.clone();
            }
        }
        Ok(item)
    }
}

/// The left operand of an expression that can be part of a chain.
fn left(expr: &Expr) -> Option<&Expr> {
    match &expr.kind {
        ExprKind::Attr(inner, _)
        | ExprKind::Item(inner, _)
        | ExprKind::Call(inner, _)
        | ExprKind::Filter(Some(inner), ..)
        | ExprKind::Test(inner, ..)
        | ExprKind::Binary(_, inner, _)
        | ExprKind::And(inner, _)
        | ExprKind::Or(inner, _)
        | ExprKind::Not(inner)
        | ExprKind::Negative(inner)
        | ExprKind::Positive(inner)
        | ExprKind::Compare(inner, _) => Some(inner),
        _ => None,
    }
}
