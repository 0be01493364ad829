//! Names of models on the hub: `owner/repo[:QUANT][@revision]`.

use std::fmt;

use super::{HubError, address};
use crate::formats::quoted;

/// Longest owner or repository that the hub allows.
const MAX_PART: usize = 96;
/// Longest quantisation or revision.
const MAX_TAIL: usize = 200;

/// The name of a model on the hub. No part of it can lead out of a folder, see [`HubName::parse`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HubName {
    owner: String,
    repo: String,
    quant: Option<String>,
    revision: Option<String>,
}

impl HubName {
    /// Reads `owner/repo[:QUANT][@revision]`, or a URL that names a model: of a page or a file on the hub,
    /// `hf.co/owner/repo:QUANT`, `hf://owner/repo`, `owner/repo/file.gguf`.
    ///
    /// Owner and repository follow the hub's rules: letters, digits, `-`, `_` and `.`, neither `--` nor `..`,
    /// no `-` or `.` at either end, at most 96 characters. A quantisation has the same characters. A revision
    /// may also have single slashes (`refs/pr/1`).
    ///
    /// # Errors
    /// [`HubError::Name`], with the problem.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let wrong =
            |problem: &str| HubError::Name { name: quoted(text), problem: problem.to_owned() };
        match address::name_of(text).map_err(wrong)? {
            Some(name) => Self::parse_name(text, &name),
            None => Self::parse_name(text, address::of_path(text).as_deref().unwrap_or(text)),
        }
    }

    /// Whether a text is a URL of the hub or a similar URL, and so neither a plain name nor a path.
    #[must_use]
    pub fn is_address(text: &str) -> bool {
        !matches!(address::name_of(text), Ok(None))
    }

    /// Parses a plain name. `given` is the user's text, for errors.
    fn parse_name(given: &str, text: &str) -> Result<Self, HubError> {
        let wrong =
            |problem: &str| HubError::Name { name: quoted(given), problem: problem.to_owned() };
        let (rest, revision) = match text.split_once('@') {
            Some((rest, revision)) => (rest, Some(revision)),
            None => (text, None),
        };
        let (id, quant) = match rest.split_once(':') {
            Some((id, quant)) => (id, Some(quant)),
            None => (rest, None),
        };
        let (owner, repo) = id.split_once('/').ok_or_else(|| wrong("has no owner"))?;
        // A URL for `git clone`.
        let repo = repo.strip_suffix(".git").unwrap_or(repo);
        if !is_part(owner) {
            return Err(wrong("the owner is not allowed on the hub"));
        }
        if !is_part(repo) {
            return Err(wrong("the repository is not allowed on the hub"));
        }
        if quant.is_some_and(|q| !is_plain(q)) {
            return Err(wrong("the quantisation after ':' is invalid, write e.g. Q4_0"));
        }
        let whole = |r: &str| r.len() <= MAX_TAIL && r.split('/').all(is_plain);
        if revision.is_some_and(|r| !whole(r)) {
            return Err(wrong("the revision after '@' is invalid, write a branch, tag or commit"));
        }
        Ok(Self {
            owner: owner.to_owned(),
            repo: repo.to_owned(),
            quant: quant.map(str::to_owned),
            revision: revision.map(str::to_owned),
        })
    }

    /// `owner/repo`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.owner, self.repo)
    }

    /// The quantisation, if one was given.
    #[must_use]
    pub fn quant(&self) -> Option<&str> {
        self.quant.as_deref()
    }

    /// The revision, if one was given.
    #[must_use]
    pub fn given_revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// The revision: a branch, a tag or a commit; `main` if none was given.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// The repository's folder in the cache.
    pub(super) fn folder(&self) -> String {
        format!("models--{}--{}", self.owner, self.repo)
    }

    /// Converts the name of a folder in the cache to `owner/repo`.
    pub(super) fn id_of_folder(folder: &str) -> Option<String> {
        let (owner, repo) = folder.strip_prefix("models--")?.split_once("--")?;
        (is_part(owner) && is_part(repo)).then(|| format!("{owner}/{repo}"))
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.repo)?;
        if let Some(quant) = &self.quant {
            write!(f, ":{quant}")?;
        }
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        Ok(())
    }
}

/// Whether a text is a valid owner or repository.
fn is_part(text: &str) -> bool {
    let end = |c: char| matches!(c, '-' | '.');
    is_plain(text)
        && text.len() <= MAX_PART
        && !text.contains("--")
        && !text.starts_with(end)
        && !text.ends_with(end)
        && !text.ends_with(".git")
}

/// Whether a text is a valid name of one folder or file on any system.
fn is_plain(text: &str) -> bool {
    (1..=MAX_TAIL).contains(&text.len())
        && !text.contains("..")
        && !text.starts_with('.')
        && !text.ends_with('.')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Whether a file's name from the hub is a path that stays below its folder, on any system.
pub(super) fn is_safe_path(name: &str) -> bool {
    let plain = |part: &str| {
        (1..=255).contains(&part.len())
            && part != "."
            && !part.contains("..")
            && !part.contains(|c: char| matches!(c, '\\' | ':') || c.is_control())
    };
    name.len() <= 1024 && name.split('/').count() <= 8 && name.split('/').all(plain)
}

/// Whether a text is a hash of `digits` lower-case hexadecimal digits.
pub(super) fn is_hash(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_read() {
        let name = HubName::parse("LiquidAI/LFM2-8B-A1B-GGUF:Q4_K_M@refs/pr/1").unwrap();
        assert_eq!(name.id(), "LiquidAI/LFM2-8B-A1B-GGUF");
        assert_eq!(name.quant(), Some("Q4_K_M"));
        assert_eq!((name.revision(), name.given_revision()), ("refs/pr/1", Some("refs/pr/1")));
        assert_eq!(name.folder(), "models--LiquidAI--LFM2-8B-A1B-GGUF");
        let plain = HubName::parse("a/b").unwrap();
        assert_eq!((plain.revision(), plain.given_revision(), plain.quant()), ("main", None, None));
        assert_eq!(HubName::id_of_folder("models--a--b").as_deref(), Some("a/b"));
        assert_eq!(HubName::id_of_folder("datasets--a--b"), None);
        assert_eq!(HubName::id_of_folder("models--a--b--c"), None);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "./b",
            "../b",
            "a/..",
            "a/b:",
            "a/b@",
            "a/b:c/d",
            "a//b",
            "a/b@c/../d",
            "a/b@/c",
            "a/b@c//d",
            "a/b@c/",
            "a--b/c",
            "-a/b",
            "a/b.",
            "a/b.git.git",
            "a/.git",
            "a/b//",
            "a/b:c/",
            "a b/c",
            "a\\b/c",
            "C:/x",
            "ä/b",
            "a/b:Q\n",
            "a/b@\0",
            "~/b",
            "a/b:..",
            "a/b@.hidden",
        ] {
            let error = HubName::parse(text).unwrap_err().to_string();
            assert!(error.contains(&quoted(text)) && !error.contains('\n'), "{error}");
        }
        assert!(HubName::parse(&format!("a/{}", "b".repeat(97))).is_err());
    }

    #[test]
    fn file_names_from_a_server_stay_below_their_folder() {
        for good in ["config.json", "sub/dir/x.gguf", ".gitattributes", "a b.txt"] {
            assert!(is_safe_path(good), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a/..",
            "a//b",
            "a/",
            "a\\b",
            "C:x",
            "a\0b",
            "a\nb",
            ".",
            "a/./b",
            "a\u{1b}[2J",
        ] {
            assert!(!is_safe_path(bad), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_that_reads_back_or_an_error(text in "\\PC{0,40}|[a-c./:@_-]{0,14}") {
            if let Ok(name) = HubName::parse(&text) {
                prop_assert_eq!(HubName::parse(&name.to_string()).unwrap(), name.clone());
                // The folder's name is one path part, and can be converted back.
                let folder = name.folder();
                prop_assert!(is_safe_path(&folder) && !folder.contains('/'));
                prop_assert_eq!(HubName::id_of_folder(&folder), Some(name.id()));
                prop_assert!(is_safe_path(name.revision()));
            }
        }

        #[test]
        fn parts_make_a_name(
            owner in "[A-Za-z0-9]([A-Za-z0-9_]{0,8}[A-Za-z0-9])?",
            repo in "[A-Za-z0-9](-?[A-Za-z0-9_.]?[A-Za-z0-9]){0,8}",
            quant in proptest::option::of("[A-Z0-9][A-Z0-9_]{0,7}"),
            revision in proptest::option::of("[a-z0-9]{1,8}(/[a-z0-9]{1,4}){0,2}"),
        ) {
            let mut text = format!("{owner}/{repo}");
            if let Some(quant) = &quant { text += &format!(":{quant}"); }
            if let Some(revision) = &revision { text += &format!("@{revision}"); }
            let name = HubName::parse(&text).unwrap();
            prop_assert_eq!(name.quant(), quant.as_deref());
            prop_assert_eq!(name.given_revision(), revision.as_deref());
            prop_assert_eq!(name.to_string(), text);
        }
    }
}
