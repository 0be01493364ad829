//! Costs of grammars. `LFM2_TOKENIZER=tokenizer.json cargo test --release --lib costs -- --ignored --nocapture`
//! measures a vocabulary of one's own.

use std::time::Instant;

use serde_json::{Value, json};

use super::walk::{Random, tokens};
use super::{DEMO, END};
use crate::grammar::{Grammar, Grammars, Llguidance, Structure, ToolCalls, ToolChoice};
use crate::text::{AnswerFormat, CallForm, Tokenizer};

/// Microseconds of a pass with 16 answers before it draws: that of LFM2-8B-A1B on a large GPU takes 2 ms or more.
const PASS: f64 = 2000.0;

/// Five fields, with a pattern, a date and time, and a choice.
fn schema() -> Value {
    json!({"type": "object", "additionalProperties": false,
    "required": ["id", "name", "created", "tags", "owner"],
    "properties": {
        "id": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"},
        "name": {"type": "string"},
        "created": {"type": "string", "format": "date-time"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
        "owner": {"anyOf": [{"type": "null"}, {"type": "object", "additionalProperties": false,
            "required": ["email", "age"], "properties": {
                "email": {"type": "string"}, "age": {"type": "integer", "minimum": 0}}}]},
    }})
}

/// An answer of the schema as a model writes it.
const ANSWER: &str = r#"{"id": "ABC-1234", "name": "A report on the rivers of Europe, and their \"sources\"", "created": "2026-11-29T10:20:30Z", "tags": ["river", "geography", "water supply"], "owner": {"email": "someone@example.com", "age": 42}}"#;

/// Microseconds of the mask after each prefix of an answer.
fn masks(grammar: &Grammar, ids: &[u32]) -> Vec<f64> {
    let mut matcher = grammar.matcher();
    let time = |at: usize| {
        let start = Instant::now();
        let mask = matcher.mask_after(&ids[..at]).unwrap();
        let took = start.elapsed().as_secs_f64() * 1e6;
        assert!(ids.get(at).is_none_or(|id| mask[*id as usize / 32] >> (id % 32) & 1 != 0), "{at}");
        took
    };
    (0..=ids.len()).map(time).collect()
}

fn show(name: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    println!(
        "{name}: {} masks, mean {mean:.0}, p50 {:.0}, p90 {:.0}, max {:.0} us",
        times.len(),
        at(0.5),
        at(0.9),
        at(1.0)
    );
}

#[test]
#[ignore = "a measurement"]
fn costs_of_masks() {
    let file = std::env::var_os("LFM2_TOKENIZER").map(|path| std::fs::read(path).unwrap());
    let tokenizer = Tokenizer::from_json(file.as_deref().unwrap_or(DEMO), 1 << 20).unwrap();
    let start = Instant::now();
    let grammars = Grammars::new(&Llguidance, &tokenizer, &[END]).unwrap();
    println!("{} tokens: built in {:.0} ms", tokenizer.len(), start.elapsed().as_secs_f64() * 1e3);
    let compile = |structure: &Structure| {
        let start = Instant::now();
        let format = AnswerFormat::default();
        let grammar = grammars.compile(structure, &format, Some(CallForm::Python)).unwrap();
        println!("compiled in {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
        grammar
    };
    let of_schema = compile(&Structure::JsonSchema(schema()));
    let ids = tokenizer.encode(ANSWER, false).unwrap();
    let start = Instant::now();
    let matchers: Vec<_> = (0..16).map(|_| of_schema.matcher()).collect();
    println!("matcher: {:.0} us", start.elapsed().as_secs_f64() * 1e6 / matchers.len() as f64);
    show("schema of five fields, first answer", masks(&of_schema, &ids));
    show("schema of five fields", (0..5).flat_map(|_| masks(&of_schema, &ids)).collect());

    let object = compile(&Structure::JsonObject);
    show("any object", masks(&object, &ids));
    let tool = json!({"name": "report", "parameters": schema()});
    let calls = ToolCalls {
        tools: vec![tool],
        choice: ToolChoice::Required,
        parallel: true,
        content: None,
    };
    let calls = compile(&Structure::Calls(calls));
    let call = "<|tool_call_start|>[report(id=\"ABC-1234\", name=\"A report on the rivers\", \
                created=\"2026-11-29T10:20:30Z\", tags=[\"a\", \"b\"], owner=None)]<|tool_call_end|>";
    show("calls", masks(&calls, &tokenizer.encode(call, false).unwrap()));
    random_walk(&of_schema);

    // Sixteen answers at different places, one step of all.
    for threads in [1, 2] {
        let places = (0..ids.len() - 16).cycle().take(400);
        let mut steps: Vec<f64> = places.map(|at| step(&of_schema, &ids, at, threads)).collect();
        steps.sort_by(f64::total_cmp);
        let at = |share: f64| steps[((steps.len() - 1) as f64 * share) as usize];
        // The masks are made during the pass that computes the logits.
        let added = |share: f64| (at(share) - PASS).max(0.0);
        println!(
            "16 answers, {threads} threads: p50 {:.0}, p99 {:.0} us a step; added to a pass of {PASS} us: p50 {:.0}, \
             p99 {:.0} us",
            at(0.5),
            at(0.99),
            added(0.5),
            added(0.99)
        );
    }
}

/// Microseconds of one step of 16 answers.
fn step(grammar: &Grammar, ids: &[u32], at: usize, threads: usize) -> f64 {
    let mut all: Vec<_> = (0..16).map(|i| (grammar.matcher(), at + i)).collect();
    for (matcher, at) in &mut all {
        matcher.mask_after(&ids[..*at - usize::from(*at > 0)]).unwrap();
    }
    let start = Instant::now();
    std::thread::scope(|scope| {
        for part in all.chunks_mut(16 / threads) {
            let mut work =
                || part.iter_mut().for_each(|(m, at)| drop(m.mask_after(&ids[..*at]).unwrap()));
            if threads == 1 { work() } else { drop(scope.spawn(work)) }
        }
    });
    start.elapsed().as_secs_f64() * 1e6
}

/// Masks at places that no model would reach.
fn random_walk(grammar: &Grammar) {
    let (mut random, mut times) = (Random(3), Vec::new());
    for _ in 0..5 {
        let (mut matcher, mut ids) = (grammar.matcher(), Vec::new());
        while ids.len() < 100 {
            let start = Instant::now();
            let mask = matcher.mask_after(&ids).unwrap();
            times.push(start.elapsed().as_secs_f64() * 1e6);
            let allowed = tokens(&mask);
            ids.push(allowed[random.below(allowed.len())]);
            if ids.last() == Some(&END) {
                break;
            }
        }
    }
    show("random answers of the schema", times);
}
