//! What people paste, and what it means.

use super::*;
use proptest::prelude::*;

const GOOGLE: Option<Provider> = Some(Provider::Google);
const MICROSOFT: Option<Provider> = Some(Provider::Microsoft);

fn told(text: &str) -> Explanation {
    explain(text, Hints::default())
}

fn first(text: &str) -> &'static str {
    told(text).meanings.first().map_or("", |meaning| meaning.advice.name)
}

/// Texts as they are pasted, and the name of the likeliest advice.
const PASTED: &[(&str, &str)] = &[
    // Numbers.
    ("AADSTS7000215", "microsoft-secret-wrong"),
    ("7000215", "microsoft-secret-wrong"),
    ("aadsts7000215", "microsoft-secret-wrong"),
    ("error code 7000215", "microsoft-secret-wrong"),
    ("AADSTS 65001", "microsoft-consent-missing"),
    ("https://login.microsoftonline.com/error?code=700082", "microsoft-unused-90-days"),
    ("535", "token-refused"),
    ("5.7.139", "microsoft-sign-in-blocked"),
    ("535 5.7.139", "microsoft-sign-in-blocked"),
    ("#5.7.60", "microsoft-send-as-denied"),
    ("5.4.5", "google-quota"),
    ("432 4.3.2", "microsoft-connections"),
    ("  550-5.4.5  ", "google-quota"),
    // Names.
    ("microsoft-send-as-denied", "microsoft-send-as-denied"),
    ("`quota`", "quota"),
    ("see google-browser-login in the log", "google-browser-login"),
    // Replies.
    (
        "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit \
         https://aka.ms/smtp_auth_disabled for more information. [AM0PR01CA0101.eurprd01.prod.exchangelabs.com]",
        "microsoft-smtp-auth-disabled-tenant",
    ),
    (
        "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the\nMailbox. Visit\nhttps://aka.ms/smtp_auth_disabled",
        "microsoft-smtp-auth-disabled-mailbox",
    ),
    (
        "535-5.7.8 Username and Password not accepted. For more information, go to\n535 5.7.8  https://support.google.com/mail/?p=BadCredentials \
         5b1f17b1804b1-gsmtp",
        "google-token-refused",
    ),
    (
        "< 550-5.4.5 Daily user sending limit exceeded. For more information on Gmail\n< 550-5.4.5 sending limits go to\n< 550 5.4.5 \
         https://support.google.com/a/answer/166852 x - gsmtp",
        "google-quota",
    ),
    (
        "554 5.2.252 SendAsDenied; alerts@contoso.com not allowed to send as boss@contoso.com; STOREDRV.Submission.Exception:SendAsDeniedException\
         [BeginDiagnosticData]Failed to process message due to a permanent exception with message [BeginDiagnosticData]Cannot submit \
         message. 0.35250:0A00E78A[EndDiagnosticData]",
        "microsoft-send-as-denied",
    ),
    (
        "Nov 24 10:00:00 mx postfix/smtp[123]: A1B2C3: to=<a@example.org>, relay=smtp.office365.com[52.98.1.2]:587, delay=1.2, dsn=5.7.60, \
         status=bounced (host smtp.office365.com[52.98.1.2] said: 550 5.7.60 SMTP; Client does not have permissions to send as this \
         sender [AM0] (in reply to end of DATA command))",
        "microsoft-send-as-denied",
    ),
    (
        "postfix/smtp[9]: 1F: SASL authentication failed; server smtp.gmail.com[142.250.1.1] said: 534-5.7.9 Please log in with your web \
         browser and then try again.",
        "google-browser-login",
    ),
    (
        "postfix/smtp[9]: to=<a@example.org>, status=deferred (connect to smtp.office365.com[52.98.1.2]:587: Connection timed out)",
        "connect-timed-out",
    ),
    (
        "smtplib.SMTPAuthenticationError: (535, b'5.7.3 Authentication unsuccessful [AM6P192CA0001.EURP192.PROD.OUTLOOK.COM]')",
        "microsoft-token-refused",
    ),
    (
        "2026-11-24T10:00:00Z  WARN mailbox.changed mailbox=alerts state=\"needs-repair\" reason=\"smtp.office365.com:587 answered AUTH with \
         535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully\"",
        "microsoft-sign-in-blocked",
    ),
    (
        r#"{"timestamp":"2026-11-24T10:00:00Z","level":"WARN","fields":{"event":"message.deferred","id":"0f","code":554,"enhanced":"5.2.0","reply":"554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed","advice":"550 5.1.1 is not this","mailbox":"alerts"}}"#,
        "microsoft-quota",
    ),
    (
        r#"{"event":"mailbox.changed","mailbox":"alerts","advice":"text","advice_name":"microsoft-mailbox-full"}"#,
        "microsoft-mailbox-full",
    ),
    ("advice_name=\"google-rate\" advice=\"x\"", "google-rate"),
    ("550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown", "no-such-recipient"),
    ("Remote Server returned '550 5.1.8 Access denied, bad outbound sender'", "microsoft-restricted-sender"),
    ("430 4.2.0 STOREDRV; mailbox logon failure; MapiExceptionLogonFailed", "microsoft-mailbox-logon"),
    ("450 4.2.0 greylisted, come again", "temporary-refusal"),
    ("S: 421-4.7.0 Temporary System Problem. Try again later (10). - gsmtp", "server-busy"),
    // Errors of token endpoints.
    (r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#, "google-grant-ended"),
    (
        "{\n  \"error\": \"invalid_client\",\n  \"error_description\": \"AADSTS7000222: The provided client secret keys for app 'x' are \
         expired.\\r\\nTrace ID: 0000aaaa-11bb-cccc-dd22-eeeeee333333\\r\\nCorrelation ID: aaaa0000-bb11-2222-33cc-444444dddddd\\r\\nTimestamp: \
         2026-11-24 10:00:00Z\",\n  \"error_codes\": [7000222]\n}",
        "microsoft-secret-expired",
    ),
    (r#"{"error_codes":[50076]}"#, "microsoft-second-factor"),
    ("error=invalid_grant&error_description=Token+has+been+expired+or+revoked.", "google-grant-ended"),
    ("error=invalid_grant&error_description=Invalid JWT Signature.", "google-service-account-key"),
    ("https://oauth2.googleapis.com/token answered 400 invalid_grant: Invalid grant: account not found", "google-no-such-user"),
    (
        "https://oauth2.googleapis.com/token answered 401 unauthorized_client: Unauthorized client or scope in request.",
        "google-delegation",
    ),
    ("invalid_client: The OAuth client was not found.", "google-client"),
    ("invalid_client: no", "client-refused"),
    ("Error 400: redirect_uri_mismatch", "google-redirect"),
    ("Error 403: org_internal", "google-internal-app"),
    ("https://login.microsoftonline.com/t/oauth2/v2.0/token answered 503 without an OAuth error", "sign-in-service-busy"),
    ("https://login.example.com/token answered 200 without an OAuth error", "not-a-token-endpoint"),
    ("HTTP/1.1 429 Too Many Requests", "sign-in-service-busy"),
    (
        "http://localhost:34567/?error=access_denied&error_description=AADSTS65004%3a+User+declined+to+consent+to+access+the+app.&error_subcode=cancel&state=abc",
        "login-not-finished",
    ),
    ("http://127.0.0.1:1234/?error=access_denied&state=xyz&provider=google", "google-access-denied"),
    (
        r"see https://relay.example.com/cb?error=interaction_required\u0026error_description=AADSTS50079%3A%20Due%20to%20a%20change\u0026state=1",
        "microsoft-second-factor",
    ),
    // Gmail's challenge.
    (
        "eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIG1hYyIsInNjb3BlIjoiaHR0cHM6Ly9tYWlsLmdvb2dsZS5jb20vIn0K",
        "google-token-refused",
    ),
    (
        "334 eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ==",
        "google-token-refused",
    ),
    (
        r#"the server answered 535 5.7.8 ({"status":"401","schemes":"bearer mac","scope":"https://mail.google.com/"})"#,
        "google-token-refused",
    ),
    // The way.
    ("invalid peer certificate: UnknownIssuer", "tls-untrusted-issuer"),
    ("dns error: failed to lookup address information: Name or service not known", "dns-no-such-name"),
    ("Connection refused (os error 111)", "connection-refused"),
];

#[test]
fn what_people_paste_is_understood() {
    for &(text, name) in PASTED {
        assert_eq!(first(text), name, "{text}\n{:#?}", told(text).meanings);
    }
}

#[test]
fn what_says_nothing_is_not_known() {
    for text in [
        "",
        " \n",
        "hello",
        "port 587 in 450 ms",
        "10.5.7.1",
        "version 1.95.0",
        "250 2.0.0 OK",
        "12",
        "2026",
        "{{{{",
        "999999999999",
    ] {
        let explanation = told(text);
        assert_eq!((explanation.meanings, explanation.unknown), (vec![], vec![]), "{text}");
    }
}

#[test]
fn a_number_that_no_table_knows_leads_to_its_owners_page() {
    let text = "AADSTS999999: Something new. Trace ID: 0000aaaa-11bb-cccc-dd22-eeeeee333333 Correlation ID: \
                aaaa0000-bb11-2222-33cc-444444dddddd Timestamp: 2026-11-24 10:00:00Z";
    let explanation = told(text);
    assert_eq!(explanation.meanings, []);
    let lookup = Some("https://login.microsoftonline.com/error?code=999999".to_owned());
    assert_eq!(explanation.unknown, [Unknown { code: "AADSTS999999".into(), lookup }]);
    let [correlation, trace, time] =
        ["aaaa0000-bb11-2222-33cc-444444dddddd", "0000aaaa-11bb-cccc-dd22-eeeeee333333", "2026-11-24 10:00:00Z"]
            .map(|text| Some(text.to_owned()));
    assert_eq!(explanation.marks, Marks { correlation_id: correlation, trace_id: trace, timestamp: time });
    assert!(told(r#"{"timestamp":"2026-11-24T10:00:00Z","reason":"535 5.7.139 no"}"#).marks.is_empty(), "a log's own time");
    // Beside an error that is known by name both are told.
    let explanation = told(r#"{"error":"invalid_grant","error_description":"AADSTS999999: Something new."}"#);
    assert_eq!((explanation.meanings[0].advice.name, explanation.unknown.len()), ("grant-ended", 1));
    let explanation = told("error=odd_error&error_description=x");
    assert_eq!(explanation.unknown, [Unknown { code: "odd_error".into(), lookup: None }]);
}

#[test]
fn hints_decide_where_the_text_leaves_it_open() {
    let name = |text, provider, step| explain(text, Hints { provider, step }).meanings[0].advice.name;
    assert_eq!(name("535", GOOGLE, None), "google-token-refused");
    assert_eq!(name("535", MICROSOFT, None), "microsoft-token-refused");
    assert_eq!(name("550 5.7.1 no", None, Some(Step::Mail)), "policy");
    assert_eq!(name("550 5.7.1 no", None, Some(Step::Greeting)), "address-blocked");
    assert_eq!(name("550 no", None, Some(Step::Body)), "message-refused");
    assert_eq!(name("invalid_grant", GOOGLE, None), "google-grant-ended");
    assert_eq!(name("invalid_grant", MICROSOFT, None), "grant-ended");
}

#[test]
fn of_several_meanings_the_particular_one_comes_first_and_the_others_are_named() {
    let names = |text: &str| told(text).meanings.iter().map(|meaning| meaning.advice.name).collect::<Vec<_>>();
    assert_eq!(
        names("535 5.7.139"),
        [
            "microsoft-sign-in-blocked",
            "microsoft-smtp-auth-disabled-tenant",
            "microsoft-smtp-auth-disabled-mailbox",
            "microsoft-password",
        ]
    );
    let others = told("535 5.7.139").meanings;
    assert_eq!(others[1].if_text, Some("disabled for the tenant"));
    let text = "AADSTS7000222: expired; then smtp said: 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for \
                the Tenant.";
    assert_eq!(names(text)[..2], ["microsoft-smtp-auth-disabled-tenant", "microsoft-secret-expired"]);
}

#[test]
fn what_follows_is_told_with_the_state() {
    use crate::mail::State::*;
    for (text, state, subject) in [
        ("AADSTS7000215", Some(NeedsRepair), "link"),
        ("AADSTS700082", Some(NeedsConsent), "mailbox"),
        ("AADSTS90033", Some(Failing), "mailbox"),
        ("5.4.5", Some(OverQuota), "mailbox"),
        ("554 5.2.252 SendAsDenied", None, "sender"),
        ("550 5.1.1 no such user", None, "recipient"),
        ("Connection refused (os error 111)", Some(Failing), "mailbox"),
        ("microsoft-smtp-auth-disabled-tenant", Some(NeedsRepair), "mailbox"),
        ("google-grant-ended", Some(NeedsConsent), "mailbox"),
        ("dns-no-such-name", Some(Failing), "mailbox"),
        ("http://localhost/?error=access_denied&error_description=AADSTS65004%3a+x&state=1", None, "login"),
    ] {
        let consequence = told(text).meanings[0].consequence.unwrap_or_else(|| panic!("{text}"));
        assert_eq!((consequence.state(), consequence.subject()), (state, subject), "{text}");
        assert!(!consequence.words().is_empty());
    }
}

#[test]
fn what_outlink_finds_on_its_own_machine_has_a_state_too() {
    use crate::mail::State::*;
    for (name, state, subject) in [
        ("no-grant-yet", NeedsConsent, "mailbox"),
        ("proof-unreadable", NeedsRepair, "link"),
        ("tried-again-by-itself", Failing, "mailbox"),
        ("client-secret-ends", Expiring, "link"),
        ("refresh-token-ends", Expiring, "mailbox"),
    ] {
        let consequence = Consequence::of_own(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!((consequence.state(), consequence.subject()), (Some(state), subject), "{name}");
    }
    assert_eq!(Consequence::of_own("quota"), None);
}

#[test]
fn every_advice_is_found_by_its_name_with_what_follows() {
    for advice in all_advice() {
        let explanation = told(advice.name);
        let meaning = explanation.meanings.first().unwrap_or_else(|| panic!("{}", advice.name));
        assert_eq!(meaning.advice, advice);
    }
    for table in [reply::ADVICE, fault::ADVICE, network::ADVICE] {
        for advice in table {
            assert!(by_name(advice).consequence.is_some(), "{}", advice.name);
        }
    }
}

#[test]
fn a_secret_is_noticed_and_nothing_of_it_is_given_back() {
    let token = format!("ya29.{}", "aB3".repeat(20));
    for text in [
        format!("AADSTS7000215 {token}"),
        format!("client_secret={}", "q".repeat(12)),
        format!("1//{}", "x".repeat(40)),
        format!("dXNlcj{}", "A".repeat(80)),
        format!("eyJ{}.eyJ{}.{}", "a".repeat(20), "b".repeat(20), "c".repeat(20)),
        format!("abc8Q~{}", "d".repeat(34)),
        format!("Authorization: Bearer {}", "e".repeat(20)),
        "-----BEGIN PRIVATE KEY-----".to_owned(),
        "f".repeat(400),
    ] {
        assert!(told(&text).holds_secret, "{text}");
    }
    assert!(!format!("{:?}", told(&format!("535 5.7.8 {token} no"))).contains("aB3"));
    for (text, _) in PASTED {
        assert!(!told(text).holds_secret, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn no_text_panics_and_what_comes_back_is_bounded(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::sample::select(PASTED.iter().map(|(text, _)| (*text).to_owned()).collect::<Vec<_>>()),
                prop::sample::select(["AADSTS", "error=", "{\"error\":", "535-", "5.7.1", "eyJ", "\n", "é", "{", "%", "error_codes", "http/1.1 503"].map(String::from).to_vec()),
                "[0-9]{1,9}",
                any::<String>(),
            ],
            0..12,
        ),
        glue in prop::sample::select(vec!["", " ", "\n", "\u{e4}"]),
    ) {
        let explanation = told(&pieces.join(glue));
        prop_assert!(explanation.meanings.len() <= MOST && explanation.unknown.len() <= 64);
        prop_assert!(explanation.meanings.iter().all(|meaning| meaning.said.len() < 120));
    }
}

#[test]
fn a_large_text_costs_little() {
    let begun = std::time::Duration::from_secs(5);
    for piece in
        ["{", "error=", "5.7.1 ", "1//", "eyJ", "535 5.7.1 x\n", "AADSTS99999 ", "{\"a\":", "password=", "invalid_grant "]
    {
        let text = piece.repeat(3 * LONGEST / piece.len());
        let (sender, receiver) = std::sync::mpsc::channel();
        let worker = std::thread::Builder::new().spawn(move || sender.send(explain(&text, Hints::default()).meanings.len()));
        assert!(receiver.recv_timeout(begun).is_ok_and(|count| count <= MOST), "{piece:?}");
        worker.unwrap().join().unwrap().unwrap();
    }
}
