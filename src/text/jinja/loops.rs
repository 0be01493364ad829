//! Loops, and the variable `loop` in their bodies.

use super::ast::{Body, For, Loads};
use super::compare::equal;
use super::error::{Res, error};
use super::exec::Flow;
use super::interp::Interp;
use super::value::{CallArgs, Iter, IterState, Loop, LoopState, Scope, Seq, Value, deeper};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

impl Interp<'_> {
    /// Whether an item passes a loop's `if`.
    pub(super) fn loop_test(&self, node: &For, scope: &Rc<Scope>, item: &Value) -> Res<bool> {
        let Some(test) = &node.test else {
            return Ok(true);
        };
        let inner = self.enter(&node.test_loads, Some(scope));
        self.assign(&node.target, item.clone(), &inner)?;
        Ok(self.eval(test, &inner)?.truthy())
    }

    pub(super) fn run_loop(
        &self,
        node: &Arc<For>,
        iterable: Value,
        scope: &Rc<Scope>,
        depth0: usize,
        out: &mut String,
    ) -> Res<()> {
        let mut source = iterable;
        if node.test.is_some() {
            let iter = self.iterate(&source)?;
            let (inner, node, scope) = (iter.depth, Arc::clone(node), Rc::clone(scope));
            source =
                Value::Iter(Iter::new(IterState::Filtered { source: iter, node, scope }, inner)?);
        }
        let iter = self.iterate(&source)?;
        let extended = match node.extended {
            true => Some(Rc::new(Loop {
                nesting: deeper(source.depth())?,
                state: RefCell::new(LoopState {
                    iterable: source,
                    iter: Rc::clone(&iter),
                    index0: -1,
                    length: None,
                    after: None,
                    current: None,
                    before: None,
                    changed: None,
                }),
                recursive: node.recursive.then(|| (Arc::clone(node), Rc::clone(scope))),
                depth0,
            })),
            false => None,
        };
        let mut finished_once = false;
        loop {
            let item = match &extended {
                Some(extended) => self.loop_next(extended)?,
                None => self.advance(&iter)?,
            };
            let Some(item) = item else {
                break;
            };
            let inner = self.enter(&node.loads, Some(scope));
            if let Some(extended) = &extended {
                let value = Value::Loop(Rc::clone(extended));
                inner.vars.borrow_mut().insert(Arc::from("loop"), Some(value));
            }
            self.assign(&node.target, item, &inner)?;
            match self.body(&node.body, &inner, out)? {
                // As in jinja2, only a whole iteration prevents the `else` branch.
                Flow::Break => break,
                Flow::Continue => {}
                Flow::Next => finished_once = true,
            }
        }
        if !finished_once && !node.otherwise.is_empty() {
            self.otherwise(&node.otherwise, &node.else_loads, scope, out)?;
        }
        Ok(())
    }

    fn otherwise(
        &self,
        body: &Body,
        loads: &Loads,
        scope: &Rc<Scope>,
        out: &mut String,
    ) -> Res<()> {
        let inner = self.enter(loads, Some(scope));
        self.body(body, &inner, out)?;
        Ok(())
    }

    /// The next item of a loop.
    pub(super) fn loop_next(&self, inner: &Loop) -> Res<Option<Value>> {
        let peeked = inner.state.borrow_mut().after.take();
        let item = match peeked {
            Some(item) => item,
            None => {
                let iter = Rc::clone(&inner.state.borrow().iter);
                self.advance(&iter)?
            }
        };
        let mut state = inner.state.borrow_mut();
        if item.is_some() {
            state.index0 += 1;
            state.before = state.current.take();
            state.current.clone_from(&item);
        }
        Ok(item)
    }

    fn loop_peek(&self, inner: &Loop) -> Res<Option<Value>> {
        if let Some(after) = &inner.state.borrow().after {
            return Ok(after.clone());
        }
        let iter = Rc::clone(&inner.state.borrow().iter);
        let after = self.advance(&iter)?;
        inner.state.borrow_mut().after = Some(after.clone());
        Ok(after)
    }

    pub(super) fn loop_length(&self, inner: &Loop) -> Res<i128> {
        if let Some(length) = inner.state.borrow().length {
            return Ok(length);
        }
        let (iterable, iter) = {
            let state = inner.state.borrow();
            (state.iterable.clone(), Rc::clone(&state.iter))
        };
        let length = match &iterable {
            Value::Iter(_) => {
                let rest = self.collect(&Value::Iter(iter))?;
                let mut state = inner.state.borrow_mut();
                let ahead = i128::from(matches!(&state.after, Some(Some(_))));
                let length = i128::try_from(rest.len()).unwrap_or(0) + state.index0 + 1 + ahead;
                state.iter = Iter::of_items(rest)?;
                length
            }
            other => i128::try_from(other.len().unwrap_or(0)).unwrap_or(0),
        };
        inner.state.borrow_mut().length = Some(length);
        Ok(length)
    }

    /// An attribute of `loop`.
    pub(super) fn loop_attribute(&self, inner: &Loop, name: &str) -> Res<Option<Value>> {
        let index0 = inner.state.borrow().index0;
        let depth0 = i128::try_from(inner.depth0).unwrap_or(0);
        Ok(Some(match name {
            "index" => Value::Int(index0 + 1),
            "index0" => Value::Int(index0),
            "first" => Value::Bool(index0 == 0),
            "last" => Value::Bool(self.loop_peek(inner)?.is_none()),
            "length" => Value::Int(self.loop_length(inner)?),
            "revindex" => Value::Int(self.loop_length(inner)? - index0),
            "revindex0" => Value::Int(self.loop_length(inner)? - index0 - 1),
            "depth" => Value::Int(depth0 + 1),
            "depth0" => Value::Int(depth0),
            "previtem" => match index0 {
                0 => Value::undefined("there is no previous item"),
                _ => inner.state.borrow().before.clone().unwrap_or(Value::None),
            },
            "nextitem" => match self.loop_peek(inner)? {
                Some(item) => item,
                None => Value::undefined("there is no next item"),
            },
            _ => return Ok(None),
        }))
    }

    pub(super) fn loop_cycle(&self, inner: &Loop, args: &[Value]) -> Res<Value> {
        let Some(count) = i128::try_from(args.len()).ok().filter(|n| *n > 0) else {
            return Err(error!(Type, "no items for cycling given"));
        };
        let at = usize::try_from(inner.state.borrow().index0.rem_euclid(count)).unwrap_or(0);
        Ok(args.get(at).cloned().unwrap_or(Value::None))
    }

    pub(super) fn loop_changed(&self, inner: &Loop, args: Vec<Value>) -> Res<Value> {
        let now = Seq::new(args)?;
        let before = inner.state.borrow().changed.clone();
        let same = match before {
            Some(before) => {
                equal(&self.meter, &Value::Tuple(before), &Value::Tuple(Rc::clone(&now)))?
            }
            None => false,
        };
        if !same {
            inner.state.borrow_mut().changed = Some(now);
        }
        Ok(Value::Bool(!same))
    }

    pub(super) fn loop_call(&self, inner: &Loop, args: &CallArgs) -> Res<Value> {
        let Some((node, scope)) = &inner.recursive else {
            return Err(error!(Type, "the loop must have the 'recursive' marker to be called"));
        };
        let ([iterable], true) = (&args.positional[..], args.named.is_empty()) else {
            return Err(error!(Type, "loop() takes one argument"));
        };
        let mut text = String::new();
        self.deeper(|| self.run_loop(node, iterable.clone(), scope, inner.depth0 + 1, &mut text))?;
        Ok(self.captured(text))
    }
}
