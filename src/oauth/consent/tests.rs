//! What a login begins and ends with, row by row.

use super::*;
use proptest::prelude::*;

/// Of RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn opening() -> Opening {
    Opening { state: Secret::new("st-1".into()), verifier: Secret::new(VERIFIER.into()) }
}

fn address(endpoint: &str, usual: &[(&str, &str)], chosen: &[(&str, &str)]) -> Url {
    let chosen = chosen.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let endpoint = Url::parse(endpoint).unwrap();
    let scopes = ["https://mail.google.com/".to_owned(), "b".to_owned()];
    let redirect = "http://localhost:8025";
    let login = Login { endpoint: &endpoint, client_id: "me", redirect, scopes: &scopes, usual, chosen: &chosen };
    opening().address(&login).unwrap()
}

#[test]
fn the_address_asks_for_a_code_with_pkce_and_state() {
    let found = address("https://login.example.com/auth?tenant=a%20b", &[("access_type", "offline")], &[("hd", "example.com")]);
    assert_eq!((found.host_str(), found.path()), (Some("login.example.com"), "/auth"));
    let mut pairs: Vec<_> = found.query_pairs().into_owned().collect();
    pairs.sort();
    let mut expected = [
        ("tenant", "a b"),
        ("response_type", "code"),
        ("client_id", "me"),
        ("redirect_uri", "http://localhost:8025"),
        ("scope", "https://mail.google.com/ b"),
        ("state", "st-1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("access_type", "offline"),
        ("hd", "example.com"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    expected.sort();
    assert_eq!(pairs, expected);
    assert!(!found.as_str().contains(VERIFIER));
}

#[test]
fn what_a_person_configured_wins_but_never_over_what_is_ours() {
    let found = address(
        "https://login.example.com/auth",
        &[("prompt", "consent"), ("access_type", "offline")],
        &[("prompt", "select_account"), ("state", "mine"), ("redirect_uri", "https://evil.example")],
    );
    let all = |name: &str| found.query_pairs().filter(|(n, _)| n == name).map(|(_, v)| v.into_owned()).collect::<Vec<_>>();
    assert_eq!(all("prompt"), ["select_account"]);
    assert_eq!(all("access_type"), ["offline"]);
    assert_eq!((all("state"), all("redirect_uri")), (vec!["st-1".into()], vec!["http://localhost:8025".into()]));
}

#[test]
fn every_opening_is_another_and_nothing_of_it_is_printed() {
    let (one, other) = (Opening::new(&[1; 64]), Opening::new(&[2; 64]));
    // RFC 7636 §4.1: 43 to 128 characters; RFC 6749 §10.10 asks for 128 bits at least, 43 characters have 256.
    for text in [one.state.expose(), one.verifier.expose(), other.state.expose()] {
        assert!(text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{text}");
    }
    assert!(one.state != other.state && one.verifier != other.verifier);
    assert!(!format!("{one:?}").contains(one.state.expose()));
}

#[test]
fn an_answer_is_read_as_browsers_send_it_and_people_paste_it() {
    let code = |text: &str| opening().code(Return::read(text).unwrap(), &Issuer::Unknown).unwrap();
    for text in [
        "http://127.0.0.1:8025/oauth/callback?code=4%2F0Ab+c&state=st-1",
        "http://localhost:8025/?state=st-1&code=4%2F0Ab+c&session_state=x&scope=https://mail.google.com/#",
        "/oauth/callback?code=4%2F0Ab+c&state=st-1",
        "?code=4%2F0Ab+c&state=st-1",
        "code=4%2F0Ab+c&state=st-1&iss=",
        "  \"http://localhost/?code=4%2F0Ab+c&state=st-1\" \r\n",
        "'<http://localhost/?code=4%2F0A\n   b+c&sta\r\nte=st-1>'",
        "“http://localhost/?code=4%2F0Ab+c&amp;state=st-1”",
    ] {
        assert_eq!(code(text).expose(), "4/0Ab c", "{text}");
    }
}

#[test]
fn what_is_no_answer_says_what_to_paste_instead() {
    use Unreadable::*;
    let long = format!("?code={}&state=x", "a".repeat(LONGEST));
    for (text, expected) in [
        ("", Empty),
        (" \r\n\"\" ", Empty),
        (long.as_str(), TooLong),
        ("4/0AbCdEf", CodeAlone),
        ("code=4/0AbCdEf", NoState),
        ("http://localhost:8025/?code=4/0AbCdEf", NoState),
        ("http://localhost:8025/?error=access_denied", NoState),
        ("http://localhost:8025/?code=a&state=", NoState),
        ("http://localhost:8025/", Nothing),
        ("http://localhost:8025/?state=st-1", Nothing),
        ("http://localhost:8025/?code=&state=st-1", Nothing),
        ("https://login.example.com/auth?response_type=code&client_id=me&state=st-1&code_challenge=x", LoginPage),
        ("?code=a&code=b&state=st-1", Twice("code")),
        ("?code=a&state=st-1&state=st-2", Twice("state")),
        ("?code=a&state=st-1&iss=a&iss=b", Twice("iss")),
    ] {
        assert_eq!(Return::read(text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn nothing_is_believed_before_the_state_and_the_issuer_are_ours() {
    let google = Issuer::Exact("https://accounts.google.com".into());
    let entra = Issuer::Host("login.microsoftonline.com".into());
    for (text, issuer, expected) in [
        ("?code=c&state=st-2", &google, "its state is another"),
        ("?code=c&state=st-", &google, "its state is another"),
        ("?error=access_denied&state=st-2", &google, "its state is another"),
        ("?code=c&state=st-1&iss=https://accounts.google.com", &google, ""),
        ("?code=c&state=st-1", &google, ""),
        ("?code=c&state=st-1&iss=https://accounts.google.com/", &google, "comes from https://accounts.google.com/, but"),
        ("?error=access_denied&state=st-1&iss=https://evil.example", &google, "comes from https://evil.example, but"),
        ("?code=c&state=st-1&iss=https://login.microsoftonline.com/9f1-tenant/v2.0", &entra, ""),
        ("?code=c&state=st-1&iss=https://login.microsoftonline.com.evil.example/v2.0", &entra, "but login.microsoftonline.com"),
        ("?code=c&state=st-1&iss=nonsense", &entra, "comes from nonsense"),
        ("?code=c&state=st-1&iss=https://anybody.example", &Issuer::Unknown, ""),
        (
            "?error=access_denied&error_description=The+user%0d%0apressed+Cancel&state=st-1",
            &google,
            "the provider answered access_denied: The user pressed Cancel",
        ),
        ("?error=access_denied&code=c&state=st-1", &google, "access_denied"),
    ] {
        match opening().code(Return::read(text).unwrap(), issuer) {
            Ok(code) => assert!(expected.is_empty() && code.expose() == "c", "{text}"),
            Err(refusal) => assert!(!expected.is_empty() && refusal.to_string().contains(expected), "{text}: {refusal}"),
        }
    }
}

#[test]
fn an_answer_does_not_print_its_code_or_state() {
    let answer = Return::read("?code=marked-1&state=marked-2").unwrap();
    assert!(!format!("{answer:?}").contains("marked"));
}

proptest! {
    #[test]
    fn an_address_comes_back_as_it_was_sent_out(random in any::<[u8; 32]>(), code in "[ -~]{1,200}") {
        let mut octets = [7; 64];
        octets[..32].copy_from_slice(&random);
        let opening = Opening::new(&octets);
        let mut url = Url::parse("http://127.0.0.1:1/cb").unwrap();
        url.query_pairs_mut().append_pair("state", opening.state.expose()).append_pair("code", &code);
        let found = opening.code(Return::read(url.as_str()).unwrap(), &Issuer::Unknown).unwrap();
        prop_assert_eq!(found.expose(), &code);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,300}") {
        let _ = Return::read(&text);
    }
}
