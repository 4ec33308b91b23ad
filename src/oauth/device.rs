//! A person's consent on another device (RFC 8628): the code that is shown, and how often the token endpoint is asked whether it
//! was entered.

use serde::{Deserialize, Deserializer};
use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use super::{
    Fault,
    exchange::{HttpRequest, HttpResponse, Success, send},
    form,
    request::{Failure, Request},
};
use crate::secret::Secret;

/// The pause between two questions where the server names none (RFC 8628 §3.2).
const INTERVAL: Duration = Duration::from_secs(5);

/// What `slow_down` adds, for good (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// Longest pause between two questions: a person who has finished waits for the next one.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The life of a code whose server does not tell it, and the longest that is believed.
const LIFE: Duration = Duration::from_secs(900);
const LONGEST_LIFE: Duration = Duration::from_secs(3600);

/// Longest text taken of what is shown to a person.
const LONGEST_SHOWN: usize = 500;

/// What a person needs, and what we keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// What the token endpoint is asked with.
    pub device_code: Secret,
    /// What the person enters.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// The same with the code in it, where the server has such an address.
    pub complete_uri: Option<String>,
    /// How long the code is good.
    pub lifetime: Duration,
    /// The pause between two questions.
    pub interval: Duration,
}

/// As servers send it. Google's is older than the RFC and says `verification_url`.
#[derive(Deserialize)]
struct Answer {
    device_code: String,
    user_code: String,
    #[serde(alias = "verification_url")]
    verification_uri: String,
    #[serde(default, alias = "verification_url_complete")]
    verification_uri_complete: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<u64>,
    #[serde(default, deserialize_with = "seconds")]
    interval: Option<u64>,
}

/// A number of seconds as number or as string; what is neither counts as not given.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|number: &f64| number.is_finite());
    Ok(number.map(|number| number.clamp(0.0, 1e9) as u64))
}

/// Asks for a code. The endpoint of `request` is the device authorization endpoint; what it presents does not count.
pub async fn start<H, F, E>(request: &Request<'_>, http: H, now: SystemTime) -> Result<Started, Failure<E>>
where
    H: Fn(HttpRequest) -> F,
    F: Future<Output = Result<HttpResponse, E>>,
    E: std::error::Error + 'static,
{
    let scope = request.scopes.join(" ");
    let scope = [("scope", scope.as_str())].into_iter().filter(|(_, scopes)| !scopes.is_empty());
    let (client_id, authentication) = (Some(request.client_id), request.authentication);
    let form = form::request(request.endpoint, client_id, authentication, scope.chain(request.more()));
    send::<Answer, _, _, _>(form, http, now).await
}

impl Success for Answer {
    type Checked = Started;
    const WANTED: &str = "what was asked for";

    fn check(self) -> Result<Started, String> {
        super::check_token(&self.device_code, "device code")?;
        let shown = |text: &str| !text.is_empty() && text.len() <= LONGEST_SHOWN && !text.chars().any(char::is_control);
        let is_address = |text: &str| shown(text) && (text.starts_with("https://") || text.starts_with("http://"));
        if !shown(&self.user_code) {
            return Err("the user_code cannot be shown".into());
        }
        if !is_address(&self.verification_uri) {
            return Err("the verification_uri is no address".into());
        }
        Ok(Started {
            device_code: Secret::new(self.device_code),
            user_code: self.user_code,
            verification_uri: self.verification_uri,
            complete_uri: self.verification_uri_complete.filter(|text| is_address(text)),
            lifetime: self.expires_in.map_or(LIFE, Duration::from_secs).min(LONGEST_LIFE),
            interval: self.interval.map_or(INTERVAL, Duration::from_secs).clamp(Duration::from_secs(1), LONGEST_PAUSE),
        })
    }
}

/// When the token endpoint is asked next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polling {
    interval: Duration,
    failures: u32,
    next: SystemTime,
    until: SystemTime,
}

impl Polling {
    /// A code of this lifetime and interval begins now.
    pub fn new(started: &Started, now: SystemTime) -> Self {
        let Started { interval, lifetime, .. } = *started;
        Self { interval, failures: 0, next: now + interval, until: now + lifetime }
    }

    /// When to ask next; `None` once the code has ended.
    pub fn next(&self) -> Option<SystemTime> {
        Some(self.next).filter(|next| *next < self.until)
    }

    /// When the code ends.
    pub fn until(&self) -> SystemTime {
        self.until
    }

    /// The server answered something else than a token. Whether it is to be asked again: not yet, too often, or in trouble of its
    /// own; everything else is final (RFC 8628 §3.5).
    pub fn refused(&mut self, fault: &Fault, now: SystemTime) -> bool {
        match fault.error.as_deref() {
            Some("authorization_pending") => self.answered(now),
            Some("slow_down") => {
                self.interval = (self.interval + SLOWER).min(LONGEST_PAUSE);
                self.answered(now);
            }
            Some("temporarily_unavailable" | "server_error") => self.failed(fault.retry_after, now),
            _ if fault.status == 429 || fault.status >= 500 => self.failed(fault.retry_after, now),
            Some(_) | None => return false,
        }
        true
    }

    /// There was no answer, or none that could be read: the pause doubles each time.
    pub fn failed(&mut self, retry_after: Option<Duration>, now: SystemTime) {
        self.failures = self.failures.saturating_add(1);
        let doubled = self.interval.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.next = now + doubled.max(retry_after.unwrap_or_default());
    }

    fn answered(&mut self, now: SystemTime) {
        self.failures = 0;
        self.next = now + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{Authentication, What};
    use oauth2::http::Response;
    use std::{cell::RefCell, collections::BTreeMap, convert::Infallible, task::Poll};
    use url::Url;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn fault(error: &str) -> Fault {
        Fault { status: 400, error: Some(error.into()), ..Fault::default() }
    }

    fn play(status: u16, body: &str) -> (String, Result<Started, Failure<Infallible>>) {
        let endpoint = Url::parse("https://login.example.com/devicecode").unwrap();
        let scopes = ["a b".to_owned(), "offline_access".to_owned()];
        let chosen = BTreeMap::from([("audience".to_owned(), "mail".to_owned())]);
        let request = Request {
            endpoint: &endpoint,
            client_id: "me",
            authentication: Authentication::None,
            scopes: &scopes,
            what: What::ClientCredentials,
            parameters: &chosen,
        };
        let sent = RefCell::new(String::new());
        let http = |request: HttpRequest| {
            *sent.borrow_mut() = format!("{} {}", request.method(), String::from_utf8_lossy(request.body()));
            std::future::ready(Ok(Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap()))
        };
        let mut future = Box::pin(start(&request, http, at(0)));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(answer) = future.as_mut().poll(&mut context) else { panic!("waits") };
        drop(future);
        (sent.into_inner(), answer)
    }

    #[test]
    fn the_answer_is_read_as_servers_send_it() {
        let rows = [
            (r#""verification_uri":"https://microsoft.com/devicelogin","expires_in":900,"interval":7"#, (900, 7), None),
            (r#""verification_url":"https://www.google.com/device","expires_in":"1800""#, (1800, 5), None),
            (r#""verification_uri":"https://a.example/d","interval":null"#, (900, 5), None),
            (r#""verification_uri":"https://a.example/d","interval":0,"expires_in":1e99"#, (3600, 1), None),
            (
                r#""verification_uri":"https://a.example/d","verification_uri_complete":"https://a.example/d?c=WX","expires_in":60"#,
                (60, 5),
                Some("https://a.example/d?c=WX"),
            ),
            (
                r#""verification_uri":"https://a.example/d","verification_uri_complete":"javascript:x","expires_in":60"#,
                (60, 5),
                None,
            ),
        ];
        for (row, (lifetime, interval), complete) in rows {
            let (sent, answer) = play(200, &format!(r#"{{"device_code":"dc","user_code":"WX-YZ",{row}}}"#));
            assert_eq!(sent, "POST scope=a+b+offline_access&audience=mail&client_id=me");
            let found = answer.unwrap();
            assert_eq!((found.device_code.expose(), found.user_code.as_str()), ("dc", "WX-YZ"), "{row}");
            let (of_life, of_pause) = (found.lifetime.as_secs(), found.interval.as_secs());
            assert_eq!((of_life, of_pause, found.complete_uri.as_deref()), (lifetime, interval, complete), "{row}");
        }
    }

    #[test]
    fn an_answer_that_cannot_be_used_says_why() {
        for (status, body, why) in [
            (
                400,
                r#"{"error":"invalid_scope","error_description":"Invalid device flow scope"}"#,
                "400 invalid_scope: Invalid device",
            ),
            (404, "<html>", "404 without an OAuth error"),
            (200, r#"{"error":"invalid_client"}"#, "200 invalid_client"),
            (200, "<html>marked", "not JSON with"),
            (200, r#"{"device_code":["marked"]}"#, "not JSON with"),
            (200, r#"{"device_code":"d","user_code":"\u001b[31m","verification_uri":"https://a.example"}"#, "user_code cannot"),
            (200, r#"{"device_code":"d","user_code":"A","verification_uri":"file:///etc"}"#, "is no address"),
        ] {
            let failure = play(status, body).1.unwrap_err();
            assert!(failure.to_string().contains(why) && !failure.to_string().contains("marked"), "{body}: {failure}");
        }
    }

    #[test]
    fn the_pause_is_the_servers_and_slow_down_lasts() {
        let (_, started) =
            play(200, r#"{"device_code":"d","user_code":"A","verification_uri":"https://a.example/","expires_in":60}"#);
        let mut polling = Polling::new(&started.unwrap(), at(0));
        let mut next = |word: &str, now: u64| {
            let again = polling.refused(&fault(word), at(now));
            (again, polling.next())
        };
        assert_eq!(next("authorization_pending", 5), (true, Some(at(10))));
        assert_eq!(next("slow_down", 10), (true, Some(at(20))));
        assert_eq!(next("authorization_pending", 20), (true, Some(at(30))));
        assert_eq!(next("slow_down", 30), (true, Some(at(45))));
        // The next question would come after the code's end.
        assert_eq!(next("authorization_pending", 45), (true, None));
        for word in ["access_denied", "authorization_declined", "expired_token", "bad_verification_code", "invalid_grant"] {
            assert!(!next(word, 45).0, "{word}");
        }
    }

    #[test]
    fn without_an_answer_the_pause_doubles_and_an_answer_ends_that() {
        let (_, started) = play(200, r#"{"device_code":"d","user_code":"A","verification_uri":"https://a.example/"}"#);
        let mut polling = Polling::new(&started.unwrap(), at(0));
        for (now, next) in [(5, 15), (15, 35), (35, 75), (75, 135), (135, 195)] {
            polling.failed(None, at(now));
            assert_eq!(polling.next(), Some(at(next)));
        }
        assert!(polling.refused(&Fault { status: 503, retry_after: Some(Duration::from_secs(90)), ..Fault::default() }, at(200)));
        assert_eq!(polling.next(), Some(at(290)));
        assert!(polling.refused(&fault("authorization_pending"), at(290)));
        assert_eq!(polling.next(), Some(at(295)));
    }
}
