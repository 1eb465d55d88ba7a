//! Who looks at the page: signing in with an API key, and what a form must carry.
//!
//! A browser keeps no key: it keeps a random word in a cookie that scripts cannot read and that other sites cannot send
//! (`HttpOnly`, `SameSite=Strict`). The server keeps the key in memory and asks the [`Gate`](crate::access::Gate) again at every
//! request, so a key that was revoked or expired ends there and then. Sessions end with the process.
//!
//! A form carries a token that only a page from here can know, and its `Origin` must be this server: also where access is open,
//! since a page of another site could send forms to a loopback address.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use carat_receipt::Digest;
use maud::html;
use zeroize::Zeroizing;

use super::form::{self, Fields};
use super::frame::{self, Here, Page, answer, note, plain};
use crate::access::{Caller, Scope};
use crate::api::{Shared, pairs, text};
use crate::config::Access;
use crate::exit::{Exit, Failure};
use crate::node::{Node, now};
use crate::problem::Problem;

/// The cookie.
const COOKIE: &str = "carat_page";
/// Its name where the browser sees HTTPS: by the prefix, no server of a neighbouring name can plant one (RFC 6265bis, 4.1.3.2).
const HOST_COOKIE: &str = "__Host-carat_page";
/// How long a session lasts without being used.
const LASTS: Duration = Duration::from_secs(12 * 3600);
/// Most sessions at once; beyond it the one that was used longest ago ends.
const MOST: usize = 10_000;
/// Most sessions with one key at once: whoever has one key does not sign others out.
const MOST_OF_ONE: usize = 100;
/// Longest key that is tried.
const MAX_KEY: usize = 512;
/// Domain of the names under which sessions are held: what is in memory is no cookie.
const SESSION_DOMAIN: &str = "carat/page-session/v1";
/// Domain of the tokens of forms.
const FORM_DOMAIN: &str = "carat/page-form/v1";

struct Held {
    authorization: Zeroizing<String>,
    used: Instant,
}

/// Those who are signed in.
pub(crate) struct Sessions {
    secret: Zeroizing<[u8; 32]>,
    held: Mutex<HashMap<Digest, Held>>,
}

impl Sessions {
    /// None yet.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub(crate) fn new() -> Result<Self, Failure> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret)
            .map_err(|_| Failure::new(Exit::Io, "the operating system gave no randomness"))?;
        Ok(Self {
            secret,
            held: Mutex::default(),
        })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Digest, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, authorization: Zeroizing<String>, at: Instant) -> Result<String, Problem> {
        let word = hex::encode(random()?);
        let mut held = self.held();
        held.retain(|_, one| at.saturating_duration_since(one.used) < LASTS);
        let same = |one: &Held| one.authorization.as_str() == authorization.as_str();
        let of_one = held.values().filter(|one| same(one)).count() >= MOST_OF_ONE;
        if of_one || held.len() >= MOST {
            let oldest = (held.iter())
                .filter(|(_, one)| !of_one || same(one))
                .min_by_key(|(_, one)| one.used)
                .map(|(id, _)| *id);
            if let Some(oldest) = oldest {
                held.remove(&oldest);
            }
        }
        held.insert(
            of_word(&word),
            Held {
                authorization,
                used: at,
            },
        );
        Ok(word)
    }

    /// What the session of a cookie would write into the header `Authorization`.
    fn authorization(&self, word: &str, at: Instant) -> Option<Zeroizing<String>> {
        let id = of_word(word);
        let mut held = self.held();
        let one = held.get_mut(&id)?;
        if at.saturating_duration_since(one.used) >= LASTS {
            held.remove(&id);
            return None;
        }
        one.used = at;
        Some(one.authorization.clone())
    }

    fn end(&self, word: &str) {
        self.held().remove(&of_word(word));
    }

    /// The token of the forms of one session, or of whoever has none.
    fn token(&self, word: &str) -> String {
        Digest::of(FORM_DOMAIN, &[self.secret.as_slice(), word.as_bytes()]).to_string()
    }
}

fn of_word(word: &str) -> Digest {
    Digest::of(SESSION_DOMAIN, &[word.as_bytes()])
}

/// 32 random bytes.
pub(super) fn random() -> Result<[u8; 32], Problem> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| {
        Problem::new(
            500,
            "internal",
            "the operating system gave no randomness; try again",
        )
    })?;
    Ok(bytes)
}

/// Whoever looks.
pub(super) struct Visitor {
    caller: Option<Caller>,
    open: bool,
    /// What its forms carry.
    pub(super) token: String,
}

impl Visitor {
    /// Whoever sent a request, within its rate: by the header `Authorization` as on the interface, else by the cookie.
    ///
    /// # Errors
    /// A key in the header that is not valid, or too many requests of one tenant.
    pub(super) fn of(node: &Node, headers: &HeaderMap) -> Result<Self, Problem> {
        let sessions = &node.page.sessions;
        let word = cookie(node, headers);
        let given = text(headers, "authorization")?;
        let held = match (given, word) {
            (None, Some(word)) => sessions.authorization(word, Instant::now()),
            _ => None,
        };
        let open = node.config.access == Access::Open;
        let caller = match (given, &held) {
            (None, None) if !open => None,
            (None, Some(held)) => match node.gate.caller(Some(held), now()?) {
                Ok(caller) => Some(caller),
                // Revoked or expired since.
                Err(_) => {
                    sessions.end(word.unwrap_or_default());
                    None
                }
            },
            (given, _) => Some(node.gate.caller(given, now()?)?),
        };
        if let Some(caller) = &caller {
            node.gate.admit(&caller.tenant, Instant::now())?;
        }
        let word = word.filter(|_| held.is_some() && caller.is_some());
        Ok(Self {
            caller,
            open,
            token: sessions.token(word.unwrap_or_default()),
        })
    }

    /// Somebody of whom nothing is known.
    pub(super) fn nobody(node: &Node) -> Self {
        Self {
            caller: None,
            open: node.config.access == Access::Open,
            token: node.page.sessions.token(""),
        }
    }

    /// Whether whoever reaches the server may do everything.
    pub(super) fn open(&self) -> bool {
        self.open
    }

    /// Whose key it is.
    pub(super) fn tenant(&self) -> Option<&str> {
        self.caller.as_ref().map(|caller| caller.tenant.as_str())
    }

    /// Whether it may.
    pub(super) fn can(&self, scope: Scope) -> bool {
        self.may(scope).is_ok()
    }

    /// The caller, if it may: the rule is the interface's.
    ///
    /// # Errors
    /// 401 without a key, 403 where the key lacks the scope.
    pub(super) fn may(&self, scope: Scope) -> Result<&Caller, Problem> {
        let caller = self.caller.as_ref().ok_or_else(|| {
            Problem::new(
                401,
                "unauthorized",
                format!("this needs an API key with the scope {}", scope.as_str()),
            )
        })?;
        caller.needs(scope)?;
        Ok(caller)
    }

    /// Refuses a form that did not come from a page of this server.
    pub(super) fn sent(&self, fields: &Fields) -> Result<(), Problem> {
        // Both are digests with a secret in them: the time of comparing tells nothing.
        if fields
            .text("token")
            .is_some_and(|token| token == self.token)
        {
            return Ok(());
        }
        Err(Problem::new(
            403,
            "forbidden",
            "the form is not from this server's page, or older than the session: load the page again and send it once more",
        ))
    }
}

/// Runs a handler for whoever asks; what goes wrong becomes a page.
pub(super) fn with(
    node: &Node,
    headers: &HeaderMap,
    work: impl FnOnce(&Visitor) -> Result<Response, Problem>,
) -> Response {
    match Visitor::of(node, headers) {
        Ok(visitor) => answer(&visitor, work(&visitor)),
        Err(problem) => frame::refused(&Visitor::nobody(node), &problem),
    }
}

/// Whether the browser sees HTTPS: also behind a proxy that speaks it.
fn secure(node: &Node) -> bool {
    node.tls.is_some() || node.config.tls.behind_proxy
}

fn cookie_name(secure: bool) -> &'static str {
    if secure { HOST_COOKIE } else { COOKIE }
}

fn cookie<'a>(node: &Node, headers: &'a HeaderMap) -> Option<&'a str> {
    let own = cookie_name(secure(node));
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == own).then_some(value))
}

/// The header that sets the cookie, or with no word ends it.
fn set_cookie(node: &Node, word: Option<&str>) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(&cookie_text(secure(node), word))
        .map_err(|_| Problem::new(500, "internal", "a cookie that is no header"))
}

/// It goes with the browser, and is not written to its disk; how long it is good for, the server says.
fn cookie_text(secure: bool, word: Option<&str>) -> String {
    format!(
        "{}={}; Path=/{}; HttpOnly; SameSite=Strict{}",
        cookie_name(secure),
        word.unwrap_or_default(),
        if word.is_none() { "; Max-Age=0" } else { "" },
        if secure { "; Secure" } else { "" },
    )
}

/// An address of this server: anything else would lead whoever signs in elsewhere.
fn local(next: Option<&str>) -> &str {
    next.filter(|next| {
        next.starts_with('/')
            && !next.starts_with("//")
            && next.len() <= 512
            && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
    })
    .unwrap_or("/")
}

fn redirect(to: &str, cookie: HeaderValue) -> Result<Response, Problem> {
    let to = HeaderValue::from_str(to).map_err(Problem::bad_request)?;
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(header::LOCATION, to);
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// `GET /sign-in`.
pub(super) async fn form(
    State(node): Shared,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    with(&node, &headers, |visitor| {
        let asked = pairs(query.as_deref())?;
        let next = local(asked.get("next").map(String::as_str));
        Ok(sign_in(visitor, next, None))
    })
}

fn sign_in(visitor: &Visitor, next: &str, problem: Option<&Problem>) -> Response {
    let body = html! {
        h1 { "API key" }
        @if let Some(problem) = problem { (note(problem)) }
        @if visitor.open() {
            p { "Access to this server is open: whoever reaches its address may do everything, and no key is asked for." }
        } @else {
            @if let Some(tenant) = visitor.tenant() {
                p { "Signed in as " strong { (plain(tenant)) } ". The key allows: "
                    @for (i, scope) in Scope::ALL.into_iter().filter(|scope| visitor.can(*scope)).enumerate() {
                        @if i > 0 { ", " } code { (scope.as_str()) }
                    }
                    "."
                }
                form method="post" action="/sign-out" enctype="multipart/form-data" {
                    input type="hidden" name="token" value=(visitor.token);
                    button type="submit" { "Sign out" }
                }
                h2 { "Another key" }
            }
            form.stack method="post" action="/sign-in" enctype="multipart/form-data" {
                input type="hidden" name="token" value=(visitor.token);
                input type="hidden" name="next" value=(next);
                label for="key" { "Key" }
                input #key name="key" type="password" autocomplete="off" spellcheck="false" required
                    placeholder="carat_…" aria-describedby="key-help";
                p #key-help .small.quiet {
                    "The server keeps the key in memory for as long as you are signed in; your browser keeps a random word instead. "
                    "The operator makes keys with " code { "carat api-key new" } "."
                }
                button.first type="submit" { "Sign in" }
            }
        }
    };
    Page::new("API key", Here::Elsewhere).with(visitor, body)
}

/// `POST /sign-in`.
pub(super) async fn begin(State(node): Shared, headers: HeaderMap, body: Body) -> Response {
    let fields = form::read_few(&node, &headers, body).await;
    with(&node, &headers, |visitor| {
        let fields = fields?;
        visitor.sent(&fields)?;
        let next = local(fields.text("next"));
        let key = fields.text("key").unwrap_or_default().trim();
        let authorization = Zeroizing::new(format!("Bearer {key}"));
        let known = match key.len() <= MAX_KEY && node.config.access == Access::Keys {
            true => node.gate.caller(Some(&authorization), now()?),
            false => Err(Problem::new(401, "unauthorized", "that is no API key")),
        };
        let caller = match known {
            Ok(caller) => caller,
            Err(mut problem) => {
                // The sentence of the interface speaks of a header.
                problem.detail =
                    "that key is not valid here: it is unknown, was revoked, or has expired".into();
                let mut response = sign_in(visitor, next, Some(&problem));
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                return Ok(response);
            }
        };
        node.gate.admit(&caller.tenant, Instant::now())?;
        if let Some(word) = cookie(&node, &headers) {
            node.page.sessions.end(word);
        }
        let word = node.page.sessions.begin(authorization, Instant::now())?;
        redirect(next, set_cookie(&node, Some(&word))?)
    })
}

/// `POST /sign-out`.
pub(super) async fn end(State(node): Shared, headers: HeaderMap, body: Body) -> Response {
    let fields = form::read_few(&node, &headers, body).await;
    with(&node, &headers, |visitor| {
        visitor.sent(&fields?)?;
        if let Some(word) = cookie(&node, &headers) {
            node.page.sessions.end(word);
        }
        redirect("/", set_cookie(&node, None)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_while_it_is_used_and_no_longer() {
        let sessions = Sessions::new().expect("randomness");
        let start = Instant::now();
        let word = sessions
            .begin(Zeroizing::new("Bearer x".into()), start)
            .expect("begun");
        let later = start + LASTS - Duration::from_secs(1);
        assert!(sessions.authorization(&word, later).is_some());
        assert!(
            sessions
                .authorization(&word, later + LASTS - Duration::from_secs(1))
                .is_some()
        );
        assert!(sessions.authorization("other", later).is_none());
        assert!(
            sessions
                .authorization(&word, later + LASTS + LASTS)
                .is_none()
        );
        assert!(sessions.held().is_empty());
        assert_ne!(sessions.token(&word), sessions.token(""));
    }

    #[test]
    fn one_key_signs_nobody_else_out() {
        let sessions = Sessions::new().expect("randomness");
        let start = Instant::now();
        let begin = |key: &str, after: u64| {
            let at = start + Duration::from_millis(after);
            let begun = sessions.begin(Zeroizing::new(key.to_string()), at);
            begun.expect("begun")
        };
        let other = begin("Bearer other", 0);
        let words: Vec<String> = (1..=MOST_OF_ONE as u64 + 1)
            .map(|i| begin("Bearer one", i))
            .collect();
        assert!(sessions.authorization(&other, start).is_some());
        assert!(sessions.authorization(&words[0], start).is_none());
        assert!(sessions.authorization(&words[1], start).is_some());
        assert_eq!(sessions.held().len(), MOST_OF_ONE + 1);
    }

    #[test]
    fn where_there_is_https_no_neighbour_plants_a_cookie() {
        assert_eq!(
            cookie_text(true, Some("ab")),
            "__Host-carat_page=ab; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            cookie_text(false, None),
            "carat_page=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
        );
    }

    #[test]
    fn nobody_is_led_elsewhere() {
        for (given, to) in [
            ("/run/digits", "/run/digits"),
            ("//evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/a\r\nset-cookie: x", "/"),
        ] {
            assert_eq!(local(Some(given)), to, "{given}");
        }
        assert_eq!(local(None), "/");
    }
}
