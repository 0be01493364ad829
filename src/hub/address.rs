//! URLs of models: pages and files of the hub, `hf://`, and names in the form of other programs
//! (`hf.co/owner/repo:QUANT`).

use super::labels::{is_named, plain, split_part};
use super::places::variable;

const HOSTS: [&str; 4] = ["huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co"];
/// First path parts on the hub that are not a model's.
const OTHERS: [&str; 8] =
    ["datasets", "spaces", "collections", "papers", "docs", "blog", "organizations", "settings"];
/// Path parts of a model's pages that are followed by a revision and a file.
const WITH_REVISION: [&str; 8] =
    ["tree", "blob", "resolve", "raw", "blame", "edit", "commit", "commits"];
/// Those of them that may be followed by a folder.
const FOLDERS: [&str; 3] = ["tree", "commit", "commits"];
/// Path parts of a model's pages without a revision.
const WITHOUT: [&str; 3] = ["discussions", "settings", "community"];

/// Converts a URL to the name `owner/repo[:QUANT][@revision]`; `None` if the text is not a URL.
pub(super) fn name_of(text: &str) -> Result<Option<String>, &'static str> {
    let (path, bare) = match path_of(text)? {
        Some(found) => found,
        None if text.starts_with(['/', '.', '~']) => return Ok(None),
        // Only the path of a URL.
        None => {
            let parts: Vec<&str> = text.split('/').collect();
            match parts.get(2) {
                Some(part) if parts.len() > 3 && WITH_REVISION.contains(part) => (text, false),
                _ => return Ok(None),
            }
        }
    };
    let path = path.split('#').next().unwrap_or_default();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<String> = path.split('/').map(decode).collect::<Option<_>>().ok_or(DECODE)?;
    let mut parts: Vec<&str> = parts.iter().map(String::as_str).filter(|p| !p.is_empty()).collect();
    if let ["api", "models", ..] = parts[..] {
        parts.drain(..2);
    }
    let (owner, repo, rest) = match &parts[..] {
        [first, ..] if OTHERS.contains(first) => return Err("is not the URL of a model"),
        [owner, repo, rest @ ..] => (*owner, *repo, rest),
        _ => return Err("names no repository of a model"),
    };
    let (repo, mut revision) = match repo.split_once('@') {
        Some((repo, revision)) => (repo, Some(revision.to_owned())),
        None => (repo, None),
    };
    let (repo, mut quant) = match repo.split_once(':') {
        // ollama's name of the default.
        Some((repo, quant)) if quant.eq_ignore_ascii_case("latest") => (repo, None),
        Some((repo, quant)) => (repo, Some(quant.to_owned())),
        None => (repo, None),
    };
    let file = match rest {
        [] => None,
        [page, ..] if !bare && WITHOUT.contains(page) => None,
        [page, rest @ ..] if !bare && WITH_REVISION.contains(page) => {
            // A revision with slashes that are not written as %2F.
            let length = if rest.first() == Some(&"refs") { 3 } else { 1 };
            let (of_revision, file) = rest.split_at_checked(length).ok_or("names no revision")?;
            revision = Some(of_revision.join("/")).filter(|r| r != "main");
            match file.last() {
                // The page of a folder.
                Some(folder) if FOLDERS.contains(page) && gguf_stem(folder).is_none() => {
                    quant = Some(quant_of_folder(folder).ok_or(FOLDER)?);
                    None
                }
                file => file.copied(),
            }
        }
        path if bare => path.last().copied(),
        _ => return Err("is not a page of a model: copy the URL of its repository or of a file"),
    };
    // A file shown beside the list.
    let shown = query.split('&').find_map(|pair| pair.strip_prefix("show_file_info="));
    let shown = shown.map(|file| decode(file).ok_or(DECODE)).transpose()?;
    let shown = shown.as_deref().and_then(|path| path.rsplit('/').next());
    if let Some(stem) = file.and_then(gguf_stem).or(shown.and_then(gguf_stem)) {
        quant = Some(plain(stem));
    }
    let mut name = format!("{owner}/{repo}");
    if let Some(quant) = quant {
        name += &format!(":{quant}");
    }
    if let Some(revision) = revision {
        name += &format!("@{revision}");
    }
    Ok(Some(name))
}

const FOLDER: &str = "names a folder, or a branch with a '/' in its name: write owner/repo:QUANT for a \
                      quantisation, owner/repo@BRANCH for a branch";

/// The quantisation in a folder's name: split files are often in folders named after it.
fn quant_of_folder(folder: &str) -> Option<String> {
    let name = plain(folder);
    is_named(&name).then_some(name)
}

/// Converts `owner/repo/` and `owner/repo/folder/file.gguf` to `owner/repo[:QUANT]`. They may also be local paths.
pub(super) fn of_path(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('/').collect();
    match &parts[..] {
        [_, repo, ..] if repo.is_empty() || repo.contains([':', '@']) => None,
        [owner, repo, ""] => Some(format!("{owner}/{repo}")),
        [owner, repo, folders @ .., file] if !folders.contains(&"") => {
            let stem = gguf_stem(file)?;
            Some(format!("{owner}/{repo}:{}", plain(stem)))
        }
        _ => None,
    }
}

const DECODE: &str = "is not a valid URL: a % must be followed by two hexadecimal digits";

/// The path of a URL, and whether the file's path directly follows the repository (`hf://`).
fn path_of(text: &str) -> Result<Option<(&str, bool)>, &'static str> {
    if let Some(path) = strip(text, "hf://") {
        return Ok(Some((path, true)));
    }
    let with_scheme = strip(text, "https://").or_else(|| strip(text, "http://"));
    let (host, path) = match with_scheme.unwrap_or(text).split_once('/') {
        Some(split) => split,
        None => (with_scheme.unwrap_or(text), ""),
    };
    let host = host.to_ascii_lowercase();
    let of_hub = HOSTS.contains(&&*host) || endpoint_host().is_some_and(|own| own == host);
    match (of_hub, with_scheme) {
        (true, _) => Ok(Some((path, false))),
        (false, scheme) if scheme.is_some() || text.contains("://") => {
            Err("is not a URL of the hub (huggingface.co or hf.co)")
        }
        (false, _) => Ok(None),
    }
}

/// The host of `HF_ENDPOINT`, which may be a mirror.
fn endpoint_host() -> Option<String> {
    let endpoint = variable("HF_ENDPOINT")?.into_string().ok()?.trim().to_ascii_lowercase();
    let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"))?;
    Some(rest.split('/').next()?.to_owned())
}

fn strip<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// `NAME` of `NAME.gguf` and of `NAME-00001-of-00003.gguf`.
fn gguf_stem(file: &str) -> Option<&str> {
    let (stem, end) = file.split_at_checked(file.len().checked_sub(5)?)?;
    let stem = end.eq_ignore_ascii_case(".gguf").then_some(stem)?;
    Some(split_part(stem).map_or(stem, |(stem, ..)| stem))
}

/// Decodes `%XX`; `None` if the result is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let value = std::str::from_utf8(digits).ok().filter(|d| !d.starts_with('+'))?;
        bytes.push(u8::from_str_radix(value, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::super::HubName;

    #[test]
    fn pasted_addresses_are_names() {
        let repo = "LiquidAI/LFM2.5-8B-A1B-GGUF";
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let file = "LFM2.5-8B-A1B-Q4_0";
        for (address, tail) in [
            (format!("hf.co/{repo}"), String::new()),
            (format!("hf.co/{repo}:Q4_0"), ":Q4_0".to_owned()),
            (format!("HF.co/{repo}:latest"), String::new()),
            (format!("huggingface.co/{repo}:QAD-Q4_0"), ":QAD-Q4_0".to_owned()),
            (format!("https://huggingface.co/{repo}"), String::new()),
            (format!("https://huggingface.co/{repo}/"), String::new()),
            (format!("http://www.huggingface.co/{repo}?library=x#how-to"), String::new()),
            (format!("https://hf.co/{repo}:Q8_0"), ":Q8_0".to_owned()),
            (format!("https://huggingface.co/{repo}/tree/main"), String::new()),
            (format!("https://huggingface.co/{repo}/tree/v1.0"), "@v1.0".to_owned()),
            (format!("https://huggingface.co/{repo}/tree/refs%2Fpr%2F1"), "@refs/pr/1".to_owned()),
            (format!("https://huggingface.co/{repo}/tree/refs/pr/1/"), "@refs/pr/1".to_owned()),
            (format!("https://huggingface.co/{repo}/commit/{commit}"), format!("@{commit}")),
            (format!("https://huggingface.co/{repo}/discussions/3"), String::new()),
            (format!("https://huggingface.co/{repo}/blob/main/{file}.gguf"), format!(":{file}")),
            (format!("https://huggingface.co/{repo}/blob/main/README.md"), String::new()),
            (
                format!("https://huggingface.co/{repo}/resolve/{commit}/{file}.GGUF?download=true"),
                format!(":{file}@{commit}"),
            ),
            (
                format!("https://huggingface.co/{repo}/resolve/main/F16/x-F16-00001-of-00002.gguf"),
                ":x-F16".to_owned(),
            ),
            (
                format!("https://huggingface.co/{repo}/blob/main/LFM2%20(Q4_0).gguf"),
                ":LFM2--Q4_0".to_owned(),
            ),
            (format!("https://huggingface.co/api/models/{repo}"), String::new()),
            (format!("hf://{repo}"), String::new()),
            (format!("hf://{repo}@v2/{file}.gguf"), format!(":{file}@v2")),
            (format!("{repo}/blob/main/{file}.gguf"), format!(":{file}")),
            (format!("{repo}/tree/v2"), "@v2".to_owned()),
            (
                format!("https://huggingface.co/{repo}?show_file_info={file}.gguf"),
                format!(":{file}"),
            ),
            (
                format!(
                    "https://huggingface.co/{repo}/tree/v2?x=y&show_file_info=a%2F{file}.gguf#z"
                ),
                format!(":{file}@v2"),
            ),
            (format!("https://huggingface.co/{repo}?show_file_info=config.json"), String::new()),
            (format!("https://huggingface.co/{repo}/tree/main/UD-Q4_K_XL"), ":UD-Q4_K_XL".into()),
            (format!("hf.co/{repo}/tree/v2/all/BF16/"), ":BF16@v2".into()),
            (format!("https://huggingface.co/{repo}/commits/main/{file}.gguf"), format!(":{file}")),
            (format!("https://huggingface.co/{repo}.git"), String::new()),
            (format!("https://huggingface.co/{repo}.git/"), String::new()),
            (format!("{repo}.git"), String::new()),
            (format!("{repo}.git:Q4_0"), ":Q4_0".to_owned()),
            (format!("{repo}/"), String::new()),
            (format!("{repo}/{file}.gguf"), format!(":{file}")),
            (format!("{repo}/Q4_0/{file}-00001-of-00002.gguf"), format!(":{file}")),
        ] {
            let name = HubName::parse(&address).map(|name| name.to_string());
            assert_eq!(name.map_err(|e| e.to_string()), Ok(format!("{repo}{tail}")), "{address}");
        }
    }

    #[test]
    fn other_addresses_say_what_they_are_not() {
        for (address, words) in [
            ("https://example.com/a/b", "not a URL of the hub"),
            ("https://huggingface.co/", "names no repository"),
            ("https://huggingface.co", "names no repository"),
            ("https://huggingface.co/LiquidAI", "names no repository"),
            ("hf.co/LiquidAI", "names no repository"),
            ("https://huggingface.co/datasets/a/b", "not the URL of a model"),
            ("https://huggingface.co/spaces/a/b", "not the URL of a model"),
            ("https://huggingface.co/a/b/blob", "names no revision"),
            ("https://huggingface.co/a/b/nonsense/c", "not a page of a model"),
            ("https://huggingface.co/a/b/tree/feature/a", "owner/repo@BRANCH"),
            ("https://huggingface.co/a/b/tree/main/onnx", "owner/repo:QUANT"),
            ("a/b/tree/feature/a", "owner/repo@BRANCH"),
            ("https://huggingface.co/a/b?show_file_info=%zz", "hexadecimal digits"),
            ("a/b/c/x.txt", "not allowed on the hub"),
            ("a/b//x.gguf", "not allowed on the hub"),
            ("./b/x.gguf", "not allowed on the hub"),
            ("/b/x.gguf", "not allowed on the hub"),
            ("../x/y.gguf", "not allowed on the hub"),
            ("https://huggingface.co/a/b/tree/%zz", "hexadecimal digits"),
            ("https://huggingface.co/a/b%2", "hexadecimal digits"),
            ("https://huggingface.co/a/b/tree/..%2F..", "revision"),
            ("https://huggingface.co/../b", "the owner is not allowed"),
            ("https://huggingface.co/a%2Fb/c", "the repository is not allowed"),
            ("hf://a", "names no repository"),
            ("ftp://huggingface.co/a/b", "not a URL of the hub"),
            ("/a/tree/b", "not allowed on the hub"),
            ("./a/tree/b", "not allowed on the hub"),
        ] {
            let error = HubName::parse(address).map(|n| n.to_string()).unwrap_err().to_string();
            assert!(error.contains(words), "{address}: {error}");
        }
    }
}
