//! `outlink explain` as a person and a script meet it: what is pasted, what comes back, and that nothing of a secret does.

mod support;

use serde_json::{Value, json};
use std::{fs, net::TcpListener, path::Path, process::Output};
use support::{
    SOON, free_port, outlink, run,
    story::{Story, id, logged},
};

fn explain(words: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = outlink();
    command.arg("explain").args(words);
    let Output { status, stdout, stderr } = run(command, input.as_bytes(), SOON);
    let text = |octets: Vec<u8>| String::from_utf8(octets).expect("it speaks UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn asked(words: &[&str], input: &str) -> (Option<i32>, Value) {
    let (status, out, err) = explain(&[&["--json"], words].concat(), input);
    (status, serde_json::from_str(&out).unwrap_or_else(|why| panic!("{words:?}: {why}\n{out}{err}")))
}

/// What is pasted, and the name of the advice; nothing where it is not known.
const PASTED: &[(&str, &str)] = &[
    ("AADSTS7000215", "microsoft-secret-wrong"),
    ("7000222", "microsoft-secret-expired"),
    ("aadsts700212", "microsoft-federated-credential"),
    (
        "AADSTS700211: No matching federated identity record found for presented assertion issuer",
        "microsoft-federated-credential",
    ),
    ("AADSTS700021: Client assertion application identifier doesn't match 'client_id' parameter.", "microsoft-assertion-client"),
    ("AADSTS700023: Client assertion audience claim does not match Realm issuer.", "microsoft-assertion-audience"),
    ("AADSTS5002723: Invalid JWT token. No certificate SHA-1 thumbprint nor keyId", "microsoft-assertion-form"),
    ("AADSTS5002738: Invalid JWT token. 'ES384' is not a supported signature algorithm.", "microsoft-assertion-form"),
    ("530036", "microsoft-device-code-blocked"),
    ("5.7.139", "microsoft-sign-in-blocked"),
    (
        "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled",
        "microsoft-smtp-auth-disabled-tenant",
    ),
    (
        "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.",
        "microsoft-smtp-auth-disabled-mailbox",
    ),
    ("535 5.7.3 Authentication unsuccessful [AM0PR01CA0101.eurprd01.prod.exchangelabs.com]", "microsoft-token-refused"),
    ("550 5.7.30 Basic authentication is not supported for Client Submission.", "microsoft-password"),
    (
        "535-5.7.8 Username and Password not accepted. For more information, go to\r\n535 5.7.8  https://support.google.com/mail/?p=BadCredentials x - gsmtp\r\n",
        "google-token-refused",
    ),
    ("550-5.4.5 Daily user sending limit exceeded. x - gsmtp", "google-quota"),
    ("454 4.7.0 Too many login attempts, please try again later. x - gsmtp", "google-too-many-logins"),
    (
        "554 5.2.252 SendAsDenied; a@contoso.com not allowed to send as b@contoso.com; [BeginDiagnosticData]Cannot submit message.[EndDiagnosticData]",
        "microsoft-send-as-denied",
    ),
    ("430 4.2.0 STOREDRV; mailbox logon failure; failure code:MapiExceptionLogonFailed", "microsoft-mailbox-logon"),
    ("432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", "microsoft-connections"),
    (
        "Nov 24 10:00:00 mx postfix/smtp[77]: 4AB: to=<x@example.org>, relay=smtp.gmail.com[142.250.1.1]:587, dsn=5.1.1, status=bounced (host smtp.gmail.com[142.250.1.1] said: 550-5.1.1 The email account that you tried to reach does not exist. - gsmtp (in reply to RCPT TO command))",
        "no-such-recipient",
    ),
    (
        "2026-11-24T10:00:00Z WARN outlink: event=\"message.deferred\" id=01j code=554 enhanced=5.2.2 reply=\"554 5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException\" mailbox=alerts",
        "microsoft-mailbox-full",
    ),
    (
        r#"{"fields":{"event":"token.failed","reason":"https://oauth2.googleapis.com/token answered 400 invalid_grant: Token has been expired or revoked.","mailbox":"alerts"}}"#,
        "google-grant-ended",
    ),
    (r#"{"fields":{"event":"mailbox.changed","advice":"do this","advice_name":"google-browser-login"}}"#, "google-browser-login"),
    (
        r#"{ "error": "unauthorized_client", "error_description": "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested." }"#,
        "google-delegation",
    ),
    ("error=invalid_grant&error_description=Invalid+JWT%3A+Token+must+be+a+short-lived+token", "clock"),
    ("http://localhost:8025/?error=access_denied&error_description=AADSTS65004%3a+User+declined&state=x", "login-not-finished"),
    ("Error 403: org_internal. This client is restricted to users within its organization.", "google-internal-app"),
    (
        "334 eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIG1hYyIsInNjb3BlIjoiaHR0cHM6Ly9tYWlsLmdvb2dsZS5jb20vIn0K",
        "google-token-refused",
    ),
    (
        "connect at smtp.gmail.com:465: cannot look up the name: failed to lookup address information: Temporary failure in name resolution",
        "dns-no-answer",
    ),
    ("error sending request: client error (Connect): invalid peer certificate: UnknownIssuer", "tls-untrusted-issuer"),
    (
        "invalid peer certificate: certificate expired: verification time 2 (UNIX), but certificate is not valid after 1 (1 seconds ago)",
        "tls-certificate-expired",
    ),
    ("TLS at smtp.example.com:25: the server does not offer STARTTLS, and no token is sent without TLS", "tls-no-starttls"),
    (
        "could not be asked through the proxy http://proxy:3128: client error (Connect): tunnel error: proxy authorization required",
        "proxy-password",
    ),
    ("the token endpoint https://login.example.com/token answered 200 without an OAuth error", "not-a-token-endpoint"),
    ("microsoft-send-as-denied", "microsoft-send-as-denied"),
    ("tls-mode", "tls-mode"),
    ("AADSTS424242", ""),
    ("the printer is out of paper", ""),
    ("", ""),
];

#[test]
fn what_is_pasted_is_named_and_what_is_unknown_is_a_finding() {
    for (at, (text, name)) in PASTED.iter().enumerate() {
        // By turns as arguments and on standard input.
        let words: Vec<&str> = text.split(' ').collect();
        let (status, found) = match at % 3 {
            _ if text.is_empty() => asked(&[], ""),
            0 => asked(&words, ""),
            1 => asked(&["-"], text),
            _ => asked(&[], text),
        };
        let first = found["meanings"][0]["advice_name"].as_str().unwrap_or_default();
        assert_eq!((first, status), (*name, Some(i32::from(name.is_empty()))), "{text}: {found:#}");
        assert_eq!(found["known"], !name.is_empty(), "{text}");
    }
}

const CONFIGURED: &str = "
[link.contoso]
provider = 'microsoft'
cloud = 'china'
grant = 'client-credentials'
tenant = 'contoso.partner.onmschina.cn'
client-id = '11111111-2222-3333-4444-555555555555'
client-secret = { env = 'CONTOSO_SECRET' }

[mailbox.alerts]
link = 'contoso'
address = \"o'neil@contoso.com\"
";

fn configuration(directory: &Path, text: &str) -> String {
    let file = directory.join("outlink.toml");
    let text = format!("state-directory = '{}'\n{text}", directory.join("state").display());
    fs::write(&file, text).expect("the configuration can be written");
    file.to_str().expect("it is UTF-8").to_owned()
}

#[test]
fn the_ids_of_a_mailbox_and_its_link_are_filled_in() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = configuration(directory.path(), &CONFIGURED.replace("{ env = 'CONTOSO_SECRET' }", "'a plain secret of a test'"));
    let out = |words: &[&str]| {
        let (status, out, err) = explain(&[words, &["--config", &config]].concat(), "");
        assert_eq!(status, Some(0), "{words:?}: {out}{err}");
        assert!(!out.contains("plain secret") && !err.contains("plain secret"));
        out
    };
    let text = out(&["--mailbox", "alerts", "535", "5.7.139", "SmtpClientAuthentication is disabled for the Mailbox"]);
    assert!(
        text.contains("\n    Set-CASMailbox -Identity 'o''neil@contoso.com' -SmtpClientAuthenticationDisabled $false\n"),
        "{text}"
    );
    assert!(text.contains("state of the mailbox: needs-repair"), "{text}");
    assert!(text.contains("docs/troubleshooting.md#microsoft-smtp-auth-disabled-mailbox"), "{text}");
    let text = out(&["--link", "contoso", "AADSTS65001"]);
    let url = "https://login.partner.microsoftonline.cn/contoso.partner.onmschina.cn/v2.0/adminconsent?\
               client_id=11111111-2222-3333-4444-555555555555&scope=https://partner.outlook.cn/.default";
    assert!(text.contains(url) && text.contains("send mail for <address>"), "{text}");
    // The link's provider decides what a bare number means.
    assert!(out(&["--link", "contoso", "535"]).starts_with("microsoft-token-refused (535 after AUTH, microsoft)\n"));
    let (status, _, err) = explain(&["--mailbox", "nobody", "--config", &config, "535"], "");
    assert!(status == Some(64) && err.contains("no mailbox is named nobody; there are: alerts"), "{err}");
}

#[test]
fn a_configuration_with_faults_costs_the_ids_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = configuration(directory.path(), CONFIGURED);
    let (status, out, err) = explain(&["--mailbox", "alerts", "--config", &config, "AADSTS7000222"], "");
    assert_eq!(status, Some(0), "{err}");
    assert!(out.contains("the client secret of app <client-id> has expired"), "{out}");
    assert!(err.contains("the configuration has faults") && err.contains("CONTOSO_SECRET"), "{err}");
    let (_, out, _) = explain(&["--mailbox", "alerts", "--config", &config, "AADSTS700082"], "");
    assert!(out.contains("outlink authorize alerts"), "{out}");
}

#[test]
fn what_nobody_knows_comes_with_its_code_its_ids_and_where_to_look() {
    let text = "AADSTS424242: Something new. Trace ID: 0000aaaa-11bb-cccc-dd22-eeeeee333333 Correlation ID: \
                aaaa0000-bb11-2222-33cc-444444dddddd Timestamp: 2026-11-24 10:00:00Z";
    let (status, out, _) = explain(&[], text);
    assert_eq!(status, Some(1));
    for part in [
        "AADSTS424242: outlink has no advice about it",
        "https://login.microsoftonline.com/error?code=424242",
        "correlation id: aaaa0000-bb11-2222-33cc-444444dddddd",
        "trace id: 0000aaaa-11bb-cccc-dd22-eeeeee333333",
        "timestamp: 2026-11-24 10:00:00Z",
        "Sign-in logs",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
}

#[test]
fn the_command_that_was_answered_and_whose_server_it_was_can_be_said() {
    let name = |words: &[&str]| asked(words, "").1["meanings"][0]["advice_name"].clone();
    assert_eq!(name(&["--step", "mail", "550 5.7.1 no"]), "policy");
    assert_eq!(name(&["--step", "greeting", "550 5.7.1 no"]), "address-blocked");
    assert_eq!(name(&["--provider", "google", "535"]), "google-token-refused");
    assert_eq!(name(&["--provider", "microsoft", "invalid_grant"]), "grant-ended");
    let (status, _, err) = explain(&["--step", "tea", "535"], "");
    assert!(status == Some(64) && err.contains("possible values"), "{err}");
}

#[test]
fn of_several_meanings_the_others_are_named() {
    let (_, out, _) = explain(&["535 5.7.139"], "");
    let (first, others) = out.split_once("\nIt may also be:\n").expect("there are others");
    assert!(first.starts_with("microsoft-sign-in-blocked (535 5.7.139, microsoft)\n"), "{out}");
    assert!(others.contains("microsoft-smtp-auth-disabled-tenant") && others.contains("if the text has"), "{out}");
}

#[test]
fn nothing_of_a_pasted_secret_comes_back() {
    let secret = format!("Zq{}", "7xK".repeat(14));
    for text in [
        format!("535 5.7.8 ya29.{secret} Username and Password not accepted"),
        format!(r#"{{"error":"invalid_grant","refresh_token":"1//{secret}"}}"#),
        format!("http://localhost/?error=access_denied&code={secret}&access_token={secret}"),
        format!("AADSTS7000215 client_secret={secret}"),
        format!("error={secret}&error_description={secret}&password={secret}"),
        format!("what is this? GOCSPX-{secret}"),
        format!("Correlation ID: {secret} Authorization: Bearer {secret}"),
    ] {
        for words in [&[][..], &["--json"]] {
            let (_, out, err) = explain(words, &text);
            assert!(!format!("{out}{err}").contains("7xK"), "{text}: {out}{err}");
            assert!(err.contains("looks like a token, a password or a key"), "{text}: {err}");
        }
    }
}

#[test]
fn a_long_text_is_read_as_far_as_it_is_bounded() {
    let filler = "nothing to see here\n".repeat(4000);
    assert_eq!(asked(&[], &format!("AADSTS7000222\n{filler}")).0, Some(0));
    assert_eq!(asked(&[], &format!("{filler}AADSTS7000222")).0, Some(1));
}

/// The log line of a message that the app sent in vain.
fn deferred(story: &Story) -> Value {
    let daemon = story.start();
    let said = story.app().send();
    assert!(said.starts_with("451 4.3.0 "), "{said}\n{}", daemon.output());
    logged(&daemon, "message.deferred", id(&said))
}

/// What `explain` says first of a log line from which the advice was taken out.
fn explained(mut line: Value, config: &Path) -> (String, String) {
    for name in ["advice", "advice_name"] {
        let fields = line.as_object_mut().expect("a line of the log is an object");
        fields.remove(name);
    }
    let (status, found) = asked(&["--mailbox", "sandbox", "--config", config.to_str().expect("it is UTF-8")], &line.to_string());
    assert_eq!(status, Some(0), "{line}: {found}");
    let text = |key: &str| found["meanings"][0][key].as_str().unwrap_or_default().to_owned();
    (text("advice_name"), format!("{}; {}", text("cause"), text("step")))
}

#[test]
fn a_line_of_the_log_is_explained_as_the_daemon_advised() {
    for (fault, setting, name) in [
        ("smtp-auth-disabled", json!({}), "microsoft-smtp-auth-disabled-mailbox"),
        ("quota", json!({}), "microsoft-quota"),
        ("mailbox-logon-failure", json!({}), "microsoft-mailbox-logon"),
        ("client-secret-expired", json!({}), "microsoft-secret-expired"),
        ("token-refused", json!({"error": "invalid_grant", "aadsts": 65001}), "microsoft-consent-missing"),
    ] {
        let story = Story::new("microsoft", |text| text);
        story.fault(fault, &setting);
        let line = deferred(&story);
        assert_eq!(line["advice_name"], name, "{line}");
        let (explained_name, explained_text) = explained(line.clone(), &story.config);
        assert_eq!((explained_name.as_str(), &*explained_text), (name, line["advice"].as_str().expect("advice")), "{line}");
    }
}

#[test]
fn what_goes_wrong_on_the_way_is_advised_by_the_daemon_and_explained_alike() {
    let closed = free_port();
    // It takes connections and closes them without a word.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let mute_port = mute.local_addr().expect("it is bound").port();
    std::thread::spawn(move || mute.incoming().for_each(drop));
    for (server, tls, ca, name) in [
        (format!("127.0.0.1:{closed}"), "starttls", true, "connection-refused"),
        // Longer than a name can be: this machine knows by itself that there is none.
        (
            format!("{}example:{closed}", format!("{}.", "long-label-".repeat(5) + "a").repeat(4)),
            "starttls",
            true,
            "dns-no-such-name",
        ),
        (format!("127.0.0.1:{mute_port}"), "starttls", true, "connection-closed"),
        ("HTTP".to_owned(), "implicit", true, "tls-not-spoken"),
        ("SAME".to_owned(), "", false, "tls-untrusted-issuer"),
    ] {
        let story = Story::new("custom", |text| {
            let http =
                text.split("token-endpoint = \"http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an endpoint");
            let server = server.replace("HTTP", http);
            let line = |line: &str| match line.split(" = ").next() {
                Some("server") if server != "SAME" => format!("server = \"{server}\"\n"),
                Some("tls") if !tls.is_empty() => format!("tls = \"{tls}\"\n"),
                Some("ca-file") if !ca => String::new(),
                _ => format!("{line}\n"),
            };
            text.lines().map(line).collect()
        });
        let line = deferred(&story);
        let advised = line["advice_name"].as_str().unwrap_or_default();
        assert!(advised.starts_with(name), "{server}: {line}");
        let (explained_name, explained_text) = explained(line.clone(), &story.config);
        assert_eq!((explained_name.as_str(), &*explained_text), (advised, line["advice"].as_str().expect("advice")), "{line}");
    }
}
