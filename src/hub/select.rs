//! Selects the files of a model in a repository.

use std::collections::BTreeMap;

use super::labels::{can_run, label, labels, meant, split_part};
use super::{HubError, HubName};
use crate::formats::gguf::is_companion;
use crate::model::lora::{ADAPTER_CONFIG, ADAPTER_WEIGHTS};

/// Default quantisations of a name without one, in order of preference.
const DEFAULTS: [&str; 3] = ["Q4_0", "Q4_K_M", "QAD-Q4_0"];

/// Files of a checkpoint beside its weights.
const SMALL: [&str; 8] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "manifest.json",
    INDEX,
];
/// Files of a PEFT adapter.
pub(super) const ADAPTER: [&str; 2] = [ADAPTER_CONFIG, ADAPTER_WEIGHTS];
const SINGLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// The files of one model, small ones first.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// A checkpoint folder.
    Folder(Vec<String>),
    /// One `.gguf` file, or its parts in order.
    Gguf(Vec<String>),
}

impl Selection {
    pub(super) fn files(&self) -> &[String] {
        match self {
            Self::Folder(files) | Self::Gguf(files) => files,
        }
    }
}

/// A `.gguf` file, or all parts of a split one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gguf {
    /// Name without `-00001-of-00003.gguf` or `.gguf`.
    pub(super) stem: String,
    /// Parts by number.
    parts: BTreeMap<usize, String>,
    /// Number of parts by the file's name.
    of: usize,
}

impl Gguf {
    pub(super) fn is_whole(&self) -> bool {
        self.parts.len() == self.of
    }

    pub(super) fn files(&self) -> Vec<String> {
        self.parts.values().cloned().collect()
    }
}

/// The `.gguf` models among file names, without image projectors and importance matrices.
pub(super) fn ggufs<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Gguf> {
    let mut all: BTreeMap<(String, usize), BTreeMap<usize, String>> = BTreeMap::new();
    for name in names {
        let Some(stem) = strip_suffix_ignoring_case(name, ".gguf") else { continue };
        if is_companion(stem) {
            continue;
        }
        let (stem, part, of) = match split_part(stem) {
            Some(split) => split,
            None => (stem, 1, 1),
        };
        all.entry((stem.to_owned(), of)).or_default().insert(part, name.to_owned());
    }
    all.into_iter().map(|((stem, of), parts)| Gguf { stem, parts, of }).collect()
}

fn strip_suffix_ignoring_case<'a>(name: &'a str, suffix: &str) -> Option<&'a str> {
    let at = name.len().checked_sub(suffix.len())?;
    let (stem, end) = name.split_at_checked(at)?;
    end.eq_ignore_ascii_case(suffix).then_some(stem)
}

/// Selects the model's files among all files of a repository.
///
/// # Errors
/// If there is no model, the name matches several, or parts of a split file are missing.
pub(super) fn select(name: &HubName, names: &[&str]) -> Result<Selection, HubError> {
    let repo = name.id();
    let ggufs = ggufs(names.iter().copied());
    if ggufs.is_empty() {
        return match (name.quant(), folder(names)) {
            (None, Some(files)) => Ok(Selection::Folder(files)),
            (Some(quant), Some(_)) => Err(HubError::NoQuant {
                repo,
                quant: quant.to_owned(),
                there: "a checkpoint in safetensors, without a quantisation in its name".to_owned(),
            }),
            (_, None) => Err(HubError::NoModel { repo }),
        };
    }
    let gguf = pick(&repo, &ggufs, name.quant())?;
    let files = gguf.files();
    if !gguf.is_whole() {
        let file = files.into_iter().next().unwrap_or_default();
        return Err(HubError::PartsMissing { repo, file, of: gguf.of, there: gguf.parts.len() });
    }
    Ok(Selection::Gguf(files))
}

/// Selects the files of a LoRA adapter among all files of a repository: PEFT's two files, or a `.gguf` file.
///
/// # Errors
/// If there is no adapter, or the name matches several.
pub(super) fn select_adapter(name: &HubName, names: &[&str]) -> Result<Selection, HubError> {
    let repo = name.id();
    let has = |file: &&str| names.contains(file);
    if name.quant().is_none() && ADAPTER.iter().all(has) {
        return Ok(Selection::Folder(ADAPTER.map(str::to_owned).to_vec()));
    }
    let ggufs = ggufs(names.iter().copied());
    if ggufs.is_empty() {
        return Err(HubError::NoAdapter { repo });
    }
    Ok(Selection::Gguf(pick(&repo, &ggufs, name.quant())?.files()))
}

fn pick<'a>(repo: &str, ggufs: &'a [Gguf], quant: Option<&str>) -> Result<&'a Gguf, HubError> {
    let stems: Vec<&str> = ggufs.iter().map(|g| &*g.stem).collect();
    let choose = |among: &[usize]| {
        let labels: Vec<_> = among.iter().map(|i| label(&stems, *i)).collect();
        let first = labels.iter().find(|label| can_run(label)).or(labels.first());
        let first = first.cloned().unwrap_or_default();
        HubError::Choose { repo: repo.to_owned(), first, there: labels.join(", ") }
    };
    let one = |found: &[usize]| match found {
        [one] => ggufs.get(*one).ok_or_else(|| choose(found)),
        _ => Err(choose(found)),
    };
    let Some(quant) = quant else {
        let default = DEFAULTS.iter().map(|d| meant(&stems, d)).find(|found| !found.is_empty());
        return one(&default.unwrap_or_else(|| (0..ggufs.len()).collect()));
    };
    let found = meant(&stems, quant);
    if !found.is_empty() {
        return one(&found);
    }
    let mut there = labels(&stems);
    there.sort_by_key(|label| std::cmp::Reverse(likeness(label, quant)));
    Err(HubError::NoQuant {
        repo: repo.to_owned(),
        quant: quant.to_owned(),
        there: there.join(", "),
    })
}

/// Length of the common prefix of two names, in characters.
fn likeness(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
}

/// The files of a checkpoint folder. As in the loader, a single file has precedence over shards.
pub(super) fn folder(names: &[&str]) -> Option<Vec<String>> {
    let has = |name: &str| names.contains(&name);
    let shard = |name: &&&str| {
        name.starts_with("model") && name.ends_with(".safetensors") && !name.contains('/')
    };
    let weights: Vec<_> = match has(SINGLE) {
        true => vec![SINGLE],
        false => names.iter().filter(shard).copied().collect(),
    };
    if !has("config.json") || weights.is_empty() || !(has(SINGLE) || has(INDEX)) {
        return None;
    }
    let small = SMALL.into_iter().filter(|n| has(n) && !(*n == INDEX && has(SINGLE)));
    Some(small.chain(weights).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(name: &str, names: &[&str]) -> Result<Vec<String>, String> {
        let name = HubName::parse(name).unwrap();
        select(&name, names).map(|s| s.files().to_vec()).map_err(|e| e.to_string())
    }

    const QUANTS: [&str; 5] = [
        "README.md",
        "LFM2-8B-A1B-F16.gguf",
        "LFM2-8B-A1B-Q4_0.gguf",
        "LFM2-8B-A1B-Q4_K_M.gguf",
        "mmproj-LFM2-F16.gguf",
    ];

    #[test]
    fn a_quantisation_is_a_whole_word_of_the_name() {
        assert_eq!(chosen("a/b:q4_k_m", &QUANTS).unwrap(), ["LFM2-8B-A1B-Q4_K_M.gguf"]);
        // A whole file name also selects.
        assert_eq!(chosen("a/b:LFM2-8B-A1B-F16", &QUANTS).unwrap(), ["LFM2-8B-A1B-F16.gguf"]);
    }

    #[test]
    fn without_a_name_the_default_is_taken_or_the_only_one() {
        assert_eq!(chosen("a/b", &QUANTS).unwrap(), ["LFM2-8B-A1B-Q4_0.gguf"]);
        let no_q4_0 = [QUANTS[1], QUANTS[3]];
        assert_eq!(chosen("a/b", &no_q4_0).unwrap(), [QUANTS[3]]);
        assert_eq!(chosen("a/b", &[QUANTS[1]]).unwrap(), [QUANTS[1]]);
        let error = chosen("a/b", &["x-F16.gguf", "x-Q8_0.gguf"]).unwrap_err();
        assert!(error.contains("a/b:F16") && error.contains("F16, Q8_0"), "{error}");
        let error = chosen("a/b", &["x-Q4_0.gguf", "y-Q4_0.gguf"]).unwrap_err();
        assert!(error.contains("x-Q4_0, y-Q4_0"), "{error}");
        let qad = ["x-F16.gguf", "x-QAD-Q4_0.gguf"];
        assert_eq!(chosen("a/b", &qad).unwrap(), [qad[1]]);
        // The example in the message is a supported model.
        let error = chosen("a/b", &["x-IQ4_NL.gguf", "x-Q8_0.gguf"]).unwrap_err();
        assert!(error.contains("e.g. a/b:Q8_0"), "{error}");
    }

    #[test]
    fn quantisations_made_with_an_importance_matrix_are_models() {
        let names = [
            "x-imatrix-Q4_K_M.gguf",
            "x-Q4_0-imatrix.gguf",
            "x_imatrix_IQ4_NL.gguf",
            "x.Q8_0.iMatrix.gguf",
            "x.imatrix.gguf",
            "imatrix.gguf",
            "Q4_0/imatrix-x.gguf",
            "mmproj-x-Q8_0-imatrix.gguf",
        ];
        let stems: Vec<_> = ggufs(names).into_iter().flat_map(|gguf| gguf.files()).collect();
        assert_eq!(stems, [names[1], names[0], names[3], names[2]]);
        assert_eq!(chosen("a/b", &names).unwrap(), [names[1]]);
        assert_eq!(chosen("a/b:Q4_K_M", &names).unwrap(), [names[0]]);
        assert_eq!(chosen("a/b:imatrix-q4_k_m", &names).unwrap(), [names[0]]);
        assert_eq!(chosen("a/b", &names[4..5]).unwrap_err(), chosen("a/b", &[]).unwrap_err());
    }

    #[test]
    fn the_nearest_come_first_where_a_quantisation_is_missing() {
        let error = chosen("a/b:Q4_1", &QUANTS).unwrap_err();
        assert!(error.ends_with("There are: Q4_0, Q4_K_M, F16"), "{error}");
        assert!(chosen("a/b", &["README.md"]).unwrap_err().contains("neither"));
        let folder = ["config.json", "model.safetensors"];
        assert!(chosen("a/b:Q4_0", &folder).unwrap_err().contains("safetensors"));
    }

    #[test]
    fn all_parts_of_a_split_file_or_none() {
        let parts = ["d/x-Q8_0-00002-of-00002.gguf", "d/x-Q8_0-00001-of-00002.gguf", "x-F16.gguf"];
        assert_eq!(chosen("a/b:Q8_0", &parts).unwrap(), [parts[1], parts[0]]);
        let error = chosen("a/b:Q8_0", &parts[..1]).unwrap_err();
        assert!(error.contains("has 2 parts") && error.contains("1 of them"), "{error}");
        // It does not have the form of a part, so it is a separate file.
        assert_eq!(chosen("a/b", &["x-00003-of-00002.gguf"]).unwrap().len(), 1);
    }

    #[test]
    fn an_adapter_is_pefts_two_files_or_a_gguf() {
        let chosen = |name: &str, names: &[&str]| {
            let name = HubName::parse(name).unwrap();
            select_adapter(&name, names).map(|s| s.files().to_vec()).map_err(|e| e.to_string())
        };
        let peft =
            ["README.md", "adapter_model.safetensors", "adapter_config.json", "tokenizer.json"];
        assert_eq!(chosen("a/b", &peft).unwrap(), ADAPTER);
        let gguf = "x-lora-F16.gguf";
        assert_eq!(chosen("a/b", &[gguf, "README.md"]).unwrap(), [gguf]);
        let both = [&peft[..], &[gguf]].concat();
        assert_eq!(chosen("a/b", &both).unwrap(), ADAPTER);
        assert_eq!(chosen("a/b:F16", &both).unwrap(), [gguf]);
        for names in [&["README.md"][..], &peft[..2], &["config.json", "model.safetensors"]] {
            let error = chosen("a/b", names).unwrap_err();
            assert!(error.contains("a/b") && error.contains("adapter_config.json"), "{error}");
        }
        assert!(chosen("a/b", &["x.gguf", "y.gguf"]).unwrap_err().contains("has several"));
    }

    #[test]
    fn a_checkpoint_is_its_known_files_and_one_set_of_weights() {
        let names = [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            INDEX,
            "config.json",
            "README.md",
            "tokenizer.json",
            "pytorch_model.bin",
        ];
        let sharded = chosen("a/b", &names).unwrap();
        assert_eq!(sharded, ["config.json", "tokenizer.json", INDEX, names[0], names[1]]);
        let both: Vec<_> = names.into_iter().chain([SINGLE]).collect();
        assert_eq!(chosen("a/b", &both).unwrap(), ["config.json", "tokenizer.json", SINGLE]);
        assert!(chosen("a/b", &names[1..3]).is_err(), "no config.json");
    }
}
