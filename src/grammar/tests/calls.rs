//! Calls of tools: all that the grammar accepts is read back as calls with valid arguments.

use std::sync::Arc;

use serde_json::{Value, json};

use super::walk::{Random, accepts, walk};
use super::{ALL_MARKERS, GRAMMARS};
use crate::grammar::{Grammar, GrammarError, Grammars, Structure, ToolCalls, ToolChoice};
use crate::text::{
    Answer, AnswerFormat, AnswerStream, CallForm, Calls, SpecialTokens, StopStrings, Tools,
};

/// Tools with parameters of all kinds.
fn tools() -> Vec<Value> {
    let weather = json!({"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "exact": {"type": "boolean"},
    }});
    let order = json!({"type": "object", "required": ["items", "note"], "properties": {
        "items": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/item"}},
        "address": {"type": "object", "required": ["street"], "additionalProperties": false, "properties": {
            "street": {"type": "string", "maxLength": 20}, "number": {"type": ["integer", "null"]}}},
        "note": {"type": ["string", "null"]},
    }, "$defs": {"item": {
        "type": "object", "required": ["name", "count"], "additionalProperties": false,
        "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
    }}});
    vec![
        json!({"type": "function", "function": {"name": "get_weather", "parameters": weather, "strict": true}}),
        json!({"type": "function", "function": {"name": "order.v2", "parameters": order}}),
        json!({"name": "now"}),
    ]
}

/// Tools that only Python's form and JSON can write.
fn odd_tools() -> Vec<Value> {
    let either = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"}},
        "additionalProperties": false, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]});
    let key = json!({"type": "object", "properties": {"a key": {"type": "string"}},
        "required": ["a key"], "additionalProperties": false});
    let free =
        json!({"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]});
    vec![
        json!({"name": "either", "parameters": either}),
        json!({"name": "with_key", "parameters": key}),
        json!({"name": "an odd \"name\"", "parameters": free}),
    ]
}

/// Texts that end a part of an answer.
fn goals(form: CallForm) -> &'static [&'static str] {
    match form {
        CallForm::Python => &["</think>", "\""],
        CallForm::Xml => &["</think>", "\n</parameter>\n", "\"", "</tool_call>"],
    }
}

fn format(tools: &[Value], thinks: bool) -> AnswerFormat {
    let calls = Calls::Of(Arc::new(Tools::new(tools)));
    AnswerFormat { thinks, begins_in_reasoning: false, calls }
}

fn compile(
    grammars: &Grammars,
    tools: &[Value],
    (choice, parallel): (ToolChoice, bool),
    format: &AnswerFormat,
    form: CallForm,
) -> Result<Grammar, GrammarError> {
    let structure =
        Structure::Calls(ToolCalls { tools: tools.to_vec(), choice, parallel, content: None });
    grammars.compile(&structure, format, Some(form))
}

fn read(grammars: &Grammars, format: &AnswerFormat, ids: &[u32]) -> Answer {
    let (tokenizer, format) = (grammars.tokenizer(), format.clone());
    let stops = StopStrings::default();
    let mut stream = AnswerStream::new(tokenizer, format, SpecialTokens::Hide, stops);
    let mut answer = Answer::default();
    for id in ids {
        answer.append(stream.push(*id).unwrap().0);
    }
    answer.append(stream.finish());
    answer
}

fn parameters_of<'a>(tools: &'a [Value], name: &str) -> Option<&'a Value> {
    let functions = tools.iter().map(|tool| tool.get("function").unwrap_or(tool));
    functions.into_iter().find(|f| f["name"] == name).map(|f| &f["parameters"])
}

/// Asserts that all calls are valid; returns their number.
fn check(tools: &[Value], answer: &Answer, text: &str) -> usize {
    for call in &answer.tool_calls {
        let schema = parameters_of(tools, &call.name).unwrap_or_else(|| panic!("{text}"));
        // JSON of a number beyond f64.
        let Ok(arguments) = serde_json::from_str::<Value>(&call.arguments) else {
            assert!(text.contains(['e', 'E']), "{text}");
            continue;
        };
        let schema = if schema.is_null() { &json!({"maxProperties": 0}) } else { schema };
        let valid = jsonschema::validator_for(schema).unwrap().validate(&arguments);
        assert!(valid.is_ok(), "{text}\n{arguments}\n{:?}", valid.err().map(|e| e.to_string()));
    }
    answer.tool_calls.len()
}

#[test]
fn required_calls_are_read_back_and_valid() {
    let mut random = Random(11);
    for (grammars, form, tools) in [
        (&*GRAMMARS, CallForm::Python, tools()),
        (&*ALL_MARKERS, CallForm::Python, tools()),
        (&*GRAMMARS, CallForm::Python, odd_tools()),
        (&*GRAMMARS, CallForm::Xml, tools()),
        (&*ALL_MARKERS, CallForm::Xml, tools()),
    ] {
        for (parallel, thinks) in [(true, false), (false, true)] {
            let format = format(&tools, thinks);
            let choice = (ToolChoice::Required, parallel);
            let grammar = compile(grammars, &tools, choice, &format, form).unwrap();
            let mut done = 0;
            for _ in 0..40 {
                let Some(ids) = walk(grammars, &grammar, &mut random, (400, goals(form))) else {
                    continue;
                };
                let text = grammars.tokenizer().decode(&ids, false).unwrap();
                let answer = read(grammars, &format, &ids);
                assert_eq!(answer.content, "", "{text}");
                let calls = check(&tools, &answer, &text);
                assert!(calls == 1 || (parallel && calls > 1), "{calls} calls: {text}");
                done += 1;
            }
            assert!(done >= 20, "{form:?}: only {done} complete answers");
        }
    }
}

#[test]
fn text_before_optional_calls_is_not_read_as_calls() {
    let tools = tools();
    let mut random = Random(5);
    for (grammars, form) in [
        (&*GRAMMARS, CallForm::Python),
        (&*GRAMMARS, CallForm::Xml),
        (&*ALL_MARKERS, CallForm::Xml),
    ] {
        let format = format(&tools, false).with_marked_calls();
        let grammar = compile(grammars, &tools, (ToolChoice::Auto, true), &format, form).unwrap();
        for _ in 0..30 {
            let Some(ids) = walk(grammars, &grammar, &mut random, (150, goals(form))) else {
                continue;
            };
            let text = grammars.tokenizer().decode(&ids, false).unwrap();
            check(&tools, &read(grammars, &format, &ids), &text);
        }
        for (text, accepted) in [
            ("", true),
            ("Hello [get_weather] (now).", true),
            ("Call [get_weather(city=1)] so.", true),
            ("[get_weather(city=1)]", true),
            ("So:\n  {\"name\": \"now\"}", true),
            ("<function=now>", true),
        ] {
            assert_eq!(accepts(grammars, &grammar, text), accepted, "{text}");
            let ids = grammars.tokenizer().encode(text, false).unwrap();
            assert_eq!(read(grammars, &format, &ids).content, text);
        }
        let call = match form {
            CallForm::Python => "<|tool_call_start|>[now()]<|tool_call_end|>",
            CallForm::Xml => "<tool_call>\n<function=now>\n</function>\n</tool_call>",
        };
        assert!(accepts(grammars, &grammar, call), "{call}");
        assert!(accepts(grammars, &grammar, &format!("Wait.\n{call}")), "{call}");
        assert!(!accepts(grammars, &grammar, &format!("{call} So.")), "{call}");
    }
}

#[test]
fn calls_have_the_models_own_form() {
    let tools = tools();
    let format = format(&tools, false);
    let choice = (ToolChoice::Required, true);
    let python = compile(&GRAMMARS, &tools, choice.clone(), &format, CallForm::Python).unwrap();
    for (body, accepted) in [
        (r#"get_weather(city="Paris")"#, true),
        (r#"get_weather(city="Paris", unit="celsius", days=3, exact=True)"#, true),
        (r#"get_weather(city="a\"b", exact=false), now()"#, true),
        (r#"order.v2(items=[{"name": "a", "count": 2}], note=None)"#, true),
        (
            r#"order.v2(items=[{"name":"a","count":2}], address={"street": "x", "number": null}, note="y")"#,
            true,
        ),
        (r#"get_weather()"#, false),
        (r#"get_weather(days=3, city="Paris")"#, false),
        (r#"get_weather(city="Paris", days=15)"#, false),
        (r#"get_weather(city='Paris')"#, false),
        (r#"get_weather(city="Paris", extra=1)"#, false),
        (r#"other()"#, false),
        ("", false),
    ] {
        let text = format!("<|tool_call_start|>[{body}]<|tool_call_end|>");
        assert_eq!(accepts(&GRAMMARS, &python, &text), accepted, "{body}");
    }
    let xml = compile(&GRAMMARS, &tools, choice, &format, CallForm::Xml).unwrap();
    let call = "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis,\n\"x\"\n</parameter>\n\
                <parameter=days>\n3\n</parameter>\n</function>\n</tool_call>";
    assert!(accepts(&GRAMMARS, &xml, call));
    assert!(accepts(&GRAMMARS, &xml, &format!("{call}\n{call}")));
    assert!(!accepts(&GRAMMARS, &xml, &call.replace('3', "x")));
}

#[test]
fn one_tool_or_one_call_may_be_asked_for() {
    let tools = tools();
    let format = format(&tools, false);
    let named = (ToolChoice::Named("now".to_owned()), true);
    let grammar = compile(&GRAMMARS, &tools, named, &format, CallForm::Python).unwrap();
    let marked = |body: &str| format!("<|tool_call_start|>[{body}]<|tool_call_end|>");
    assert!(accepts(&GRAMMARS, &grammar, &marked("now()")));
    assert!(!accepts(&GRAMMARS, &grammar, &marked(r#"get_weather(city="x")"#)));
    let one = (ToolChoice::Required, false);
    let grammar = compile(&GRAMMARS, &tools, one, &format, CallForm::Python).unwrap();
    assert!(accepts(&GRAMMARS, &grammar, &marked("now()")));
    assert!(!accepts(&GRAMMARS, &grammar, &marked("now(), now()")));
    let other = (ToolChoice::Named("x".to_owned()), true);
    let error = compile(&GRAMMARS, &tools, other, &format, CallForm::Python).unwrap_err();
    assert!(error.to_string().contains("\"x\"; the tools are get_weather"), "{error}");
}

#[test]
fn schemas_that_cannot_be_enforced_are_refused_or_relaxed() {
    let tool = |strict: bool| {
        let parameters =
            json!({"properties": {"a": {"not": {"type": "string"}}}, "required": ["a"]});
        vec![json!({"name": "f", "strict": strict, "parameters": parameters}), json!({"name": "g"})]
    };
    let format = AnswerFormat::default();
    let required = (ToolChoice::Required, true);
    let strict = compile(&GRAMMARS, &tool(true), required.clone(), &format, CallForm::Python);
    let error = strict.unwrap_err().to_string();
    assert!(error.contains("tool \"f\"") && error.contains("\"not\""), "{error}");
    let grammar =
        compile(&GRAMMARS, &tool(false), required.clone(), &format, CallForm::Python).unwrap();
    let marked = |body: &str| format!("<|tool_call_start|>[{body}]<|tool_call_end|>");
    assert!(accepts(&GRAMMARS, &grammar, &marked("f(a=\"x\")")));
    assert!(!accepts(&GRAMMARS, &grammar, &marked("f(b=1)")));
    let none = GRAMMARS.compile(
        &Structure::Calls(ToolCalls {
            tools: vec![],
            choice: ToolChoice::Required,
            parallel: true,
            content: None,
        }),
        &format,
        Some(CallForm::Python),
    );
    assert_eq!(none.unwrap_err().to_string(), "tools: the list of tools is empty");
    let structure = Structure::Calls(ToolCalls {
        tools: tool(false),
        choice: ToolChoice::Auto,
        parallel: true,
        content: None,
    });
    assert_eq!(GRAMMARS.compile(&structure, &format, None).unwrap_err(), GrammarError::NoCalls);
}
