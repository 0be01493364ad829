//! Tool calls as LFM2 writes them: `<|tool_call_start|>[f(city="Rome", days=2), g()]<|tool_call_end|>`,
//! a Python list of calls with keyword arguments, whose values are Python or JSON literals.

use serde_json::{Map, Number, Value};

use super::TOOL_CALL_MARKERS;

/// Deepest nesting of lists and objects in an argument.
const MAX_DEPTH: usize = 64;

/// A tool that the model calls.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// Its arguments by name, in the model's order.
    pub arguments: Map<String, Value>,
}

/// The calls in an answer whose markers are shown
/// ([`SpecialTokens::ToolCalls`](super::SpecialTokens::ToolCalls)), in their order. What is not
/// written as a call should be is no call: the answer's text shows it.
#[must_use]
pub fn tool_calls(answer: &str) -> Vec<ToolCall> {
    let [start, end] = TOOL_CALL_MARKERS;
    let mut calls = Vec::new();
    for rest in answer.split(start).skip(1) {
        // An answer that was cut off may have no end.
        let list = rest.split(end).next().unwrap_or_default();
        calls.extend(Parser { rest: list }.calls().unwrap_or_default());
    }
    calls
}

/// What has not been read yet. `None` from any of its functions: it is not written as it should be.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn calls(mut self) -> Option<Vec<ToolCall>> {
        self.need("[")?;
        let calls = self.list("]", |parser| {
            let name = parser.name()?;
            parser.need("(")?;
            let arguments = parser.list(")", |parser| {
                let key = parser.name()?;
                parser.need("=")?;
                Some((key, parser.value(0)?))
            })?;
            Some(ToolCall { name, arguments: arguments.into_iter().collect() })
        })?;
        self.skip_space();
        self.rest.is_empty().then_some(calls)
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes `token` if it comes next.
    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn need(&mut self, token: &str) -> Option<()> {
        self.take(token).then_some(())
    }

    /// Items with commas between them, up to `end`; one more comma may follow the last.
    fn list<T>(
        &mut self,
        end: &str,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut items = Vec::new();
        while !self.take(end) {
            items.push(item(self)?);
            if !self.take(",") {
                self.need(end)?;
                break;
            }
        }
        Some(items)
    }

    /// The longest beginning whose characters all pass.
    fn run(&mut self, passes: impl Fn(char) -> bool) -> &str {
        self.skip_space();
        let at = self.rest.find(|c| !passes(c)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(at);
        self.rest = rest;
        run
    }

    /// A tool's or an argument's name; those of tools may have dots and dashes.
    fn name(&mut self) -> Option<String> {
        let name = self.run(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'));
        (!name.is_empty()).then(|| name.to_owned())
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.skip_space();
        match self.rest.chars().next()? {
            quote @ ('"' | '\'') => self.string(quote).map(Value::String),
            '[' => {
                self.need("[")?;
                self.list("]", |parser| parser.value(depth + 1)).map(Value::Array)
            }
            '{' => {
                self.need("{")?;
                let fields = self.list("}", |parser| {
                    parser.skip_space();
                    let quote = parser.rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
                    let key = parser.string(quote)?;
                    parser.need(":")?;
                    Some((key, parser.value(depth + 1)?))
                })?;
                Some(Value::Object(fields.into_iter().collect()))
            }
            c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number(),
            _ => match self.run(char::is_alphanumeric) {
                "True" | "true" => Some(Value::Bool(true)),
                "False" | "false" => Some(Value::Bool(false)),
                "None" | "null" => Some(Value::Null),
                _ => None,
            },
        }
    }

    fn number(&mut self) -> Option<Value> {
        let text = self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | '_'));
        let plain = text.replace('_', "");
        if let Ok(whole) = plain.parse::<i64>() {
            return Some(whole.into());
        }
        let number = plain.parse::<f64>().ok()?;
        // Neither NaN nor infinite.
        Number::from_f64(number).map(Value::Number)
    }

    /// A string in `quote`s, with the escapes that Python and JSON share and `\'`.
    fn string(&mut self, quote: char) -> Option<String> {
        let mut chars = self.rest.char_indices();
        chars.next()?;
        let mut text = String::new();
        // The first half of a character that JSON writes as two.
        let mut high: Option<u32> = None;
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.rest = self.rest.get(at + c.len_utf8()..)?;
                return high.is_none().then_some(text);
            }
            let c = match c {
                '\\' => match chars.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'u' => {
                        let mut code = 0;
                        for _ in 0..4 {
                            code = code * 16 + chars.next()?.1.to_digit(16)?;
                        }
                        match (high.take(), code) {
                            (None, 0xd800..=0xdbff) => {
                                high = Some(code);
                                continue;
                            }
                            (Some(high), 0xdc00..=0xdfff) => {
                                char::from_u32(0x10000 + ((high - 0xd800) << 10) + code - 0xdc00)?
                            }
                            (None, _) => char::from_u32(code)?,
                            (Some(_), _) => return None,
                        }
                    }
                    other @ ('\\' | '"' | '\'' | '/') => other,
                    _ => return None,
                },
                other => other,
            };
            if high.is_some() {
                return None;
            }
            text.push(c);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(list: &str) -> Vec<(String, Value)> {
        let [start, end] = TOOL_CALL_MARKERS;
        let calls = tool_calls(&format!("before {start}{list}{end} after"));
        calls.into_iter().map(|call| (call.name, Value::Object(call.arguments))).collect()
    }

    #[test]
    fn calls_are_read_with_python_and_json_values() {
        let list =
            r#"[get_weather(city="São Paulo", days=2), today(), a.b-c(x=-1.5e3, y='it''s')]"#;
        assert_eq!(read(list), [], "two strings side by side are none");
        let list = r#" [ f(a="x\"y\n", b='\'', c=True, d=none_, ) ]"#;
        assert_eq!(read(list), []);
        let list = r#" [ f(a="x\"y\n\u00e9\ud83d\ude00", b='\'"', c=True, d=null, e=[1, [2.5], {"k": 'v'}], ), g() ] "#;
        let expected = json!({"a": "x\"y\né😀", "b": "'\"", "c": true, "d": null, "e": [1, [2.5], {"k": "v"}]});
        assert_eq!(read(list), [("f".to_owned(), expected), ("g".to_owned(), json!({}))]);
        assert_eq!(read("[]"), []);
        let numbers = read("[f(a=-7, b=1_000, c=.5, d=9223372036854775808)]");
        assert_eq!(
            numbers[0].1,
            json!({"a": -7, "b": 1000, "c": 0.5, "d": 9.223_372_036_854_776e18})
        );
    }

    #[test]
    fn what_is_no_call_is_none_and_does_not_panic() {
        let deep = format!("[f(a={}1{})]", "[".repeat(100_000), "]".repeat(100_000));
        for list in [
            "",
            "[",
            "f()",
            "[f]",
            "[f(]",
            "[f()",
            "[f(1)]",
            "[f(a=)]",
            "[f(a=b)]",
            "[f(a=\"x)]",
            "[f(a=inf)]",
            "[f(a=\"\\ud800\")]",
            "[f(a=\"\\ud800x\")]",
            "[f(a=\"\\x\")]",
            "[f(a=\"\\u12\")]",
            "[f() g()]",
            "[f(a=1 b=2)]",
            "[f(a={1: 2})]",
            "[f()] x",
            "[f(a=NaN)]",
            &deep,
        ] {
            assert_eq!(read(list), [], "{list:.60}");
        }
        let [start, end] = TOOL_CALL_MARKERS;
        assert_eq!(tool_calls("no call"), []);
        assert_eq!(tool_calls(&format!("{start}[f()]")).len(), 1, "cut off behind the list");
        assert_eq!(tool_calls(&format!("{start}[f()]{end}{start}[g()]{end}")).len(), 2);
    }
}
