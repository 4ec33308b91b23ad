//! What is asked of a token endpoint. The `oauth2` crate forms the request and reads the answer; the caller brings the exchange.

use oauth2::{
    AuthType, AuthorizationCode, Client, ClientId, ClientSecret, EmptyExtraTokenFields, EndpointNotSet, EndpointSet,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope, StandardRevocableToken,
    StandardTokenIntrospectionResponse, TokenUrl,
    basic::{BasicRevocationErrorResponse, BasicTokenType},
    http::header::RETRY_AFTER,
};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};
use url::Url;

use super::{
    answer::{Answer, Granted},
    fault::{ErrorBody, Fault, retry_after},
    form,
};
use crate::secret::Secret;

pub use oauth2::{HttpRequest, HttpResponse};

type TokenClient = Client<
    ErrorBody,
    Answer,
    StandardTokenIntrospectionResponse<EmptyExtraTokenFields, BasicTokenType>,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// One request to a token endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Where it goes.
    pub endpoint: &'a Url,
    /// The client's id.
    pub client_id: &'a str,
    /// How the client proves itself.
    pub authentication: Authentication<'a>,
    /// The scopes asked for; none leaves the parameter out.
    pub scopes: &'a [String],
    /// What is presented.
    pub what: What<'a>,
    /// What the provider wants besides.
    pub parameters: &'a BTreeMap<String, String>,
}

/// How the client proves itself (RFC 6749 §2.3).
#[derive(Debug, Clone, Copy)]
pub enum Authentication<'a> {
    /// Id and secret in the form.
    Post(&'a Secret),
    /// HTTP Basic, both parts form-encoded first (RFC 6749 §2.3.1).
    Basic(&'a Secret),
    /// A signed assertion in the form (RFC 7523 §2.2).
    Assertion(&'a Secret),
    /// A public client: the id alone. Entra refuses a secret of such a client, even on renewal.
    None,
}

/// What is presented for an access token.
#[derive(Debug, Clone, Copy)]
pub enum What<'a> {
    /// The client itself (RFC 6749 §4.4).
    ClientCredentials,
    /// A refresh token (RFC 6749 §6).
    Refresh(&'a Secret),
    /// An assertion that stands for a consent (RFC 7523 §2.1).
    JwtBearer(&'a Secret),
    /// The code that a login in a browser ended with (RFC 6749 §4.1.3, RFC 7636 §4.5).
    Code {
        /// The code.
        code: &'a Secret,
        /// The redirect as the authorization request had it.
        redirect: &'a str,
        /// What proves that this is who began the login.
        verifier: &'a Secret,
    },
    /// The code of a login on another device (RFC 8628 §3.4).
    DeviceCode(&'a Secret),
}

impl<'a> What<'a> {
    /// The secrets that are presented: a server must not bring them into a log.
    pub fn secrets(self) -> impl Iterator<Item = &'a Secret> {
        let (one, other) = match self {
            Self::ClientCredentials => (None, None),
            Self::Refresh(token) | Self::JwtBearer(token) | Self::DeviceCode(token) => (Some(token), None),
            Self::Code { code, verifier, .. } => (Some(code), Some(verifier)),
        };
        one.into_iter().chain(other)
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum Failure<E: std::error::Error> {
    /// The exchange failed: no connection, time-out, an answer without end.
    #[error("{0}")]
    Exchange(E),
    /// The server refused.
    #[error("answered {0}")]
    Refused(Box<Fault>),
    /// The server answered success, but nothing that can be used.
    #[error("answered {status} with what is no token: {why}")]
    Unreadable {
        /// HTTP status.
        status: u16,
        /// What is wrong with it; never the body.
        why: String,
    },
}

/// What the head of the answer said; the crate passes on the body alone.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head {
    pub(super) status: u16,
    retry_after: Option<Duration>,
}

impl Request<'_> {
    /// Sends it with `http` and reads the answer. `now` is for a Retry-After that is a date.
    pub async fn send<H, F, E>(&self, http: H, now: SystemTime) -> Result<Granted, Failure<E>>
    where
        H: Fn(HttpRequest) -> F,
        F: Future<Output = Result<HttpResponse, E>>,
        E: std::error::Error + 'static,
    {
        // Shared rather than borrowed: with a borrow the compiler cannot see that this future is `Send`.
        let head = Arc::new(Mutex::new(Head::default()));
        let noted = head.clone();
        // The crate has no word for this grant: what it forms is replaced, what it reads is not.
        let own = match self.what {
            What::JwtBearer(assertion) => Some(self.jwt_bearer(assertion)),
            What::DeviceCode(code) => Some(self.device_code(code)),
            What::ClientCredentials | What::Refresh(_) | What::Code { .. } => None,
        };
        let exchange = move |request| {
            let (answer, noted) = (http(own.clone().unwrap_or(request)), noted.clone());
            async move {
                let response = answer.await?;
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = Head::of(&response, now);
                Ok(response)
            }
        };
        let client = self.client();
        let scopes = self.scopes.iter().map(|scope| Scope::new(scope.clone()));
        let answer = match self.what {
            What::ClientCredentials | What::JwtBearer(_) | What::DeviceCode(_) => {
                let request = client.exchange_client_credentials().add_scopes(scopes);
                self.more()
                    .fold(request, |request, (name, value)| request.add_extra_param(name, value))
                    .request_async(&exchange)
                    .await
            }
            What::Code { code, redirect, verifier } => {
                let redirect = RedirectUrl::new(redirect.to_owned())
                    .map_err(|error| Failure::Unreadable { status: 0, why: format!("the redirect is no URL: {error}") })?;
                let code = AuthorizationCode::new(code.expose().to_owned());
                let request = client.exchange_code(code).set_redirect_uri(Cow::Owned(redirect));
                let request = request.set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()));
                self.more()
                    .fold(request, |request, (name, value)| request.add_extra_param(name, value))
                    .request_async(&exchange)
                    .await
            }
            What::Refresh(token) => {
                let token = RefreshToken::new(token.expose().to_owned());
                let request = client.exchange_refresh_token(&token).add_scopes(scopes);
                self.more()
                    .fold(request, |request, (name, value)| request.add_extra_param(name, value))
                    .request_async(&exchange)
                    .await
            }
        };
        let head = *head.lock().unwrap_or_else(PoisonError::into_inner);
        answer.map_err(|error| head.failure(error))?.check().map_err(|why| Failure::Unreadable { status: head.status, why })
    }

    /// RFC 8628 §3.4. The crate knows it only with a loop and a clock of its own.
    fn device_code(&self, code: &Secret) -> HttpRequest {
        let grant = [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", code.expose())];
        form::request(self.endpoint, Some(self.client_id), self.authentication, grant.into_iter().chain(self.more()))
    }

    /// What goes into the form besides the grant's own fields.
    pub(super) fn more(&self) -> impl Iterator<Item = (&str, &str)> {
        let parameters = self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        form::assertion(self.authentication).into_iter().flatten().chain(parameters)
    }

    /// RFC 7523 §2.1. The assertion says who asks, so that the client's own id is no part of it.
    fn jwt_bearer(&self, assertion: &Secret) -> HttpRequest {
        let grant = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion.expose())];
        form::request(self.endpoint, None, self.authentication, grant.into_iter().chain(self.more()))
    }

    fn client(&self) -> TokenClient {
        let client =
            Client::new(ClientId::new(self.client_id.to_owned())).set_token_uri(TokenUrl::from_url(self.endpoint.clone()));
        let secret = |secret: &Secret| ClientSecret::new(secret.expose().to_owned());
        match self.authentication {
            Authentication::Post(text) => client.set_auth_type(AuthType::RequestBody).set_client_secret(secret(text)),
            Authentication::Basic(text) => client.set_auth_type(AuthType::BasicAuth).set_client_secret(secret(text)),
            Authentication::Assertion(_) | Authentication::None => client.set_auth_type(AuthType::RequestBody),
        }
    }
}

impl Head {
    pub(super) fn of(response: &HttpResponse, now: SystemTime) -> Self {
        let pause = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        Self { status: response.status().as_u16(), retry_after: pause.and_then(|value| retry_after(value, now)) }
    }

    /// What a refusal's body means; `None`: it says nothing.
    pub(super) fn refused<E: std::error::Error>(self, body: Option<ErrorBody>) -> Failure<E> {
        Failure::Refused(Box::new(Fault::new(self.status, self.retry_after, body)))
    }

    /// What the crate's error means. Its texts may hold parts of the body, so none of them is passed on.
    fn failure<E: std::error::Error + 'static>(self, error: RequestTokenError<E, ErrorBody>) -> Failure<E> {
        let refused = |body| self.refused(body);
        match error {
            RequestTokenError::Request(error) => Failure::Exchange(error),
            RequestTokenError::ServerResponse(body) => refused(Some(body)),
            // A body that is no JSON says nothing, the status does.
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) if self.status != 200 => refused(None),
            RequestTokenError::Parse(error, body) => match serde_json::from_slice::<ErrorBody>(&body) {
                // Some servers say 200 and mean an error.
                Ok(body) if body.names_error() => refused(Some(body)),
                _ => Failure::Unreadable { status: self.status, why: unreadable(&error.path().to_string()) },
            },
            RequestTokenError::Other(_) => {
                Failure::Unreadable { status: self.status, why: "the body is empty or not application/json".into() }
            }
        }
    }
}

/// Where in the answer reading ended.
fn unreadable(path: &str) -> String {
    match path {
        "." => "the body is not JSON with an access_token".into(),
        field => format!("the field {} cannot be read", super::fault::tidy(field, 60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oauth2::http::Response;
    use std::cell::RefCell;

    static NONE: BTreeMap<String, String> = BTreeMap::new();

    fn url() -> Url {
        Url::parse("https://login.example.com/token").unwrap()
    }

    /// Sends one request; gives what went out (Authorization and form) and what was made of the answer.
    fn play(request: &Request<'_>, response: Response<Vec<u8>>) -> (String, Result<Granted, Failure<std::io::Error>>) {
        let sent = RefCell::new(String::new());
        let http = |request: HttpRequest| {
            let authorization = request.headers().get("authorization").map(|value| value.to_str().unwrap());
            *sent.borrow_mut() = format!("{} {}", authorization.unwrap_or("-"), String::from_utf8_lossy(request.body()));
            std::future::ready(Ok(response.clone()))
        };
        let mut future = Box::pin(request.send(http, SystemTime::UNIX_EPOCH));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(answer) = future.as_mut().poll(&mut context) else { panic!("waits") };
        drop(future);
        (sent.into_inner(), answer)
    }

    fn response(status: u16, headers: &[(&str, &str)], body: &str) -> Response<Vec<u8>> {
        let mut builder = Response::builder().status(status);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(body.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn the_client_proves_itself_as_configured() {
        let (endpoint, secret, refresh) = (url(), Secret::new("s+/ü".into()), Secret::new("r1".into()));
        let scopes = ["a".to_owned(), "b".to_owned()];
        let good = || response(200, &[], r#"{"access_token":"at","token_type":"Bearer"}"#);
        let more = BTreeMap::from([("audience".to_owned(), "https://api".to_owned())]);
        let base = |authentication, what, scopes| Request {
            endpoint: &endpoint,
            client_id: "me",
            authentication,
            scopes,
            what,
            parameters: if matches!(what, What::Refresh(_)) { &NONE } else { &more },
        };
        for (request, sent) in [
            (
                base(Authentication::Post(&secret), What::ClientCredentials, &scopes[..]),
                "- grant_type=client_credentials&scope=a+b&client_id=me&client_secret=s%2B%2F%C3%BC&audience=https%3A%2F%2Fapi",
            ),
            (
                base(Authentication::Assertion(&refresh), What::Refresh(&refresh), &[]),
                "- grant_type=refresh_token&refresh_token=r1&client_id=me\
                 &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=r1",
            ),
            (
                base(Authentication::None, What::JwtBearer(&refresh), &scopes[..]),
                "- grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=r1&audience=https%3A%2F%2Fapi",
            ),
            (
                base(Authentication::Basic(&secret), What::Refresh(&refresh), &[]),
                "Basic bWU6cyUyQiUyRiVDMyVCQw== grant_type=refresh_token&refresh_token=r1",
            ),
            (
                base(Authentication::None, What::Refresh(&refresh), &scopes[..1]),
                "- grant_type=refresh_token&refresh_token=r1&scope=a&client_id=me",
            ),
        ] {
            let (found, answer) = play(&request, good());
            assert_eq!(found, sent);
            assert_eq!(answer.unwrap().access_token.expose(), "at");
        }
    }

    #[test]
    fn every_answer_becomes_a_token_a_fault_or_a_clear_sentence() {
        let endpoint = url();
        let request = Request {
            endpoint: &endpoint,
            client_id: "me",
            authentication: Authentication::None,
            scopes: &[],
            what: What::ClientCredentials,
            parameters: &NONE,
        };
        let html = "<html>marked</html>";
        for (response, expected) in [
            (response(429, &[("retry-after", "7"), ("content-type", "text/html")], html), "answered 429 without an OAuth error"),
            (response(503, &[], ""), "answered 503 without an OAuth error"),
            (response(302, &[], html), "answered 302 without an OAuth error"),
            (response(400, &[], r#"{"error":"invalid_grant"}"#), "answered 400 invalid_grant"),
            (response(200, &[("content-type", "application/json")], r#"{"error":"slow_down"}"#), "answered 200 slow_down"),
            (response(200, &[("content-type", "text/html")], html), "not application/json"),
            (response(200, &[], html), "not JSON"),
            (response(200, &[], r#"{"access_token":["marked"]}"#), "access_token cannot be read"),
            (response(200, &[], r#"{"access_token":"marked\n"}"#), "RFC 6749"),
        ] {
            let (_, answer) = play(&request, response);
            let failure = answer.unwrap_err();
            assert!(failure.to_string().contains(expected), "{failure}");
            assert!(!format!("{failure}{failure:?}").contains("marked"));
            if let Failure::Refused(fault) = &failure
                && fault.status == 429
            {
                assert_eq!(fault.retry_after, Some(Duration::from_secs(7)));
            }
        }
    }
}
