//! Prompts of a given length that begin apart, or with tokens in common.

use serde_json::{Value, json};

use super::random::Random;

/// Fewest different tokens that prompts are made of.
const FEWEST_TOKENS: usize = 16;
/// Purposes of random numbers: the beginning that prompts share, and the rest of each.
const SHARED: u64 = 0;
const OWN: u64 = 1;

/// The text whose words and tokens prompts are made of.
pub const WORDS: &str = "\
time year people way day man thing woman life child world school state family student group country problem hand part \
place case week company system program question work number night point home water room mother area money story fact \
month right study book eye job word business issue side kind head house service friend father power hour game line end \
member law car city community name president team minute idea body back parent face level office door health person \
art war history party result change morning reason research girl guy moment air teacher force education";

/// A maker of prompts.
#[derive(Debug)]
pub enum Prompts {
    /// Of these token ids.
    Ids(Vec<u32>),
    /// Of words, for servers that have no `/tokenize`. A word is about a token.
    Words,
}

impl Prompts {
    /// From the ids of [`WORDS`], if these are enough.
    pub fn of_ids(mut ids: Vec<u32>) -> Self {
        ids.sort_unstable();
        ids.dedup();
        if ids.len() < FEWEST_TOKENS { Self::Words } else { Self::Ids(ids) }
    }

    /// A prompt of `length` tokens, of which the first `shared` are the same in all prompts of a seed. `request` tells
    /// prompts apart.
    pub fn prompt(&self, length: usize, shared: usize, seed: u64, request: u64) -> Value {
        match self {
            Self::Ids(ids) => json!(chosen(ids, length, shared, seed, request)),
            Self::Words => {
                let words: Vec<&str> = WORDS.split_whitespace().collect();
                json!(chosen(&words, length, shared, seed, request).join(" "))
            }
        }
    }
}

fn chosen<T: Copy>(items: &[T], length: usize, shared: usize, seed: u64, request: u64) -> Vec<T> {
    let mut common = Random::new(seed, SHARED);
    let mut own = Random::new(seed, OWN.wrapping_add(request));
    let item = |i| if i < shared { common.choose(items) } else { own.choose(items) };
    (0..length).filter_map(item).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_share_the_tokens_that_they_should() {
        let prompts = Prompts::of_ids((0..200).chain(0..200).collect());
        let ids = |shared, seed, request| -> Vec<u32> {
            serde_json::from_value(prompts.prompt(64, shared, seed, request)).unwrap()
        };
        let common = |a: &[u32], b: &[u32]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
        assert_eq!(ids(0, 5, 1).len(), 64);
        assert_eq!(ids(0, 5, 1), ids(0, 5, 1));
        for request in 2..100 {
            assert!(common(&ids(0, 5, 1), &ids(0, 5, request)) < 4);
            assert!((48..52).contains(&common(&ids(48, 5, 1), &ids(48, 5, request))));
        }
        assert!(common(&ids(48, 5, 1), &ids(48, 6, 1)) < 4);
    }

    #[test]
    fn without_tokens_prompts_are_words() {
        let prompts = Prompts::of_ids(vec![3; 40]);
        let text = prompts.prompt(12, 4, 1, 1);
        let other = prompts.prompt(12, 4, 1, 2);
        let words = |text: &Value| text.as_str().unwrap().split(' ').count();
        assert_eq!((words(&text), words(&other)), (12, 12));
        assert_ne!(text, other);
        assert!(WORDS.split_whitespace().count() > 90);
    }
}
