//! Determines the variables of each frame and their initial values (jinja2's idtracking).
//!
//! A name that a frame assigns belongs to the frame from its beginning: it starts as a copy of the
//! outer variable, or unassigned. Every other name refers to the nearest outer frame. Each iteration
//! of a loop has a new frame.

use super::ast::{
    Args, Block, Body, Expr, ExprKind, For, Load, Loads, Macro, Name, Stmt, StmtKind, Target,
};
use super::error::{Res, error};
use super::parser::RawBlock;
use super::{filters, predicates};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

#[derive(Default)]
struct Frame {
    /// Names with their initial values, in the order of appearance.
    loads: Vec<(Name, Load)>,
    refs: HashMap<Name, usize>,
    stores: HashSet<Name>,
    /// Names in the order of their first assignment.
    log: Vec<Name>,
}

impl Frame {
    fn define(&mut self, name: &Name, load: Load) {
        match self.refs.get(name).and_then(|i| self.loads.get_mut(*i)) {
            Some(slot) => slot.1 = load,
            None => {
                self.refs.insert(Arc::clone(name), self.loads.len());
                self.loads.push((Arc::clone(name), load));
            }
        }
    }
}

/// Fills in the frames' variables of a parsed template.
///
/// # Errors
/// Unknown filters and tests, where jinja2 looks them up during compilation.
pub(super) fn analyse(
    mut body: Body,
    blocks: Vec<RawBlock>,
) -> Res<(Body, Loads, HashMap<Name, Block>)> {
    let loads = root(&mut body)?;
    let mut done = HashMap::new();
    for (name, mut body) in blocks {
        let loads = root(&mut body)?;
        done.insert(name, Block { body, loads });
    }
    Ok((body, loads, done))
}

fn root(body: &mut Body) -> Res<Loads> {
    let mut analyser = Analyser { frames: vec![Frame::default()], soft: false };
    analyser.visit_body(body);
    analyser.inner_body(body)?;
    Ok(analyser.frames.pop().map(|f| f.loads).unwrap_or_default())
}

struct Analyser {
    frames: Vec<Frame>,
    /// Whether this is within a condition, where unknown filters and tests are errors only when run.
    soft: bool,
}

impl Analyser {
    fn known(&self, name: &Name) -> bool {
        self.frames.iter().any(|frame| frame.refs.contains_key(name))
    }

    fn outer_knows(&self, name: &Name) -> bool {
        let outer = self.frames.len().saturating_sub(1);
        self.frames.iter().take(outer).any(|frame| frame.refs.contains_key(name))
    }

    fn load(&mut self, name: &Name) {
        if !self.known(name)
            && let Some(frame) = self.frames.last_mut()
        {
            frame.define(name, Load::Resolve);
        }
    }

    fn store(&mut self, name: &Name) {
        let load = if self.outer_knows(name) { Load::Alias } else { Load::Undefined };
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        if frame.stores.insert(Arc::clone(name)) {
            frame.log.push(Arc::clone(name));
        }
        if !frame.refs.contains_key(name) {
            frame.define(name, load);
        }
    }

    fn parameter(&mut self, name: &Name) {
        if let Some(frame) = self.frames.last_mut() {
            frame.stores.insert(Arc::clone(name));
            frame.define(name, Load::Parameter);
        }
    }

    fn target(&mut self, target: &Target, parameter: bool) {
        match target {
            Target::Name(name) if parameter => self.parameter(name),
            Target::Name(name) => self.store(name),
            Target::Field(name, _) => self.load(name),
            Target::Tuple(targets) => targets.iter().for_each(|t| self.target(t, parameter)),
        }
    }

    fn visit_body(&mut self, body: &[Stmt]) {
        body.iter().for_each(|stmt| self.visit(stmt));
    }

    /// Records the names that a statement reads and assigns in its own frame.
    fn visit(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Print(expr) => self.expr(expr),
            StmtKind::Set(target, expr) => {
                self.expr(expr);
                self.target(target, false);
            }
            StmtKind::SetBlock { target, .. } => self.target(target, false),
            StmtKind::If { branches, otherwise } => {
                let Some(start) = self.frames.last().map(|f| f.log.len()) else {
                    return;
                };
                for (test, body) in branches {
                    self.expr(test);
                    self.visit_body(body);
                }
                self.visit_body(otherwise);
                // A name assigned in a branch has its outer value if the branch is not taken.
                let new = self.frames.last().and_then(|f| f.log.get(start..));
                for name in new.map(<[Name]>::to_vec).unwrap_or_default() {
                    let load = if self.outer_knows(&name) { Load::Alias } else { Load::Resolve };
                    if let Some(frame) = self.frames.last_mut() {
                        frame.define(&name, load);
                    }
                }
            }
            StmtKind::For(node) => self.expr(&node.iter),
            StmtKind::Macro(node) => {
                if let Some(name) = &node.name {
                    self.store(name);
                }
            }
            StmtKind::CallBlock(call, _) => self.expr(call),
            StmtKind::FilterBlock { filter, .. } => self.expr(filter),
            StmtKind::With { targets, .. } => targets.iter().for_each(|(_, expr)| self.expr(expr)),
            StmtKind::Text(_)
            | StmtKind::Autoescape { .. }
            | StmtKind::Block { .. }
            | StmtKind::Loader(_)
            | StmtKind::Break
            | StmtKind::Continue => {}
        }
    }

    fn expr(&mut self, expr: &Expr) {
        each_name(expr, &mut |name| self.load(name));
    }

    /// Analyses the inner frames of statements, after their own frame.
    fn inner_body(&mut self, body: &mut [Stmt]) -> Res<()> {
        body.iter_mut().try_for_each(|stmt| self.inner(stmt))
    }

    fn frame(&mut self, work: impl FnOnce(&mut Self) -> Res<()>) -> Res<Loads> {
        self.frames.push(Frame::default());
        let soft = std::mem::take(&mut self.soft);
        let done = work(self);
        self.soft = soft;
        let frame = self.frames.pop().unwrap_or_default();
        done.map(|()| frame.loads)
    }

    fn inner(&mut self, stmt: &mut Stmt) -> Res<()> {
        match &mut stmt.kind {
            StmtKind::Print(expr) | StmtKind::Set(_, expr) => self.check(expr),
            StmtKind::SetBlock { filter, body, loads, .. } => {
                *loads = self.frame(|a| {
                    a.visit_body(body);
                    if let Some(filter) = filter {
                        a.expr(filter);
                        a.check(filter)?;
                    }
                    a.inner_body(body)
                })?;
                Ok(())
            }
            StmtKind::If { branches, otherwise } => {
                let soft = std::mem::replace(&mut self.soft, true);
                for (test, body) in branches {
                    self.check(test)?;
                    self.inner_body(body)?;
                }
                self.inner_body(otherwise)?;
                self.soft = soft;
                Ok(())
            }
            StmtKind::For(node) => match Arc::get_mut(node) {
                Some(node) => self.for_frames(node),
                None => Ok(()),
            },
            StmtKind::Macro(node) => match Arc::get_mut(node) {
                Some(node) => self.macro_frame(node),
                None => Ok(()),
            },
            StmtKind::CallBlock(call, node) => {
                self.check(call)?;
                match Arc::get_mut(node) {
                    Some(node) => self.macro_frame(node),
                    None => Ok(()),
                }
            }
            StmtKind::FilterBlock { filter, body, loads } => {
                *loads = self.frame(|a| {
                    a.expr(filter);
                    a.visit_body(body);
                    a.check(filter)?;
                    a.inner_body(body)
                })?;
                Ok(())
            }
            StmtKind::With { targets, body, loads } => {
                targets.iter().try_for_each(|(_, expr)| self.check(expr))?;
                *loads = self.frame(|a| {
                    targets.iter().for_each(|(target, _)| a.target(target, true));
                    a.visit_body(body);
                    a.inner_body(body)
                })?;
                Ok(())
            }
            StmtKind::Autoescape { on, body, loads } => {
                *loads = self.frame(|a| {
                    a.expr(on);
                    a.visit_body(body);
                    a.inner_body(body)
                })?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn for_frames(&mut self, node: &mut For) -> Res<()> {
        if stores_loop(&node.target) || assigns_loop(&node.body) || assigns_loop(&node.otherwise) {
            return Err(error!(Syntax, "cannot assign to the special loop variable in a for-loop"));
        }
        self.check(&node.iter)?;
        let mut uses_loop = false;
        mentions(&node.body, &mut |name| uses_loop |= name == "loop");
        node.extended |= uses_loop;
        if let Some(test) = &node.test {
            node.test_loads = self.frame(|a| {
                a.target(&node.target, true);
                a.expr(test);
                a.check(test)
            })?;
        }
        let extended = node.extended;
        let (target, body, otherwise) = (&node.target, &mut node.body, &mut node.otherwise);
        node.loads = self.frame(|a| {
            if extended {
                a.parameter(&Arc::from("loop"));
            }
            a.target(target, true);
            a.visit_body(body);
            a.inner_body(body)
        })?;
        node.else_loads = self.frame(|a| {
            a.visit_body(otherwise);
            a.inner_body(otherwise)
        })?;
        Ok(())
    }

    fn macro_frame(&mut self, node: &mut Macro) -> Res<()> {
        let mut special = [false; 3];
        mentions(&node.body, &mut |name| match name {
            "caller" => special[0] = true,
            "varargs" => special[1] = true,
            "kwargs" => special[2] = true,
            _ => {}
        });
        let explicit = |name: &str| node.params.iter().any(|(param, _)| &**param == name);
        if special[0]
            && explicit("caller")
            && node.params.iter().any(|(p, d)| &**p == "caller" && d.is_none())
        {
            return Err(error!(Syntax, "the parameter caller needs a default"));
        }
        node.uses_caller = special[0] && !explicit("caller");
        node.uses_varargs = special[1] && !explicit("varargs");
        node.uses_kwargs = special[2] && !explicit("kwargs");
        let names = [
            ("caller", node.uses_caller),
            ("kwargs", node.uses_kwargs),
            ("varargs", node.uses_varargs),
        ];
        let (params, body) = (&node.params, &mut node.body);
        node.loads = self.frame(|a| {
            params.iter().for_each(|(name, _)| a.parameter(name));
            params.iter().flat_map(|(_, default)| default).for_each(|e| a.expr(e));
            a.visit_body(body);
            names.into_iter().filter(|n| n.1).for_each(|(name, _)| a.parameter(&Arc::from(name)));
            params.iter().flat_map(|(_, default)| default).try_for_each(|e| a.check(e))?;
            a.inner_body(body)
        })?;
        Ok(())
    }

    /// Refuses unknown filters and tests.
    fn check(&self, expr: &Expr) -> Res<()> {
        if self.soft {
            return Ok(());
        }
        let mut unknown = None;
        walk(expr, &mut |expr| match &expr.kind {
            ExprKind::Filter(_, name, _) if !filters::exists(name) => {
                unknown.get_or_insert(("filter", Arc::clone(name), expr.line));
                true
            }
            ExprKind::Test(_, name, _) if !predicates::exists(name) => {
                unknown.get_or_insert(("test", Arc::clone(name), expr.line));
                true
            }
            // Its parts may never run.
            ExprKind::Condition(..) => false,
            _ => true,
        });
        match unknown {
            Some((kind, name, line)) => Err(error!(Syntax, "no {kind} is named {name:?}").at(line)),
            None => Ok(()),
        }
    }
}

fn stores_loop(target: &Target) -> bool {
    match target {
        Target::Name(name) => &**name == "loop",
        Target::Field(..) => false,
        Target::Tuple(targets) => targets.iter().any(stores_loop),
    }
}

/// Whether anything in `body` assigns to `loop`.
fn assigns_loop(body: &[Stmt]) -> bool {
    body.iter().any(|stmt| match &stmt.kind {
        StmtKind::Set(target, _) => stores_loop(target),
        StmtKind::SetBlock { target, body, .. } => stores_loop(target) || assigns_loop(body),
        StmtKind::If { branches, otherwise } => {
            branches.iter().any(|(_, body)| assigns_loop(body)) || assigns_loop(otherwise)
        }
        StmtKind::For(node) => {
            stores_loop(&node.target) || assigns_loop(&node.body) || assigns_loop(&node.otherwise)
        }
        StmtKind::Macro(node) | StmtKind::CallBlock(_, node) => assigns_loop(&node.body),
        StmtKind::FilterBlock { body, .. }
        | StmtKind::With { body, .. }
        | StmtKind::Autoescape { body, .. } => assigns_loop(body),
        _ => false,
    })
}

/// Calls `see` with each expression, and with its parts if `see` returns true.
fn walk<'e>(expr: &'e Expr, see: &mut impl FnMut(&'e Expr) -> bool) {
    let mut left = vec![expr];
    while let Some(expr) = left.pop() {
        if see(expr) {
            // The last entry is visited first.
            let from = left.len();
            push_parts(expr, &mut left);
            if let Some(new) = left.get_mut(from..) {
                new.reverse();
            }
        }
    }
}

fn push_parts<'e>(expr: &'e Expr, parts: &mut Vec<&'e Expr>) {
    let args = |args: &'e Args, parts: &mut Vec<&'e Expr>| {
        parts.extend(&args.positional);
        parts.extend(args.named.iter().map(|(_, e)| e));
        parts.extend(args.spread.iter().chain(&args.spread_named).map(|e| &**e));
    };
    match &expr.kind {
        ExprKind::Literal(_) | ExprKind::Name(_) | ExprKind::Generation => {}
        ExprKind::Tuple(items) | ExprKind::List(items) | ExprKind::Concat(items) => {
            parts.extend(items)
        }
        ExprKind::Dict(items) => parts.extend(items.iter().flat_map(|(k, v)| [k, v])),
        ExprKind::Attr(inner, _)
        | ExprKind::Not(inner)
        | ExprKind::Negative(inner)
        | ExprKind::Positive(inner) => {
            parts.push(inner);
        }
        ExprKind::Item(a, b)
        | ExprKind::Binary(_, a, b)
        | ExprKind::And(a, b)
        | ExprKind::Or(a, b) => {
            parts.extend([&**a, &**b]);
        }
        ExprKind::Slice(bounds) => parts.extend(bounds.iter().flatten()),
        ExprKind::Call(callee, given) => {
            parts.push(callee);
            args(given, parts);
        }
        ExprKind::Filter(inner, _, given) => {
            parts.extend(inner.as_deref());
            args(given, parts);
        }
        ExprKind::Test(inner, _, given) => {
            parts.push(inner);
            args(given, parts);
        }
        ExprKind::Compare(first, others) => {
            parts.push(first);
            parts.extend(others.iter().map(|(_, e)| e));
        }
        ExprKind::Condition(value, test, otherwise) => {
            parts.extend([&**test, &**value]);
            parts.extend(otherwise.as_deref());
        }
    }
}

fn each_name<'e>(expr: &'e Expr, see: &mut impl FnMut(&'e Name)) {
    walk(expr, &mut |expr| {
        if let ExprKind::Name(name) = &expr.kind {
            see(name);
        }
        true
    });
}

/// Calls `see` with every name that `body` reads, nested statements and macros included.
fn mentions(body: &[Stmt], see: &mut dyn FnMut(&str)) {
    for stmt in body {
        let mut expr = |expr: &Expr| each_name(expr, &mut |name| see(name));
        match &stmt.kind {
            StmtKind::Print(e) | StmtKind::Set(_, e) => expr(e),
            StmtKind::SetBlock { filter, body, .. } => {
                filter.iter().for_each(expr);
                mentions(body, see);
            }
            StmtKind::If { branches, otherwise } => {
                for (test, body) in branches {
                    each_name(test, &mut |name| see(name));
                    mentions(body, see);
                }
                mentions(otherwise, see);
            }
            StmtKind::For(node) => {
                expr(&node.iter);
                node.test.iter().for_each(expr);
                mentions(&node.body, see);
                mentions(&node.otherwise, see);
            }
            StmtKind::Macro(node) => {
                node.params.iter().flat_map(|(_, default)| default).for_each(expr);
                mentions(&node.body, see);
            }
            StmtKind::CallBlock(call, node) => {
                expr(call);
                mentions(&node.body, see);
            }
            StmtKind::FilterBlock { filter, body, .. } => {
                expr(filter);
                mentions(body, see);
            }
            StmtKind::With { targets, body, .. } => {
                targets.iter().for_each(|(_, e)| expr(e));
                mentions(body, see);
            }
            StmtKind::Autoescape { on, body, .. } => {
                expr(on);
                mentions(body, see);
            }
            _ => {}
        }
    }
}
