//! Giving a refresh token back (RFC 7009), so that nobody can use it any more.

use std::time::SystemTime;
use url::Url;

use super::{
    exchange::{Head, HttpRequest, HttpResponse},
    fault::{ErrorBody, Fault},
    form,
    request::Authentication,
};
use crate::secret::Secret;

/// One request to a revocation endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Revocation<'a> {
    /// Where it goes.
    pub endpoint: &'a Url,
    /// The client's id.
    pub client_id: &'a str,
    /// How the client proves itself.
    pub authentication: Authentication<'a>,
    /// What ends.
    pub refresh_token: &'a Secret,
}

/// What became of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// It counts no more.
    Done,
    /// The server does not know it, so that it did not count before either.
    Unknown,
    /// The server refused.
    Refused(Box<Fault>),
}

impl Revocation<'_> {
    /// What is sent.
    pub fn request(&self) -> HttpRequest {
        let token = [("token", self.refresh_token.expose()), ("token_type_hint", "refresh_token")];
        let fields = token.into_iter().chain(form::assertion(self.authentication).into_iter().flatten());
        form::request(self.endpoint, Some(self.client_id), self.authentication, fields)
    }

    /// What the answer means. RFC 7009 §2.2 has 200 for unknown tokens too; Google says 400 `invalid_token`.
    pub fn read(&self, response: &HttpResponse, now: SystemTime) -> Revoked {
        if response.status().is_success() {
            return Revoked::Done;
        }
        let fault = Head::of(response, now).fault(serde_json::from_slice::<ErrorBody>(response.body()).ok());
        match (fault.status, fault.error.as_deref()) {
            (400, Some("invalid_token")) => Revoked::Unknown,
            _ => Revoked::Refused(Box::new(fault)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oauth2::http::Response;

    fn played(authentication: Authentication<'_>, status: u16, body: &str) -> (String, Revoked) {
        let (endpoint, token) = (Url::parse("https://login.example.com/revoke").unwrap(), Secret::new("r+1".into()));
        let revocation = Revocation { endpoint: &endpoint, client_id: "me", authentication, refresh_token: &token };
        let request = revocation.request();
        assert_eq!((request.method().as_str(), request.uri().to_string().as_str()), ("POST", endpoint.as_str()));
        let basic = request.headers().get("authorization").map_or("-", |value| value.to_str().unwrap());
        let sent = format!("{basic} {}", String::from_utf8_lossy(request.body()));
        let response = Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap();
        (sent, revocation.read(&response, SystemTime::UNIX_EPOCH))
    }

    #[test]
    fn the_token_is_named_and_the_client_proves_itself() {
        let secret = Secret::new("s/".into());
        for (authentication, expected) in [
            (Authentication::None, "- token=r%2B1&token_type_hint=refresh_token&client_id=me"),
            (Authentication::Post(&secret), "- token=r%2B1&token_type_hint=refresh_token&client_id=me&client_secret=s%2F"),
            (Authentication::Basic(&secret), "Basic bWU6cyUyRg== token=r%2B1&token_type_hint=refresh_token"),
            (
                Authentication::Assertion(&secret),
                "- token=r%2B1&token_type_hint=refresh_token\
                 &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
                 &client_assertion=s%2F&client_id=me",
            ),
        ] {
            assert_eq!(played(authentication, 200, ""), (expected.to_owned(), Revoked::Done));
        }
    }

    #[test]
    fn an_unknown_token_is_as_good_as_revoked_and_all_else_is_a_refusal() {
        let read = |status, body| played(Authentication::None, status, body).1;
        assert_eq!(read(400, r#"{"error":"invalid_token"}"#), Revoked::Unknown);
        for (status, body, text) in [
            (400, r#"{"error":"unsupported_token_type"}"#, "400 unsupported_token_type"),
            (401, r#"{"error":"invalid_client"}"#, "401 invalid_client"),
            (503, "<html>", "503 without an OAuth error"),
            (302, "", "302 without an OAuth error"),
        ] {
            let Revoked::Refused(fault) = read(status, body) else { panic!("{status}") };
            assert_eq!(fault.to_string(), text);
        }
    }
}
