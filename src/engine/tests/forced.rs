//! Tokens that a grammar forces: they are appended, not drawn, and nothing else changes.

use super::*;
use crate::grammar::Structure;
use crate::text::{Conversation, Message};

/// An answer whose schema leaves only the numbers to the model.
fn request(engine: &Engine, options: GenerateOptions) -> GenerateRequest {
    let names = ["the_number_of_apples", "the_number_of_oranges", "the_number_of_bananas"];
    let number = serde_json::json!({ "enum": [1, 2, 3] });
    let properties: serde_json::Map<_, _> =
        names.iter().map(|name| ((*name).to_owned(), number.clone())).collect();
    let schema = serde_json::json!({
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": false,
    });
    let question = Conversation::new([Message::user("How many?")]);
    let (prompt, format) = engine.chat_prompt(&question).unwrap();
    let allowed = engine.structure(&Structure::JsonSchema(schema), &format).unwrap();
    let sampling = Some(SamplingOptions::greedy());
    let options = GenerateOptions { sampling, allowed: Some(allowed), ..options };
    GenerateRequest { prompt, format, options }
}

/// The answer, and the submissions that it took.
fn answer(engine: &Engine, options: GenerateOptions) -> (Completed, u64) {
    let before = engine.device().counters().submissions;
    let mut generation = engine.generate(request(engine, options)).unwrap();
    let completed = block_on(generation.complete()).unwrap();
    (completed, engine.device().counters().submissions - before)
}

#[test]
fn forced_tokens_take_fewer_passes_and_the_same_answers() {
    let mut texts = Vec::new();
    for ahead in AHEAD {
        let own = block_on(Device::request(&DeviceOptions::default())).unwrap();
        let builder = Engine::builder().demo().gpu(own).sequences(3).read_ahead(ahead);
        let engine = block_on(builder.build()).unwrap();
        let options = || GenerateOptions { no_cache: true, ..GenerateOptions::default() };
        // Tokens with log-probabilities are drawn, each in a pass of its own.
        let logprobs = Some(LogprobsOptions::default());
        let (drawn, each) = answer(&engine, GenerateOptions { logprobs, ..options() });
        let (forced, submissions) = answer(&engine, options());
        let value = |answer: &Completed| -> serde_json::Value {
            serde_json::from_str(&answer.answer.content).unwrap()
        };
        assert_eq!(value(&drawn).as_object().unwrap().len(), 3);
        assert_eq!(value(&forced).as_object().unwrap().len(), 3);
        let tokens = forced.tokens.len();
        assert_eq!(forced.timings.predicted_n, tokens);
        assert!(tokens > 20, "{tokens} tokens");
        let case = format!("{submissions} of {each} submissions, {tokens} tokens");
        assert!(submissions * 3 < each * 2, "{case}");
        eprintln!("{case}");
        let decoded = engine.tokenizer().unwrap().decode(&forced.tokens, true).unwrap();
        assert_eq!(decoded, forced.answer.content);

        // Beside others, and beside one that draws all of its tokens.
        let both = [options(), options(), GenerateOptions { logprobs, ..options() }];
        let requests = both.map(|options| request(&engine, options));
        let together = block_on(engine.generate_batch(requests));
        let together: Vec<_> = together.into_iter().map(|one| one.unwrap().tokens).collect();
        assert_eq!(together, [&forced.tokens, &forced.tokens, &drawn.tokens].map(Clone::clone));

        // An answer may end among forced tokens: by its length, or by a stop string.
        for most in 1..tokens {
            let (cut, _) = answer(&engine, GenerateOptions { max_tokens: Some(most), ..options() });
            assert_eq!(cut.tokens, forced.tokens[..most]);
            assert_eq!(cut.finish, Some(FinishReason::Length));
        }
        let stop = vec!["of_oranges".to_owned()];
        let (stopped, _) = answer(&engine, GenerateOptions { stop, ..options() });
        assert_eq!(stopped.finish, Some(FinishReason::Stop));
        let (before, _) = forced.answer.content.split_once("of_oranges").unwrap();
        assert_eq!(stopped.answer.content, before);
        texts.push(forced.tokens);
    }
    assert!(texts.iter().all(|text| *text == texts[0]));
}
