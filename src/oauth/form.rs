//! Requests that the `oauth2` crate does not form: one POST of a form, and its answer read as every other.

use base64::{Engine, prelude::BASE64_STANDARD};
use oauth2::http::{
    HeaderValue, Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use std::{future::Future, time::SystemTime};
use url::form_urlencoded::{Serializer, byte_serialize};

use super::{
    answer::{Answer, Granted},
    fault::ErrorBody,
    request::{Authentication, Failure, Head, HttpRequest, HttpResponse, Request},
};
use crate::secret::Secret;

/// Asks for a token with these fields; scopes and the client's proof are added.
pub(super) async fn grant<H, F, E>(
    request: &Request<'_>,
    fields: &[(&str, &str)],
    http: H,
    now: SystemTime,
) -> Result<Granted, Failure<E>>
where
    H: Fn(HttpRequest) -> F,
    F: Future<Output = Result<HttpResponse, E>>,
    E: std::error::Error + 'static,
{
    let response = http(form(request, fields)).await.map_err(Failure::Exchange)?;
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

/// The request itself (RFC 6749 §2.3.1 for the client's proof).
pub(super) fn form(request: &Request<'_>, fields: &[(&str, &str)]) -> HttpRequest {
    let mut body = Serializer::new(String::new());
    body.extend_pairs(fields);
    if !request.scopes.is_empty() {
        body.append_pair("scope", &request.scopes.join(" "));
    }
    let mut basic = None;
    match request.authentication {
        Authentication::Post(secret) => {
            body.append_pair("client_id", request.client_id).append_pair("client_secret", secret.expose());
        }
        Authentication::Basic(secret) => basic = header(request.client_id, secret),
        Authentication::None => drop(body.append_pair("client_id", request.client_id)),
    }
    let mut http = HttpRequest::new(body.finish().into_bytes());
    *http.method_mut() = Method::POST;
    // A URL that was parsed is always a URI.
    *http.uri_mut() = request.endpoint.as_str().parse().unwrap_or_default();
    let headers = http.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    if let Some(basic) = basic {
        headers.insert(AUTHORIZATION, basic);
    }
    http
}

fn header(client_id: &str, secret: &Secret) -> Option<HeaderValue> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Secret::new(format!("{}:{}", encoded(client_id), encoded(secret.expose())));
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair.expose()))).ok()?;
    value.set_sensitive(true);
    Some(value)
}
