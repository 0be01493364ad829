//! jinja2's filters.

pub(super) mod html;
mod numbers;
mod sequences;
mod text;
mod wrap;

use super::bind::{Bound, Signature};
use super::error::{Res, error};
use super::interp::Interp;
use super::tojson;
use super::unicode::{is_digit, lower};
use super::value::{CallArgs, Method, Path, Value};
use std::rc::Rc;
use std::sync::Arc;

/// Every filter with its parameters after the value and the number of required ones.
const FILTERS: &[(&str, &[&str], usize)] = &[
    ("abs", &[], 0),
    ("attr", &["name"], 1),
    ("batch", &["linecount", "fill_with"], 1),
    ("capitalize", &[], 0),
    ("center", &["width"], 0),
    ("count", &[], 0),
    ("d", &["default_value", "boolean"], 0),
    ("default", &["default_value", "boolean"], 0),
    ("dictsort", &["case_sensitive", "by", "reverse"], 0),
    ("e", &[], 0),
    ("escape", &[], 0),
    ("filesizeformat", &["binary"], 0),
    ("first", &[], 0),
    ("float", &["default"], 0),
    ("forceescape", &[], 0),
    ("groupby", &["attribute", "default", "case_sensitive"], 1),
    ("indent", &["width", "first", "blank"], 0),
    ("int", &["default", "base"], 0),
    ("items", &[], 0),
    ("join", &["d", "attribute"], 0),
    ("last", &[], 0),
    ("length", &[], 0),
    ("list", &[], 0),
    ("lower", &[], 0),
    ("max", &["case_sensitive", "attribute"], 0),
    ("min", &["case_sensitive", "attribute"], 0),
    ("pprint", &[], 0),
    ("random", &[], 0),
    ("replace", &["old", "new", "count"], 2),
    ("reverse", &[], 0),
    ("round", &["precision", "method"], 0),
    ("safe", &[], 0),
    ("slice", &["slices", "fill_with"], 1),
    ("sort", &["reverse", "case_sensitive", "attribute"], 0),
    ("string", &[], 0),
    ("striptags", &[], 0),
    ("sum", &["attribute", "start"], 0),
    ("title", &[], 0),
    ("trim", &["chars"], 0),
    ("truncate", &["length", "killwords", "end", "leeway"], 0),
    ("unique", &["case_sensitive", "attribute"], 0),
    ("upper", &[], 0),
    ("urlencode", &[], 0),
    ("urlize", &["trim_url_limit", "nofollow", "target", "rel", "extra_schemes"], 0),
    ("wordcount", &[], 0),
    ("wordwrap", &["width", "break_long_words", "wrapstring", "break_on_hyphens"], 0),
    ("xmlattr", &["autospace"], 0),
];

/// Filters that accept any arguments.
const OPEN: &[&str] = &["format", "map", "reject", "rejectattr", "select", "selectattr", "tojson"];

pub(super) fn exists(name: &str) -> bool {
    OPEN.contains(&name) || FILTERS.iter().any(|(filter, ..)| *filter == name)
}

impl Interp<'_> {
    pub(super) fn filter(&self, name: &str, value: Value, args: CallArgs) -> Res<Value> {
        self.meter.pay(1)?;
        self.deeper(|| match name {
            "format" => text::format(self, &value, args),
            "tojson" => {
                // The options may be positional too.
                let params = ["ensure_ascii", "indent", "separators", "sort_keys"];
                let CallArgs { positional, mut named } = args;
                if positional.len() > params.len() {
                    return Err(error!(Type, "tojson takes at most 5 arguments"));
                }
                named.extend(params.into_iter().map(Arc::from).zip(positional));
                tojson::dumps(self, &value, CallArgs { positional: Vec::new(), named })
            }
            "map" => sequences::map(self, &value, args),
            "select" | "reject" => sequences::select(self, &value, args, name == "select", false),
            "selectattr" | "rejectattr" => {
                sequences::select(self, &value, args, name == "selectattr", true)
            }
            _ => {
                let Some((name, params, required)) =
                    FILTERS.iter().find(|(filter, ..)| *filter == name)
                else {
                    return Err(error!(Runtime, "no filter is named '{name}'"));
                };
                let mut args =
                    Signature { name, params, required: *required, positional: 0 }.bind(args)?;
                self.bound_filter(name, value, &mut args)
            }
        })
    }

    fn bound_filter(&self, name: &str, value: Value, args: &mut Bound) -> Res<Value> {
        match name {
            "abs" | "float" | "int" | "round" | "sum" | "filesizeformat" => {
                numbers::filter(self, name, &value, args)
            }
            "capitalize" | "center" | "indent" | "lower" | "replace" | "string" | "title"
            | "trim" | "truncate" | "upper" | "wordcount" | "pprint" => {
                text::filter(self, name, &value, args)
            }
            "wordwrap" => wrap::wordwrap(self, &value, args),
            "e" | "escape" | "forceescape" | "safe" | "striptags" | "urlencode" | "urlize"
            | "xmlattr" => html::filter(self, name, &value, args),
            "d" | "default" => {
                let default = args.given(0).unwrap_or_else(|| Value::str(""));
                let replaced = value.is_undefined() || (args.truthy(1) && !value.truthy());
                Ok(if replaced { default } else { value })
            }
            "attr" => {
                let name = args.take(0);
                let name = name.as_str().cloned();
                let name = name.ok_or_else(|| error!(Type, "attribute name must be string"))?;
                self.attribute_only(&value, &name)
            }
            "count" | "length" => match value.len() {
                Some(len) => {
                    self.meter.pay_bytes(value.as_str().map_or(0, |t| t.len()))?;
                    Ok(Value::Int(i128::try_from(len).unwrap_or(0)))
                }
                None => match &value {
                    Value::Loop(inner) => self.loop_length(inner).map(Value::Int),
                    other => {
                        Err(error!(Type, "object of type '{}' has no len()", other.type_name()))
                    }
                },
            },
            "list" => Value::list(self.collect(&value)?),
            _ => sequences::filter(self, name, &value, args),
        }
    }

    /// The path in the parameter `attribute` of a filter.
    pub(super) fn path(&self, attribute: Option<Value>) -> Path {
        match attribute {
            None => Vec::new(),
            Some(value) => match value.as_str() {
                Some(text) => text.split('.').map(part).collect(),
                None => vec![value],
            },
        }
    }

    /// The sort key of an item: its attribute, in lower case unless `case_sensitive` is set.
    pub(super) fn sort_key(&self, item: &Value, path: &Path, case_sensitive: bool) -> Res<Value> {
        let key = self.follow(item.clone(), path, None)?;
        Ok(match key.as_str() {
            Some(text) if !case_sensitive => {
                self.meter.pay(1 + text.len() / 64)?;
                Value::str(lower(text))
            }
            _ => key,
        })
    }

    /// `value|attr(name)`: no items, only attributes that the sandbox shows.
    fn attribute_only(&self, value: &Value, name: &Arc<str>) -> Res<Value> {
        if let Value::Dict(_) = value {
            // Items do not count. An empty dict has the same attributes.
            let empty = Value::dict(Vec::new())?;
            let found = self.attribute(&empty, name)?;
            return match (&found, value) {
                (Value::Method(method), _) => {
                    let of = value.clone();
                    let name = Arc::clone(&method.name);
                    Ok(Value::Method(Rc::new(Method { of, name })))
                }
                _ => Ok(found),
            };
        }
        self.attribute(value, name)
    }
}

fn part(part: &str) -> Value {
    match !part.is_empty() && part.chars().all(is_digit) {
        true => part.parse().map_or_else(|_| Value::str(part), Value::Int),
        false => Value::str(part),
    }
}
