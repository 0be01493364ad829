//! Calls, and the global functions of templates.

use super::bind::Signature;
use super::error::{Class, Error, Res, error};
use super::exec::check_field;
use super::interp::Interp;
use super::operands::{defined, wrong_type};
use super::repr::to_str;
use super::value::{
    CallArgs, Cycler, Dict, Function, Joiner, Namespace, Pair, Range, Seq, Value, insert,
};
use indexmap::IndexMap;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The longest range that jinja2's sandbox allows.
const MAX_RANGE: i128 = 100_000;

/// Words of `lipsum`.
const WORDS: [&str; 32] = [
    "a",
    "ac",
    "aliquam",
    "amet",
    "at",
    "consequat",
    "cras",
    "dolor",
    "eget",
    "elit",
    "enim",
    "erat",
    "est",
    "et",
    "eu",
    "fusce",
    "id",
    "in",
    "ipsum",
    "lorem",
    "magna",
    "morbi",
    "nec",
    "nisl",
    "nulla",
    "orci",
    "porta",
    "quis",
    "sed",
    "sit",
    "velit",
    "vitae",
];

impl Interp<'_> {
    pub(super) fn call(&self, callee: &Value, args: CallArgs) -> Res<Value> {
        defined(callee)?;
        match callee {
            Value::Method(method) => self.call_method(method, args),
            Value::Macro(inner) => self.deeper(|| self.call_macro(inner, args)),
            Value::Function(function) => self.call_function(*function, args),
            Value::Loop(inner) => self.loop_call(inner, &args),
            Value::Joiner(joiner) => {
                no_args("joiner", args)?;
                Ok(if joiner.used.replace(true) {
                    joiner.separator.clone()
                } else {
                    Value::str("")
                })
            }
            Value::Block(name) => {
                no_args("block", args)?;
                let mut text = String::new();
                self.deeper(|| self.run_block(name, None, &mut text))?;
                Ok(if self.autoescape.get() {
                    Value::Markup(text.into())
                } else {
                    Value::str(text)
                })
            }
            other => Err(error!(Type, "'{}' object is not callable", other.type_name())),
        }
    }

    fn call_function(&self, function: Function, args: CallArgs) -> Res<Value> {
        let bind =
            |name: &str, params: &[&str], required: usize, positional: usize, args: CallArgs| {
                Signature { name, params, required, positional }.bind(args)
            };
        match function {
            Function::Range => range(args),
            Function::Dict => Ok(Value::Dict(Dict::from_map(self.dict_of(args)?)?)),
            Function::DictFromKeys => self.keyed_dict(args),
            Function::Namespace => {
                let fields = self.dict_of(args)?;
                fields
                    .values()
                    .filter_map(|(key, _)| key.as_str())
                    .try_for_each(|key| check_field(key))?;
                let namespace = Rc::new(Namespace { fields: RefCell::new(fields) });
                self.namespaces.borrow_mut().push(Rc::clone(&namespace));
                Ok(Value::Namespace(namespace))
            }
            Function::Cycler => {
                if args.positional.is_empty() || !args.named.is_empty() {
                    return Err(error!(Runtime, "at least one item has to be provided"));
                }
                Ok(Value::Cycler(Rc::new(Cycler {
                    items: Seq::new(args.positional)?,
                    at: Cell::new(0),
                })))
            }
            Function::Joiner => {
                let mut args = bind("joiner", &["sep"], 0, 0, args)?;
                let separator = args.given(0).unwrap_or_else(|| Value::str(", "));
                Ok(Value::Joiner(Rc::new(Joiner { separator, used: Cell::new(false) })))
            }
            Function::RaiseException => {
                let message = bind("raise_exception", &["message"], 1, 0, args)?.take(0);
                Err(Error::new(Class::Raised, &*to_str(self, &message)?))
            }
            Function::StrftimeNow => {
                let format = bind("strftime_now", &["format"], 1, 0, args)?.text(0)?;
                self.meter.pay(1 + format.len().saturating_mul(8) / 64)?;
                let text = (self.clock)(&format).map_err(|e| error!(Value, "{e}"))?;
                self.meter.pay_bytes(text.len())?;
                Ok(Value::str(text))
            }
            Function::Generation => {
                let caller = bind("generation", &["caller"], 1, 0, args)?.take(0);
                self.call(&caller, CallArgs::default())
            }
            Function::Lipsum => {
                let mut args = bind("lipsum", &["n", "html", "min", "max"], 0, 0, args)?;
                let count = args.int(0, 5)?;
                let html = args.given(1).is_none_or(|v| v.truthy());
                let (min, max) = (args.int(2, 20)?, args.int(3, 100)?);
                self.lipsum(count, html, min, max)
            }
        }
    }

    /// `dict(mapping or pairs, **named)`
    fn dict_of(&self, args: CallArgs) -> Res<IndexMap<super::value::Key, Pair>> {
        let CallArgs { positional, named } = args;
        let mut map = IndexMap::new();
        match &positional[..] {
            [] => {}
            [Value::Dict(dict)] => {
                self.meter.pay(dict.map.len())?;
                map.clone_from(&dict.map);
            }
            [pairs] => {
                let iter = self.iterate(pairs)?;
                while let Some(pair) = self.advance(&iter)? {
                    let pair = self.collect(&pair)?;
                    let [key, value] = &pair[..] else {
                        let length = pair.len();
                        return Err(error!(
                            Value,
                            "dictionary update sequence element has length {length}; 2 is required"
                        ));
                    };
                    insert(&mut map, key.clone(), value.clone())?;
                }
            }
            _ => {
                return Err(error!(
                    Type,
                    "dict expected at most 1 argument, got {}",
                    positional.len()
                ));
            }
        }
        for (name, value) in named {
            insert(&mut map, Value::Str(name), value)?;
        }
        Ok(map)
    }

    /// A pseudo-random number below `below`. The sequence is the same in every run.
    pub(super) fn random_below(&self, below: usize) -> usize {
        // Xorshift.
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        usize::try_from(x >> 33).unwrap_or(0) % below.max(1)
    }

    /// Filler text. jinja2's differs from run to run; this is the same in each.
    fn lipsum(&self, count: i128, html: bool, min: i128, max: i128) -> Res<Value> {
        if count > 0 && min >= max {
            return Err(error!(Value, "empty range for randrange()"));
        }
        let mut paragraphs = Vec::new();
        for _ in 0..usize::try_from(count).unwrap_or(0) {
            let span = usize::try_from(max - min).unwrap_or(usize::MAX);
            let length = usize::try_from(min).unwrap_or(0) + self.random_below(span);
            self.meter.pay(1 + length)?;
            let mut text = String::new();
            for at in 0..length {
                let word = WORDS.get(self.random_below(WORDS.len())).copied().unwrap_or("lorem");
                match at {
                    0 => text.push_str(&super::unicode::capitalize(word)),
                    _ => {
                        text.push(' ');
                        text.push_str(word);
                    }
                }
            }
            text.push('.');
            paragraphs.push(if html { format!("<p>{text}</p>") } else { text });
        }
        Ok(match html {
            true => Value::Markup(paragraphs.join("\n").into()),
            false => Value::str(paragraphs.join("\n\n")),
        })
    }
}

fn no_args(name: &str, args: CallArgs) -> Res<()> {
    Signature { name, params: &[], required: 0, positional: 0 }.bind(args).map(|_| ())
}

fn range(args: CallArgs) -> Res<Value> {
    let mut bound =
        Signature { name: "range", params: &["start", "stop", "step"], required: 1, positional: 3 }
            .bind(args)?;
    let int =
        |value: Value| value.as_int().ok_or_else(|| wrong_type(&value, "range() needs integers"));
    let first = int(bound.take(0))?;
    let stop = bound.given(1).map(int).transpose()?;
    let step = bound.given(2).map(int).transpose()?.unwrap_or(1);
    if step == 0 {
        return Err(error!(Value, "range() arg 3 must not be zero"));
    }
    let (start, stop) = match stop {
        Some(stop) => (first, stop),
        None => (0, first),
    };
    let range = Range { start, stop, step };
    if range.len() > MAX_RANGE {
        return Err(error!(
            Arithmetic,
            "range too big: the sandbox blocks ranges larger than {MAX_RANGE}"
        ));
    }
    Ok(Value::Range(Rc::new(range)))
}
