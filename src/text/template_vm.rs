//! Runs a template in minijinja with checks that minijinja does not make.
//!
//! minijinja's fuel pays for instructions and for bytes of text, but not for what lists hold: lists
//! that double, that hold themselves twice or that nest 50,000 deep make it hang, eat the memory or
//! overflow the stack, as do long chains of operators while it compiles (tests/it/text/hostile.rs has
//! 80 such templates). So tags are counted before they are parsed, and the compiled instructions get
//! a check in front of every operator, call and assignment:
//!
//! * an operand is *metered*: it may nest [`MAX_DEPTH`] deep, and every value in it costs fuel;
//! * an assigned value is *held*: lazy sequences in it become plain lists, and namespaces stay
//!   outside of other values, so that chains and cycles cannot grow from one assignment to the next.
//!
//! This needs minijinja's instructions, which are only offered as `unstable_machinery`; the version
//! is pinned for that.

use minijinja::machinery::{
    CodeGenerator, Instruction, Instructions, Token, eval, make_string_output, parse, tokenize,
};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{DynObject, Rest, Tuple, ValueOrKwargs};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value};
use std::collections::BTreeMap;

/// The name templates go by in minijinja.
const NAME: &str = "chat_template";
/// Far more than any published template.
const MAX_SOURCE_BYTES: usize = 256 << 10;
/// minijinja keeps lines and columns in 16 bits.
const MAX_LINES: usize = 60_000;
/// Tokens in one tag; each may be a level of nesting for the compiler's recursion.
const MAX_TAG_TOKENS: usize = 1_000;
/// `elif`s in a template; each nests in the one before.
const MAX_ELIFS: usize = 500;
/// minijinja adds up constant lists while it compiles, and 32 sums make it copy them: with a
/// multiplication among them their length has no bound.
const MAX_SUMS_WITH_PRODUCT: usize = 30;
/// Nesting of values; JSON that was parsed ends at 128.
pub(super) const MAX_DEPTH: usize = 160;
/// Values that one step of fuel pays for, when they are looked at.
const VALUES_PER_FUEL: u64 = 8;

// Names that no template can say, since they are no identifiers.
const METER: &str = "=meter";
const METER_ADD: &str = "=add";
const METER_PRODUCT: &str = "=product";
const HOLD: &str = "=hold";
const HOLD_FIELD: &str = "=hold-field";

/// A compiled template, with its checks.
pub(super) struct Program<'s> {
    main: Instructions<'s>,
    blocks: BTreeMap<&'s str, Instructions<'s>>,
}

impl<'s> Program<'s> {
    /// Compiles a template.
    ///
    /// # Errors
    /// What the template does wrong, and the line.
    pub(super) fn compile(source: &'s str, syntax: &SyntaxConfig) -> Result<Self, Fault> {
        check_source(source)?;
        check_tags(source, syntax)?;
        let tree = parse(source, NAME, syntax.clone())?;
        let mut generator = CodeGenerator::new(NAME, source);
        generator.compile_stmt(&tree);
        let (main, blocks) = generator.finish();
        let checked = |(name, code)| Ok((name, with_checks(&code)?));
        Ok(Self {
            main: with_checks(&main)?,
            blocks: blocks.into_iter().map(checked).collect::<Result<_, Fault>>()?,
        })
    }

    /// Runs the template in an environment that [`add_checks`] has prepared.
    pub(super) fn render<'a>(
        &'a self,
        env: &'a Environment<'a>,
        vars: Value,
    ) -> Result<String, Error>
    where
        's: 'a,
    {
        let mut text = String::new();
        let mut out = make_string_output(&mut text);
        eval(env, &self.main, vars, &self.blocks, &mut out, AutoEscape::None)?;
        drop(out);
        Ok(text)
    }
}

/// Why a template does not compile.
pub(super) enum Fault {
    /// It is not in the language.
    Syntax(Error),
    /// It is beyond our limits.
    Limit {
        /// Line, from 1.
        line: Option<usize>,
        /// Which limit.
        problem: String,
    },
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Syntax(error)
    }
}

fn limit(line: impl Into<Option<usize>>, problem: String) -> Fault {
    Fault::Limit { line: line.into(), problem }
}

fn check_source(source: &str) -> Result<(), Fault> {
    if source.len() > MAX_SOURCE_BYTES {
        let problem = format!("{} bytes long (at most {MAX_SOURCE_BYTES})", source.len());
        return Err(limit(None, problem));
    }
    for (i, line) in source.split('\n').enumerate() {
        if i >= MAX_LINES || line.len() > MAX_LINES {
            return Err(limit(i + 1, format!("more than {MAX_LINES} lines, or a line that long")));
        }
    }
    Ok(())
}

fn check_tags(source: &str, syntax: &SyntaxConfig) -> Result<(), Fault> {
    let (mut tokens, mut sums, mut products, mut elifs) = (0, 0, 0, 0);
    for token in tokenize(source, false, syntax.clone()) {
        let (token, span) = token?;
        let line = usize::from(span.start_line);
        tokens += 1;
        match token {
            Token::VariableStart | Token::BlockStart => (tokens, sums, products) = (0, 0, 0),
            Token::Plus => sums += 1,
            Token::Mul | Token::Pow => products += 1,
            Token::Ident("elif") => elifs += 1,
            _ => {}
        }
        if tokens > MAX_TAG_TOKENS {
            return Err(limit(line, format!("a tag of more than {MAX_TAG_TOKENS} words")));
        }
        if elifs > MAX_ELIFS {
            return Err(limit(line, format!("more than {MAX_ELIFS} elif")));
        }
        if products > 0 && sums > MAX_SUMS_WITH_PRODUCT {
            let problem = format!("more than {MAX_SUMS_WITH_PRODUCT} sums beside a product");
            return Err(limit(line, problem));
        }
    }
    Ok(())
}

/// The same instructions with checks in front, and the jumps moved along.
fn with_checks<'s>(code: &Instructions<'s>) -> Result<Instructions<'s>, Fault> {
    let indices = || (0u32..).map_while(|i| code.get(i).map(|instruction| (i, instruction)));
    let mut checks = Vec::new();
    // Where each instruction's checks begin in the new code; jumps go there.
    let mut moved = Vec::new();
    let mut next = 0u32;
    for (i, instruction) in indices() {
        let before = checks_before(instruction).ok_or_else(|| {
            limit(code.get_line(i), "* and ** arguments are not supported".to_owned())
        })?;
        moved.push(next);
        next = u32::try_from(before.len())
            .ok()
            .and_then(|n| next.checked_add(n + 1))
            .ok_or_else(|| limit(code.get_line(i), "too many instructions".to_owned()))?;
        checks.push(before);
    }
    moved.push(next);
    let target = |to: u32| {
        let index = usize::try_from(to).unwrap_or(usize::MAX);
        moved.get(index).copied().unwrap_or(next)
    };
    let mut out = Instructions::new(code.name(), code.source());
    for ((i, instruction), before) in indices().zip(checks) {
        let instruction = match instruction.clone() {
            Instruction::Jump(to) => Instruction::Jump(target(to)),
            Instruction::JumpIfFalse(to) => Instruction::JumpIfFalse(target(to)),
            Instruction::JumpIfFalseOrPop(to) => Instruction::JumpIfFalseOrPop(target(to)),
            Instruction::JumpIfTrueOrPop(to) => Instruction::JumpIfTrueOrPop(target(to)),
            Instruction::Iterate(to) => Instruction::Iterate(target(to)),
            Instruction::BuildMacro(name, body, flags) => {
                Instruction::BuildMacro(name, target(body), flags)
            }
            other => other,
        };
        let line = code.get_line(i).and_then(|line| u16::try_from(line).ok()).unwrap_or(0);
        for check in before {
            out.add_with_line(check, line);
        }
        out.add_with_line(instruction, line);
    }
    Ok(out)
}

/// The checks of one instruction; `None` if the number of its operands is only known when it runs.
fn checks_before<'s>(instruction: &Instruction<'s>) -> Option<Vec<Instruction<'s>>> {
    // A function takes the operands, and its result, a tuple of them, is spread out again.
    let operands = |name, count: Option<u16>| {
        let count = count?;
        if count == 0 {
            return Some(Vec::new());
        }
        let spread = Instruction::UnpackList(usize::from(count));
        Some(vec![Instruction::CallFunction(name, Some(count)), spread])
    };
    match instruction {
        Instruction::Add => operands(METER_ADD, Some(2)),
        Instruction::Mul => operands(METER_PRODUCT, Some(2)),
        Instruction::Eq
        | Instruction::Ne
        | Instruction::Gt
        | Instruction::Gte
        | Instruction::Lt
        | Instruction::Lte
        | Instruction::In
        | Instruction::StringConcat
        | Instruction::CompareAndPreserve(_) => operands(METER, Some(2)),
        Instruction::ApplyFilter(_, count, _)
        | Instruction::PerformTest(_, count, _)
        | Instruction::CallFunction(_, count)
        | Instruction::CallMethod(_, count)
        | Instruction::CallObject(count) => operands(METER, *count),
        Instruction::MergeKwargs(_) | Instruction::UnpackLists(_) => None,
        Instruction::StoreLocal(_) => Some(vec![Instruction::CallFunction(HOLD, Some(1))]),
        // The namespace is on top of the value.
        Instruction::SetAttr(_) => Some(vec![
            Instruction::Swap,
            Instruction::CallFunction(HOLD_FIELD, Some(1)),
            Instruction::Swap,
        ]),
        _ => Some(Vec::new()),
    }
}

/// Gives an environment the functions that the checks call.
pub(super) fn add_checks(env: &mut Environment) {
    let metered = |state: &State, operands: Rest<ValueOrKwargs>| {
        let operands: Vec<Value> = operands.0.into_iter().map(ValueOrKwargs::into_value).collect();
        operands.iter().try_for_each(|value| meter(state, value))?;
        Ok::<_, Error>(operands)
    };
    // Spreading a tuple out puts its first item on top.
    let spread = |operands: Vec<Value>| {
        Value::from(Tuple::from(operands.into_iter().rev().collect::<Vec<_>>()))
    };
    env.add_function(METER, move |state: &State, operands: Rest<ValueOrKwargs>| {
        metered(state, operands).map(spread)
    });
    env.add_function(METER_ADD, move |state: &State, operands: Rest<ValueOrKwargs>| {
        let operands = metered(state, operands)?;
        // A long chain of sums is copied: pay for the items once more.
        let items = operands.iter().filter(|v| v.as_object().is_some()).filter_map(Value::len);
        state.consume_fuel(u64::try_from(items.sum::<usize>()).unwrap_or(u64::MAX))?;
        Ok::<_, Error>(spread(operands))
    });
    env.add_function(METER_PRODUCT, move |state: &State, operands: Rest<ValueOrKwargs>| {
        let operands = metered(state, operands)?;
        if operands.iter().any(|value| value.as_object().is_some()) {
            return Err(refused("lists cannot be multiplied here"));
        }
        Ok(spread(operands))
    });
    env.add_function(HOLD, |state: &State, value: Value| hold(state, value, true));
    env.add_function(HOLD_FIELD, |state: &State, value: Value| hold(state, value, false));
}

fn refused(problem: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}

/// Pays for every value in `value`, and refuses what nests too deep.
pub(super) fn meter(state: &State, value: &Value) -> Result<(), Error> {
    if value.as_object().is_none() {
        return Ok(());
    }
    let mut walk = Walk { state, owed: 0 };
    walk.count(value, 0)?;
    walk.pay()
}

/// `value` as it may be kept: plain lists all the way down.
fn hold(state: &State, value: Value, may_be_namespace: bool) -> Result<Value, Error> {
    let Some(object) = value.as_object() else {
        return Ok(value);
    };
    let mut walk = Walk { state, owed: 0 };
    match kind_of(object) {
        // `{% set outer = loop %}` and macros.
        Kind::Opaque if may_be_namespace => return Ok(value),
        Kind::Namespace if may_be_namespace => {
            for key in value.try_iter()?.checked() {
                walk.held(&value.get_item(&key?)?, 1)?;
            }
            walk.pay()?;
            return Ok(value);
        }
        _ => {}
    }
    let held = walk.held(&value, 0)?;
    walk.pay()?;
    Ok(held.unwrap_or(value))
}

enum Kind {
    /// A list or tuple that is there item by item.
    List,
    /// A sequence made from others while it is gone through.
    Lazy,
    Map,
    Namespace,
    /// Loops, macros, functions: nothing to look into.
    Opaque,
}

fn kind_of(object: &DynObject) -> Kind {
    use minijinja::value::ObjectRepr;
    if object.is::<Vec<Value>>() || object.is::<Tuple>() {
        return Kind::List;
    }
    match object.repr() {
        ObjectRepr::Seq | ObjectRepr::Iterable => Kind::Lazy,
        // Their types are private to minijinja.
        ObjectRepr::Map if object.type_name().ends_with("::Namespace") => Kind::Namespace,
        ObjectRepr::Map if object.type_name().contains("_object::") => Kind::Opaque,
        ObjectRepr::Map => Kind::Map,
        _ => Kind::Opaque,
    }
}

struct Walk<'a> {
    state: &'a State<'a, 'a>,
    /// Values seen and not paid for yet.
    owed: u64,
}

impl Walk<'_> {
    fn pay(&mut self) -> Result<(), Error> {
        self.state.consume_fuel(self.owed.div_ceil(VALUES_PER_FUEL))?;
        self.owed = 0;
        Ok(())
    }

    fn step(&mut self, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(refused("a value nested too deeply"));
        }
        self.owed += 1;
        if self.owed >= 64 * VALUES_PER_FUEL { self.pay() } else { Ok(()) }
    }

    fn count(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.step(depth)?;
        let Some(object) = value.as_object() else {
            // Text inside of lists is shared; whoever looks at it may copy it as often as it is there.
            let bytes = value.as_str().map_or(0, str::len);
            self.owed += u64::try_from(bytes / 64).unwrap_or(u64::MAX) * VALUES_PER_FUEL;
            return Ok(());
        };
        match kind_of(object) {
            Kind::Opaque => Ok(()),
            Kind::List | Kind::Lazy => {
                value.try_iter()?.checked().try_for_each(|item| self.count(&item?, depth + 1))
            }
            Kind::Map | Kind::Namespace => value.try_iter()?.checked().try_for_each(|key| {
                let key = key?;
                self.count(&key, depth + 1)?;
                self.count(&value.get_item(&key)?, depth + 1)
            }),
        }
    }

    /// The value to keep in place of `value`, if it is another one.
    fn held(&mut self, value: &Value, depth: usize) -> Result<Option<Value>, Error> {
        self.step(depth)?;
        let Some(object) = value.as_object() else {
            return Ok(None);
        };
        match kind_of(object) {
            Kind::Opaque | Kind::Namespace => {
                Err(refused("a namespace, loop or function cannot be kept inside another value"))
            }
            Kind::Map => {
                let mut pairs = Vec::new();
                let mut changed = value.is_kwargs();
                for key in value.try_iter()?.checked() {
                    let key = key?;
                    let item = value.get_item(&key)?;
                    let other = self.held(&item, depth + 1)?;
                    changed |= other.is_some();
                    pairs.push((key, other.unwrap_or(item)));
                }
                Ok(changed.then(|| Value::from_pairs(pairs)))
            }
            kind => {
                let mut items = Vec::new();
                let mut changed = matches!(kind, Kind::Lazy);
                for item in value.try_iter()?.checked() {
                    let item = item?;
                    let other = self.held(&item, depth + 1)?;
                    changed |= other.is_some();
                    items.push(other.unwrap_or(item));
                }
                Ok(changed.then(|| match value.is_tuple() {
                    true => Value::from(Tuple::from(items)),
                    false => Value::from(items),
                }))
            }
        }
    }
}
