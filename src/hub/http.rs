//! Requests to the hub: redirects, the token, errors by status, and retries.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::fmt::rfc2822;
use ureq::config::ConfigBuilder;
use ureq::http::{HeaderMap, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::typestate::AgentScope;

use super::places::{token_file, variable};
use super::{HubError, HubName};
use crate::formats::{one_line, quoted};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
const MAX_REDIRECTS: usize = 10;
const CONNECT: Duration = Duration::from_secs(20);
/// Timeout for a server that sends nothing, unless `HF_HUB_DOWNLOAD_TIMEOUT` is set.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest delay that a server may request.
const MAX_WAIT: Duration = Duration::from_secs(120);
/// Maximum number of tries without progress.
const TRIES: u32 = 5;

/// An HTTP client for a hub.
pub(super) struct Http {
    agent: ureq::Agent,
    endpoint: String,
    token: Option<String>,
}

/// The requested bytes.
#[derive(Clone, Copy)]
pub(super) enum Want {
    /// All bytes from this one on.
    From(u64),
    /// The bytes from the first to the last.
    Part(u64, u64),
}

/// The last response of a chain of redirects.
pub(super) struct Answer {
    pub(super) url: String,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: ureq::Body,
    /// Whether the hub itself sent it, and not the target of a redirect.
    pub(super) from_hub: bool,
}

/// A failed request, which may or may not be repeated.
pub(super) enum Failure {
    /// May succeed later, after the delay that the server requests.
    Passing {
        problem: String,
        after: Option<Duration>,
    },
    /// The host name cannot be resolved: there is no network, or no such server.
    NoHost(String),
    Final(HubError),
}

impl From<HubError> for Failure {
    fn from(e: HubError) -> Self {
        Self::Final(e)
    }
}

/// The value of a text variable.
fn text_variable(name: &'static str) -> Result<Option<String>, HubError> {
    let Some(value) = variable(name) else { return Ok(None) };
    match value.into_string() {
        Ok(value) => Ok(Some(value.trim().to_owned()).filter(|v| !v.is_empty())),
        Err(_) => Err(HubError::Setting { variable: name, problem: "not UTF-8 text".to_owned() }),
    }
}

/// Whether `HF_HUB_OFFLINE` forbids network access.
pub(super) fn offline() -> bool {
    variable("HF_HUB_OFFLINE")
        .is_some_and(|v| ["1", "on", "yes", "true"].iter().any(|yes| v.eq_ignore_ascii_case(yes)))
}

/// The token of `HF_TOKEN`, or of the file that `hf auth login` writes.
fn token() -> Result<Option<String>, HubError> {
    let mut from = "HF_TOKEN";
    let mut token = text_variable(from)?;
    if token.is_none() {
        from = "HF_TOKEN_PATH";
        let text = std::fs::read_to_string(token_file()?).unwrap_or_default();
        token = Some(text.trim().to_owned()).filter(|t| !t.is_empty());
    }
    match token {
        // The token goes into a header, and never into a message.
        Some(t) if t.len() > 1000 || !t.bytes().all(|b| b.is_ascii_graphic()) => {
            Err(HubError::Setting { variable: from, problem: "is not a token".to_owned() })
        }
        token => Ok(token),
    }
}

/// The settings of all clients: statuses are no errors, nothing is followed or unpacked unasked, and a server that sends
/// nothing for `silence` has failed.
pub(crate) fn config(silence: Duration) -> Result<ConfigBuilder<AgentScope>, HubError> {
    Ok(ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("lfm2-wgpu/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(silence))
        .timeout_per_read(Some(silence))
        .timeout_per_write(Some(silence))
        .tls_config(TlsConfig::builder().root_certs(roots()?).build()))
}

/// The certificate authorities of the user's file, e.g. for a company's proxy.
fn roots() -> Result<RootCerts, HubError> {
    for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"] {
        let Some(place) = variable(name) else { continue };
        let setting = |problem: String| HubError::Setting { variable: name, problem };
        let shown = quoted(&place.to_string_lossy());
        let pem = std::fs::read(&place).map_err(|e| setting(format!("{shown}: {e}")))?;
        let certificates: Vec<_> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if certificates.is_empty() {
            return Err(setting(format!("{shown}: has no certificate")));
        }
        return Ok(RootCerts::Specific(Arc::new(certificates)));
    }
    Ok(RootCerts::WebPki)
}

impl Http {
    /// A client configured by the environment: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_DOWNLOAD_TIMEOUT`, proxies,
    /// certificates.
    pub(super) fn from_env() -> Result<Self, HubError> {
        let endpoint = text_variable("HF_ENDPOINT")?.unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        parse_url(&endpoint).map_err(|problem| HubError::Setting {
            variable: "HF_ENDPOINT",
            problem: format!("{}: {problem}", quoted(&endpoint)),
        })?;
        let silence = match text_variable("HF_HUB_DOWNLOAD_TIMEOUT")? {
            None => SILENCE,
            Some(text) => match text.parse() {
                Ok(seconds @ 1..=3600) => Duration::from_secs(seconds),
                _ => {
                    let problem = format!("{}: need seconds from 1 to 3600", quoted(&text));
                    return Err(HubError::Setting { variable: "HF_HUB_DOWNLOAD_TIMEOUT", problem });
                }
            },
        };
        let agent = config(silence)?.build().new_agent();
        Ok(Self { agent, endpoint, token: token()? })
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Follows redirects to a response. The token is sent only to the hub's scheme, host and port. `until` ends
    /// the chain early at a response that suffices.
    pub(super) fn request(
        &self,
        head: bool,
        url: &str,
        want: Want,
        until: impl Fn(&HeaderMap) -> bool,
    ) -> Result<Answer, Failure> {
        let mut url = parse_url(url).map_err(|p| HubError::reply(url, p))?;
        let mut from_hub = true;
        for _ in 0..=MAX_REDIRECTS {
            let mut request =
                if head { self.agent.head(url.clone()) } else { self.agent.get(url.clone()) };
            if let (Some(token), true) = (&self.token, from_hub) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            request = match want {
                Want::From(0) => request,
                Want::From(byte) => request.header(header::RANGE, format!("bytes={byte}-")),
                Want::Part(from, to) => request.header(header::RANGE, format!("bytes={from}-{to}")),
            };
            let answer = request.call().map_err(|e| match e.to_string() {
                // ureq has no error kind for these.
                e if e.contains("peer certificate") => {
                    HubError::Certificate { url: without_query(&url), problem: one_line(&e) }.into()
                }
                e if e.contains("lookup") || e.contains("host not found") => {
                    Failure::NoHost(url.host().unwrap_or_default().to_owned())
                }
                e => passing(&e),
            })?;
            let status = answer.status().as_u16();
            let (parts, body) = answer.into_parts();
            let location = match status {
                301 | 302 | 303 | 307 | 308 if !until(&parts.headers) => {
                    text_header(&parts.headers, "location")
                }
                _ => None,
            };
            let Some(location) = location else {
                let url = without_query(&url);
                return Ok(Answer { url, status, headers: parts.headers, body, from_hub });
            };
            let next =
                join(&url, location).map_err(|p| HubError::reply(&without_query(&url), p))?;
            from_hub &= origin(&next) == origin(&url);
            url = next;
        }
        Err(HubError::reply(&without_query(&url), "more than 10 redirects").into())
    }

    /// Requests `len` bytes of a file from byte `from` on.
    pub(super) fn part(
        &self,
        name: &HubName,
        url: &str,
        file: &str,
        from: u64,
        len: u64,
    ) -> Result<Vec<u8>, Failure> {
        let last = from.saturating_add(len).saturating_sub(1);
        let answer = self.request(false, url, Want::Part(from, last), |_| false)?;
        let skipped = match answer.status {
            206 if range_start(&answer) == Some(from) => 0,
            // A server without ranges sends the file from its beginning.
            200 => from,
            206 | 416 => {
                return Err(passing(&"the server sends another part than requested"));
            }
            _ => return Err(self.refusal(name, file, &answer)),
        };
        let mut reader = answer.body.into_with_config().limit(u64::MAX).reader();
        let skipping = std::io::copy(&mut (&mut reader).take(skipped), &mut std::io::sink());
        let mut bytes = Vec::new();
        let read = skipping.and_then(|_| reader.take(len).read_to_end(&mut bytes));
        match read {
            Ok(_) if bytes.len() as u64 == len => Ok(bytes),
            Ok(n) => Err(passing(&format!("the connection ended after {n} of {len} bytes"))),
            Err(e) => Err(passing(&e)),
        }
    }

    /// The error of a response without the content.
    pub(super) fn refusal(&self, name: &HubName, what: &str, answer: &Answer) -> Failure {
        let code = text_header(&answer.headers, "x-error-code").unwrap_or_default();
        let after = text_header(&answer.headers, "retry-after")
            .and_then(|value| retry_after(value, SystemTime::now()));
        match answer.status {
            408 | 425 | 429 | 500..=599 => {
                let problem = match answer.status {
                    429 => "too many requests (429)".to_owned(),
                    status => format!("the server failed ({status})"),
                };
                Failure::Passing { problem, after }
            }
            // A signed URL has expired: the hub gives another.
            401 | 403 | 404 | 410 if !answer.from_hub => Failure::Passing {
                problem: format!("the file's server refused ({})", answer.status),
                after: None,
            },
            status @ (401 | 403) => Failure::Final(HubError::Denied {
                repo: name.id(),
                status,
                token: match &self.token {
                    Some(_) => "Check the name, and that HF_TOKEN's owner may read it.",
                    None => "Check the name. If the model is private or gated, set HF_TOKEN.",
                },
                url: format!("{}/{}", self.endpoint, name.id()),
            }),
            404 => Failure::Final(match code {
                "RevisionNotFound" => HubError::NotFound {
                    what: format!("{}@{}", name.id(), name.revision()),
                    kind: "revision",
                },
                "EntryNotFound" => {
                    HubError::NotFound { what: format!("{}: {what}", name.id()), kind: "file" }
                }
                _ => HubError::NotFound { what: name.to_string(), kind: "model or revision" },
            }),
            status => Failure::Final(HubError::reply(&answer.url, format!("status {status}"))),
        }
    }
}

/// Counts tries, and waits between them.
pub(super) struct Patience {
    left: u32,
    /// Whether an unresolved host name ends it at once.
    strict: bool,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { left: TRIES, strict: false }
    }

    /// For the first request: without a network, waiting does not help.
    pub(super) fn first() -> Self {
        Self { strict: true, ..Self::new() }
    }

    /// Resets the count of tries after progress.
    pub(super) fn renew(&mut self) {
        self.left = TRIES;
    }

    /// Waits before another try. `tell` gets the duration and the reason.
    ///
    /// # Errors
    /// The failure, if there are no more tries.
    pub(super) fn wait(
        &mut self,
        url: &str,
        failure: Failure,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), HubError> {
        let (problem, after) = match failure {
            Failure::Final(e) => return Err(e),
            // After some progress the network may return soon; before, nothing would be lost.
            Failure::NoHost(host) if self.strict => return Err(HubError::NoNetwork { host }),
            Failure::NoHost(host) => (format!("{host} is not found"), None),
            Failure::Passing { problem, after } => (problem, after),
        };
        let network = |problem: String| HubError::Network { url: url.to_owned(), problem };
        if let Some(after) = after.filter(|a| *a > MAX_WAIT) {
            let problem = format!("{problem}, the server asks to wait {} s", after.as_secs());
            return Err(network(problem));
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            return Err(network(format!("{problem}, {TRIES} times in a row")));
        }
        let pause = Duration::from_millis(500) * 2u32.pow(TRIES - 1 - self.left);
        let pause = after.unwrap_or(pause);
        log::info!("{url}: {problem}; again in {pause:?}");
        tell(&format!("{problem}, again in {} s", pause.as_secs_f32()));
        std::thread::sleep(pause);
        Ok(())
    }
}

/// The delay that a server requests: seconds, or until a date (RFC 9110, 10.2.3).
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    let wait = SystemTime::from(date).duration_since(now).unwrap_or_default();
    Some(Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)))
}

/// Offset of the first byte of a partial response.
pub(super) fn range_start(answer: &Answer) -> Option<u64> {
    let range = text_header(&answer.headers, "content-range")?.strip_prefix("bytes ")?;
    range.split('-').next()?.trim().parse().ok()
}

/// A request without a response.
pub(super) fn passing(error: &dyn std::fmt::Display) -> Failure {
    Failure::Passing { problem: one_line(error), after: None }
}

pub(super) fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

const NO_ADDRESS: &str = "not a URL that begins with http:// or https://";

/// Parses an absolute HTTP URL.
pub(crate) fn parse_url(text: &str) -> Result<Uri, &'static str> {
    let uri: Uri = text.parse().map_err(|_| NO_ADDRESS)?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(uri),
        _ => Err(NO_ADDRESS),
    }
}

/// The target of a redirect.
fn join(base: &Uri, location: &str) -> Result<Uri, &'static str> {
    let scheme = base.scheme_str().unwrap_or("https");
    let next = if location.starts_with("//") {
        parse_url(&format!("{scheme}:{location}"))
    } else if location.starts_with('/') {
        let authority = base.authority().map_or("", |a| a.as_str());
        parse_url(&format!("{scheme}://{authority}{location}"))
    } else {
        parse_url(location)
    };
    let next = next.map_err(|_| "a redirect to an invalid URL")?;
    if scheme == "https" && next.scheme_str() != Some("https") {
        return Err("a redirect from https to http");
    }
    Ok(next)
}

fn origin(uri: &Uri) -> (Option<&str>, Option<String>, Option<u16>) {
    let default = match uri.scheme_str() {
        Some("http") => Some(80),
        _ => Some(443),
    };
    (uri.scheme_str(), uri.host().map(str::to_ascii_lowercase), uri.port_u16().or(default))
}

/// The URL without its query, for messages: a signed URL is long, and its signature is secret.
fn without_query(uri: &Uri) -> String {
    let text = uri.to_string();
    text.split('?').next().unwrap_or_default().to_owned()
}

/// Encodes a text as one part of a URL's path.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_joined() {
        let base: Uri = "https://hub.example/a/resolve/b?x=1".parse().unwrap();
        let to = |location: &str| join(&base, location).map(|u| u.to_string());
        assert_eq!(to("/api/x?y=2").unwrap(), "https://hub.example/api/x?y=2");
        assert_eq!(to("//cdn.example/x").unwrap(), "https://cdn.example/x");
        assert_eq!(to("https://cdn.example/x?s=%20").unwrap(), "https://cdn.example/x?s=%20");
        for bad in ["http://hub.example/", "x/y", "", "file:///etc/passwd", "https://", "a b"] {
            assert!(to(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_asks_to_wait_in_seconds_or_until_a_date() {
        // 06 Nov 1994 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_250);
        let seconds = |value: &str| retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(seconds(" 7 "), Some(7));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:51:07 GMT"), Some(90));
        // A past date, and invalid values.
        assert_eq!(seconds("Sat, 05 Nov 1994 08:49:37 GMT"), Some(0));
        for bad in ["", "-1", "1.5", "soon", "Sun, 06 Nov 1994", "99999999999999999999"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_token_stays_at_one_scheme_host_and_port() {
        let origin_of = |text: &str| {
            let uri: Uri = text.parse().unwrap();
            let (scheme, host, port) = origin(&uri);
            (scheme.map(str::to_owned), host, port)
        };
        assert_eq!(origin_of("https://Hub.example/a"), origin_of("https://hub.example:443/b"));
        for other in ["https://hub.example:444", "http://hub.example", "https://cdn.hub.example"] {
            assert_ne!(origin_of("https://hub.example"), origin_of(other));
        }
    }

    #[test]
    fn a_name_is_one_part_of_an_address() {
        assert_eq!(encode("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(encode("ä b?#%"), "%C3%A4%20b%3F%23%25");
    }
}
