//! Limits of schemas and grammars. Requests may come from anyone, so no input may take long or much memory, or nest so
//! deeply that a recursion exhausts the stack.

use serde_json::Value;

use super::error::GrammarError;

/// Most bytes of a schema, without white space.
pub(super) const MAX_SCHEMA_BYTES: usize = 256 << 10;
/// Deepest nesting of a schema's objects and lists.
const MAX_DEPTH: usize = 64;
/// Most bytes of a Lark grammar or a regular expression.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// Most brackets that are open at once, and most negations, in a Lark grammar or a regular expression.
const MAX_NESTING: usize = 64;
/// Most rules of a Lark grammar, which may each use the next one; most alternatives; and most brackets in all.
const MAX_RULES: usize = 1000;
const MAX_ALTERNATIVES: usize = 4096;
const MAX_BRACKETS: usize = 8192;
/// Largest divisor of `multipleOf`, without its powers of ten: its automaton has a state for each remainder.
const MAX_DIVISOR: u64 = 10_000;
/// Bytes of the stack on which grammars are compiled. llguidance recurses into rules, brackets and schemas.
#[cfg(not(target_arch = "wasm32"))]
const STACK_BYTES: usize = 64 << 20;
/// Most tools of a request.
const MAX_TOOLS: usize = 256;

fn at_most(place: &str, got: usize, unit: &'static str, most: usize) -> Result<(), GrammarError> {
    match got <= most {
        true => Ok(()),
        false => Err(GrammarError::TooLarge { place: place.to_owned(), got, unit, most }),
    }
}

/// Checks a schema.
pub(super) fn check_schema(place: &str, schema: &Value) -> Result<(), GrammarError> {
    check_values(place, std::slice::from_ref(schema))
}

/// Checks the depth and the total size of values, without recursion.
fn check_values(place: &str, values: &[Value]) -> Result<(), GrammarError> {
    let mut open: Vec<(&Value, usize)> = values.iter().map(|value| (value, 0)).collect();
    let mut bytes = 0;
    while let Some((value, depth)) = open.pop() {
        at_most(place, depth, "levels of nesting", MAX_DEPTH)?;
        bytes += match value {
            Value::String(text) => 3 + text.len(),
            Value::Array(items) => {
                open.extend(items.iter().map(|item| (item, depth + 1)));
                2
            }
            Value::Object(fields) => {
                check_divisor(place, fields.get("multipleOf"))?;
                open.extend(fields.values().map(|value| (value, depth + 1)));
                2 + fields.keys().map(|key| 4 + key.len()).sum::<usize>()
            }
            Value::Number(_) | Value::Bool(_) | Value::Null => 4,
        };
        at_most(place, bytes, "bytes", MAX_SCHEMA_BYTES)?;
    }
    Ok(())
}

/// Checks the divisor of a schema's `multipleOf`.
fn check_divisor(place: &str, divisor: Option<&Value>) -> Result<(), GrammarError> {
    let Some(Value::Number(number)) = divisor else { return Ok(()) };
    let text = number.to_string();
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_matches('0');
    match digits.parse::<u64>() {
        Ok(divisor) if divisor > MAX_DIVISOR => {}
        Err(_) if !digits.is_empty() => {}
        _ => return Ok(()),
    }
    Err(GrammarError::refused(
        place,
        format!("the keyword \"multipleOf\": {text} has too many digits"),
    ))
}

/// Checks a Lark grammar.
pub(super) fn check_lark(place: &str, text: &str) -> Result<(), GrammarError> {
    check_text(place, text)?;
    at_most(place, text.matches(':').count(), "rules", MAX_RULES)?;
    at_most(place, text.matches('|').count(), "alternatives", MAX_ALTERNATIVES)?;
    at_most(place, text.matches(['(', '[', '{']).count(), "brackets", MAX_BRACKETS)?;
    // The schemas within are not parsed here.
    let has_schema = text.contains("%json");
    if has_schema && (text.contains("multipleOf") || text.contains("\\u")) {
        let problem = "the keyword \"multipleOf\" and \\u escapes are not supported beside %json";
        return Err(GrammarError::refused(place, problem));
    }
    Ok(())
}

/// Runs `work` on a stack of its own, natively.
pub(super) fn on_large_stack<T: Send>(
    work: impl FnOnce() -> Result<T, GrammarError> + Send,
) -> Result<T, GrammarError> {
    #[cfg(target_arch = "wasm32")]
    return work();
    #[cfg(not(target_arch = "wasm32"))]
    std::thread::scope(|scope| {
        let failed = || GrammarError::refused("grammar", "there is no thread to compile it");
        let builder = std::thread::Builder::new().stack_size(STACK_BYTES);
        let thread = builder.spawn_scoped(scope, work).map_err(|_| failed())?;
        thread.join().unwrap_or_else(|_| Err(failed()))
    })
}

/// Checks a Lark grammar or a regular expression.
pub(super) fn check_text(place: &str, text: &str) -> Result<(), GrammarError> {
    at_most(place, text.len(), "bytes", MAX_TEXT_BYTES)?;
    let (mut open, mut deepest, mut negations) = (0usize, 0, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            b'~' => negations += 1,
            _ => {}
        }
        deepest = deepest.max(open);
    }
    at_most(place, deepest, "open brackets at once", MAX_NESTING)?;
    at_most(place, negations, "negations", MAX_NESTING)
}

/// Checks the number of tools, and the size of all definitions together.
pub(super) fn check_tools(tools: &[Value]) -> Result<(), GrammarError> {
    at_most("tools", tools.len(), "tools", MAX_TOOLS)?;
    check_values("tools", tools)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_and_depths_are_bounded() {
        let message = |result: Result<(), GrammarError>| result.unwrap_err().to_string();
        let deep = (0..65).fold(json!({}), |inner, _| json!([inner]));
        assert_eq!(
            message(check_schema("schema", &deep)),
            "schema: has 65 levels of nesting, at most 64 are allowed"
        );
        let long = json!({ "enum": ["x".repeat(300_000)] });
        assert!(message(check_schema("schema", &long)).contains("bytes"));
        assert_eq!(
            check_schema("schema", &json!({"type": ["object", "null"], "minItems": 3})),
            Ok(())
        );
        assert!(message(check_text("grammar", &"(".repeat(65))).contains("open brackets"));
        assert!(message(check_text("grammar", &"~".repeat(65))).contains("negations"));
        assert!(message(check_text("grammar", &" ".repeat(70_000))).contains("bytes"));
        assert_eq!(check_text("grammar", &"()".repeat(1000)), Ok(()));
        let divisor = |divisor: Value| check_schema("schema", &json!({ "multipleOf": divisor }));
        assert!(message(divisor(json!(123_456_789))).contains("\"multipleOf\": 123456789"));
        for allowed in [json!(0.01), json!(1_000_000), json!(2.5), json!(1e-300), json!("x")] {
            assert_eq!(divisor(allowed), Ok(()));
        }
        assert!(message(check_lark("grammar", &"a: \"b\"\n".repeat(1001))).contains("rules"));
        assert!(message(check_lark("grammar", &"|".repeat(5000))).contains("alternatives"));
        assert!(message(check_lark("grammar", &"()".repeat(9000))).contains("brackets"));
        assert!(check_lark("grammar", "start: %json {\"multipleOf\": 123456789}").is_err());
        assert!(message(check_tools(&vec![json!({}); 257])).contains("tools"));
    }
}
