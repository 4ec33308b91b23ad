//! Forms that the `oauth2` crate has no word for, with the client's authentication as it would form it.

use base64::{Engine, engine::general_purpose::STANDARD};
use oauth2::{
    HttpRequest,
    http::{
        HeaderValue, Method,
        header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
    },
};
use url::{Url, form_urlencoded};

use super::request::Authentication;
use crate::secret::Secret;

/// What an assertion of the client is called (RFC 7523 §2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The fields of a client's assertion, where it shows one.
pub(super) fn assertion(authentication: Authentication<'_>) -> Option<[(&'static str, &str); 2]> {
    match authentication {
        Authentication::Assertion(assertion) => {
            Some([("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion.expose())])
        }
        Authentication::Post(_) | Authentication::Basic(_) | Authentication::None => None,
    }
}

/// A form with `fields`. Without `client_id` it shows no client; assertions are among the `fields`.
pub(super) fn request<'a>(
    endpoint: &Url,
    client_id: Option<&str>,
    authentication: Authentication<'_>,
    fields: impl Iterator<Item = (&'a str, &'a str)>,
) -> HttpRequest {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    let mut basic = None;
    if let Some(id) = client_id {
        match authentication {
            Authentication::Basic(secret) => basic = authorization(id, secret),
            Authentication::Post(secret) => drop(form.append_pair("client_id", id).append_pair("client_secret", secret.expose())),
            Authentication::Assertion(_) | Authentication::None => drop(form.append_pair("client_id", id)),
        }
    }
    let mut request = HttpRequest::new(form.finish().into_bytes());
    *request.method_mut() = Method::POST;
    // A URL is a URI, so that nothing is lost here.
    *request.uri_mut() = endpoint.as_str().parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.extend(basic.map(|basic| (AUTHORIZATION, basic)));
    request
}

/// RFC 6749 §2.3.1: both parts are form-encoded first.
fn authorization(id: &str, secret: &Secret) -> Option<HeaderValue> {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = STANDARD.encode(format!("{}:{}", encode(id), encode(secret.expose())));
    let mut value = HeaderValue::from_str(&format!("Basic {pair}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
