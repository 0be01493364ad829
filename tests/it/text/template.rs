//! Compares chat templates with transformers' output.

use super::fixture;
use lfm2_wgpu::text::{ChatTemplate, Conversation, Message, SpecialTokenTexts, TextError};
use serde_json::{Value, json};

fn special() -> SpecialTokenTexts {
    SpecialTokenTexts {
        bos_token: Some("<|startoftext|>".into()),
        eos_token: Some("<|im_end|>".into()),
        ..SpecialTokenTexts::default()
    }
}

fn lfm2() -> ChatTemplate {
    let source = String::from_utf8(fixture("lfm2_chat_template.jinja")).unwrap();
    ChatTemplate::new(&source, &special()).unwrap()
}

fn render(source: &str, conversation: &Conversation) -> Result<String, TextError> {
    ChatTemplate::new(source, &special())?.render(conversation, true)
}

fn hi() -> Conversation {
    Conversation::new([Message::user("Hi")])
}

#[test]
fn lfm2_renders_as_transformers_does() {
    let read = |name| serde_json::from_slice::<Vec<Value>>(&fixture(name)).unwrap();
    let cases = [read("chat_goldens.json"), read("chat_goldens_more.json")].concat();
    assert_eq!(cases.len(), 11 + 27);
    let template = lfm2();
    for case in cases {
        // `developer` becomes a system message here, as in OpenAI's API. transformers passes it on.
        if case["name"] == "unknown_role" {
            continue;
        }
        let mut file = json!({"messages": case["messages"]});
        if let Some(tools) = case.get("tools") {
            file["tools"] = tools.clone();
        }
        let conversation = Conversation::from_json(&file.to_string()).unwrap();
        let add = case["add_generation_prompt"].as_bool().unwrap();
        let rendered = template.render(&conversation, add).unwrap();
        assert_eq!(rendered, case["rendered"].as_str().unwrap(), "{}", case["name"]);
    }
}

#[test]
fn the_template_is_taken_from_the_right_file() {
    let jinja = b"jinja {{ bos_token }}{{ eos_token }}".as_slice();
    let config = br#"{"chat_template": "config {{ bos_token }}", "bos_token": {"content": "<s>"},
        "eos_token": "</s>", "pad_token": null}"#
        .as_slice();
    let render =
        |jinja, config| ChatTemplate::from_files(jinja, config).and_then(|t| t.render(&hi(), true));
    assert_eq!(render(Some(jinja), Some(config)).unwrap(), "jinja <s></s>");
    assert_eq!(render(None, Some(config)).unwrap(), "config <s>");
    assert_eq!(render(Some(jinja), None).unwrap(), "jinja ");
    // An empty file is used, as in transformers, which then renders nothing.
    for empty in [b"".as_slice(), b" \n"] {
        let error = render(Some(empty), Some(config)).unwrap_err();
        assert!(error.to_string().starts_with("chat template: is empty"), "{error}");
    }
    let named = br#"{"chat_template": [{"name": "tool_use", "template": "t"},
        {"name": "default", "template": "d"}]}"#;
    assert_eq!(render(None, Some(named)).unwrap(), "d");

    let message = |jinja, config| render(jinja, config).unwrap_err().to_string();
    type File = Option<&'static [u8]>;
    let cases: [(File, File, &str); 9] = [
        (None, None, "this model has no chat template"),
        (None, Some(b"{}"), "this model has no chat template"),
        (None, Some(br#"{"chat_template": null}"#), "this model has no chat template"),
        (None, Some(br#"{"chat_template": 3}"#), "tokenizer_config.json: chat_template: must be"),
        (None, Some(br#"{"chat_template": [1]}"#), "tokenizer_config.json: chat_template[0]:"),
        (
            None,
            Some(br#"{"chat_template": [{"name": "rag", "template": ""}]}"#),
            "tokenizer_config.json: chat_template: no template named \"default\"",
        ),
        (None, Some(b"[]"), "tokenizer_config.json: file: must be a JSON object"),
        (None, Some(br#"{"bos_token": 1}"#), "tokenizer_config.json: bos_token: must be"),
        (Some(b"\xff"), None, "chat template: chat_template.jinja is not UTF-8"),
    ];
    for (jinja, config, expected) in cases {
        let message = message(jinja, config);
        assert!(message.starts_with(expected), "{message}\n{expected}");
        assert!(!message.contains('\n'));
    }
    assert!(message(None, None).contains("--raw"));
}

#[test]
fn whitespace_is_treated_as_in_transformers() {
    let cases = [
        ("a\n  {% if true %}\nb\n  {% endif %}\nc\n", "a\nb\nc"),
        ("a\n{%- if true -%}\n  b\n{%- endif -%}\nc\n\n", "abc\n"),
        ("  {{ 1 }}\n{{ 2 }}\n", "  1\n2"),
        ("{# note #}\nx {# y #} z", "x  z"),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
    ];
    for (source, expected) in cases {
        assert_eq!(render(source, &hi()).unwrap(), expected, "{source:?}");
    }
}

#[test]
fn generation_tags_print_nothing() {
    let source = "{% for m in messages %}{%- generation -%}\n  {{ m.content }}{% set x = 1 %}\n{%- \
                  endgeneration -%}{{ x }}{% endfor %}{# {% generation %} #}{% generation %}a\n{% \
                  endgeneration %}\nb{%+ generation +%} c{% endgeneration %}";
    assert_eq!(render(source, &hi()).unwrap(), "Hia\nb c");
}

#[test]
fn values_print_as_in_python() {
    let cases = [
        ("{{ true }} {{ none }} {{ 1.0 }} {{ 1e20 }} {{ 2 / 1 }}", "True None 1.0 1e+20 2.0"),
        ("{{ [1, 'a', true, none] }}", "[1, 'a', True, None]"),
        ("{{ 1e-7 | string }}|{{ false | string }}|{{ 'x' ~ 1.5 ~ true }}", "1e-07|False|x1.5True"),
        ("{{ {'b': 1, 'a': [1.0]} | tojson }}", r#"{"b": 1, "a": [1.0]}"#),
        ("{{ [1, 2] | tojson(indent=2) }}", "[\n  1,\n  2\n]"),
        (
            "{{ {'a': 'é'} | tojson(ensure_ascii=true, separators=(',', ':')) }}",
            r#"{"a":"\u00e9"}"#,
        ),
        ("{{ nothing }}{{ 'x' if nothing else 'y' }}", "y"),
        ("{{ nothing is defined }} {{ tools is none }} {{ documents is none }}", "False True True"),
        ("{{ ' a b '.strip().split(' ')[-1] }} {{ 'aXb'.replace('X', '-') }}", "b a-b"),
        ("{{ messages[0].get('content') }} {{ messages[0].get('name', 'n') }}", "Hi n"),
        (
            "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}",
            "role=user;content=Hi;",
        ),
        (
            "{{ messages[0:1] | length }} {{ messages | last | tojson }}",
            r#"1 {"role": "user", "content": "Hi"}"#,
        ),
        ("{{ [3, 1] | sort | join(', ') }} {{ 'a' in 'abc' }} {{ 1 < 2 < 3 }}", "1, 3 True True"),
        (
            "{% set ns = namespace(l=[]) %}{% for i in range(3) %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.l }}",
            "[0, 1, 2]",
        ),
        (
            "{% set outer = loop %}{% for i in [1, 2] %}{% set o = loop %}{{ o.index }}{{ loop.last }}{% endfor %}",
            "1False2True",
        ),
        ("{% macro f(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f(1, b=3) }}", "1213"),
        (
            "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% elif i > 2 %}{% break %}{% endif %}{{ i }}{% endfor %}",
            "02",
        ),
        (
            "{{ messages | map(attribute='role') | list }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
            "['user'] 1",
        ),
        ("{{ '%s-%d' | format('a', 3) }} {{ '{} {}'.format(1, 'b') }}", "a-3 1 b"),
        ("{{ ({'a': 1}, [2])[0].a }} {{ dict(x=1).x }} {{ [1, [2]] == [1, [2]] }}", "1 1 True"),
        (
            "{% set x %}{{ 1 }}b{% endset %}{{ x | upper }} {{ 7 // 2 }} {{ 7 % 4 }} {{ 2 ** 3 }}",
            "1B 3 3 8",
        ),
        (
            "{% for i in range(9) if i % 4 == 1 %}{{ loop.index }}{{ i }} {% else %}-{% endfor %}",
            "11 25 ",
        ),
        (
            "{% for i in [] %}{% else %}none{% endfor %}{% with a = 1 %}{{ a }}{% endwith %}",
            "none1",
        ),
        ("{{ strftime_now('%Y-%m-%d') }}", "2026-11-24"),
    ];
    for (source, expected) in cases {
        let template = ChatTemplate::new(source, &special()).unwrap().with_time(1_795_507_200);
        let rendered = template.render(&hi(), true);
        assert_eq!(rendered.as_deref(), Ok(expected), "{source}");
    }
    let today = ChatTemplate::new("{{ strftime_now('%Y') }}", &special()).unwrap();
    assert!(today.render(&hi(), true).unwrap().as_str() >= "2025");
}

/// In templates from any source, all kinds of line ends count as newlines, and the last is dropped.
#[test]
fn line_ends_are_read_as_jinja2_reads_them() {
    let lines = "a\n{% if true %}\n b {{ 'c\nd' }}\n{% endif %}\n\n";
    for end in ["\n", "\r\n", "\r"] {
        let source = lines.replace('\n', end);
        let config = json!({"chat_template": source}).to_string();
        let named = json!({"chat_template": [{"name": "default", "template": source}]}).to_string();
        let templates = [
            ChatTemplate::new(&source, &special()),
            ChatTemplate::from_files(Some(source.as_bytes()), None),
            ChatTemplate::from_files(None, Some(config.as_bytes())),
            ChatTemplate::from_files(None, Some(named.as_bytes())),
        ];
        for template in templates {
            assert_eq!(template.unwrap().render(&hi(), true).unwrap(), "a\n b c\nd\n", "{end:?}");
        }
    }
}

/// The child process of [`dates_are_local`].
#[test]
#[ignore = "run by dates_are_local"]
fn clock_child() {
    let template = ChatTemplate::new("{{ strftime_now('%H %s [%z%Z]') }}", &special()).unwrap();
    println!("\nCLOCK {}", template.render(&hi(), true).unwrap());
}

/// `datetime.now()` is local time without a zone. Child processes set the variable `TZ`.
#[cfg(unix)]
#[test]
fn dates_are_local() {
    let hour = |zone: &str| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["text::template::clock_child", "--exact", "--ignored", "--nocapture"]);
        let output = command.env("TZ", zone).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let clock = stdout.lines().find_map(|l| l.strip_prefix("CLOCK ")).unwrap().to_owned();
        let mut words = clock.split(' ');
        let hour: i64 = words.next().unwrap().parse().unwrap();
        let unix: i64 = words.next().unwrap().parse().unwrap();
        assert_eq!(words.next(), Some("[]"));
        (hour - unix / 3600).rem_euclid(24)
    };
    assert_eq!(hour("UTC0"), 0);
    assert_eq!(hour("JST-9"), 9);
    assert_eq!(hour("EST5"), 19);
}

#[test]
fn fields_and_variables_reach_the_template() {
    let conversation = Conversation::from_json(
        r#"{"messages": [{"role": "assistant", "name": "n", "content": null,
            "reasoning_content": "why", "tool_calls": [{"function": {"arguments": {"a": 1}}}]}],
            "chat_template_kwargs": {"enable_thinking": true, "documents": [1]}}"#,
    )
    .unwrap();
    let source = "{{ messages[0].name }} {{ messages[0].content is defined }} {{ messages[0].thinking }} \
                  {{ messages[0].tool_calls[0].function.arguments.a }} {{ enable_thinking }} {{ documents }} \
                  {{ add_generation_prompt }}";
    assert_eq!(render(source, &conversation).unwrap(), "n False why 1 True [1] True");
}

#[test]
fn long_conversations_are_within_the_budget() {
    let turns = (0..4000).map(|i| match i % 2 {
        0 => Message::user(format!("question {i} {}", "word ".repeat(50))),
        _ => Message::assistant(format!("answer {i} {}", "word ".repeat(200))),
    });
    let mut conversation = Conversation::new(turns);
    conversation.messages.push(Message::user("x".repeat(4 << 20)));
    let tool = json!({"type": "function", "function": {"name": "f", "description": "d".repeat(2000),
        "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}});
    conversation.tools = Some(vec![tool; 200]);
    let rendered = lfm2().render(&conversation, true).unwrap();
    assert!(rendered.len() > 6 << 20);
    let lfm25 = String::from_utf8(fixture("lfm25_chat_template.jinja")).unwrap();
    let lfm25 = ChatTemplate::new(&lfm25, &special()).unwrap();
    assert!(lfm25.render(&conversation, true).unwrap().len() > 6 << 20);
}
