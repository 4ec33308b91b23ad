//! Commands that write configuration: `outlink link`, `mailbox` and `app`, beside a daemon that runs and while none does, by flags and at
//! a terminal, by root and by users who may not write everywhere.

mod support;

use serde_json::{Value, json};
use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
};
use support::{
    LONG, Program, SOON, outlink,
    queued::{Mail, queue, until},
    run,
    story::{App, Story},
};

/// Who is nobody in particular on every system.
const NOBODY: u32 = 65534;

/// An outlink with its files, and nothing running.
struct House {
    directory: tempfile::TempDir,
    config: PathBuf,
}

impl House {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = directory.path().join("outlink.toml");
        fs::write(&config, format!("state-directory = \"state\"\n{text}")).expect("it can be written");
        Self { directory, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn written(&self, name: &str) -> String {
        fs::read_to_string(self.path("conf.d").join(name)).unwrap_or_else(|e| panic!("conf.d/{name}: {e}"))
    }

    /// The files in `conf.d`.
    fn files(&self) -> Vec<String> {
        let listed = fs::read_dir(self.path("conf.d"));
        let mut names: Vec<_> = listed
            .into_iter()
            .flatten()
            .map(|it| it.expect("it can be listed").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn ask(&self, words: &[&str], input: &str) -> (Option<i32>, String, String) {
        let mut command = outlink();
        command.args(words).arg("--config").arg(&self.config);
        told(run(command, input.as_bytes(), LONG))
    }

    fn good(&self, words: &[&str]) -> String {
        let (status, out, err) = self.ask(words, "");
        assert_eq!(status, Some(0), "{words:?}: {out}{err}");
        out
    }
}

fn told(output: Output) -> (Option<i32>, String, String) {
    let text = |octets: Vec<u8>| String::from_utf8(octets).expect("it speaks UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Runs a command at a pseudo-terminal; gives its exit status and what was on the screen.
fn at_terminal(words: &[&str], config: &Path, answers: &[(&str, &str)]) -> (Option<i32>, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/terminal.py");
    let program = outlink().get_program().to_owned();
    let mut command = Command::new("python3");
    command.arg(script).arg(SOON.as_secs().to_string()).arg(program).args(words).arg("--config").arg(config);
    let (status, out, err) = told(run(command, json!(answers).to_string().as_bytes(), LONG));
    (status, format!("{out}{err}"))
}

const LINK: &[&str] = &[
    "link",
    "add",
    "internal",
    "--provider",
    "custom",
    "--grant",
    "client-credentials",
    "--client-id",
    "me",
    "--client-secret-file",
    "-",
    "--scope",
    "mail.send",
    "--token-endpoint",
    "https://login.example.com/token",
];

/// A link and a mailbox as a person wrote them.
const BY_HAND: &str = "[link.old]\nprovider = \"google\"\ngrant = \"authorization-code\"\nclient-id = \"c\"\n\
                       [mailbox.old]\nlink = \"old\"\naddress = \"old@example.com\"\n";

/// The keys of a story's link as flags.
fn like(story: &Story) -> Vec<String> {
    let text = fs::read_to_string(&story.config).expect("it is there");
    let key = |name: &str| {
        let line =
            text.lines().find_map(|line| line.strip_prefix(&format!("{name} = "))).unwrap_or_else(|| panic!("{name}: {text}"));
        line.trim_matches('"').to_owned()
    };
    ["client-id", "token-endpoint", "ca-file"].iter().flat_map(|name| [format!("--{name}"), key(name)]).collect()
}

fn server(story: &Story) -> String {
    let text = fs::read_to_string(&story.config).expect("it is there");
    let line = text.lines().find_map(|line| line.strip_prefix("server = ")).expect("the mailbox has a server");
    line.trim_matches('"').to_owned()
}

#[test]
fn a_link_a_mailbox_and_an_app_are_added_to_a_running_daemon_and_mail_flows() {
    let story = Story::new("custom", queue);
    let daemon = story.start();
    let secret = fs::read(story.directory.path().join("client-secret")).expect("it was written");
    let ask = |words: &[&str], input: &[u8]| {
        let mut command = outlink();
        command.args(words).arg("--config").arg(&story.config);
        let (status, out, err) = told(run(command, input, LONG));
        assert_eq!(status, Some(0), "{words:?}: {out}{err}\n{}", daemon.output());
        assert!(!format!("{out}{err}").contains(String::from_utf8_lossy(&secret).trim()), "the secret is told: {out}{err}");
        out
    };
    let flags = like(&story);
    let scope = ["--scope", "https://mail.sandbox.example/smtp"];
    let text = fs::read_to_string(&story.config).expect("it is there");
    let scope =
        text.lines().find_map(|line| line.strip_prefix("scopes = [\"")).map_or(scope[1], |rest| rest.trim_end_matches("\"]"));
    let link = [
        "link",
        "add",
        "second",
        "--provider",
        "custom",
        "--grant",
        "client-credentials",
        "--client-secret-file",
        "-",
        "--scope",
        scope,
    ];
    let link: Vec<&str> = link.into_iter().chain(flags.iter().map(String::as_str)).collect();
    let said = ask(&link, &secret);
    assert!(said.contains("the running daemon has taken it up") && said.contains("outlink mailbox add --link second"), "{said}");
    let server = server(&story);
    ask(
        &[
            "mailbox",
            "add",
            "robot",
            "--link",
            "second",
            "--address",
            "robot@sandbox.example",
            "--server",
            &server,
            "--tls",
            "starttls",
        ],
        b"",
    );
    let app = ask(&["app", "add", "erp", "--mailbox", "robot", "--user", "erp@sandbox.example", "--json"], b"");
    let app: Value = serde_json::from_str(&app).unwrap_or_else(|e| panic!("{e}: {app}"));
    assert_eq!(
        app["listeners"],
        json!([{"listener": "local", "host": "127.0.0.1", "port": story.relay.port(), "encryption": "none",
            "encryption_needed": false, "reached_by": ["127.0.0.0/8", "::1"]}])
    );
    let (user, password) = (app["user"].as_str().expect("a user"), app["password"].as_str().expect("a password"));
    let mut sender = App::login(story.relay, user, password);
    sender.queue(Mail { id: "by-command", ..Mail::default() });
    story.with_subject("by-command");
    let list: Value = serde_json::from_str(&ask(&["link", "list", "--json"], b"")).expect("JSON");
    let second =
        list["links"].as_array().expect("links").iter().find(|link| link["link"] == "second").expect("it is listed").clone();
    assert_eq!(
        (&second["mailboxes"][0]["state"], &second["mailboxes"][0]["apps"]),
        (&json!("ready"), &json!(["erp"])),
        "{second}"
    );
    assert!(second["mailboxes"][0]["access_token_until"].is_string(), "{second}");
    let text = ask(&["link", "list"], b"");
    assert!(text.contains("mailbox robot <robot@sandbox.example>: ready, access token until 20"), "{text}");

    // Taken away in the other order, and the app hears of it at its next message.
    ask(&["app", "remove", "erp", "--yes"], b"");
    assert_eq!(sender.mail(Mail::default()), "530 5.7.0 this application is no longer configured here");
    ask(&["mailbox", "remove", "robot", "--yes"], b"");
    ask(&["link", "remove", "second", "--yes"], b"");
    assert!(!ask(&["link", "list"], b"").contains("second"));
    story.app().queue(Mail { id: "still", ..Mail::default() });
    story.with_subject("still");
}

#[test]
fn a_link_says_since_when_and_how_its_mailboxes_are_authorised() {
    let story = Story::with("custom", &["--grant", "authorization-code"], queue);
    let daemon = story.start();
    let list = || story.command(&["link", "list"]).1;
    assert!(list().contains("not authorised yet: outlink authorize sandbox"), "{}", list());
    story.import_grant();
    assert!(list().contains("authorised since 20") && list().contains("(import)"), "{}", list());
    assert_eq!(daemon.stop().0, Some(0));
    let (status, stopped) = story.command(&["mailbox", "list", "--json"]);
    let stopped: Value = serde_json::from_str(&stopped).unwrap_or_else(|e| panic!("{status:?} {e}: {stopped}"));
    let mailbox = &stopped["mailboxes"][0];
    assert_eq!(
        (&mailbox["mailbox"], &mailbox["link"], &mailbox["origin"]),
        (&json!("sandbox"), &json!("sandbox"), &json!("import"))
    );
    assert!(mailbox["authorised_since"].is_string(), "{mailbox}");
}

#[test]
fn the_file_holds_what_was_given_and_says_whose_it_is() {
    let house = House::new("");
    let (status, said, err) = house.ask(LINK, "MARKED\n");
    assert_eq!(status, Some(0), "{err}");
    assert!(said.contains("no daemon runs: it is taken up at the next start"), "{said}");
    let text = house.written("link-internal.toml");
    assert!(text.starts_with("# Written by outlink") && !text.contains("MARKED"), "{text}");
    assert!(text.contains("client-secret = { sealed = \"outlink1:"), "{text}");
    let keys: Vec<_> =
        text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(
        keys,
        ["[link.internal]", "provider", "grant", "client-id", "client-secret", "scopes", "token-endpoint"],
        "{text}"
    );
    house.good(&[
        "mailbox",
        "add",
        "robot",
        "--link",
        "internal",
        "--address",
        "robot@example.com",
        "--server",
        "smtp.example.com:587",
    ]);
    let said = house.good(&["app", "add", "crowd", "--mailbox", "robot"]);
    let password = said.lines().find_map(|line| line.strip_prefix("  password    ")).unwrap_or_else(|| panic!("{said}"));
    assert!(password.len() == 16 && password.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')), "{password}");
    let text = house.written("app-crowd.toml");
    assert!(text.contains("password = \"$argon2id$") && !text.contains(password), "{text}");
    let said = house.good(&["app", "add", "scanner", "--mailbox", "robot", "--network", "10.1.2.3"]);
    for text in [
        "no user name, no password: it is known by its address",
        "WARNING: no listener lets it in from 10.1.2.3:\n  listener local: bind = \"127.0.0.1:2525\" is reached from this machine alone",
        "  [listener.devices]\n  bind = \"0.0.0.0:2526\"\n  auth = \"none\"\n  networks = [\"10.1.2.3\"]",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert!(!house.written("app-scanner.toml").contains("password"));
    assert!(house.good(&["check"]).contains("good: 1 listener, 1 link, 1 mailbox, 2 apps"));
    let apps = house.good(&["app", "list"]);
    assert!(apps.contains("app crowd: user crowd with a password, mailbox robot <robot@example.com>"), "{apps}");
    assert!(apps.contains("app scanner: from 10.1.2.3/32 without one"), "{apps}");
}

#[test]
fn a_reference_stays_a_reference() {
    let house = House::new("");
    fs::write(house.path("secret"), "MARKED\n").expect("it can be written");
    let mut words = LINK.to_vec();
    words[10] = "secret";
    words.push("--reference");
    let mut command = outlink();
    command.args(&words).arg("--config").arg(&house.config).current_dir(house.directory.path());
    let (status, _, err) = told(run(command, b"", LONG));
    assert_eq!(status, Some(0), "{err}");
    let file = house.path("secret");
    assert!(house.written("link-internal.toml").contains(&format!("client-secret = {{ file = \"{}\" }}", file.display())));
    let (status, _, err) = house.ask(&[LINK, &["--replace", "--reference"]].concat(), "x");
    assert!(status == Some(64) && err.contains("--client-secret-file -"), "{status:?} {err}");
}

#[test]
fn certificates_and_parameters_are_flags_too() {
    let house = House::new("");
    support::write_certificates(house.directory.path());
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| house.path(name).to_str().expect("a name").to_owned());
    let words =
        ["link", "add", "c", "--provider", "custom", "--grant", "client-credentials", "--client-id", "me", "--scope", "mail"];
    let more = ["--token-endpoint", "https://login.example.com/token", "--certificate", &certificate, "--private-key-file", &key];
    let last = ["--reference", "--parameter", "audience=https://api.example.com", "--proxy", "none"];
    house.good(&[&words[..], &more, &last].concat());
    let text = house.written("link-c.toml");
    for line in [
        &format!("certificate = \"{certificate}\"\nprivate-key = {{ file = \"{key}\" }}\n"),
        "proxy = \"none\"\n",
        "[link.c.parameters]\naudience = \"https://api.example.com\"\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let (status, _, err) = house.ask(
        &[&words[..2], &["d"], &words[3..], &more[..2], &["--client-secret-file", "-", "--private-key-file", "-"]].concat(),
        "x",
    );
    assert!(status == Some(64) && err.contains("only one secret can be read from standard input"), "{status:?} {err}");
}

#[test]
fn without_a_terminal_what_is_missing_is_named_by_its_flags() {
    let house = House::new(BY_HAND);
    for (words, named) in [
        (&["link", "add"][..], &["NAME", "--provider", "--grant", "--client-id"][..]),
        (
            &["link", "add", "x", "--provider", "microsoft", "--grant", "client-credentials"],
            &["--tenant", "--client-id", "--client-secret-file"],
        ),
        (
            &["link", "add", "x", "--provider", "custom", "--grant", "device-code", "--client-id", "c"],
            &["--scope", "--token-endpoint", "--device-endpoint"],
        ),
        (&["link", "add", "x", "--provider", "google", "--grant", "service-account"], &["--service-account-file"]),
        (&["mailbox", "add"], &["NAME", "--link", "--address"]),
        (&["app", "add"], &["NAME", "--mailbox"]),
    ] {
        let (status, out, err) = house.ask(words, "");
        assert!(status == Some(64) && out.is_empty(), "{words:?}: {status:?} {out}{err}");
        named.iter().for_each(|flag| assert!(err.contains(flag), "{words:?}: {flag} is not in {err}"));
    }
    fs::remove_file(&house.config).expect("it is ours");
    let (status, _, err) = house.ask(LINK, "MARKED");
    assert!(status == Some(78) && err.contains("it may be empty"), "{status:?} {err}");
    let (status, _, err) = house.ask(&["link", "add", "x", "--provider", "gogle"], "");
    assert!(status == Some(64) && err.contains("`google`, `microsoft`, `custom`"), "{status:?} {err}");
    assert_eq!(house.files(), [] as [&str; 0]);
}

#[test]
fn a_faulty_answer_is_told_by_its_flag_and_nothing_is_written() {
    let house = House::new(BY_HAND);
    let mut wrong = LINK.to_vec();
    wrong[14] = "http://login.example.com/token";
    wrong.extend(["--client-secret-expires", "soon", "--redirect-url", "nonsense"]);
    for (words, flags) in [
        (
            &wrong[..],
            &[
                "--token-endpoint: `http://login.example.com/token` is not https",
                "--client-secret-expires: `soon` is no date",
                "--redirect-url: ",
            ][..],
        ),
        (
            &["link", "add", "x", "--provider", "google", "--grant", "device-code", "--client-id", "c"],
            &["--grant: Google does not give mail scopes to devices"],
        ),
        (&["mailbox", "add", "x", "--link", "other", "--address", "x@example.com"], &["--link: there is no link `other`"]),
        (
            &["mailbox", "add", "x", "--link", "old", "--address", "nobody", "--allowed-from", "a*"],
            &["--address: ", "--allowed-from: `a*` is no pattern"],
        ),
        (&["app", "add", "x", "--mailbox", "old", "--network", "0.0.0.0/0"], &["--network: 0.0.0.0/0 is wider than /8"]),
        (&["app", "add", "x", "--mailbox", "old", "--mailbox", "other"], &["--mailbox: there is no mailbox `other`"]),
        (&["app", "add", "x", "--mailbox", "by-sender"], &["--allowed-from: "]),
        (
            &["app", "add", "x", "--mailbox", "old", "--fallback", "none", "--allowed-from", "a*", "--allowed-recipients", "*@*"],
            &["--fallback: there is no mailbox `none`", "--allowed-from: `a*`", "--allowed-recipients: `*@*`"],
        ),
        (
            &["app", "add", "x", "--mailbox", "old", "--messages-per-minute", "0", "--message-size", "1 B", "--repair", "all"],
            &["--messages-per-minute: ", "--message-size: ", "--repair: "],
        ),
        (
            &[
                "app",
                "add",
                "x",
                "--mailbox",
                "old",
                "--delivery",
                "soon",
                "--direct-wait",
                "1d",
                "--warn-after",
                "1",
                "--bounce-to",
                "x y",
            ],
            &["--delivery: ", "--direct-wait: ", "--warn-after: ", "--bounce-to: "],
        ),
    ] {
        let (status, out, err) = house.ask(words, "MARKED");
        assert!(status == Some(78) && out.is_empty() && err.contains("nothing was written"), "{words:?}: {status:?} {out}{err}");
        flags.iter().for_each(|flag| assert!(err.contains(flag), "{words:?}: {flag} is not in {err}"));
        assert!(!err.contains("conf.d") && !err.contains("MARKED"), "{words:?}: {err}");
        assert_eq!(house.files(), [] as [&str; 0], "{words:?}");
    }
}

#[test]
fn what_a_person_wrote_is_neither_replaced_nor_removed() {
    let house = House::new(BY_HAND);
    let google = ["--provider", "google", "--grant", "authorization-code", "--client-id", "c"];
    let add = |name: &str, more: &[&str]| house.ask(&[&["link", "add", name][..], &google, more].concat(), "");
    for more in [&[][..], &["--replace"]] {
        let (status, _, err) = add("old", more);
        assert!(status == Some(1) && err.contains("outlink.toml:2, where no command wrote it"), "{status:?} {err}");
    }
    let (status, _, err) = house.ask(&["link", "remove", "old", "--yes"], "");
    assert!(status == Some(1) && err.contains("outlink.toml:2"), "{status:?} {err}");
    let (status, _, err) = house.ask(&["mailbox", "remove", "none", "--yes"], "");
    assert!(status == Some(1) && err.contains("no mailbox is named none; there are: old"), "{status:?} {err}");

    // A file of the command's name that it did not write.
    fs::create_dir(house.path("conf.d")).expect("it can be made");
    fs::write(house.path("conf.d/link-new.toml"), "# mine\n").expect("it can be written");
    let (status, _, err) = add("new", &[]);
    assert!(status == Some(1) && err.contains("link-new.toml is there, and no command wrote it"), "{status:?} {err}");
    assert_eq!(house.written("link-new.toml"), "# mine\n");

    // One that it did write, with a table of a person's in it.
    assert_eq!(add("third", &[]).0, Some(0));
    let (status, _, err) = add("third", &[]);
    assert!(status == Some(1) && err.contains("--replace"), "{status:?} {err}");
    assert_eq!(add("third", &["--replace", "--client-secret-credential", "google"]).0, Some(0));
    assert!(house.written("link-third.toml").contains("client-secret = { credential = \"google\" }"));
    let whole = house.written("link-third.toml");
    fs::write(
        house.path("conf.d/link-third.toml"),
        format!("{whole}\n[mailbox.own]\nlink = \"third\"\naddress = \"a@b.example\"\n"),
    )
    .expect("it can be written");
    let (status, _, err) = house.ask(&["link", "remove", "third", "--yes"], "");
    assert!(status == Some(1) && err.contains("link-third.toml:3"), "{status:?} {err}");
    fs::write(house.path("conf.d/link-third.toml"), whole).expect("it can be written");
    let (status, _, err) = house.ask(&["link", "remove", "third"], "");
    assert!(status == Some(64) && err.contains("--yes"), "{status:?} {err}");
    house.good(&["link", "remove", "third", "--yes"]);
    assert_eq!(house.files(), ["link-new.toml"]);
}

#[test]
fn what_is_used_or_has_mail_is_not_removed() {
    let story = Story::new("custom", queue);
    let server = server(&story);
    let ask = |words: &[&str]| story.command(words);
    let add = ["mailbox", "add", "robot", "--link", "sandbox", "--address", "robot@sandbox.example", "--server", &server];
    assert_eq!(ask(&add).0, Some(0));
    let (status, said) = ask(&["app", "add", "erp", "--mailbox", "robot", "--json"]);
    assert_eq!(status, Some(0), "{said}");
    let json = &said[said.find('{').expect("an object")..=said.rfind('}').expect("its end")];
    let app: Value = serde_json::from_str(json).expect("JSON");
    let daemon = story.start();
    assert!(ask(&["mailbox", "remove", "robot", "--yes"]).1.contains("mailbox robot is used by app erp"));
    assert!(ask(&["link", "remove", "sandbox", "--yes"]).1.contains("outlink.toml:"), "a person wrote it");
    ask(&["queue", "hold", "--mailbox", "robot"]);
    let mut sender = App::login(story.relay, "erp", app["password"].as_str().expect("a password"));
    sender.queue(Mail::default());
    assert_eq!(ask(&["app", "remove", "erp", "--yes"]).0, Some(0));
    let refused = |when: &str| {
        let (status, said) = ask(&["mailbox", "remove", "robot", "--yes"]);
        assert!(status == Some(1) && said.contains("still has mail: 0 waiting, 1 held, 0 failed"), "{when}: {status:?} {said}");
    };
    refused("running");
    assert_eq!(daemon.stop().0, Some(0));
    refused("stopped");
    for words in [["queue", "discard", "--mailbox", "robot", "--yes"].as_slice(), &["mailbox", "remove", "robot", "--yes"]] {
        let (status, said) = ask(words);
        assert_eq!(status, Some(0), "{words:?}: {said}");
    }
}

#[test]
fn a_change_that_only_the_daemon_can_refuse_is_taken_back() {
    let story = Story::new("custom", queue);
    // Its unit gives it no such credential; a command outside the unit cannot know.
    let daemon = support::start_daemon(&story.config, story.directory.path(), &[("CREDENTIALS_DIRECTORY", "/nonexistent")]);
    let flags = like(&story);
    let add = |name: &str, more: &[&str]| {
        let words = ["link", "add", name, "--provider", "custom", "--grant", "client-credentials", "--scope", "mail"];
        story.command(&words.into_iter().chain(flags.iter().map(String::as_str)).chain(more.iter().copied()).collect::<Vec<_>>())
    };
    let credential = ["--client-secret-credential", "second"];
    let (status, said) = add("second", &credential);
    assert_eq!(status, Some(78), "{said}");
    for part in ["it was taken back", "link.second.client-secret", "cannot read the secret from credential second"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let file = story.directory.path().join("conf.d/link-second.toml");
    assert!(!file.exists());
    daemon.logged("the old settings stay", SOON);

    // One that was there before is there again.
    let secret = story.directory.path().join("client-secret");
    let reference = ["--reference", "--client-secret-file", secret.to_str().expect("a name")];
    assert_eq!(add("second", &reference).0, Some(0));
    let before = fs::read_to_string(&file).expect("it was written");
    assert_eq!(add("second", &[&credential[..], &["--replace"]].concat()).0, Some(78));
    assert_eq!(fs::read_to_string(&file).expect("it is there"), before);
    assert_eq!(story.command(&["reload"]).0, Some(0));
}

#[test]
fn questions_at_a_terminal_are_those_of_the_providers_page() {
    const ENTER: &str = "\r";
    const DOWN: &str = "\x1b[B\r";
    let house = House::new("");
    let (status, screen) = at_terminal(
        &["link", "add"],
        &house.config,
        &[
            ("Service provider", DOWN),
            ("Name", "contoso\r"),
            ("Cloud", ENTER),
            ("Tenant", "a/b\r"),
            ("is no tenant", "\x15contoso.onmicrosoft.com\r"),
            ("Grant type", ENTER),
            ("Client ID", "11112222-bbbb\r"),
            ("How the application proves itself", ENTER),
            ("Client secret: ", "MARKED~1\r"),
            ("Last day of the client secret", "2027-05-01\r"),
            ("Scopes", ENTER),
            ("Token endpoint", ENTER),
        ],
    );
    assert_eq!(status, Some(0), "{screen}");
    assert!(!screen.contains("MARKED"), "{screen}");
    assert!(screen.contains("New-ServicePrincipal -AppId 11112222-bbbb"), "{screen}");
    let text = house.written("link-contoso.toml");
    let keys: Vec<_> = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("client-secret = ")).collect();
    let expected = [
        "[link.contoso]",
        "provider = \"microsoft\"",
        "tenant = \"contoso.onmicrosoft.com\"",
        "grant = \"client-credentials\"",
        "client-id = \"11112222-bbbb\"",
        "client-secret-expires = 2027-05-01",
    ];
    assert_eq!(keys, expected, "what the preset says is not written");

    let (status, screen) = at_terminal(
        &["mailbox", "add"],
        &house.config,
        &[
            ("Outgoing link", ENTER),
            ("Address of the mailbox", "Alerts@contoso.com\r"),
            ("Name", ENTER),
            ("User name of the login", ENTER),
            ("Senders that pass", "*@contoso.com\r"),
            ("All other senders", DOWN),
        ],
    );
    assert_eq!(status, Some(0), "{screen}");
    let text = house.written("mailbox-alerts.toml");
    assert!(
        text.contains("allowed-from = [\"*@contoso.com\"]\nwhen-from-differs = \"refuse\"\n") && !text.contains("xoauth2-user"),
        "{text}"
    );
    let answers =
        [("Name", "crowd\r"), ("Mailbox", ENTER), ("User name", "crowd@contoso.com\r"), ("Addresses or networks", ENTER)];
    let (status, screen) = at_terminal(&["app", "add"], &house.config, &answers);
    assert!(status == Some(0) && screen.contains("user name   crowd@contoso.com"), "{screen}");
    let (status, screen) = at_terminal(&["app", "remove", "crowd"], &house.config, &[("Remove app crowd", "n")]);
    assert!(status == Some(0) && screen.contains("nothing was removed"), "{screen}");
    let (status, screen) = at_terminal(&["app", "remove", "crowd"], &house.config, &[("Remove app crowd", "y")]);
    assert!(status == Some(0) && screen.contains("removed: "), "{screen}");
    assert_eq!(house.files(), ["link-contoso.toml", "mailbox-alerts.toml"]);
}

#[test]
fn at_a_terminal_too_flags_that_say_everything_leave_nothing_to_ask() {
    let house = House::new("");
    let words = ["link", "add", "g", "--provider", "google", "--grant", "authorization-code", "--client-id", "c"];
    let (status, screen) = at_terminal(&words, &house.config, &[("written: ", "")]);
    assert!(status == Some(0) && screen.contains("Desktop app") && screen.contains("outlink authorize MAILBOX"), "{screen}");
}

/// A copy of the program that everybody may run, wherever the tests were built.
fn program_for_all(directory: &Path) -> PathBuf {
    let copy = directory.join("outlink");
    fs::copy(outlink().get_program(), &copy).expect("it can be copied");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("it is ours");
    copy
}

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("/proc is there").uid() == 0
}

#[test]
fn who_cannot_write_beside_the_main_file_writes_in_the_state_directory() {
    let house = House::new(BY_HAND);
    let program = program_for_all(house.directory.path());
    let state = house.path("state");
    fs::create_dir(&state).expect("it can be made");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o750)).expect("it is ours");
    if is_root() {
        chown(&state, Some(NOBODY), Some(NOBODY)).expect("root may");
    }
    fs::set_permissions(house.directory.path(), fs::Permissions::from_mode(0o555)).expect("it is ours");
    let as_user = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.args(words).arg("--config").arg(&house.config);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        told(run(command, b"", LONG))
    };
    let (status, out, err) = as_user(&["mailbox", "add", "new", "--link", "old", "--address", "new@example.com"]);
    assert_eq!(status, Some(0), "{out}{err}");
    let (directory, file) = (state.join("conf.d"), state.join("conf.d/mailbox-new.toml"));
    let mode = |path: &Path| fs::metadata(path).expect("it was made").mode() & 0o777;
    assert_eq!((mode(&directory), mode(&file)), (0o750, 0o640));
    assert!(as_user(&["check"]).1.contains("good: 1 listener, 1 link, 2 mailboxes"));
    assert_eq!(as_user(&["mailbox", "remove", "new", "--yes"]).0, Some(0));
    assert!(!file.exists());
    fs::set_permissions(&state, fs::Permissions::from_mode(0o500)).expect("it is ours");
    fs::remove_dir(&directory)
        .or_else(|_| fs::set_permissions(&directory, fs::Permissions::from_mode(0o500)))
        .expect("it is ours");
    let (status, _, err) = as_user(&["mailbox", "add", "new", "--link", "old", "--address", "new@example.com"]);
    assert!(status == Some(77) && err.contains("run this as root or as the service's user"), "{status:?} {err}");
    fs::set_permissions(house.directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
}

#[test]
fn what_root_writes_the_service_can_read_and_its_store_stays_its_own() {
    if !is_root() {
        // Nobody else can be two users.
        return;
    }
    let story = Story::new("custom", queue);
    let directory = story.directory.path();
    let program = program_for_all(directory);
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::create_dir(directory.join("state")).expect("it can be made");
    for file in ["", "state", "outlink.toml", "client-secret"] {
        chown(directory.join(file), Some(NOBODY), Some(NOBODY)).expect("root may");
    }
    let start = || {
        let mut command = Command::new(&program);
        command.env_clear().args(["run", "--config"]).arg(&story.config).uid(NOBODY).gid(NOBODY);
        let daemon = Program::start(command);
        until("it runs", SOON, || story.command(&["status"]).0 == Some(0));
        daemon
    };
    let as_root = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.args(words).arg("--config").arg(&story.config);
        let (status, out, err) = told(run(command, b"", LONG));
        (status, format!("{out}{err}"))
    };
    let add = |name: &str| {
        as_root(&["mailbox", "add", name, "--link", "sandbox", "--address", "robot@sandbox.example", "--server", "127.0.0.1:1"])
    };
    let mut link = Command::new(&program);
    link.args(LINK).arg("--config").arg(&story.config);
    let (status, _, err) = told(run(link, b"MARKED\n", LONG));
    assert_eq!(status, Some(0), "the key is made for the service, not for root: {err}");
    let (status, said) = add("stopped");
    assert!(status == Some(0) && said.contains("at the next start"), "{said}");
    let daemon = start();
    let (status, said) = add("running");
    assert!(status == Some(0) && said.contains("has taken it up"), "{said}");
    assert_eq!(as_root(&["mailbox", "remove", "running", "--yes"]).0, Some(0));
    assert_eq!(daemon.stop().0, Some(0));
    let (status, said) = as_root(&["mailbox", "remove", "stopped", "--yes"]);
    assert_eq!(status, Some(0), "{said}");
    let mut strangers = Vec::new();
    fn look(directory: &Path, strangers: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("it can be listed") {
            let path = entry.expect("it can be listed").path();
            let owner = fs::symlink_metadata(&path).expect("it is there").uid();
            strangers.extend((owner != NOBODY).then(|| path.clone()));
            if path.is_dir() {
                look(&path, strangers);
            }
        }
    }
    look(&directory.join("state"), &mut strangers);
    look(&directory.join("conf.d"), &mut strangers);
    assert_eq!(strangers, [] as [PathBuf; 0]);
    assert_eq!(start().stop().0, Some(0), "it starts again with what root wrote");
}
