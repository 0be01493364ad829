//! Compares the output of some 3,300 templates with jinja2's (tools/template_goldens.py).

use super::{Class, Program};
use serde_json::{Map, Value as Json};

fn render(template: &str, vars: &Map<String, Json>) -> Result<String, super::Error> {
    let clock = |format: &str| Ok(format.to_owned());
    Program::compile(template)?.render(vars, 1_000_000, &clock)
}

/// Templates that jinja2 renders and this interpreter refuses.
const REFUSED: [&str; 1] = [r"{{ '\N{BULLET}' }}"];

#[test]
fn templates_render_as_in_jinja2() {
    let goldens = include_str!("../../../tests/fixtures/template_goldens.json");
    let goldens: Json = serde_json::from_str(goldens).unwrap();
    let vars = goldens["vars"].as_object().unwrap();
    let cases = goldens["cases"].as_array().unwrap();
    assert!(cases.len() > 3000);
    let mut failures = Vec::new();
    for case in cases {
        let template = case["template"].as_str().unwrap();
        let right = match (case["text"].as_str(), render(template, vars)) {
            (Some(text), Ok(made)) => text == made,
            (Some(_), Err(error)) => error.class() == Class::Limit && REFUSED.contains(&template),
            (None, made) => made.is_err(),
        };
        if !right {
            failures.push(format!(
                "{template:?}\n  {}\n  {:?}",
                case["text"],
                render(template, vars)
            ));
        }
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

/// Random words and items are the same in every run here. jinja2's differ from run to run.
#[test]
fn random_output_is_the_same_in_every_run() {
    let vars = Map::new();
    let twice = || {
        render(
            "{{ lipsum(2) }}{{ [1, 2, 3]|random }}{{ lipsum(1, html=false, min=3, max=4) }}",
            &vars,
        )
    };
    assert_eq!(twice().unwrap(), twice().unwrap());
    assert!(twice().unwrap().starts_with("<p>"));
}

#[test]
fn errors_name_their_line() {
    let vars = Map::new();
    let cases = [
        ("a\n{{ nothing.x }}", Some(2), "'nothing' is undefined"),
        (
            "{% if 1 %}\n\n{{ [].pop() }}{% endif %}",
            Some(3),
            "access to attribute 'pop' of 'list' object is unsafe.",
        ),
        ("{% for x in [1] %}\n{% endif %}", Some(2), "unknown tag \"endif\""),
        ("{{ {}.a.b }}", Some(1), "'dict object' has no attribute 'a'"),
        (
            "{% macro f(a) %}\n{{ a + 1 }}{% endmacro %}\n{{ f() }}",
            Some(2),
            "parameter 'a' was not provided",
        ),
    ];
    for (template, line, message) in cases {
        let error = render(template, &vars).unwrap_err();
        assert_eq!((error.line(), error.message()), (line, message), "{template}");
    }
}
