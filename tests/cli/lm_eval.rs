//! The requests of lm-evaluation-harness 0.4.13 to `lfm2 serve`, with transformers' answers.
//!
//! tools/lm_eval_check.py records them in tests/fixtures/lm_eval/requests.json, and runs the harness itself.

use serde_json::{Value, json};

use super::root;
use super::serve::Server;

fn json_of((status, body): (u16, String)) -> Value {
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// As `LocalCompletionsAPI.parse_logprobs`: the sum over the continuation, and whether each token is the best.
fn scored(choice: &Value, context: usize) -> (f64, bool) {
    let list = |name: &str| choice["logprobs"][name].as_array().unwrap();
    let (tokens, tops) = (list("token_logprobs"), list("top_logprobs"));
    assert_eq!(tokens.len(), tops.len());
    // The last token was generated.
    let continuation = context..tokens.len() - 1;
    let values = tokens[continuation.clone()].iter().map(|value| value.as_f64().unwrap());
    let best = tops[continuation].iter().map(|top| {
        let values = top.as_object().unwrap().values().map(|value| value.as_f64().unwrap());
        values.fold(f64::NEG_INFINITY, f64::max)
    });
    let pairs: Vec<(f64, f64)> = values.zip(best).collect();
    (pairs.iter().map(|pair| pair.0).sum(), pairs.iter().all(|(value, best)| value == best))
}

#[test]
fn answers_are_those_of_transformers() {
    let golden = std::fs::read(root("tests/fixtures/lm_eval/requests.json")).unwrap();
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    let server = Server::start(&["--kv", "f32"]);
    let (mut scores, mut texts, mut greedy) = (0, 0, 0);
    for case in golden["cases"].as_array().unwrap() {
        let request = &case["request"];
        let reply = json_of(server.post("/v1/completions", request));
        let choice = &reply["choices"][0];
        if let Some(text) = case["text"].as_str() {
            // The harness cuts the answer at each `until` itself; the server has done so.
            assert_eq!(choice["text"], text, "{request}");
            texts += 1;
            continue;
        }
        let context = case["context"].as_u64().unwrap() as usize;
        let (value, is_greedy) = scored(choice, context);
        let expected = case["logprob"].as_f64().unwrap();
        assert!((value - expected).abs() <= 1e-3, "{value}, transformers: {expected}: {request}");
        assert_eq!(is_greedy, case["greedy"].as_bool().unwrap(), "{request}");
        scores += 1;
        greedy += usize::from(is_greedy);
    }
    assert!(scores >= 40 && texts >= 20 && greedy >= 1, "{scores}, {texts}, {greedy}");
}

/// `RemoteTokenizer` takes special tokens from `/tokenizer_info` and asks for their ids.
#[test]
fn the_remote_tokenizer_of_the_harness_finds_its_routes() {
    let server = Server::start(&[]);
    let info = json_of(server.get("/tokenizer_info"));
    let encode = |text: &str| {
        let request = json!({ "prompt": text, "add_special_tokens": false });
        json_of(server.post("/tokenize", &request))["tokens"].clone()
    };
    for (name, text, id) in [
        ("bos_token", "<|startoftext|>", 1),
        ("eos_token", "<|im_end|>", 7),
        ("pad_token", "<|pad|>", 0),
    ] {
        assert_eq!(info[name], text);
        assert_eq!(encode(text), json!([id]));
    }
    let template = std::fs::read_to_string(root("assets/demo/chat_template.jinja")).unwrap();
    assert_eq!(info["chat_template"], template);
    assert!(info["model_max_length"].as_u64().unwrap() > 1000, "{info}");
    let ids = encode("What is WebGPU?");
    let reply = json_of(server.post("/detokenize", &json!({ "tokens": ids })));
    assert_eq!(reply["prompt"], "What is WebGPU?");
}
