//! Names of models, from their paths and URLs.

/// The name of the model at a path or URL: the name of its file or folder. In the hub's cache, whose folders
/// are named after commits, it is `owner/repo`.
pub fn model_name(place: &str) -> String {
    let parts: Vec<&str> = place.split(['/', '\\']).filter(|part| !part.is_empty()).collect();
    let of_hub = parts.iter().rev().find_map(|part| {
        let (owner, repo) = part.strip_prefix("models--")?.split_once("--")?;
        (!owner.is_empty() && !repo.is_empty()).then(|| format!("{owner}/{repo}"))
    });
    let last = parts.last().copied().unwrap_or(place);
    match of_hub {
        Some(name) if is_commit(last) || last.starts_with("models--") => name,
        _ => last.to_owned(),
    }
}

/// The parts of a path that may name the model: the last part, the repository on the hub, and for a file its
/// folder.
pub(crate) fn names_of(place: &str) -> Vec<String> {
    let parts: Vec<&str> = place.split(['/', '\\']).filter(|part| !part.is_empty()).collect();
    let of_hub = parts.iter().filter(|part| part.starts_with("models--"));
    let is_file = parts.last().is_some_and(|last| last.to_ascii_lowercase().contains(".gguf"));
    let last = parts.iter().rev().take(if is_file { 2 } else { 1 });
    of_hub.chain(last).map(|part| (*part).to_owned()).collect()
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_of_the_hub_is_called_as_there() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let hub =
            format!("/h/.cache/huggingface/hub/models--LiquidAI--LFM2.5-8B-A1B/snapshots/{commit}");
        let cases = [
            (hub.clone(), "LiquidAI/LFM2.5-8B-A1B"),
            (hub.clone() + "/", "LiquidAI/LFM2.5-8B-A1B"),
            (hub.replace('/', "\\"), "LiquidAI/LFM2.5-8B-A1B"),
            (hub + "/LFM2.5-8B-A1B-Q4_0.gguf", "LFM2.5-8B-A1B-Q4_0.gguf"),
            (format!("/x/{commit}"), commit),
            ("/x/models--a--b/".to_owned(), "a/b"),
            ("/x/models--a/".to_owned(), "models--a"),
            ("models/LFM2".to_owned(), "LFM2"),
            ("embedded".to_owned(), "embedded"),
            ("/".to_owned(), "/"),
            (String::new(), ""),
        ];
        for (place, name) in cases {
            assert_eq!(model_name(&place), name, "{place}");
        }
    }
}
