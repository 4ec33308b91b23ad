//! Requests that the `oauth2` crate does not form: one POST of a form, and its answer read as every other.

use base64::{Engine, engine::general_purpose::STANDARD};
use oauth2::http::{
    HeaderValue, Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use std::{future::Future, time::SystemTime};
use url::{Url, form_urlencoded};

use super::{
    answer::{Answer, Granted},
    fault::ErrorBody,
    request::{Authentication, Failure, Head, HttpRequest, HttpResponse, Request},
};
use crate::secret::Secret;

/// What an assertion of the client is called (RFC 7523 §2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Asks for a token with this form.
pub(super) async fn grant<H, F, E>(form: HttpRequest, http: H, now: SystemTime) -> Result<Granted, Failure<E>>
where
    H: Fn(HttpRequest) -> F,
    F: Future<Output = Result<HttpResponse, E>>,
    E: std::error::Error + 'static,
{
    let response = http(form).await.map_err(Failure::Exchange)?;
    let head = Head::of(&response, now);
    let answer: Answer = read(&response, head)?;
    answer.check().map_err(|why| Failure::Unreadable { status: head.status, why })
}

/// Reads a success as `T`; all else is a refusal, or unreadable. Parts of the body are never passed on.
pub(super) fn read<T: serde::de::DeserializeOwned, E: std::error::Error>(
    response: &HttpResponse,
    head: Head,
) -> Result<T, Failure<E>> {
    let refusal = || serde_json::from_slice::<ErrorBody>(response.body()).ok().filter(ErrorBody::names_error);
    if head.status != 200 {
        return Err(head.refused(refusal()));
    }
    match (serde_json::from_slice(response.body()), refusal()) {
        (Ok(answer), _) => Ok(answer),
        // Some servers say 200 and mean an error.
        (Err(_), Some(body)) => Err(head.refused(Some(body))),
        (Err(_), None) => {
            let why = "the body is not JSON with what was asked for".into();
            Err(Failure::Unreadable { status: head.status, why })
        }
    }
}

/// A form with `fields`, the scopes of `request` and what proves its client.
pub(super) fn form(request: &Request<'_>, fields: &[(&str, &str)]) -> HttpRequest {
    let scopes = request.scopes.join(" ");
    let scope = (!scopes.is_empty()).then_some(("scope", scopes.as_str()));
    let all = fields.iter().copied().chain(scope).chain(assertion(request.authentication).into_iter().flatten());
    post(request.endpoint, Some(request.client_id), request.authentication, all)
}

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
pub(super) fn post<'a>(
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
    let pair = Secret::new(format!("{}:{}", encode(id), encode(secret.expose())));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair.expose()))).ok()?;
    value.set_sensitive(true);
    Some(value)
}
