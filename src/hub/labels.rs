//! Selects a file by its quantisation, and gives each file a label that selects it.
//!
//! A file's name is split into words. `:Q4_0` selects the file with that word. Of several it selects the plain
//! one, whose words all others also have (`x-Q4_0` beside `x-UD-Q4_0` and `x-Q4_0-new`).

use crate::formats::gguf::is_quant;

/// Lower-case words before a quantisation that say how it was made, and belong to it.
const MARKS: [&str; 6] = ["qad", "qat", "ud", "i1", "imat", "imatrix"];
/// Those of them that mark other weights, trained again for few bits. The quantisation alone never selects them.
const OTHER_WEIGHTS: [&str; 2] = ["qad", "qat"];
/// Beginnings of the names of supported quantisations.
const RUN: [&str; 11] =
    ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k", "f16", "bf16", "f32"];

/// A word of a file's name, with its position.
struct Word {
    text: String,
    start: usize,
}

/// The words of a name. `1.5B` is one word.
fn words(stem: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let (mut before, mut within) = (' ', false);
    let mut rest = stem.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        let digit = |c: char| c.is_ascii_digit();
        let point = c == '.' && digit(before) && rest.peek().is_some_and(|(_, next)| digit(*next));
        let belongs = c.is_alphanumeric() || c == '_' || point;
        match words.last_mut().filter(|_| belongs && within) {
            Some(word) => word.text.extend(c.to_lowercase()),
            None if belongs => words.push(Word { text: c.to_lowercase().collect(), start: at }),
            None => {}
        }
        (before, within) = (c, belongs);
    }
    words
}

/// Whether a file is supported, as far as its name tells.
pub(super) fn can_run(label: &str) -> bool {
    let quants: Vec<_> = words(label).into_iter().filter(|w| is_quant(&w.text)).collect();
    let runs = |word: &Word| RUN.iter().any(|known| word.text.starts_with(known));
    !quants.is_empty() && quants.iter().all(runs)
}

/// Whether a name has a quantisation.
pub(super) fn is_named(name: &str) -> bool {
    words(name).iter().any(|word| is_quant(&word.text))
}

/// The `stems` that a quantisation or a whole file name selects: none, one, or several that it cannot
/// distinguish.
pub(super) fn meant(stems: &[&str], quant: &str) -> Vec<usize> {
    let chosen = |by: &dyn Fn(&str) -> bool| -> Vec<usize> {
        (0..stems.len()).filter(|i| stems.get(*i).is_some_and(|stem| by(stem))).collect()
    };
    // A name with its folder has precedence over the same name in another folder.
    let whole = chosen(&|stem| plain(stem).eq_ignore_ascii_case(quant));
    let exact = if whole.is_empty() {
        chosen(&|stem| last(stem).eq_ignore_ascii_case(quant))
    } else {
        whole
    };
    if !exact.is_empty() {
        return exact;
    }
    let wanted: Vec<String> = words(quant).into_iter().map(|word| word.text).collect();
    let found = chosen(&|stem: &str| has_words(&words(stem), &wanted));
    let texts: Vec<Vec<String>> = found
        .iter()
        .filter_map(|i| stems.get(*i))
        .map(|stem| words(stem).into_iter().map(|word| word.text).collect())
        .collect();
    let within = |a: &[String], b: &[String]| {
        let mut rest = b.iter();
        a.len() < b.len() && a.iter().all(|word| rest.any(|other| other == word))
    };
    let is_plain = |i: &usize| {
        let others = texts.iter().enumerate().filter(|(j, _)| j != i);
        texts.get(*i).is_some_and(|own| others.clone().all(|(_, other)| within(own, other)))
    };
    match (0..found.len()).find(is_plain).and_then(|i| found.get(i)) {
        Some(one) => vec![*one],
        None => found,
    }
}

/// Whether a name has these words in sequence, without a neighbour that makes it another model.
fn has_words(name: &[Word], wanted: &[String]) -> bool {
    let other = |at: Option<usize>| {
        let word = at.and_then(|at| name.get(at));
        word.is_some_and(|word| OTHER_WEIGHTS.contains(&&*word.text))
    };
    let quant = wanted.iter().any(|word| is_quant(word));
    !wanted.is_empty()
        && name.windows(wanted.len()).enumerate().any(|(at, window)| {
            let same = window.iter().zip(wanted).all(|(a, b)| a.text == *b);
            same && !(quant && (other(at.checked_sub(1)) || other(at.checked_add(wanted.len()))))
        })
}

/// The items that `quant` selects, of all that have a file's name.
pub(super) fn named<T>(all: Vec<T>, stem: impl Fn(&T) -> &str, quant: &str) -> Vec<T> {
    let mut stems: Vec<&str> = all.iter().map(&stem).filter(|stem| !stem.is_empty()).collect();
    stems.sort_unstable();
    stems.dedup();
    let found = meant(&stems, quant);
    let found: Vec<String> =
        found.iter().filter_map(|i| stems.get(*i)).map(|stem| (*stem).to_owned()).collect();
    all.into_iter().filter(|item| found.iter().any(|name| name == stem(item))).collect()
}

/// The labels of all `stems`.
pub(super) fn labels(stems: &[&str]) -> Vec<String> {
    (0..stems.len()).map(|i| label(stems, i)).collect()
}

/// The label that selects one of `stems`: its quantisation, the words after it and the marks before it. If other
/// stems have the same label, it includes earlier words too.
pub(super) fn label(stems: &[&str], of: usize) -> String {
    let stem = stems.get(of).copied().unwrap_or_default();
    let words = words(stem);
    let is = |at: usize, by: &dyn Fn(&str) -> bool| words.get(at).is_some_and(|w| by(&w.text));
    let marks = |word: &str| MARKS.contains(&word) || is_quant(word);
    let Some(mut first) = (0..words.len()).rev().find(|at| is(*at, &is_quant)) else {
        let short = plain(last(stem));
        return if meant(stems, &short) == [of] { short } else { plain(stem) };
    };
    while first > 0 && is(first - 1, &marks) {
        first -= 1;
    }
    for at in (0..=first).rev() {
        let tail = words.get(at).and_then(|word| stem.get(word.start..)).map(plain);
        if let Some(tail) = tail
            && meant(stems, &tail) == [of]
        {
            return tail;
        }
    }
    plain(stem)
}

/// A name in the characters that are allowed in a quantisation. Other characters are replaced.
pub(super) fn plain(stem: &str) -> String {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let plain: String = stem.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    plain.trim_matches(['-', '.']).to_owned()
}

/// Splits `x-00002-of-00003` into `x`, 2 and 3.
pub(super) fn split_part(stem: &str) -> Option<(&str, usize, usize)> {
    let (rest, of) = stem.rsplit_once("-of-")?;
    let (rest, part) = rest.rsplit_once('-')?;
    let number = |text: &str| -> Option<usize> {
        let plain = text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten()
    };
    let (part, of) = (number(part)?, number(of)?);
    (1 <= part && part <= of).then_some((rest, part, of))
}

/// The last part of a path.
fn last(stem: &str) -> &str {
    stem.rsplit('/').next().unwrap_or(stem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(stems: &[&str], quant: &str) -> String {
        match meant(stems, quant)[..] {
            [i] => stems.get(i).copied().unwrap_or_default().to_owned(),
            ref several => format!("{}", several.len()),
        }
    }

    #[test]
    fn the_plain_one_and_the_others() {
        let liquid =
            ["LFM2.5-1.2B-BF16", "LFM2.5-1.2B-Q4_0", "LFM2.5-1.2B-QAD-Q4_0", "LFM2.5-1.2B-Q4_K_M"];
        assert_eq!(one(&liquid, "Q4_0"), liquid[1]);
        assert_eq!(one(&liquid, "q4_0"), liquid[1]);
        assert_eq!(one(&liquid, "QAD-Q4_0"), liquid[2]);
        assert_eq!(one(&liquid, "qad-q4_0"), liquid[2]);
        assert_eq!(one(&liquid, "QAD"), liquid[2]);
        assert_eq!(one(&liquid, "bf16"), liquid[0]);
        assert_eq!(one(&liquid, "F16"), "0");
        assert_eq!(labels(&liquid), ["BF16", "Q4_0", "QAD-Q4_0", "Q4_K_M"]);
        // A file with such a word is another model even if it is the only file.
        assert_eq!(
            (one(&liquid[2..3], "Q4_0"), one(&liquid[2..3], "QAD-Q4_0")),
            ("0".into(), liquid[2].into())
        );
        assert_eq!(labels(&liquid[2..3]), ["QAD-Q4_0"]);

        let unsloth = ["M-Q4_K_M", "M-UD-Q4_K_XL", "M-UD-Q4_K_M", "M-F16", "M-IQ4_NL"];
        assert_eq!(one(&unsloth, "Q4_K_M"), unsloth[0]);
        assert_eq!(one(&unsloth, "UD-Q4_K_M"), unsloth[2]);
        assert_eq!(one(&unsloth, "Q4_K_XL"), unsloth[1]);
        assert_eq!(one(&unsloth, "ud-q4_k_xl"), unsloth[1]);
        assert_eq!(one(&unsloth, "UD"), "2");
        assert_eq!(one(&unsloth, "Q4_K"), "0");
        assert_eq!(labels(&unsloth), ["Q4_K_M", "UD-Q4_K_XL", "UD-Q4_K_M", "F16", "IQ4_NL"]);

        let imatrix = ["M.i1-Q4_K_M", "M.Q4_K_M", "M.i1-IQ3_XS"];
        assert_eq!(one(&imatrix, "Q4_K_M"), imatrix[1]);
        assert_eq!(one(&imatrix, "i1-Q4_K_M"), imatrix[0]);
        assert_eq!(one(&imatrix[..1], "Q4_K_M"), imatrix[0]);
        assert_eq!(labels(&imatrix), ["i1-Q4_K_M", "Q4_K_M", "i1-IQ3_XS"]);
    }

    #[test]
    fn folders_mixtures_and_twins() {
        let mixed = ["M-F16", "M-Q8_0-F16", "M-f16-Q6_K", "M-Q6_K", "M-Q6_K_L"];
        assert_eq!(one(&mixed, "f16"), mixed[0]);
        assert_eq!(one(&mixed, "Q6_K"), mixed[3]);
        assert_eq!(one(&mixed, "Q8_0"), mixed[1]);
        assert_eq!(labels(&mixed), ["F16", "Q8_0-F16", "f16-Q6_K", "Q6_K", "Q6_K_L"]);
        let folders = ["Q4_0/M-Q4_0", "QAD/M-Q4_0", "BF16/M-BF16"];
        assert_eq!(one(&folders, "BF16"), folders[2]);
        for (stems, at) in [(folders, 0), (folders, 1), (folders, 2)] {
            assert_eq!(meant(&stems, &label(&stems, at)), [at], "{}", label(&stems, at));
        }
        let twins = ["x-Q4_0", "x-Q4_0-new", "y-Q8_0"];
        assert_eq!(
            (one(&twins, "Q4_0"), one(&twins, "Q4_0-new")),
            (twins[0].into(), twins[1].into())
        );
        assert_eq!(one(&["x-Q4_0", "y-Q4_0"], "Q4_0"), "2");
        assert_eq!(labels(&["x-Q4_0", "y-Q4_0"]), ["x-Q4_0", "y-Q4_0"]);
        assert_eq!(labels(&["model", "b"]), ["model", "b"]);
        assert_eq!(one(&["LFM2-Q4_0_4_4", "LFM2-IQ4_0"], "Q4_0"), "0");
        // A number with a decimal point is one word.
        let audio = ["LFM2-Audio-1.5B-Q4_0", "audiodecoder-LFM2-Audio-1.5B-Q4_0", "x-0.5B.Q4_0"];
        assert_eq!(labels(&audio[..1]), ["Q4_0"]);
        assert_eq!(labels(&[audio[0], "LFM2-Audio-3B-Q4_0"]), ["1.5B-Q4_0", "3B-Q4_0"]);
        assert_eq!(labels(&[audio[0], audio[2]]), ["1.5B-Q4_0", "0.5B.Q4_0"]);
        for (i, label) in labels(&audio).iter().enumerate() {
            assert!(!label.starts_with('5'), "{label}");
            assert_eq!(meant(&audio, label), [i], "{label}");
        }
        // Dots beside a word separate it.
        assert_eq!(labels(&["LFM2.5.Q4_0", "LFM2.5.Q8_0"]), ["Q4_0", "Q8_0"]);
        let matrix = ["x-Q4_K_M", "x-imatrix-Q4_K_M", "x-Q4_K_M-imatrix"];
        assert_eq!(labels(&matrix), ["Q4_K_M", "imatrix-Q4_K_M", "Q4_K_M-imatrix"]);
        let odd = ["My Model (Q4_0)", "My Model (Q8_0 + F16)"];
        assert_eq!(labels(&odd), ["Q4_0", "Q8_0---F16"]);
        assert_eq!(one(&odd, "Q8_0---F16"), odd[1]);
        assert_eq!(one(&["model"], "model"), "model");
        assert_eq!(one(&["model"], ""), "0");
    }

    #[test]
    fn what_runs_is_told_by_names() {
        for label in ["Q4_0", "qad-q4_0", "UD-Q4_K_XL", "Q6_K_L", "BF16", "f16-Q6_K", "Q5_K_S"] {
            assert!(can_run(label), "{label}");
        }
        for label in ["IQ4_NL", "MXFP4", "Q2_K", "Q3_K_M", "TQ1_0", "f16-IQ4_XS", "model", "NVFP4"]
        {
            assert!(!can_run(label), "{label}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]
        /// For any file names, each file has a label that selects only it.
        #[test]
        fn labels_can_be_given_back(
            stems in proptest::collection::btree_set(
                "([AB]/)?(M|N)([-.](QAD|UD|i1|new|F16|1|ä))?[-.](Q4_0|q4_0|Q4_K_M|BF16|x)([-.](new|F16))?",
                1..6,
            ),
        ) {
            let stems: Vec<&str> = stems.iter().map(String::as_str).collect();
            // Names that differ only in case, or in a folder's separator, cannot be distinguished.
            let mut folded: Vec<_> = stems.iter().map(|s| plain(s).to_lowercase()).collect();
            folded.sort();
            folded.dedup();
            prop_assume!(folded.len() == stems.len());
            for (i, label) in labels(&stems).iter().enumerate() {
                prop_assert_eq!(meant(&stems, label), vec![i], "{} of {:?}", label, &stems);
            }
        }
    }
}
