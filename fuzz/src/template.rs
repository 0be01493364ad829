//! Chat templates by grammar: programs that parse, so that what runs them is reached.

use arbitrary::{Arbitrary, Result, Unstructured};

/// A template's text, made of the grammar below.
#[derive(Debug)]
pub struct Template(pub String);

impl<'a> Arbitrary<'a> for Template {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut out = String::new();
        let mut writer = Writer { u, out: &mut out, depth: 0 };
        for _ in 0..12 {
            if writer.u.is_empty() {
                break;
            }
            writer.statement()?;
        }
        Ok(Self(out))
    }
}

const NAMES: [&str; 14] = [
    "messages",
    "message",
    "tools",
    "ns",
    "n",
    "a",
    "b",
    "loop",
    "bos_token",
    "x",
    "m",
    "self",
    "add_generation_prompt",
    "caller",
];
const FIELDS: [&str; 16] = [
    "role",
    "content",
    "s",
    "l",
    "index0",
    "last",
    "items",
    "keys",
    "tool_calls",
    "thinking",
    "previtem",
    "cycle",
    "changed",
    "length",
    "depth0",
    "x",
];
const FILTERS: [&str; 34] = [
    "tojson",
    "tojson(indent=2)",
    "trim",
    "length",
    "join",
    "join(', ')",
    "list",
    "string",
    "upper",
    "capitalize",
    "title",
    "replace('a', 'bb')",
    "reverse",
    "sort",
    "unique",
    "first",
    "last",
    "items",
    "dictsort",
    "map('upper')",
    "map(attribute='role')",
    "selectattr('role')",
    "rejectattr('x')",
    "select('string')",
    "groupby('role')",
    "batch(3)",
    "slice(3)",
    "indent(4)",
    "default('d', true)",
    "int",
    "float",
    "abs",
    "format(1, 'x')",
    "tojson(indent=99, separators=(',', ':'))",
];
const METHODS: [&str; 26] = [
    "strip()",
    "split()",
    "split('a')",
    "rstrip('x')",
    "lstrip()",
    "startswith('a')",
    "endswith('a')",
    "upper()",
    "title()",
    "replace('a', 'aaaa')",
    "replace('', 'ab')",
    "join(['a', 'b'])",
    "keys()",
    "values()",
    "items()",
    "get('role')",
    "count('a')",
    "find('a')",
    "splitlines()",
    "format(1, 2)",
    "zfill(99)",
    "islower()",
    "capitalize()",
    "append(1)",
    "update({})",
    "rsplit('a', 1)",
];
const TESTS: [&str; 14] = [
    "defined",
    "none",
    "string",
    "mapping",
    "iterable",
    "not none",
    "true",
    "divisibleby(3)",
    "in [1, 2]",
    "number",
    "sequence",
    "odd",
    "eq 1",
    "undefined",
];
const BINARY: [&str; 16] =
    ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", ">=", "in", "not in", "and", "or"];
const CALLS: [&str; 12] = [
    "range(9)",
    "range(99999)",
    "range(5, -5, -1)",
    "namespace(s='ab', l=[1, 2])",
    "dict(a=1)",
    "raise_exception('no')",
    "strftime_now('%Y-%m-%d %H')",
    "m('x')",
    "caller()",
    "loop(messages)",
    "loop.cycle(1, 2)",
    "cycler('a', 'b')",
];
const TEXTS: [&str; 8] = ["a", "<|im_start|>", "\n", "é", "  ", "'", "\\", "ab\r\n"];
const LITERALS: [&str; 18] = [
    "0",
    "1",
    "-1",
    "9223372036854775807",
    "1.5",
    "1e308",
    "'ab'",
    "\"x\\ny\"",
    "true",
    "none",
    "[]",
    "[1, 2]",
    "{}",
    "{'a': [1]}",
    "(1, 2)",
    "'%s %d'",
    "''",
    "99999999999999999999",
];

struct Writer<'u, 'a, 'o> {
    u: &'u mut Unstructured<'a>,
    out: &'o mut String,
    depth: u32,
}

impl Writer<'_, '_, '_> {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn one(&mut self, list: &[&str]) -> Result<()> {
        let text = *self.u.choose(list)?;
        self.put(text);
        Ok(())
    }

    /// Whether to go one deeper.
    fn deeper(&self) -> bool {
        self.depth < 12 && !self.u.is_empty() && self.out.len() < 20_000
    }

    fn block(&mut self) -> Result<()> {
        self.depth += 1;
        for _ in 0..self.u.int_in_range(1..=3)? {
            self.statement()?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn statement(&mut self) -> Result<()> {
        let most = if self.deeper() { 12 } else { 2 };
        match self.u.int_in_range(0..=most)? {
            0 => self.one(&TEXTS)?,
            1 | 2 => {
                self.one(&["{{ ", "{{- "])?;
                self.expression()?;
                self.one(&[" }}", " -}}"])?;
            }
            3 | 4 => {
                self.put("{% set ");
                self.one(&["a", "b", "x", "n", "ns", "ns.s", "ns.l", "n.s", "n.l", "a, b"])?;
                self.put(" = ");
                self.expression()?;
                self.put(" %}");
            }
            5 => {
                self.put("{% set x %}");
                self.block()?;
                self.put("{% endset %}");
            }
            6 | 7 => {
                self.put("{% for ");
                self.one(&["message", "a", "x", "a, b"])?;
                self.put(" in ");
                self.expression()?;
                self.one(&["", "", " recursive", " if a"])?;
                self.put(" %}");
                self.block()?;
                self.one(&["", "{% else %}x", "{% break %}", "{% continue %}"])?;
                self.put("{% endfor %}");
            }
            8 => {
                self.put("{% if ");
                self.expression()?;
                self.put(" %}");
                self.block()?;
                self.one(&["", "{% else %}b", "{% elif a %}c"])?;
                self.put("{% endif %}");
            }
            9 => {
                self.put("{% macro m(x, y=1) %}");
                self.block()?;
                self.put("{% endmacro %}");
            }
            10 => {
                self.put("{% call m('x') %}");
                self.block()?;
                self.put("{% endcall %}");
            }
            11 => {
                self.put("{% filter ");
                self.one(&FILTERS)?;
                self.put(" %}");
                self.block()?;
                self.put("{% endfilter %}");
            }
            _ => self.one(&[
                "{% generation %}a{% endgeneration %}",
                "{% raw %}{{ x }}{% endraw %}",
                "{# a #}",
                "{%- with a = 1 %}{{ a }}{% endwith %}",
                "{% do ns.l.append(1) %}",
                "{% include 'x' %}",
                "{% import 'x' as y %}",
                "{% extends 'x' %}",
                "{% block a %}{{ self.a() }}{% endblock %}",
                "{% autoescape true %}<{% endautoescape %}",
            ])?,
        }
        Ok(())
    }

    fn expression(&mut self) -> Result<()> {
        let most = if self.deeper() { 14 } else { 3 };
        self.depth += 1;
        match self.u.int_in_range(0..=most)? {
            0 => self.one(&NAMES)?,
            1 => self.one(&LITERALS)?,
            2 => self.one(&CALLS)?,
            3 => {
                self.one(&NAMES)?;
                self.put(".");
                self.one(&FIELDS)?;
            }
            4 | 5 => {
                self.expression()?;
                self.put(" ");
                self.one(&BINARY)?;
                self.put(" ");
                self.expression()?;
            }
            6 => {
                self.expression()?;
                self.put(" | ");
                self.one(&FILTERS)?;
            }
            7 => {
                self.put("(");
                self.expression()?;
                self.put(").");
                self.one(&METHODS)?;
            }
            8 => {
                self.expression()?;
                self.put(" is ");
                self.one(&TESTS)?;
            }
            9 => {
                self.put("(");
                self.expression()?;
                self.put(")[");
                match self.u.int_in_range(0..=2)? {
                    0 => self.one(&["0", "-1", "1:", ":-1", "::-1", "::2", "'role'", "1:9:0"])?,
                    _ => self.expression()?,
                }
                self.put("]");
            }
            10 => {
                self.put("[");
                self.expression()?;
                self.put(", ");
                self.expression()?;
                self.put("]");
            }
            11 => {
                self.put("{'a': ");
                self.expression()?;
                self.put(", 'b': ");
                self.expression()?;
                self.put("}");
            }
            12 => {
                self.put("(");
                self.expression()?;
                self.put(" if ");
                self.expression()?;
                self.put(" else ");
                self.expression()?;
                self.put(")");
            }
            13 => {
                self.one(&["not ", "-", "+"])?;
                self.put("(");
                self.expression()?;
                self.put(")");
            }
            _ => {
                self.one(&["m", "range", "dict", "namespace", "caller", "loop", "joiner"])?;
                self.put("(");
                self.expression()?;
                self.put(")");
            }
        }
        self.depth -= 1;
        Ok(())
    }
}

/// A conversation as a chat file has it.
pub fn conversation(u: &mut Unstructured<'_>) -> Result<String> {
    let mut messages = Vec::new();
    for _ in 0..u.int_in_range(1..=5)? {
        let role = *u.choose(&["system", "user", "assistant", "tool"])?;
        let content = match u.int_in_range(0..=4)? {
            0 => String::arbitrary(u)?.into(),
            1 => serde_json::Value::Null,
            2 => serde_json::json!([{"type": "text", "text": String::arbitrary(u)?}]),
            3 => "x".repeat(usize::from(u16::arbitrary(u)?)).into(),
            _ => "Hello, how are you?".into(),
        };
        let mut message = serde_json::json!({"role": role, "content": content});
        if bool::arbitrary(u)? {
            message["tool_calls"] = serde_json::json!([
                {"type": "function", "id": "1", "function": {"name": "f", "arguments": {"a": 1e-7}}}
            ]);
        }
        if bool::arbitrary(u)? {
            message["reasoning_content"] = String::arbitrary(u)?.into();
        }
        messages.push(message);
    }
    let mut whole = serde_json::json!({"messages": messages});
    if bool::arbitrary(u)? {
        whole["tools"] = serde_json::json!([
            {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        ]);
    }
    Ok(whole.to_string())
}
