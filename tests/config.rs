//! The configuration through the real loader: broken files with the fault that is expected of each, layers, and every file that is shipped.

#![allow(clippy::unwrap_used)]

use outlink::{
    config::{self, Fault, Link, Proof, SecretSource, Settings, Variables},
    mail::State,
    provider::NullSender,
    secret::Ring,
};
use proptest::prelude::*;
use std::{
    fs,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// What the environment holds in these tests.
fn variables(more: &[(&str, &str)]) -> Variables {
    let all = [("TEST_SECRET", "s3cret"), ("STATE_DIRECTORY", "/nonexistent/outlink")];
    all.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Keys that open nothing in these tests.
fn ring() -> Ring {
    Ring::new(outlink::key::fresh().unwrap())
}

fn toml_files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

fn fatal(faults: &[Fault]) -> Vec<&Fault> {
    faults.iter().filter(|fault| fault.is_fatal()).collect()
}

/// Writes files below a fresh directory and loads the first.
fn load(files: &[(&str, &str)], more: &[(&str, &str)]) -> Result<(Settings, Vec<Fault>), Vec<Fault>> {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = directory.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let state = directory.path().join("state");
    let mut variables = variables(more);
    variables.insert("STATE_DIRECTORY".into(), state.to_str().unwrap().into());
    config::load_with(&directory.path().join(files[0].0), &variables)
}

fn secret(link: &Link) -> &SecretSource {
    let Proof::Secret { source, .. } = &link.proof else { panic!("{link:?}") };
    source
}

/// The parts of a complete configuration that needs no preset.
const LINK: &str = r#"
[link.internal]
provider = "custom"
grant = "client-credentials"
client-id = "outlink"
client-secret = { env = "TEST_SECRET" }
scopes = ["mail.send"]
token-endpoint = "https://login.example.com/token"

[mailbox.robot]
link = "internal"
address = "Robot@example.com"
server = "smtp.example.com:587"
"#;
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b4dWRWJTmaaJObGRdescudvJCs";

/// An app below [`LINK`], to be gone on with.
/// An app that every listener lets in by one or the other.
const PRINTER: &str = "[app.printer]\nnetworks = ['10.1.2.3']\n\
    password = '$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b4dWRWJTmaaJObGRdescudvJCs'\nmailbox = 'robot'\n";

/// The comments at the head say what is expected, `# <--` marks the line.
#[test]
fn every_broken_file_gives_exactly_the_fault_that_it_names() {
    let mut wrong = Vec::new();
    for file in toml_files("tests/faults") {
        let text = fs::read_to_string(&file).unwrap();
        let expected = text.lines().find_map(|line| line.strip_prefix("# fault: ")).unwrap();
        let hint = text.lines().find_map(|line| line.strip_prefix("# hint: ")).unwrap_or("");
        let line = text.lines().position(|line| line.ends_with("# <--")).unwrap() + 1;
        let faults = config::load_with(&file, &variables(&[])).err().unwrap_or_default();
        let shown: Vec<_> = faults.iter().map(Fault::to_string).collect();
        let found = fatal(&faults);
        let right = found.len() == 1
            && shown.iter().any(|shown| {
                shown.starts_with(&format!("{}:{line}:", file.display())) && shown.contains(&format!(": {expected}"))
            })
            && found[0].hint.contains(hint)
            && !shown.concat().contains("MARKED");
        if !right {
            wrong.push(format!("{}\n  expected {line}: {expected} ({hint})\n  found\n{}", file.display(), shown.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn many_faults_are_reported_at_once_and_in_order() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/many/outlink.toml");
    let faults = config::load_with(&file, &variables(&[])).unwrap_err();
    let found: Vec<_> = fatal(&faults).iter().map(|fault| (fault.line.unwrap(), fault.key.as_str())).collect();
    let expected = [
        (2, "hostname"),
        (5, "listener.office.bind"),
        (11, "link.internal.client-id"),
        (13, "link.internal.client-secert"),
        (15, "link.internal.token-endpoint"),
        (19, "mailbox.robot.address"),
        (22, "app.crowd.password"),
        (23, "app.crowd.mailbox"),
    ];
    assert_eq!(found, expected);
    assert!(!format!("{faults:?}{}", serde_json::to_string(&faults).unwrap()).contains("MARKED"));
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let (settings, notes) = load(&[("outlink.toml", "")], &[]).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let listener = settings.listeners.values().next().unwrap();
    assert_eq!((listener.name.as_str(), listener.bind.to_string().as_str()), ("local", "127.0.0.1:2525"));
    assert_eq!((listener.auth, listener.delivery), (config::Auth::Required, config::Delivery::Queue));
    assert_eq!(settings.queue, config::Queue::default());
    assert!(listener.networks.iter().any(|network| network.contains(&"127.0.0.1".parse::<IpAddr>().unwrap())));
    assert!(!listener.networks.iter().any(|network| network.contains(&"10.0.0.1".parse::<IpAddr>().unwrap())));
    assert_eq!(listener.limits.message_size, 35 << 20);
    assert!(settings.state_directory.ends_with("state"));
}

#[test]
fn later_layers_win_and_faults_name_their_file() {
    let files = [
        ("outlink.toml", "hostname = \"a.example.com\"\n[log]\nlevel = \"debug\"\nformat = \"json\"\n"),
        ("conf.d/10-link.toml", LINK),
        ("conf.d/20-log.toml", "hostname = \"b.example.com\"\n[log]\nlevel = \"warn\"\n"),
        ("conf.d/README", "not read"),
        ("state/conf.d/crowd.toml", &format!("[app.crowd]\npassword = '{HASH}'\nmailbox = 'robot'\n")),
    ];
    let (settings, _) = load(&files, &[("OUTLINK_LOG__LEVEL", "trace")]).unwrap();
    assert_eq!(settings.hostname.as_deref(), Some("b.example.com"));
    assert_eq!((settings.log.level.as_str(), settings.log.format), ("trace", config::LogFormat::Json));
    assert_eq!((settings.links.len(), settings.mailboxes.len(), settings.apps.len()), (1, 1, 1));

    let faults = load(&[files[0], ("conf.d/x.toml", "\n[app.crowd]\nmailbox = 'none'\n")], &[]).unwrap_err();
    let shown = faults[0].to_string();
    assert!(shown.contains("conf.d/x.toml:2:6: app.crowd: this app has no way"), "{shown}");
}

#[test]
fn variables_reach_every_level_and_names_with_digits() {
    let more = [
        ("OUTLINK_LINK__S3__PROVIDER", "custom"),
        ("OUTLINK_LINK__S3__GRANT", "client-credentials"),
        ("OUTLINK_LINK__S3__CLIENT_ID", "12345"),
        ("OUTLINK_LINK__S3__CLIENT_SECRET__ENV", "OUTLINK_S3_SECRET"),
        ("OUTLINK_S3_SECRET", "hidden"),
        ("OUTLINK_PORT_2525_TCP", "tcp://10.0.0.1:2525"),
        ("OUTLINK_LINK__S3__SCOPES", "mail.send, offline_access"),
        ("OUTLINK_LINK__S3__TOKEN_ENDPOINT", "https://login.example.com/token"),
        ("OUTLINK_MAILBOX__ROBOT_1__LINK", "s3"),
        ("OUTLINK_MAILBOX__ROBOT_1__ADDRESS", "robot@example.com"),
        ("OUTLINK_MAILBOX__ROBOT_1__SERVER", "smtp.example.com:587"),
        ("OUTLINK_MAILBOX__ROBOT_1__XOAUTH2_USER", "other@example.com"),
        ("OUTLINK_MAILBOX__ROBOT_1__LIMITS__CONNECTIONS", "3"),
        ("OUTLINK_HOSTNAME", ""),
    ];
    let (settings, notes) = load(&[("outlink.toml", "")], &more).unwrap();
    let (link, mailbox) = (settings.links.values().next().unwrap(), settings.mailboxes.values().next().unwrap());
    assert_eq!((link.name.as_str(), link.client_id.as_str()), ("s3", "12345"));
    assert_eq!(link.scopes, ["mail.send", "offline_access"]);
    assert_eq!((mailbox.name.as_str(), mailbox.xoauth2_user.as_str()), ("robot-1", "other@example.com"));
    assert_eq!(mailbox.limits.connections, 3);
    let keys: Vec<_> = notes.iter().map(|note| note.key.as_str()).collect();
    assert_eq!(keys, ["port-2525-tcp"]);

    let faults = load(&[("outlink.toml", LINK)], &[("OUTLINK_LINK__INTERNAL__CLIENT_SECERT", "MARKED")]).unwrap_err();
    let shown = faults[0].to_string();
    assert!(
        shown.starts_with(
            "environment: link.internal.client-secert: unknown key\n    OUTLINK_LINK__INTERNAL__CLIENT_SECERT=[secret]"
        ),
        "{shown}"
    );
}

#[test]
fn the_queue_obeys_its_table_and_apps_have_their_own_wishes() {
    let text = format!(
        "{LINK}null-sender = 'mailbox'\n{PRINTER}expire-after = '1h'\nwarn-after = '10m'\nbounce-to = 'office@example.com'\n\
         [queue]\nretry = ['30s', '1h 30m']\nexpire-after = '2d'\nwarn-after = '4h'\nkeep-held = '1d'\nkeep-failed = '2d'\n\
         keep-trace = '3d'\nmaximum-size = '1 MiB'\nminimum-free = '0 B'\nbounce-to = 'postmaster@example.com'\n"
    );
    let (settings, notes) = load(&[("outlink.toml", &text)], &[]).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let address = |text: &str| outlink::mail::Address::parse(text).ok();
    let expected = config::Queue {
        retry: vec![Duration::from_secs(30), Duration::from_secs(5400)],
        expire_after: hours(48),
        warn_after: Some(hours(4)),
        keep_held: hours(24),
        keep_failed: hours(48),
        keep_trace: hours(72),
        maximum_size: 1 << 20,
        minimum_free: 0,
        bounce_to: address("postmaster@example.com"),
    };
    assert_eq!(settings.queue, expected);
    let app = settings.apps.values().next().unwrap();
    assert_eq!((app.expire_after, app.warn_after), (Some(hours(1)), Some(Duration::from_secs(600))));
    assert_eq!(app.bounce_to, address("office@example.com"));
    assert_eq!(settings.mailboxes.values().next().unwrap().null_sender, NullSender::Mailbox);
}

#[test]
fn the_queue_is_set_by_variables_too() {
    let more = [
        ("OUTLINK_QUEUE__RETRY", "1m, 5m,1h"),
        ("OUTLINK_QUEUE__EXPIRE_AFTER", "2d"),
        ("OUTLINK_QUEUE__WARN_AFTER", "4h"),
        ("OUTLINK_QUEUE__KEEP_FAILED", "1d"),
        ("OUTLINK_QUEUE__MAXIMUM_SIZE", "1 GiB"),
        ("OUTLINK_QUEUE__MINIMUM_FREE", "0 B"),
        ("OUTLINK_QUEUE__BOUNCE_TO", "postmaster@example.com"),
        ("OUTLINK_MAILBOX__ROBOT__NULL_SENDER", "mailbox"),
        ("OUTLINK_APP__PRINTER__EXPIRE_AFTER", "1h"),
        ("OUTLINK_APP__PRINTER__WARN_AFTER", "10m"),
        ("OUTLINK_APP__PRINTER__BOUNCE_TO", "office@example.com"),
    ];
    let (settings, notes) = load(&[("outlink.toml", &format!("{LINK}{PRINTER}"))], &more).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let queue = &settings.queue;
    assert_eq!(queue.retry, [1, 5, 60].map(minutes));
    assert_eq!((queue.expire_after, queue.warn_after), (minutes(2 * 1440), Some(minutes(240))));
    assert_eq!((queue.keep_failed, queue.keep_trace), (minutes(1440), config::Queue::default().keep_trace));
    assert_eq!((queue.maximum_size, queue.minimum_free), (1 << 30, 0));
    let app = settings.apps.values().next().unwrap();
    assert_eq!((app.expire_after, app.warn_after), (Some(minutes(60)), Some(minutes(10))));
    let addresses = [&queue.bounce_to, &app.bounce_to].map(|address| address.as_ref().unwrap().as_str());
    assert_eq!(addresses, ["postmaster@example.com", "office@example.com"]);
    assert_eq!(settings.mailboxes.values().next().unwrap().null_sender, NullSender::Mailbox);
}

#[test]
fn the_preset_says_whom_bounces_come_from() {
    for (example, expected) in [
        ("microsoft-app-only", NullSender::Mailbox),
        ("microsoft-delegated", NullSender::Mailbox),
        ("google", NullSender::Keep),
        ("custom", NullSender::Keep),
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/examples/{example}.toml"));
        let (settings, _) = config::load_with(&file, &variables(&[])).unwrap();
        assert_eq!(settings.mailboxes.values().next().unwrap().null_sender, expected, "{example}");
    }
}

/// A hook of each kind, with what it is read as.
#[test]
fn hooks_are_read_from_files_and_variables() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("page");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let text = format!(
        "{LINK}{}[notify.page]\ncommand = ['{}', '--team', 'mail']\nstates = ['needs-consent', 'needs-repair']\ntimeout = '5s'\n\
         [notify.chat]\nurl = 'https://chat.example.com/marked-in-the-url'\nlinks = ['internal']\n\
         [notify.ops]\nto = 'ops@example.com'\nmailbox = 'other'\nmailboxes = ['robot']\n",
        LINK.replace("internal", "second").replace("robot]", "other]"),
        program.display()
    );
    let more = [
        ("OUTLINK_NOTIFY__HOOK__URL", "http://127.0.0.1:8080/outlink"),
        ("OUTLINK_NOTIFY__HOOK__SECRET__ENV", "TEST_SECRET"),
        ("OUTLINK_NOTIFY__HOOK__STATES", "failing, ready"),
        ("OUTLINK_NOTIFY__HOOK__PROXY", "none"),
    ];
    let (settings, notes) = load(&[("outlink.toml", &text)], &more).unwrap();
    let noted: Vec<_> = notes.iter().map(|note| (note.key.as_str(), note.message.as_str())).collect();
    let unsigned = "this is posted without a signature: the receiver cannot tell who sent it";
    assert_eq!(noted, [("notify.chat.url", unsigned)]);
    assert!(!format!("{settings:?}{notes:?}").contains("marked-in-the-url"));
    let hook = |name: &str| settings.hooks.values().find(|hook| hook.name.as_str() == name).unwrap();
    let (page, chat, ops, hook) = (hook("page"), hook("chat"), hook("ops"), hook("hook"));
    let words = [program.to_str().unwrap(), "--team", "mail"].map(str::to_owned).to_vec();
    assert_eq!((&page.action, page.timeout), (&config::Action::Command(words), Duration::from_secs(5)));
    assert_eq!(page.states, [State::NeedsConsent, State::NeedsRepair].into());
    assert_eq!((&chat.states, chat.timeout), (&State::ALL.into(), Duration::from_secs(30)));
    let names = |only: &Option<config::Only>| {
        let only = only.clone().unwrap();
        [only.links, only.mailboxes].map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(names(&chat.only), [vec!["internal".to_owned()], vec![]]);
    assert_eq!(names(&ops.only), [vec![], vec!["robot".to_owned()]]);
    assert!(matches!(&ops.action, config::Action::Mail { to, mailbox } if to.len() == 1 && mailbox.as_str() == "other"));
    let config::Action::Webhook(webhook) = &hook.action else { panic!("{hook:?}") };
    assert_eq!((webhook.place().as_str(), &webhook.proxy), ("http://127.0.0.1:8080", &config::Proxy::None));
    assert_eq!(webhook.secret, Some(SecretSource::Environment("TEST_SECRET".into())));
    assert_eq!(hook.states, [State::Failing, State::Ready].into());
}

#[test]
fn a_hook_that_may_not_help_on_the_day_is_noted() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("page");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o777)).unwrap();
    let text = format!(
        "{LINK}[notify.page]\ncommand = '{}'\n[notify.ops]\nto = 'ops@example.com'\nmailbox = 'robot'\n",
        program.display()
    );
    let (_, notes) = load(&[("outlink.toml", &text)], &[]).unwrap();
    let noted = |key: &str, part: &str| notes.iter().any(|note| note.key == key && note.message.contains(part));
    assert!(noted("notify.page.command", "every user of this machine can change"), "{notes:?}");
    assert!(noted("notify.ops.mailbox", "is the only one"), "{notes:?}");
    assert_eq!(notes.len(), 2);
}

#[test]
fn an_app_that_expires_before_the_queues_warning_has_none_and_is_no_fault() {
    let text = format!("{LINK}{PRINTER}expire-after = '1h'\n[queue]\nwarn-after = '4h'\n");
    assert!(load(&[("outlink.toml", &text)], &[]).unwrap().1.is_empty());
}

#[test]
fn a_later_way_to_a_secret_replaces_an_earlier_one() {
    let later = "[link.internal]\nclient-secret = { file = \"internal.secret\" }\n";
    let files = [("outlink.toml", LINK), ("conf.d/a.toml", later), ("conf.d/internal.secret", "from the file\r\n")];
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("conf.d")).unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let (settings, notes) = config::load_with(&directory.path().join("outlink.toml"), &variables(&[])).unwrap();
    let link = settings.links.values().next().unwrap();
    assert_eq!(secret(link), &SecretSource::File(directory.path().join("conf.d/internal.secret")));
    assert_eq!(secret(link).read(&ring()).unwrap().expose(), "from the file");
    assert!(notes.iter().any(|note| note.message.starts_with("every user of this machine can read")), "{notes:?}");
}

#[test]
fn a_plain_secret_works_and_is_noted_and_masked() {
    let text = LINK.replace("{ env = \"TEST_SECRET\" }", "\"MARKED\"");
    let (settings, notes) = load(&[("outlink.toml", &text)], &[]).unwrap();
    assert_eq!(secret(settings.links.values().next().unwrap()).read(&ring()).unwrap().expose(), "MARKED");
    assert_eq!(notes.len(), 1);
    assert_eq!(notes[0].source_line, "client-secret = [secret]");
    assert!(!format!("{settings:?}{notes:?}").contains("MARKED"));
}

#[test]
fn a_credential_is_noted_outside_its_unit_and_read_inside() {
    let text = LINK.replace("{ env = \"TEST_SECRET\" }", "{ credential = \"internal\" }");
    let (_, notes) = load(&[("outlink.toml", &text)], &[]).unwrap();
    assert_eq!(notes.len(), 1);
    assert!(notes[0].message.contains("cannot be checked outside its systemd unit"), "{notes:?}");
    let credentials = tempfile::tempdir().unwrap();
    let inside = [("CREDENTIALS_DIRECTORY", credentials.path().to_str().unwrap())];
    assert!(load(&[("outlink.toml", &text)], &inside).is_err());
    fs::write(credentials.path().join("internal"), "hidden\n").unwrap();
    assert!(load(&[("outlink.toml", &text)], &inside).unwrap().1.is_empty());
}

#[test]
fn secrets_that_cannot_be_used_say_where_they_were_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    for (bytes, why) in [
        (vec![], "it is empty"),
        (b"\n".to_vec(), "it is empty"),
        (vec![b'x'; 70_000], "longer than 64 KiB"),
        (vec![0xff], "not text"),
    ] {
        fs::write(&file, bytes).unwrap();
        let error = SecretSource::File(file.clone()).read(&ring()).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains(file.to_str().unwrap()), "{error}");
    }
    let error = SecretSource::File(directory.path().into()).read(&ring()).unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
    fs::write(&file, "two\nlines\n\n").unwrap();
    assert_eq!(SecretSource::File(file).read(&ring()).unwrap().expose(), "two\nlines\n");
}

#[test]
fn what_came_with_later_versions_passes_without_a_note() {
    let text = format!(
        r#"{LINK}
limits = {{ messages-per-minute = 30, recipients-per-message = 7 }}

[listener.local]
delivery = "queue"

[app.printer]
password = "{HASH}"
networks = ["10.1.2.3"]
mailbox = "by-sender"
allowed-from = ["*@example.com"]
delivery = "direct-then-queue"

[queue]
retry = ["1m", "2m"]
expire-after = "5d"
maximum-size = "10 GiB"

[http]
bind = "127.0.0.1:8025"
"#
    );
    let (_, notes) = load(&[("outlink.toml", &text)], &[]).unwrap();
    for key in ["mailbox.robot.limits", "listener.local.delivery", "app.printer", "queue", "http"] {
        assert!(!notes.iter().any(|note| note.key.starts_with(key)), "{key}: {notes:?}");
    }
}

#[test]
fn a_redirect_that_works_is_taken_and_one_that_deserves_a_word_is_noted() {
    for (provider, grant, url, note) in [
        ("microsoft", "authorization-code", "http://localhost", ""),
        ("microsoft", "authorization-code", "http://127.0.0.1:8025/oauth/callback", "only by an edit of the app's manifest"),
        ("microsoft", "client-credentials", "http://localhost", "has no effect"),
        ("google", "authorization-code", "http://127.0.0.1:8025/oauth/callback", ""),
        ("google", "authorization-code", "http://localhost:8025/", ""),
        ("google", "authorization-code", "https://relay.example.com/oauth/callback", ""),
        ("custom", "authorization-code", "http://relay.lan/cb", "crosses the network readable"),
    ] {
        let more = match provider {
            "custom" => "scopes = ['mail.send']\ntoken-endpoint = 'https://login.example.com/token'\n",
            "microsoft" => "tenant = 'contoso.com'\n",
            _ => "",
        };
        let text = format!(
            "[link.a]\nprovider = '{provider}'\ngrant = '{grant}'\nclient-id = 'me'\nclient-secret = {{ env = 'TEST_SECRET' }}\n\
             {more}redirect-url = '{url}'\n"
        );
        let (settings, notes) = load(&[("outlink.toml", &text)], &[]).unwrap_or_else(|faults| panic!("{url}: {faults:?}"));
        assert!(settings.links.values().all(|link| link.redirect_url.is_some()), "{url}");
        match note {
            "" => assert!(notes.is_empty(), "{url}: {notes:?}"),
            note => assert!(notes.len() == 1 && notes[0].message.contains(note), "{url}: {notes:?}"),
        }
    }
}

#[test]
fn what_is_said_in_so_many_words_may_be_opened() {
    for (listener, note) in [
        (
            "[listener.office]\nbind = '0.0.0.0:2525'\nnetworks = ['10.0.0.0/8']\nallow-plaintext-auth = true\n",
            "passwords may cross the network in clear text",
        ),
        ("[listener.office]\nbind = '0.0.0.0:2525'\nnetworks = ['10.1.0.0/16']\nauth = 'none'\n", ""),
        (
            "[listener.office]\nbind = '0.0.0.0:2525'\nnetworks = ['10.1.0.0/16']\nauth = 'optional'\n",
            "passwords are taken from this machine alone",
        ),
        ("[listener.office]\nbind = '[::]:2525'\n", ""),
        ("[listener.local]\nallow-plaintext-auth = true\n", "no effect"),
        ("[listener.a]\nbind = '127.0.0.1:0'\n[listener.b]\nbind = '127.0.0.1:0'\n", ""),
        ("[listener.a]\nbind = '0.0.0.0:2525'\n[listener.b]\nbind = '[::]:2525'\n", ""),
        ("[listener.a]\nbind = '127.0.0.1:25'\n", "ports below 1024 need a privilege"),
        ("[listener.local]\nbind = 'unix:/run/outlink/smtp.sock'\nsocket-mode = '0666'\nsocket-group = 'mail'\n", ""),
        ("[listener.local]\nbind = 'unix:/run/outlink/smtp.sock'\nnetworks = ['10.0.0.0/8']\n", "a Unix socket has no addresses"),
        ("[listener.low]\nbind = 'systemd:smtp'\n", ""),
    ] {
        let loaded = load(&[("outlink.toml", &format!("{LINK}{PRINTER}{listener}"))], &[]);
        let (_, notes) = loaded.unwrap_or_else(|faults| panic!("{listener}: {faults:?}"));
        match note {
            "" => assert!(notes.is_empty(), "{listener}: {notes:?}"),
            note => assert!(notes.len() == 1 && notes[0].message.contains(note), "{listener}: {notes:?}"),
        }
    }
}

#[test]
fn users_are_lower_case_and_senders_match_without_case() {
    let app = format!("[app.crowd]\nuser = 'Crowd@Example.com'\npassword = ['{HASH}', '{HASH}']\nmailbox = 'robot'\n");
    let (settings, _) = load(&[("outlink.toml", &format!("{LINK}{app}"))], &[]).unwrap();
    let (app, mailbox) = (settings.apps.values().next().unwrap(), settings.mailboxes.values().next().unwrap());
    assert_eq!((app.user.as_str(), app.passwords.len()), ("crowd@example.com", 2));
    let address = |text: &str| outlink::mail::Address::parse(text).unwrap();
    assert!(mailbox.allowed_from.matches(&address("ROBOT@example.com")));
    assert!(!mailbox.allowed_from.matches(&address("other@example.com")));
}

#[test]
fn a_file_that_is_not_there_is_one_clear_fault() {
    let faults = config::load_with(Path::new("/nonexistent/outlink.toml"), &variables(&[])).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].to_string().starts_with("/nonexistent/outlink.toml: the file cannot be read: No such file"),
        "{}",
        faults[0]
    );
}

#[test]
fn every_shipped_file_is_without_fault() {
    let files = [toml_files("config"), toml_files("config/examples")].concat();
    assert!(files.len() > 6, "{files:?}");
    // The certificate of a listener is the reader's own.
    let directory = tempfile::tempdir().unwrap();
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
    fs::create_dir(directory.path().join("tls")).unwrap();
    fs::copy(keys.join("p256.crt"), directory.path().join("tls/relay.crt")).unwrap();
    fs::copy(keys.join("p256.pem"), directory.path().join("tls/relay.key")).unwrap();
    fs::set_permissions(directory.path().join("tls/relay.key"), fs::Permissions::from_mode(0o600)).unwrap();
    for shipped in files {
        let file = directory.path().join(shipped.file_name().unwrap());
        fs::copy(&shipped, &file).unwrap();
        match config::load_with(&file, &variables(&[])) {
            Ok((settings, notes)) => {
                assert!(notes.iter().all(|note| note.key.ends_with("secret")), "{}: {notes:?}", file.display());
                assert!(!settings.apps.is_empty() && !settings.mailboxes.is_empty(), "{}", file.display());
            }
            Err(faults) => panic!("{}", faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")),
        }
    }
}

/// Every key that the reference shows, also in its comments, is one that the loader knows.
#[test]
fn the_reference_with_all_its_comments_taken_out_has_no_unknown_key() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/outlink.toml");
    let text: String = fs::read_to_string(file).unwrap().lines().map(uncommented).collect();
    let faults = match config::parse(&text, &variables(&[])) {
        Ok((_, notes)) => notes,
        Err(faults) => faults,
    };
    let unknown: Vec<_> =
        faults.iter().filter(|fault| fault.message.contains("unknown") || fault.message.contains("TOML")).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_reference_shows_the_defaults_of_the_queue() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/outlink.toml");
    let text = fs::read_to_string(file).unwrap();
    let table: String =
        text.lines().skip_while(|line| *line != "#[queue]").take_while(|line| !line.is_empty()).map(uncommented).collect();
    let shown = load(&[("outlink.toml", &table)], &[]).unwrap().0.queue;
    assert!(shown.warn_after.is_some() && shown.bounce_to.is_some(), "{table}");
    assert_eq!(config::Queue { warn_after: None, bounce_to: None, ..shown }, config::Queue::default());
}

/// A key that is commented out begins with `#` and no space; prose has the space.
fn uncommented(line: &str) -> String {
    match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => format!("{key}\n"),
        _ => format!("{line}\n"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands in a file: faults or settings, each with a key or a place.
    #[test]
    fn no_text_makes_the_loader_panic(parts in proptest::collection::vec(part(), 0..40)) {
        let text = parts.concat();
        if let Err(faults) = config::parse(&text, &variables(&[])) {
            prop_assert!(faults.iter().any(Fault::is_fatal), "{text}");
            prop_assert!(faults.iter().all(|fault| !fault.to_string().is_empty()), "{text}");
        }
    }
}

fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "\n",
        "\n[link.a]\n",
        "\n[app.b]\n",
        "\n[listener.local]\n",
        "\n[mailbox.c]\n",
        "\n[notify.d]\n",
        "[",
        "]",
        "{ ",
        " }",
        "\"",
        "\"\"\"",
        "'",
        ",",
        "=",
        "#",
        "é",
        "\t",
        "\u{0}",
        "client-secret = \"MARKED\"\n",
        "password = [\"MARKED\", 'MARKED']\n",
        "client-secret = { file = '/x' }\n",
        "bind = ",
        "url = ",
        "command = ",
        "\"127.0.0.1:25\"\n",
        "networks = ['::/0']\n",
        "provider = 'custom'\n",
        "grant = 'client-credentials'\n",
        "1",
        "true",
        "2027-05-01",
        "99999999999999999999",
        "1e999",
        "limits.",
        "password = ",
        "\"MARKED\"\n",
    ])
}

#[test]
fn an_app_that_no_listener_lets_in_is_noted() {
    let home = "[listener.local]\n";
    let office = "[listener.office]\nbind = '0.0.0.0:2526'\nauth = 'optional'\nnetworks = ['10.0.0.0/8']\n";
    let near = "[listener.near]\nbind = '127.0.0.1:2526'\nauth = 'optional'\nnetworks = ['10.0.0.0/8']\n";
    let socket = "[listener.socket]\nbind = 'unix:/run/outlink/smtp.sock'\nauth = 'optional'\n";
    for (listeners, proof, noted) in [
        (home, "networks = ['10.1.2.3']", Some("networks")),
        (office, "networks = ['10.1.2.3']", None),
        (office, "networks = ['192.168.1.1']", Some("networks")),
        (office, "networks = ['fd00::1']", Some("networks")),
        (near, "networks = ['10.1.2.3']", Some("networks")),
        (home, "certificate = ['scanner.example.com']", Some("certificate")),
        (office, "certificate = ['scanner.example.com']", Some("certificate")),
        (home, "unix-user = ['0']", Some("unix-user")),
        (socket, "unix-user = ['0']", None),
        (home, "enabled = false\nunix-user = ['0']", None),
        (socket, "networks = ['10.1.2.3']\nunix-user = ['0']", None),
    ] {
        let drop = "[drop]\ndirectory = '/nonexistent/drop'\n";
        let text = format!("{LINK}{listeners}{drop}[app.printer]\n{proof}\nmailbox = 'robot'\n");
        let (_, notes) = load(&[("outlink.toml", &text)], &[]).unwrap();
        let keys: Vec<_> =
            notes.iter().filter(|note| note.message.starts_with("this app cannot send")).map(|note| note.key.as_str()).collect();
        let expected: Vec<_> = noted.map(|key| format!("app.printer.{key}")).into_iter().collect();
        assert_eq!(keys, expected, "{listeners} {proof}");
    }
}
