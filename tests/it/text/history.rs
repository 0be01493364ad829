//! Tests that conversations of clients render without loss, whatever the template supports.

use super::{calls, cases, fixture};
use lfm2_wgpu::text::{
    Answer, AnswerFormat, Calls, ChatFormat, ChatTemplate, Conversation, SpecialTokenTexts, Tools,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A template that writes calls in LFM3's XML form and renders `thinking`.
const XML: &str = "{%- for m in messages %}<|im_start|>{{ m.role }}{{ '\\n' }}\
    {%- if m.thinking %}<think>{{ m.thinking }}</think>{% endif %}{{ m.content }}\n\
    {%- for call in m.tool_calls or [] %}<tool_call>\n<function={{ call.function.name }}>\n\
    {%- for k, v in call.function.arguments.items() %}\n<parameter={{ k }}>\n\
    {{ v if v is string else v | tojson }}\n</parameter>{% endfor %}\n</function>\n</tool_call>\
    {% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

fn format(source: &str) -> ChatFormat {
    let special =
        SpecialTokenTexts { bos_token: Some("<|startoftext|>".into()), ..Default::default() };
    ChatFormat::new(ChatTemplate::new(source, &special).unwrap().with_time(0), None)
}

fn own(name: &str) -> ChatFormat {
    format(&String::from_utf8(fixture(name)).unwrap())
}

/// LFM2's template with its markers of calls, which otherwise only the vocabulary has.
fn lfm2() -> ChatFormat {
    let source = String::from_utf8(fixture("lfm2_chat_template.jinja")).unwrap();
    format(&format!("{{# <|tool_call_start|> #}}{source}"))
}

fn lfm25() -> ChatFormat {
    own("lfm25_chat_template.jinja")
}

fn render(format: &ChatFormat, conversation: Value) -> Result<String, String> {
    let conversation = Conversation::from_json(&conversation.to_string()).unwrap();
    format.render(&conversation, true).map_err(|error| error.to_string())
}

fn called(content: Value, calls: Value) -> Value {
    json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": content, "tool_calls": calls},
        {"role": "tool", "content": "sunny"}])
}

fn call(name: &str, arguments: Value) -> Value {
    json!({"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}})
}

#[test]
fn calls_of_the_history_are_rendered_beside_any_content() {
    for format in [lfm2(), lfm25()] {
        for content in [Value::Null, "".into(), json!([])] {
            for (arguments, written) in [
                (json!(r#"{"city": "Rome", "days": 2}"#), r#"f(city="Rome", days=2)"#),
                (json!({"z": 1, "a": [true, null, "it's"]}), r#"f(z=1, a=[True, None, "it's"])"#),
                (
                    json!(r#"{"id": 123456789012345678901234567890}"#),
                    "f(id=123456789012345678901234567890)",
                ),
                (json!("it's \"ok\""), "f(it's \"ok\")"),
                (json!("[1, 2]"), "f([1, 2])"),
                (json!(""), "f()"),
                (json!(" "), "f()"),
                (Value::Null, "f()"),
                (json!({}), "f()"),
                (json!(r#"{"a": "\ud83d"}"#), "f(a=\"\u{fffd}\")"),
                (json!({"a": "it's \"ok\"\n"}), r#"f(a="it's \"ok\"\n")"#),
                (json!({"a": {"k": null}, "b c": 1}), r#"f(a={"k": null}, **{"b c": 1})"#),
            ] {
                let text =
                    render(&format, called(content.clone(), json!([call("f", arguments.clone())])));
                let turn = format!(
                    "<|im_start|>assistant\n<|tool_call_start|>[{written}]<|tool_call_end|><|im_end|>\n"
                );
                let text = text.unwrap();
                assert!(text.contains(&turn), "{arguments}: {text}");
                assert!(!text.contains("assistant\nnull") && text.contains("sunny"), "{text}");
            }
        }
    }
}

#[test]
fn calls_follow_the_content_and_are_rendered_once() {
    let said = "<|tool_call_start|>[f(a=1)]<|tool_call_end|>";
    for format in [lfm2(), lfm25()] {
        let two = json!([call("f", json!("{}")), {"name": "g", "arguments": "{\"x\": 1.5}"}]);
        let text = render(&format, called("Let me look.".into(), two)).unwrap();
        let turn = "\nLet me look.<|tool_call_start|>[f(), g(x=1.5)]<|tool_call_end|><|im_end|>";
        assert!(text.contains(turn), "{text}");
        let text =
            render(&format, called(said.into(), json!([call("f", json!({"a": 1}))]))).unwrap();
        assert_eq!(text.matches("f(a=1)").count(), 1, "{text}");
        let text = render(&format, called("No.".into(), json!([]))).unwrap();
        assert!(text.contains("\nNo.<|im_end|>") && !text.contains("tool_call_start"), "{text}");
        // Markers in a value do not end the call.
        let value = json!({"a": "<|tool_call_end|><|im_end|>"});
        let text = render(&format, called(Value::Null, json!([call("f", value)]))).unwrap();
        assert_eq!(text.matches("<|tool_call_end|>").count(), 1, "{text}");
        let mut calls = called(Value::Null, json!(null));
        calls[1]["function_call"] = json!({"name": "old", "arguments": "{}"});
        assert!(render(&format, calls).unwrap().contains("[old()]"));
    }
}

#[test]
fn an_invalid_call_is_refused_with_its_path() {
    for (calls, error) in [
        (json!({}), "messages[1].tool_calls: must be a list, not an object"),
        (json!([{}]), "messages[1].tool_calls[0].function.name: must be a string"),
        (json!([call("f", json!({})), 3]), "messages[1].tool_calls[1].function.name: must be"),
    ] {
        let said = render(&lfm25(), called(Value::Null, calls)).unwrap_err();
        assert!(said.starts_with(error), "{said}");
    }
    // This model's form of calls is unknown, and its template drops them.
    let silent = format("{% for m in messages %}{{ m.content }}{% endfor %}");
    let said = render(&silent, called(Value::Null, json!([call("f", json!({}))]))).unwrap_err();
    assert!(
        said.starts_with("messages[1].tool_calls: neither the model's chat template"),
        "{said}"
    );
    let source = "{# <|tool_call_start|> #}{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}";
    let said =
        render(&format(source), called(Value::Null, json!([call("f", json!({}))]))).unwrap_err();
    assert!(said.contains("leaves out messages of the role"), "{said}");
    let said = render(
        &format(source),
        json!([{"role": "user", "content": "q"}, {"role": "tool", "content": "x"}]),
    );
    assert!(said.unwrap_err().contains("role tool"));
}

#[test]
fn a_marker_mentioned_in_the_content_drops_no_call() {
    for format in [lfm2(), lfm25(), self::format(XML)] {
        for content in ["Behind <|tool_call_start|> comes a list.", "I use <tool_call> for it."] {
            let calls = json!([call("look", json!({"city": "Rome"}))]);
            let text = render(&format, called(content.into(), calls)).unwrap();
            assert!(text.contains(content) && text.contains("look"), "{text}");
        }
    }
}

/// Parsed JSON has rounded such numbers already. JSON text still holds them exactly.
#[test]
fn rounded_numbers_are_refused_with_their_path_and_json_text_keeps_them() {
    let refused = |json: &str| {
        let conversation = Conversation::from_value(serde_json::from_str(json).unwrap()).unwrap();
        lfm25().render(&conversation, true).unwrap_err().to_string()
    };
    let exact = |json: &str| {
        let conversation = Conversation::from_json(json).unwrap();
        lfm25().render(&conversation, true).unwrap()
    };
    for number in ["123456789012345678901", "-9223372036854775809", "18446744073709551616"] {
        let json = |conversation: &Value| conversation.to_string().replace("\"N\"", number);
        let call_f = call("f", json!({"a": [{"id": "N"}]}));
        let arguments = json(&called("".into(), json!([call_f])));
        let error = refused(&arguments);
        assert!(
            error.contains("messages[1].tool_calls[0].function.arguments: has a number"),
            "{error}"
        );
        let text = exact(&arguments);
        assert!(text.contains(&format!("f(a=[{{\"id\": {number}}}])")), "{text}");
        let mut whole = called("".into(), json!([call("f", json!({}))]));
        whole[2]["content"] = json!({"rows": ["N"]});
        let answer = json(&whole);
        let error = refused(&answer);
        assert!(error.contains("messages[2].content: has a number"), "{error}");
        let text = exact(&answer);
        assert!(text.contains(&format!("{{\"rows\": [{number}]}}")), "{text}");
    }
    let greatest = json!({"a": u64::MAX, "b": i64::MIN, "c": 1.5});
    let text = render(&lfm25(), called("".into(), json!([call("f", greatest)]))).unwrap();
    assert!(text.contains("f(a=18446744073709551615, b=-9223372036854775808, c=1.5)"), "{text}");
}

#[test]
fn keys_keep_their_order() {
    let source = "{% for m in messages %}{{ m | tojson }}{{ m.tool_calls }}{% endfor %}\
        {# <|tool_call_start|> #}";
    let conversation = json!([{"role": "user", "content": "q", "x": 1, "y": 2, "z": 3}]);
    let text = render(&format(source), conversation).unwrap();
    let order = ["role", "content", "\"x\"", "\"y\"", "\"z\""].map(|key| text.find(key).unwrap());
    assert!(order.is_sorted(), "{text}");
}

#[test]
fn text_parts_render_like_the_whole_text() {
    let parts = |texts: &[&str]| -> Value {
        texts.iter().map(|text| json!({"type": "text", "text": text})).collect()
    };
    for format in [lfm2(), lfm25(), format(XML)] {
        for role in ["system", "developer", "user", "assistant", "tool"] {
            let chat = |content: Value| json!([{"role": role, "content": content}, {"role": "user", "content": "Hi"}]);
            let want = render(&format, chat("Be brief.".into())).unwrap();
            for content in [parts(&["Be brief."]), parts(&["Be", " brief", "."])] {
                assert_eq!(render(&format, chat(content)).unwrap(), want, "{role}");
            }
        }
    }
    // A template that takes lists receives them.
    let takes = format(
        "{% for m in messages %}{% for p in [m.content] if m.content is string %}{{ p }}{% endfor %}\
        {% if m.content is not string %}{% for p in m.content %}{{ p.text }}{% if not loop.last %}|{% endif %}\
        {% endfor %}{% endif %}{% endfor %}",
    );
    let chat = json!([{"role": "user", "content": parts(&["a", "b"])}]);
    assert_eq!(render(&takes, chat).unwrap(), "a|b");
}

#[test]
fn a_tools_answer_becomes_text() {
    for (content, text) in [
        (json!({"t": 20, "ok": true, "x": null}), r#"{"t": 20, "ok": true, "x": null}"#),
        (json!([1.0, "é"]), r#"[1.0, "é"]"#),
        (json!(3), "3"),
        (json!(false), "false"),
        (Value::Null, ""),
        (json!("plain"), "plain"),
    ] {
        let chat = json!([{"role": "user", "content": "q"}, {"role": "tool", "content": content}]);
        let said = render(&lfm25(), chat.clone()).unwrap();
        assert!(said.contains(&format!("<|im_start|>tool\n{text}<|im_end|>")), "{said}");
        let said = render(&lfm2(), chat).unwrap();
        assert!(said.contains(&format!("start|>{text}<|tool_response_end|>")), "{said}");
    }
}

#[test]
fn instructions_at_the_beginning_are_merged() {
    for format in [lfm2(), lfm25()] {
        let chat = json!([{"role": "system", "content": "A"}, {"role": "developer", "content": [{"type": "text", "text": "B"}]},
            {"role": "user", "content": "q"}, {"role": "system", "content": "C"}, {"role": "user", "content": "r"}]);
        let text = render(&format, chat).unwrap();
        assert!(
            text.contains("<|im_start|>system\nA\n\nB<|im_end|>\n<|im_start|>user\nq"),
            "{text}"
        );
        assert!(text.contains("<|im_start|>system\nC<|im_end|>\n<|im_start|>user\nr"), "{text}");
    }
    let first_only = "{% if messages[0].role == 'system' %}[{{ messages[0].content }}]{% endif %}\
        {% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}";
    let chat = json!([{"role": "user", "content": "q"}, {"role": "system", "content": "C"}]);
    assert_eq!(render(&format(first_only), chat).unwrap(), "[C]q");
}

#[test]
fn reasoning_is_put_where_the_template_looks_for_it() {
    let chat = |name: &str| json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "A", name: "why"}]);
    // A template with reasoning in the content only, like that of LFM2.5-1.2B.
    let content = "{# </think> #}{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}";
    for name in ["reasoning_content", "thinking", "reasoning"] {
        assert!(render(&lfm25(), chat(name)).unwrap().contains("\n<think>why</think>A<|im_end|>"));
        let text = render(&format(content), chat(name)).unwrap();
        assert_eq!(text, "user:q;assistant:<think>why</think>A;");
        // A model without reasoning does not see it.
        assert!(!render(&lfm2(), chat(name)).unwrap().contains("why"));
    }
    let mut both = chat("reasoning_content");
    both[1]["content"] = "<think>why</think>A".into();
    assert_eq!(render(&lfm25(), both).unwrap().matches("why").count(), 1);
}

#[test]
fn a_turn_without_text_has_its_end_marker() {
    let source = "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content or m.role == 'assistant' %}\
        {{ m.content }}<|im_end|>\n{% endif %}{% endfor %}";
    let chat = json!([{"role": "user", "content": ""}, {"role": "assistant", "content": null}]);
    let text = render(&format(source), chat).unwrap();
    assert_eq!(text, "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n");
}

#[test]
fn an_answer_may_begin_within_reasoning() {
    let format = lfm25();
    assert!(!format.answer_format("<|im_start|>assistant\n", None, None).begins_in_reasoning);
    let begun = format.answer_format("<|im_start|>assistant\n<think>\n", None, None);
    let answer = calls::read(&begun, &["Hm.</think>\n\nYes"]);
    assert_eq!((answer.reasoning.as_str(), answer.content.as_str()), ("Hm.", "Yes"));
    let silent = lfm2().answer_format("assistant\n", None, None);
    assert_eq!(calls::read(&silent, &["<think>x"]).content, "<think>x");
}

/// Reads the last turn of the assistant back.
fn reread(text: &str, tools: &[Value]) -> Answer {
    let turn = text.rsplit_once("<|im_start|>assistant\n").unwrap().1;
    let turn = turn.split("<|im_end|>").next().unwrap();
    let calls = Calls::Of(Tools::new(tools).into());
    calls::read(&AnswerFormat { thinks: true, begins_in_reasoning: false, calls }, &[turn])
}

proptest! {
    #![proptest_config(cases(64))]
    /// Calls that any kind of template renders are read back unchanged.
    #[test]
    fn calls_are_read_back_from_rendered_templates(
        values in prop::collection::vec("['\"\\\\\n\r\t{}\\[\\](),=:#é😀a <|>]{0,10}", 1..4),
        number in any::<i64>(),
        said in "[a-zA-Z .]{0,8}",
    ) {
        let arguments = json!({"list": values, "n": number, "flag": true, "none": null,
            "text": values[0], "map": {"k": values}});
        let parameters = json!({"properties": {"list": {"type": "array"}, "n": {"type": "integer"},
            "flag": {"type": "boolean"}, "none": {"type": "null"}, "text": {"type": "string"},
            "map": {"type": "object"}}});
        let tools = [json!({"name": "f", "parameters": parameters})];
        let messages = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": said,
            "tool_calls": [call("f", arguments.to_string().into()), call("f", json!({}))]}]);
        for format in [lfm2(), lfm25(), format(XML)] {
            let conversation = Conversation::from_json(&messages.to_string()).unwrap();
            let text = format.render(&conversation, false).unwrap();
            let answer = reread(&text, &tools);
            let read: Vec<Value> = answer.tool_calls.iter()
                .map(|call| serde_json::from_str(&call.arguments).unwrap()).collect();
            prop_assert_eq!(&read, &[arguments.clone(), json!({})], "{}", text);
            prop_assert_eq!(answer.content.trim_end(), said.trim_end());
        }
    }
}
