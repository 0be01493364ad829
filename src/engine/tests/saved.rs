//! Tests of saved states.

use super::*;
use crate::formats::BytesSource;
use crate::kernels::KvFormat;

fn engine(name: &str, kv: KvFormat, context: u32) -> Engine {
    engine_with(name, |b| b.kv_format(kv).context_length(context).sequences(2))
}

fn save(engine: &Engine, tokens: &[u32]) -> (usize, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut write = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    let saved = block_on(engine.save(tokens, None, "x", &mut write)).unwrap();
    (saved, bytes)
}

fn restore(engine: &Engine, bytes: &[u8]) -> Result<usize, Error> {
    block_on(engine.restore(&BytesSource::shared("x.state", bytes.into())))
}

/// A state that one engine wrote lets another continue: nothing is computed again, and the answer is that
/// without it. In all formats of keys and values, for prefixes that end inside a page and with one.
#[test]
fn another_engine_continues_from_a_saved_state() {
    for (name, kv) in [("tiny-a", KvFormat::F32), ("tiny-a", KvFormat::F16), ("long", KvFormat::Q8)]
    {
        let first = engine(name, kv, 600);
        let vocab = first.config().vocab_size;
        for n in [5usize, 40, 64, 150] {
            let prompt = tokens(n, 3, vocab);
            let (answer, _) = generate(&first, &prompt, &sampled(1, 12));
            let mut next = [&prompt[..], &answer].concat();
            let (saved, bytes) = save(&first, &next);
            assert_eq!(saved, next.len() - 1, "{name} {n}");
            let second = engine(name, kv, 600);
            assert_eq!(restore(&second, &bytes).unwrap(), saved);
            next.extend(tokens(9, 4, vocab));
            let (text, timings) = generate(&second, &next, &sampled(2, 12));
            assert_eq!(timings.cache_n, saved, "{name} {n}");
            assert_eq!(text, fresh(&second, &next, &sampled(2, 12)), "{name} {n}");
            // A restored state can be written again.
            assert_eq!(save(&second, &next[..saved]), (saved, bytes));
        }
        assert_eq!(save(&first, &[0, 0, 0]).0, 0);
    }
}

/// An invalid file is refused with its name, and changes nothing.
#[test]
fn invalid_states_are_refused() {
    let own = engine("tiny-a", KvFormat::F16, 300);
    let vocab = own.config().vocab_size;
    let prompt = tokens(130, 3, vocab);
    generate(&own, &prompt, &sampled(1, 4));
    let (saved, bytes) = save(&own, &prompt);
    assert!(saved >= 129);
    let refused = |engine: &Engine, bytes: &[u8], problem: &str| {
        let before = engine.scheduler().unused();
        let error = restore(engine, bytes).unwrap_err().to_string();
        assert!(error.starts_with("x.state: ") && error.contains(problem), "{problem}: {error}");
        assert_eq!(engine.scheduler().unused(), before, "{problem}");
        let timings = generate(engine, &prompt[..90.min(prompt.len())], &sampled(1, 2)).1;
        assert_eq!(timings.cache_n, 0, "{problem}");
        engine.clear_cache();
    };
    refused(&engine("tiny-b", KvFormat::F16, 300), &bytes, "another model");
    refused(&engine("tiny-a", KvFormat::F32, 300), &bytes, "use --kv f16");
    refused(&engine("tiny-a", KvFormat::F16, 100), &bytes, "more than the context");
    let target = engine("tiny-a", KvFormat::F16, 300);
    for at in (16 + 200..bytes.len()).step_by(bytes.len() / 40) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        refused(&target, &damaged, "checksum");
    }
    for length in [0, 7, 8, 15, 16, 100, bytes.len() / 2, bytes.len() - 1] {
        refused(&target, &bytes[..length], "");
    }
    refused(&target, &[&bytes[..], &[0]].concat(), "length");
    let mut other = bytes.clone();
    other[8] = 1;
    refused(&target, &other, "version 1");
    let swapped = |from: &str, to: &str| {
        let text = String::from_utf8_lossy(&bytes[16..300]).into_owned();
        let at = 16 + text.find(from).unwrap();
        let mut swapped = bytes.clone();
        swapped[at..at + from.len()].copy_from_slice(to.as_bytes());
        swapped
    };
    refused(&target, &swapped("\"tokens\":1", "\"tokens\":9"), "impossible snapshots");
    refused(&target, &swapped("[64,", "[65,"), "impossible snapshots");
    refused(&target, &swapped("[64,", "[00,"), "invalid header");
    refused(&target, &swapped("\"pools\":", "\"polls\":"), "invalid header");
    let error = restore(&target, &swapped("\"pools\":", "\"po\\nl\":")).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error:?}");
    // The good file is still taken.
    assert_eq!(restore(&target, &bytes).unwrap(), saved);
}

/// A state serves prompts that leave its tokens inside: the same prompt again, one that ends earlier, and one that goes on
/// differently. They continue from the last snapshot before that place, whose distances from the end grow.
#[test]
fn a_saved_state_serves_prompts_that_leave_it_inside() {
    let first = engine("tiny-a", KvFormat::F16, 600);
    let prompt = tokens(500, 3, first.config().vocab_size);
    generate(&first, &prompt, &sampled(1, 1));
    let (saved, bytes) = save(&first, &prompt);
    assert_eq!(saved, 500);
    // Blocks of 64 tokens end at 64, 128, ..., 448. Those at distances of 52, 116, 180 and 308 are kept.
    for (leaves, continues) in
        [(500, 448), (460, 448), (447, 384), (400, 384), (383, 320), (319, 192), (191, 0)]
    {
        let second = engine("tiny-a", KvFormat::F16, 600);
        assert_eq!(restore(&second, &bytes).unwrap(), saved);
        let next = prompt[..leaves].to_vec();
        let (text, timings) = generate(&second, &next, &sampled(2, 8));
        assert_eq!(timings.cache_n, continues, "{leaves}");
        assert_eq!(text, fresh(&second, &next, &sampled(2, 8)), "{leaves}");
    }
}
