//! Published models that this engine runs, known without the hub.

use crate::model::WeightChoice;

/// A published model.
pub struct Known {
    /// The repository of its checkpoint, without its owner.
    pub repo: &'static str,
    /// Its name for `--shape`.
    pub shape: &'static str,
}

/// Model named in examples and tips.
pub const EXAMPLE_MODEL: &str = "LiquidAI/LFM2.5-8B-A1B-GGUF:Q4_0";

/// All published models; within a generation, the largest first.
pub const FAMILY: [Known; 15] = [
    Known { repo: "LFM2.5-24B-A2B", shape: "lfm2.5-24b-a2b" },
    Known { repo: "LFM2.5-8B-A1B", shape: "lfm2.5-8b-a1b" },
    Known { repo: "LFM2.5-2.6B", shape: "lfm2.5-2.6b" },
    Known { repo: "LFM2.5-1.2B-Instruct", shape: "lfm2-1.2b" },
    Known { repo: "LFM2.5-1.2B-Thinking", shape: "lfm2-1.2b" },
    Known { repo: "LFM2.5-1.2B-Base", shape: "lfm2-1.2b" },
    Known { repo: "LFM2.5-1.2B", shape: "lfm2-1.2b" },
    Known { repo: "LFM2.5-350M", shape: "lfm2-350m" },
    Known { repo: "LFM2.5-230M", shape: "lfm2.5-230m" },
    Known { repo: "LFM2-24B-A2B", shape: "lfm2-24b-a2b" },
    Known { repo: "LFM2-8B-A1B", shape: "lfm2-8b-a1b" },
    Known { repo: "LFM2-2.6B", shape: "lfm2-2.6b" },
    Known { repo: "LFM2-1.2B", shape: "lfm2-1.2b" },
    Known { repo: "LFM2-700M", shape: "lfm2-700m" },
    Known { repo: "LFM2-350M", shape: "lfm2-350m" },
];

/// Models to suggest if another one does not fit, the largest first.
pub const SIBLINGS: [&str; 5] =
    ["LFM2.5-8B-A1B", "LFM2.5-2.6B", "LFM2.5-1.2B-Instruct", "LFM2.5-350M", "LFM2.5-230M"];

/// The model whose name is a prefix of the repository's name, for any owner.
pub fn known(repo: &str) -> Option<&'static Known> {
    let lower = repo.to_ascii_lowercase();
    let begins = |known: &&Known| {
        let rest = lower.strip_prefix(&known.repo.to_ascii_lowercase());
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
    };
    FAMILY.iter().filter(begins).max_by_key(|known| known.repo.len())
}

/// The full name on the hub for a model of this family named without its owner.
pub fn hub_name_like(name: &str) -> Option<String> {
    let (repo, quant) = name.split_once(':').unwrap_or((name, ""));
    let known = known(repo).filter(|_| !name.contains('/'))?;
    let quant = if quant.is_empty() { String::new() } else { format!(":{quant}") };
    Some(format!("LiquidAI/{}-GGUF{quant}", known.repo))
}

/// Weight format for the name of a quantisation; a checkpoint has 16 bits.
pub fn weights(quant: Option<&str>, is_gguf: bool) -> WeightChoice {
    let quant = quant.unwrap_or(if is_gguf { "Q4_0" } else { "F16" }).to_ascii_uppercase();
    match quant {
        q if q.contains("16") || q.contains("32") => WeightChoice::F16,
        q if q.contains("Q8") || q.contains("Q6") => WeightChoice::Q8,
        _ => WeightChoice::Q4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_known_by_their_names() {
        let shape = |repo: &str| known(repo).map(|known| known.shape);
        assert_eq!(shape("LFM2.5-8B-A1B-GGUF"), Some("lfm2.5-8b-a1b"));
        assert_eq!(shape("LFM2-8B-A1B"), Some("lfm2-8b-a1b"));
        assert_eq!(shape("lfm2.5-1.2b-thinking-gguf"), Some("lfm2-1.2b"));
        assert_eq!(shape("LFM2-1.2B-Extract-GGUF"), Some("lfm2-1.2b"));
        assert_eq!((shape("Qwen3-4B"), shape("LFM2-350Mega"), shape("LFM2")), (None, None, None));
        assert_eq!(hub_name_like("lfm2-8b-a1b").as_deref(), Some("LiquidAI/LFM2-8B-A1B-GGUF"));
        assert_eq!(hub_name_like("a/LFM2-8B-A1B"), None);
        for known in &FAMILY {
            assert!(
                crate::model::shape_names().any(|shape| shape == known.shape),
                "{}",
                known.repo
            );
        }
        assert!(SIBLINGS.iter().all(|name| known(name).is_some()));
    }

    /// Parameters counted as on the models' pages, which include the few biases of experts.
    #[test]
    fn shapes_have_the_published_sizes() {
        for (shape, parameters) in [
            ("lfm2.5-230m", 229_693_184),
            ("lfm2-350m", 354_483_968),
            ("lfm2-1.2b", 1_170_340_608),
            ("lfm2.5-2.6b", 2_697_198_592),
            ("lfm2.5-8b-a1b", 8_467_856_832_u64),
            ("lfm2.5-24b-a2b", 23_971_587_712),
        ] {
            let model = crate::engine::OpenedModel::of_shape(shape, WeightChoice::Q4);
            let model = pollster::block_on(model).unwrap().unwrap();
            let counted = model.tensors.size().total_parameters;
            assert!(
                counted.abs_diff(parameters) < 4096,
                "{shape}: {counted}, should be {parameters}"
            );
        }
    }

    #[test]
    fn quantisations_are_known_by_their_names() {
        assert_eq!(weights(Some("Q4_K_M"), true), WeightChoice::Q4);
        assert_eq!(weights(None, true), WeightChoice::Q4);
        assert_eq!(weights(None, false), WeightChoice::F16);
        assert_eq!(weights(Some("q8_0"), true), WeightChoice::Q8);
        assert_eq!(weights(Some("BF16"), true), WeightChoice::F16);
    }
}
