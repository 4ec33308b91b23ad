//! What stands between this machine and the provider, broken in one way each, as `outlink doctor` names it: names, ports, proxies,
//! certificates, clocks, the state directory.

mod support;

use std::{fs, process::Command};
use support::{
    clock::{Clock, DAY, Passing},
    examination::{Broken, Examined, Wanted, examine, secrets},
    mounts::{may_mount, mount},
    scripted::{Script, Scripted, Silent, nobody, one_answer, portal},
};

/// The end of a mailbox's table, to add its server to.
const TLS: &str = "tls = \"implicit\"";

/// Plays a row whose mailbox has another server.
fn at_server(title: &str, server: &str, ca: Option<&str>, wanted: &[Wanted<'_>]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("scripted.pem");
    fs::write(&file, ca.unwrap_or_default()).expect("it can be written");
    let named = format!("server = \"{server}\"\n{TLS}");
    let link = "token-endpoint =";
    let authority = format!("ca-file = \"{}\"\ntoken-endpoint =", file.display());
    let edits: Vec<(&str, &str)> = match ca {
        Some(_) => vec![(TLS, &named), (link, &authority)],
        None => vec![(TLS, &named)],
    };
    let without: &[&str] = if ca.is_some() { &["server =", "ca-file ="] } else { &["server ="] };
    Broken { title, personality: "google", edits: &edits, without, wanted, ..Broken::default() }.play();
}

/// Plays a row whose link has another token endpoint.
fn at_endpoint(title: &str, endpoint: &str, wanted: &[Wanted<'_>]) {
    let named = format!("token-endpoint = \"{endpoint}\"\n\n[mailbox.sandbox]");
    let edits = [("[mailbox.sandbox]", named.as_str())];
    Broken { title, edits: &edits, without: &["token-endpoint ="], wanted, ..Broken::default() }.play();
}

const NO_LOGIN: Wanted<'_> = Wanted { check: "login", status: "not-checked", advice: "", what: "", why: "", fix: "" };

#[test]
fn mail_servers_that_cannot_be_reached() {
    let silent = Silent::start();
    let route = Wanted { check: "server-route", ..Wanted::default() };
    let token = Wanted { check: "token", status: "ok", ..Wanted::default() };
    at_server(
        "a port that is blocked",
        &silent.address.to_string(),
        None,
        &[Wanted { advice: "connect-timed-out", fix: "port 587 or 465", ..route }, token, NO_LOGIN],
    );
    at_server(
        "a port where nobody listens",
        &nobody().to_string(),
        None,
        &[Wanted { advice: "connection-refused", fix: "host and port", ..route }, token, NO_LOGIN],
    );
    let name = Wanted { check: "server-name", what: "smtp.nowhere.invalid", fix: "", ..Wanted::default() };
    at_server("a name that there is not", "smtp.nowhere.invalid:465", None, &[name, NO_LOGIN]);
}

#[test]
fn mail_servers_that_are_not_trusted_or_not_for_tokens() {
    let tls = Wanted { check: "server-tls", ..Wanted::default() };
    let rows: [(&str, Script<'_>, Wanted<'_>); 3] = [
        (
            "an expired certificate",
            Script { until: 2020, ..Script::default() },
            Wanted { advice: "tls-certificate-expired", what: "to 2020-01-01", fix: "renew", ..tls },
        ),
        (
            "a certificate of another name",
            Script { names: &["mail.contoso.example"], ..Script::default() },
            Wanted { advice: "tls-wrong-name", what: "mail.contoso.example", fix: "name that stands in the certificate", ..tls },
        ),
        (
            "a server without XOAUTH2",
            Script { ehlo: "250-scripted.example\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 1000000\r\n", ..Script::default() },
            Wanted { check: "ehlo", advice: "no-xoauth2", fix: "submission server", ..Wanted::default() },
        ),
    ];
    for (title, script, wanted) in rows {
        let server = Scripted::start(&script);
        at_server(title, &server.address.to_string(), Some(&server.ca), &[wanted, NO_LOGIN]);
    }
}

#[test]
fn token_endpoints_that_cannot_be_reached_or_are_none() {
    let silent = Silent::start();
    let skipped = Wanted { check: "token", status: "not-checked", ..Wanted::default() };
    let ehlo = Wanted { check: "ehlo", status: "ok", ..Wanted::default() };
    let route = Wanted { check: "endpoint-route", ..Wanted::default() };
    at_endpoint(
        "a blocked port 443",
        &format!("https://{}/token", silent.address),
        &[Wanted { advice: "connect-timed-out", fix: "443", ..route }, skipped, ehlo, NO_LOGIN],
    );
    at_endpoint(
        "nobody there",
        &format!("http://{}/token", nobody()),
        &[Wanted { advice: "connection-refused", ..route }, skipped, NO_LOGIN],
    );
    let name = Wanted { check: "endpoint-name", what: "login.nowhere.invalid", ..Wanted::default() };
    at_endpoint("a name that there is not", "https://login.nowhere.invalid/token", &[name, skipped, NO_LOGIN]);
    let page = Wanted { check: "token", advice: "not-a-token-endpoint", fix: "token-endpoint", ..Wanted::default() };
    at_endpoint("a network that wants a login", &format!("http://{}/token", portal()), &[page, ehlo, NO_LOGIN]);
    let server = Scripted::start(&Script::default());
    let tls = Wanted {
        check: "endpoint-tls",
        advice: "tls-untrusted-issuer",
        what: "scripted CA",
        fix: "`ca-file` of link sandbox",
        ..Wanted::default()
    };
    at_endpoint("an endpoint with a private CA", &format!("https://localhost:{}/token", server.address.port()), &[tls, skipped]);
}

#[test]
fn proxies_in_the_way() {
    let answering = |status: &str| one_answer(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
    let (refuses, wants) = (answering("403 Forbidden"), answering("407 Proxy Authentication Required"));
    let gone = nobody();
    let rows = [
        ("a proxy that refuses", refuses, "proxy-refused", "proxy's administrator"),
        ("a proxy that wants a password", wants, "proxy-password", "proxy-user"),
        ("a proxy that is not there", gone, "proxy-unreachable", "`proxy` of link sandbox"),
    ];
    for (title, proxy, advice, fix) in rows {
        // The name needs no address here: it is the proxy that looks it up.
        let named =
            format!("proxy = \"http://{proxy}\"\ntoken-endpoint = \"https://login.provider.example/token\"\n\n[mailbox.sandbox]");
        let edits = [("[mailbox.sandbox]", named.as_str())];
        let wanted = [
            Wanted { check: "proxy", advice, fix, what: "proxy", ..Wanted::default() },
            Wanted { check: "token", status: "not-checked", ..Wanted::default() },
            NO_LOGIN,
        ];
        Broken { title, edits: &edits, without: &["token-endpoint ="], wanted: &wanted, ..Broken::default() }.play();
    }
}

#[test]
fn a_proxy_of_the_environment_is_told() {
    let story = Broken { title: "a proxy", ..Broken::default() }.story();
    let proxy = one_answer("HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned());
    let environment = [("HTTP_PROXY".to_owned(), format!("http://{proxy}"))];
    let examined = examine(&story.config, &[], &environment);
    let what = format!("the proxy {proxy} leads to 127.0.0.1");
    examined.expect("a proxy", &Wanted { check: "proxy", status: "ok", what: &what, ..Wanted::default() });
    assert!(!examined.said.contains("endpoint-route"), "its own way is not ours: {}", examined.said);
}

#[test]
fn a_clock_that_is_off_by_an_hour() {
    for (title, by, status, exit) in [("an hour", DAY / 24, "failed", 1), ("two minutes", DAY / 720, "warning", 0)] {
        let story = Broken { title, ..Broken::default() }.story();
        let mut clock = Clock::new(Passing::Date, story.directory.path(), story.http, story.relay);
        clock.forward_daemon(by);
        let mut command = Command::new("true");
        clock.rule(&mut command);
        let environment: Vec<(String, String)> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value?.to_str()?.to_owned())))
            .collect();
        let examined = examine(&story.config, &[], &environment);
        let wanted = Wanted { check: "clock", status, advice: "clock", what: "ahead of", fix: "NTP", ..Wanted::default() };
        examined.expect(title, &wanted);
        assert_eq!(examined.status, Some(exit), "{title}: {}", examined.said);
    }
}

#[test]
fn names_without_a_server_for_them_and_a_dead_ipv6() {
    if !may_mount("names_without_a_server_for_them_and_a_dead_ipv6") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let replace = |what: &str, text: &str| {
        let file = directory.path().join("etc");
        fs::write(&file, text).expect("it can be written");
        mount(&["--bind", file.to_str().expect("a name"), what]);
        // The mount keeps the old file.
        fs::remove_file(&file).expect("it can be removed");
    };
    replace("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    let name = Wanted {
        check: "server-name",
        advice: "dns-no-answer",
        what: "smtp.example.com",
        fix: "resolv.conf",
        ..Wanted::default()
    };
    at_server("no name server", "smtp.example.com:465", None, &[name, NO_LOGIN]);

    replace("/etc/hosts", "::1 localhost\n127.0.0.1 localhost\n");
    let edits = [("server = \"127.0.0.1:", "server = \"localhost:")];
    let wanted = [
        Wanted { check: "server-name", status: "ok", what: "2 addresses", ..Wanted::default() },
        Wanted { check: "server-route", status: "warning", what: "IPv6 is dead, IPv4 works", why: "[::1]", ..Wanted::default() },
        Wanted { check: "sender", status: "ok", ..Wanted::default() },
    ];
    Broken { title: "a dead IPv6", edits: &edits, exit: 0, wanted: &wanted, ..Broken::default() }.play();
}

#[test]
fn state_directories_that_cannot_be_used() {
    if !may_mount("state_directories_that_cannot_be_used") {
        return;
    }
    let wanted = |why: &'static str, fix: &'static str| Wanted { check: "state-directory", why, fix, ..Wanted::default() };
    let examined = |title: &str, prepare: &dyn Fn(&str), wanted: Wanted<'_>| -> Examined {
        let story = Broken { title, ..Broken::default() }.story();
        let state = story.directory.path().join("state");
        fs::create_dir(&state).expect("it can be made");
        prepare(state.to_str().expect("a name"));
        let examined = examine(&story.config, &[], &[]);
        examined.expect(title, &wanted);
        // What needs no grant is told all the same.
        for check in ["endpoint-route", "clock", "server-tls", "ehlo"] {
            assert_eq!(examined.finding(check)["status"], "ok", "{title}: {}", examined.said);
        }
        assert_eq!(examined.finding("token")["status"], "not-checked", "{title}: {}", examined.said);
        secrets(story.directory.path()).text(title, &examined.said);
        examined
    };
    let full = |state: &str| {
        mount(&["-t", "tmpfs", "-o", "size=64k", "none", state]);
        let file = fs::File::create(format!("{state}/filling")).expect("it can be made");
        let filled = std::io::copy(&mut std::io::repeat(0), &mut &file);
        assert!(filled.is_err(), "the disk is not full");
    };
    let story = examined("a full disk", &full, wanted("No space left", "free space"));
    assert_eq!(story.status, Some(1), "{}", story.said);
    let read_only = |state: &str| mount(&["-t", "tmpfs", "-o", "size=1m,ro", "none", state]);
    let story = examined("a disk that cannot be written", &read_only, wanted("Read-only file system", "read-only"));
    assert_eq!(story.status, Some(1), "{}", story.said);
}
