//! Paths of the cache and the token, from the environment by the rules of `huggingface_hub`'s constants.py.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::HubError;

/// The value of a variable, if it is set and not empty.
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The cache's folder.
pub(super) fn hub_cache() -> Result<PathBuf, HubError> {
    Places { get: &variable, home: std::env::home_dir() }.hub_cache()
}

/// The token file that `hf auth login` writes.
pub(super) fn token_file() -> Result<PathBuf, HubError> {
    Places { get: &variable, home: std::env::home_dir() }.token_file()
}

struct Places<'a> {
    get: &'a dyn Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
}

impl Places<'_> {
    fn hub_cache(&self) -> Result<PathBuf, HubError> {
        let named =
            ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"].into_iter().find_map(|n| self.path(n));
        match named {
            Some(root) => Ok(root),
            None => Ok(self.hf_home()?.join("hub")),
        }
    }

    fn token_file(&self) -> Result<PathBuf, HubError> {
        match self.path("HF_TOKEN_PATH") {
            Some(path) => Ok(path),
            None => Ok(self.hf_home()?.join("token")),
        }
    }

    /// `HF_HOME`, or its default.
    fn hf_home(&self) -> Result<PathBuf, HubError> {
        let default = || {
            let cache =
                self.path("XDG_CACHE_HOME").or_else(|| Some(self.home.as_ref()?.join(".cache")))?;
            Some(cache.join("huggingface"))
        };
        self.path("HF_HOME").or_else(default).ok_or_else(|| HubError::Setting {
            variable: "HF_HOME",
            problem: "not set, and there is no home folder; name a folder for models".to_owned(),
        })
    }

    /// The path in a variable, with the home folder and variables expanded.
    fn path(&self, name: &str) -> Option<PathBuf> {
        Some(PathBuf::from(self.expand_vars(self.expand_user((self.get)(name)?))))
    }

    /// Like Python's `os.path.expanduser`, except that another user's `~name` stays unchanged.
    fn expand_user(&self, path: OsString) -> OsString {
        let Some(rest) = path.to_str().and_then(|text| text.strip_prefix('~')) else { return path };
        let own = rest.is_empty() || rest.starts_with(std::path::is_separator);
        match (&self.home, own) {
            (Some(home), true) => [home.as_os_str(), OsStr::new(rest)].into_iter().collect(),
            _ => path,
        }
    }

    /// Like Python's `os.path.expandvars`: expands `$NAME` and `${NAME}`, on Windows also `%NAME%`. Unset variables
    /// stay unchanged, and values are not expanded again.
    fn expand_vars(&self, path: OsString) -> OsString {
        let Some(mut rest) = path.to_str() else { return path };
        let mut out = OsString::new();
        while let Some(at) = rest.find(|c| c == '$' || (cfg!(windows) && c == '%')) {
            let (before, from) = rest.split_at(at);
            out.push(before);
            let (whole, name) = reference(from);
            match (self.get)(name) {
                Some(value) if !name.is_empty() => out.push(value),
                _ => out.push(from.get(..whole).unwrap_or(from)),
            }
            rest = from.get(whole..).unwrap_or_default();
        }
        out.push(rest);
        out
    }
}

/// Length in bytes of the variable reference at the beginning of `text`, and the variable's name.
fn reference(text: &str) -> (usize, &str) {
    let (sign, behind) = text.split_at(1);
    let closed = |open: usize, close: char| {
        let inner = behind.get(open..)?;
        let end = inner.find(close)?;
        Some((1 + open + end + 1, inner.get(..end)?))
    };
    let found = match (sign, behind.starts_with('{')) {
        ("%", _) => closed(0, '%'),
        (_, true) => closed(1, '}'),
        _ => None,
    };
    found.unwrap_or_else(|| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = behind.find(|c| !plain(c)).unwrap_or(behind.len());
        let name = if sign == "$" { behind.get(..end).unwrap_or_default() } else { "" };
        (1 + name.len(), name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(set: &[(&str, &str)], read: impl Fn(&Places<'_>) -> T) -> T {
        let get = |name: &str| {
            let found = set.iter().find(|(n, v)| *n == name && !v.is_empty());
            found.map(|(_, value)| OsString::from(value))
        };
        read(&Places { get: &get, home: Some("/home/me".into()) })
    }

    fn cache(set: &[(&str, &str)]) -> String {
        with(set, |p| p.hub_cache().unwrap().to_str().unwrap().replace('\\', "/"))
    }

    /// The expected values are those of huggingface_hub 2.4 with HOME=/home/me.
    #[test]
    fn the_cache_is_where_huggingface_hub_has_it() {
        let vars = [("HOME", "/home/me"), ("D", "/disk"), ("X_1", "models")];
        let cases: [(&[(&str, &str)], &str); 17] = [
            (&[], "/home/me/.cache/huggingface/hub"),
            (&[("HF_HOME", "/a")], "/a/hub"),
            (&[("HF_HOME", "~/a")], "/home/me/a/hub"),
            (&[("HF_HOME", "~")], "/home/me/hub"),
            (&[("HF_HOME", "$HOME/a")], "/home/me/a/hub"),
            (&[("HF_HOME", "${D}/a")], "/disk/a/hub"),
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "$HOME/x")], "/home/me/x/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "")], "/x/huggingface/hub"),
            (&[("HUGGINGFACE_HUB_CACHE", "/old")], "/old"),
            (&[("HUGGINGFACE_HUB_CACHE", "~/old"), ("HF_HOME", "/a")], "/home/me/old"),
            (&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "$D/new")], "/disk/new"),
            (&[("HF_HUB_CACHE", "$D/${X_1}-$X_1/x")], "/disk/models-models/x"),
            (&[("HF_HUB_CACHE", "/a/$NONE/${NONE}/$/${")], "/a/$NONE/${NONE}/$/${"),
            (&[("HF_HUB_CACHE", "/a/~/b")], "/a/~/b"),
            (&[("HF_HUB_CACHE", "~somebody/x")], "~somebody/x"),
            (&[("HF_HUB_CACHE", "$T/x"), ("T", "$D")], "$D/x"),
        ];
        for (set, want) in cases {
            assert_eq!(cache(&[set, &vars].concat()), want, "{set:?}");
        }
        assert!(Places { get: &|_| None, home: None }.hub_cache().is_err());
    }

    #[test]
    fn so_is_the_token() {
        let token = |set: &[(&str, &str)]| with(set, |p| p.token_file().unwrap());
        assert_eq!(token(&[("HF_HOME", "/a")]), PathBuf::from("/a/token"));
        assert_eq!(token(&[("HF_TOKEN_PATH", "~/t")]), PathBuf::from("/home/me/t"));
    }
}
