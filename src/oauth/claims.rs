//! Who signed in, as tokens tell it: the payload of an id_token, or of an access token that is a JWT (RFC 7519).
//!
//! No signature is checked: the token came from the token endpoint over TLS (OpenID Connect Core §3.1.3.7, item 6), and what is read
//! decides only whether a person is told that this is another account than the mailbox's.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

/// Claims that may hold an address, the most telling first. Entra's older tokens say `upn` and `unique_name`.
const CLAIMS: [&str; 4] = ["email", "preferred_username", "upn", "unique_name"];

/// What stands before the address of a personal account in `unique_name`.
const PERSONAL: &str = "live.com#";

/// Longest address (RFC 5321 §4.5.3.1: 64, an at sign, 255).
const LONGEST: usize = 320;

/// The addresses of the account that signed in, each once; empty where nothing is told.
pub(super) fn accounts(id_token: Option<&str>, access_token: &str) -> Vec<String> {
    let told = id_token.map(addresses).unwrap_or_default();
    if told.is_empty() { addresses(access_token) } else { told }
}

fn addresses(token: &str) -> Vec<String> {
    let Some(payload) = jwt_payload(token) else { return Vec::new() };
    let mut found: Vec<String> = Vec::new();
    for text in CLAIMS.iter().filter_map(|claim| payload.get(*claim)?.as_str()) {
        let text = text.strip_prefix(PERSONAL).unwrap_or(text);
        // A plain login name says nothing of a mailbox.
        let is_address =
            text.contains('@') && text.len() <= LONGEST && !text.chars().any(|c| c.is_control() || c.is_whitespace());
        if is_address && !found.iter().any(|other| other.eq_ignore_ascii_case(text)) {
            found.push(text.to_owned());
        }
    }
    found
}

/// The claims of a JWT; `None` for what is none.
pub fn jwt_payload(token: &str) -> Option<serde_json::Map<String, serde_json::Value>> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let octets = BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(payload: &str) -> String {
        format!("eyJhbGciOiJub25lIn0.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn the_account_is_told_by_the_id_token_or_by_an_access_token_that_is_a_jwt() {
        let opaque = "ya29.a0AfH6SMB.x";
        for (id_token, access_token, expected) in [
            (None, opaque.to_owned(), &[][..]),
            (Some(jwt(r#"{"email":"a@b.example","sub":"1"}"#)), opaque.to_owned(), &["a@b.example"]),
            (
                Some(jwt(r#"{"email":"a@b.example","preferred_username":"u@b.onmicrosoft.com","upn":"A@B.example"}"#)),
                opaque.to_owned(),
                &["a@b.example", "u@b.onmicrosoft.com"],
            ),
            (None, jwt(r#"{"unique_name":"live.com#p@outlook.com"}"#), &["p@outlook.com"]),
            (Some(jwt(r#"{"sub":"1"}"#)), jwt(r#"{"upn":"u@b.example"}"#), &["u@b.example"]),
            (Some(jwt(r#"{"preferred_username":"robot","email":7}"#)), opaque.to_owned(), &[]),
            (Some(jwt(r#"{"email":"a@b\r\n.example"}"#)), opaque.to_owned(), &[]),
            (Some("a.b.c".into()), "..".into(), &[]),
            (Some(jwt("[]")), jwt("nonsense"), &[]),
        ] {
            assert_eq!(accounts(id_token.as_deref(), &access_token), expected, "{id_token:?} {access_token}");
        }
    }
}
