//! An exchange with an endpoint: the request goes out, and of the answer comes what was asked for, a fault, or a clear sentence.
//!
//! Where the `oauth2` crate knows the grant, it forms the request and reads the answer; else the form is our own. The caller brings
//! the connection.

use oauth2::{
    AuthType, AuthorizationCode, Client, ClientId, ClientSecret, EmptyExtraTokenFields, EndpointNotSet, EndpointSet,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope, StandardRevocableToken,
    StandardTokenIntrospectionResponse, TokenUrl,
    basic::{BasicRevocationErrorResponse, BasicTokenType},
    http::header::RETRY_AFTER,
};
use serde::de::DeserializeOwned;
use std::{
    borrow::Cow,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use super::{
    answer::{Answer, Granted},
    fault::{ErrorBody, Fault, retry_after, tidy},
    request::{Authentication, Failure, Request, What},
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

/// What the head of an answer said; the crate passes on the body alone.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head {
    status: u16,
    retry_after: Option<Duration>,
}

/// The success of an endpoint.
pub(super) trait Success: DeserializeOwned {
    /// What comes of it.
    type Checked;
    /// What it holds.
    const WANTED: &str;
    /// Checks what must hold before anything of it is used; `Err` says what is wrong with it.
    fn check(self) -> Result<Self::Checked, String>;
}

/// Sends `form` and reads the answer. `now` is for a Retry-After that is a date.
pub(super) async fn send<S, H, F, E>(form: HttpRequest, http: H, now: SystemTime) -> Result<S::Checked, Failure<E>>
where
    S: Success,
    H: Fn(HttpRequest) -> F,
    F: Future<Output = Result<HttpResponse, E>>,
    E: std::error::Error + 'static,
{
    let response = http(form).await.map_err(Failure::Exchange)?;
    let head = Head::of(&response, now);
    let refusal = serde_json::from_slice::<ErrorBody>(response.body()).ok();
    if head.status != 200 {
        return Err(head.refused(refusal));
    }
    match (serde_json::from_slice::<S>(response.body()), refusal.filter(ErrorBody::names_error)) {
        (Ok(answer), _) => answer.check().map_err(|why| head.unreadable(why)),
        // Some servers say 200 and mean an error.
        (Err(_), Some(body)) => Err(head.refused(Some(body))),
        (Err(_), None) => Err(head.unreadable(format!("the body is not JSON with {}", S::WANTED))),
    }
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
        let exchange = move |request| {
            let (answer, noted) = (http(request), noted.clone());
            async move {
                let response = answer.await?;
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = Head::of(&response, now);
                Ok(response)
            }
        };
        let client = self.client();
        let scopes = self.scopes.iter().map(|scope| Scope::new(scope.clone()));
        let answer = match self.what {
            // The crate has no word for these two.
            What::JwtBearer(assertion) => return send::<Answer, _, _, _>(self.jwt_bearer(assertion), exchange, now).await,
            What::DeviceCode(code) => return send::<Answer, _, _, _>(self.device_code(code), exchange, now).await,
            What::ClientCredentials => {
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
        answer.map_err(|error| head.failure(error))?.check().map_err(|why| head.unreadable(why))
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

    /// What a refusal with this head and `body` means; `None`: it says nothing.
    pub(super) fn fault(self, body: Option<ErrorBody>) -> Fault {
        Fault::new(self.status, self.retry_after, body)
    }

    fn refused<E: std::error::Error>(self, body: Option<ErrorBody>) -> Failure<E> {
        Failure::Refused(Box::new(self.fault(body)))
    }

    fn unreadable<E: std::error::Error>(self, why: String) -> Failure<E> {
        Failure::Unreadable { status: self.status, why }
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
                _ => self.unreadable(unreadable(&error.path().to_string())),
            },
            RequestTokenError::Other(_) => self.unreadable("the body is empty or not application/json".into()),
        }
    }
}

/// Where in the answer reading ended.
fn unreadable(path: &str) -> String {
    match path {
        "." => format!("the body is not JSON with {}", Answer::WANTED),
        field => format!("the field {} cannot be read", tidy(field, 60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oauth2::http::Response;
    use std::{cell::RefCell, collections::BTreeMap};
    use url::Url;

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

    #[test]
    fn an_answer_to_a_form_of_our_own_means_the_same() {
        let (endpoint, code) = (url(), Secret::new("dc".into()));
        let request = Request {
            endpoint: &endpoint,
            client_id: "me",
            authentication: Authentication::None,
            scopes: &[],
            what: What::DeviceCode(&code),
            parameters: &NONE,
        };
        for (status, body, expected) in [
            (503, "<html>marked</html>", "answered 503 without an OAuth error"),
            (400, r#"{"error":"authorization_pending"}"#, "answered 400 authorization_pending"),
            (200, r#"{"error":"slow_down"}"#, "answered 200 slow_down"),
            (200, "<html>marked</html>", "the body is not JSON with an access_token"),
            (200, r#"{"access_token":["marked"]}"#, "the body is not JSON with an access_token"),
            (200, r#"{"access_token":"marked\n"}"#, "RFC 6749"),
        ] {
            let (sent, answer) = play(&request, response(status, &[("retry-after", "7")], body));
            assert_eq!(sent, "- grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=dc&client_id=me");
            let failure = answer.unwrap_err();
            assert!(failure.to_string().contains(expected) && !format!("{failure:?}").contains("marked"), "{failure}");
            if let Failure::Refused(fault) = &failure {
                assert_eq!(fault.retry_after, Some(Duration::from_secs(7)));
            }
        }
    }
}
