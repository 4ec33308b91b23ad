//! The guides, followed to the letter: the commands of `docs/` are taken out of the Markdown and run against the simulated provider, in
//! the order in which a reader comes to them, up to a delivered mail.
//!
//! Changed on the way is only what makes them talk to the sandbox: `/etc/outlink` is a temporary directory, the provider's addresses, the
//! client and the tenant are the sandbox's. What a reader does by hand (upload a certificate, download a key, sign in) is done here too.

mod support;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};
use support::{
    LONG, Program, SOON, free_port, http,
    letters::await_that,
    login::Browser,
    markdown::{Block, blocks, parse},
    outlink, run, start_daemon,
    story::App,
};

/// A reader: the guide, the provider's options, and the blocks of commands in the order of reading, up to the last steps.
struct Reader {
    guide: &'static str,
    sandbox: &'static [&'static str],
    blocks: &'static [(&'static str, usize)],
}

const LAST: (&str, usize) = ("The last steps", 0);

const MICROSOFT_CERTIFICATE: Reader = Reader {
    guide: "microsoft.md",
    sandbox: &["--grant", "client-credentials", "--proof", "certificate"],
    blocks: &[("A. App-only", 0), ("A. App-only", 1), LAST],
};
const MICROSOFT_SECRET: Reader =
    Reader { guide: "microsoft.md", sandbox: &["--grant", "client-credentials"], blocks: &[("A. App-only", 2), LAST] };
const MICROSOFT_CONSENT: Reader = Reader {
    guide: "microsoft.md",
    sandbox: &["--grant", "authorization-code", "--proof", "none", "--no-grant"],
    blocks: &[("B. A person's consent", 0), ("B. A person's consent", 1), LAST],
};
const MICROSOFT_DEVICE: Reader = Reader {
    guide: "microsoft.md",
    sandbox: &["--grant", "device-code", "--no-grant", "--device-interval", "1s"],
    blocks: &[("C. Device code", 0), LAST],
};
const GOOGLE_SERVICE_ACCOUNT: Reader =
    Reader { guide: "google.md", sandbox: &["--grant", "service-account"], blocks: &[("A. Service account", 0), LAST] };
const GOOGLE_CONSENT: Reader = Reader {
    guide: "google.md",
    sandbox: &["--grant", "authorization-code", "--no-grant"],
    blocks: &[("B. A person's consent", 0), LAST],
};
const CUSTOM_CONSENT: Reader = Reader {
    guide: "custom.md",
    sandbox: &["--grant", "authorization-code", "--no-grant"],
    blocks: &[("A person's consent", 0), LAST],
};
const CUSTOM_APPLICATION: Reader = Reader {
    guide: "custom.md",
    sandbox: &["--grant", "client-credentials", "--proof", "certificate"],
    blocks: &[("The application itself", 0), LAST],
};

#[test]
fn microsofts_application_with_a_certificate_sends() {
    MICROSOFT_CERTIFICATE.follows(Browser::Here);
}

#[test]
fn microsofts_application_with_a_secret_typed_at_the_terminal_sends() {
    let house = MICROSOFT_SECRET.follows(Browser::Here);
    let secret = fs::read_to_string(house.path("provider/client-secret")).expect("the sandbox wrote it");
    let written = fs::read_to_string(house.path("etc/conf.d/link-contoso.toml")).expect("the command wrote it");
    assert!(written.contains("sealed") && !written.contains(secret.trim()), "{written}");
}

#[test]
fn a_person_consents_at_microsoft_in_a_browser_on_this_machine() {
    MICROSOFT_CONSENT.follows(Browser::Here);
}

#[test]
fn a_person_consents_at_microsoft_in_a_browser_on_another_machine() {
    MICROSOFT_CONSENT.follows(Browser::Elsewhere);
}

#[test]
fn a_person_types_a_code_at_microsoft() {
    MICROSOFT_DEVICE.follows(Browser::ByCode);
}

#[test]
fn googles_service_account_sends_when_the_file_of_its_key_is_destroyed() {
    let house = GOOGLE_SERVICE_ACCOUNT.follows(Browser::Here);
    assert!(!house.path("home/key.json").exists());
}

#[test]
fn a_person_consents_at_google() {
    GOOGLE_CONSENT.follows(Browser::Here);
}

#[test]
fn a_person_consents_at_google_in_a_browser_on_another_machine() {
    GOOGLE_CONSENT.follows(Browser::Elsewhere);
}

#[test]
fn a_person_consents_at_any_other_provider() {
    CUSTOM_CONSENT.follows(Browser::Here);
}

#[test]
fn an_application_with_a_key_sends_through_any_other_provider() {
    CUSTOM_APPLICATION.follows(Browser::Here);
}

#[test]
fn crowd_and_jira_have_a_password_each() {
    let mut house = MICROSOFT_SECRET.follows(Browser::Here);
    blocks("crowd-and-jira.md").iter().for_each(|block| house.reads(block));
    let users: Vec<_> = house.passwords.iter().map(|(user, _)| user.as_str()).collect();
    assert_eq!(users, ["crowd", "jira"]);
    house.apps_log_in();
}

#[test]
fn every_block_of_commands_has_a_reader() {
    let microsoft = [MICROSOFT_CERTIFICATE, MICROSOFT_SECRET, MICROSOFT_CONSENT, MICROSOFT_DEVICE];
    let others = [GOOGLE_SERVICE_ACCOUNT, GOOGLE_CONSENT, CUSTOM_CONSENT, CUSTOM_APPLICATION];
    for guide in ["microsoft.md", "google.md", "custom.md"] {
        for block in blocks(guide) {
            let here = (block.heading.as_str(), block.number);
            let is_read = |reader: &Reader| reader.guide == guide && reader.blocks.contains(&here);
            match block.language.as_str() {
                "sh" => assert!(microsoft.iter().chain(&others).any(is_read), "{guide}: nobody runs {here:?}"),
                // What is typed into Exchange Online, nobody here can run.
                language => assert_eq!(language, "powershell", "{guide}: {here:?}"),
            }
        }
    }
}

#[test]
fn commands_are_taken_out_as_they_stand() {
    let text = "# T\n## One\n   ```sh\n   a b \\\n     c   # note\n   d 'e # f'\n   ```\nx\n```sh\n# only this\ng\n```\n```powershell\nh\n```\n";
    let found: Vec<_> = parse(text).into_iter().map(|it| (it.heading, it.language, it.number, it.lines)).collect();
    let block = |language: &str, number, lines: &[&str]| {
        ("One".to_owned(), language.to_owned(), number, lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(found, [block("sh", 0, &["a b c", "d 'e # f'"]), block("sh", 1, &["g"]), block("powershell", 0, &["h"])]);
}

impl Reader {
    /// Runs all of its commands; there has to be a delivered mail, and every app's password has to be good.
    fn follows(&self, browser: Browser) -> House {
        let mut house = House::new(self, browser);
        let blocks = blocks(self.guide);
        for (heading, number) in self.blocks {
            let is_sought = |it: &&Block| it.heading == *heading && it.number == *number && it.language == "sh";
            let block = blocks.iter().find(is_sought);
            house.reads(block.unwrap_or_else(|| panic!("{} has no block {number} under {heading:?}", self.guide)));
        }
        assert!(house.done.iter().any(|line| line.starts_with("outlink trace ")), "no mail was traced: {:?}", house.done);
        house.apps_log_in();
        house
    }
}

/// The reader's machine, with a provider beside it.
struct House {
    directory: tempfile::TempDir,
    config: PathBuf,
    relay: SocketAddr,
    http: SocketAddr,
    /// What the sandbox wrote for a relay.
    sandbox: toml::Table,
    browser: Browser,
    done: Vec<String>,
    /// Names and addresses.
    mailboxes: Vec<(String, String)>,
    /// Of apps, by their users.
    passwords: Vec<(String, String)>,
    daemon: Option<Program>,
    _provider: Program,
}

impl House {
    fn new(reader: &Reader, browser: Browser) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        ["etc", "home", "provider"].iter().for_each(|name| fs::create_dir(path(name)).expect("it can be made"));
        let mut command = outlink();
        command.args(["sandbox", "--json", "--provider-only", "--port-relay", "0", "--port-smtp", "0", "--port-http", "0"]);
        command.arg("--write-config").arg(path("provider"));
        command.arg("--provider").arg(reader.guide.trim_end_matches(".md")).args(reader.sandbox);
        let mut provider = Program::start(command);
        let ready = provider.event("ready", SOON);
        let http = ready["http"].as_str().and_then(|text| text.parse().ok()).expect("an address");
        let written = fs::read_to_string(path("provider/outlink.toml")).expect("the sandbox wrote it");
        let sandbox = toml::from_str(&written).expect("it is TOML");
        // What the provider's pages gave to download.
        for (theirs, ours) in [
            ("service-account.json", "home/key.json"),
            ("client-secret", "home/google.secret"),
            ("client-secret", "home/internal.secret"),
            ("client-key.pem", "etc/internal.key"),
        ] {
            let theirs = path("provider").join(theirs);
            if theirs.exists() {
                fs::copy(theirs, path(ours)).expect("it can be copied");
            }
        }
        let (config, relay) = (path("etc/outlink.toml"), SocketAddr::from(([127, 0, 0, 1], free_port())));
        let state = path("state");
        let text = format!(
            "state-directory = {state:?}\nhostname = \"relay.example.com\"\n[listener.local]\nbind = \"{relay}\"\n\
             [queue]\nminimum-free = \"0 B\"\n"
        );
        fs::write(&config, text).expect("it can be written");
        let (done, mailboxes, passwords) = (Vec::new(), Vec::new(), Vec::new());
        Self { directory, config, relay, http, sandbox, browser, done, mailboxes, passwords, daemon: None, _provider: provider }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn reads(&mut self, block: &Block) {
        block.lines.iter().for_each(|line| self.does(line));
    }

    fn apps_log_in(&self) {
        self.passwords.iter().for_each(|(user, password)| drop(App::login(self.relay, user, password)));
    }

    /// The sandbox's value of a key of its link or mailbox.
    fn key(&self, table: &str, name: &str) -> Option<&str> {
        self.sandbox[table]["sandbox"].get(name)?.as_str()
    }

    /// Does what one line says, which is a command or several joined by `&&`.
    fn does(&mut self, line: &str) {
        // The last steps name again what some readers have done: "A only", say the guides.
        if self.done.iter().any(|done| done == line) {
            return;
        }
        self.done.push(line.to_owned());
        line.split(" && ").for_each(|command| self.types(command));
    }

    fn types(&mut self, line: &str) {
        assert!(!line.contains(['\'', '"', '$', '&', '|', '>', '<', ';', '*']), "only a shell reads this: {line}");
        let etc = self.path("etc");
        let here = line.replace("/etc/outlink", etc.to_str().expect("a name"));
        // The domains of which the sandbox delegates the users; the port on which this relay listens.
        let here = here.replace("@example.com", "@sandbox.example").replace("127.0.0.1:2525", &self.relay.to_string());
        let mut words: Vec<String> = here.split_whitespace().map(str::to_owned).collect();
        let beginning: Vec<&str> = line.split_whitespace().take(3).collect();
        match beginning[..] {
            ["outlink", "link", "add"] => self.adds_a_link(words),
            ["outlink", "mailbox", "add"] => {
                self.set(&mut words, "mailbox", &["server"], self.is_custom());
                self.set(&mut words, "mailbox", &["tls"], false);
                self.outlink(&words);
                let address = words[word_after(&words, "--address").expect("an address")].clone();
                self.mailboxes.push((words[3].clone(), address));
            }
            ["outlink", "app", "add"] => self.adds_an_app(&words),
            ["outlink", "authorize", _] => self.authorises(&words),
            ["outlink", "check"] => assert!(self.outlink(&words).contains("good: "), "{line}"),
            ["outlink", "trace", _] => {
                let is_delivered = || self.outlink(&words).contains(" is delivered: ").then_some(());
                await_that("the mail is delivered", SOON, is_delivered);
            }
            ["outlink", "link", "list"] => {
                let said = self.outlink(&words);
                assert!(said.contains(": ready, access token until "), "{said}");
            }
            ["systemctl", "enable", "--now"] => self.daemon = Some(start_daemon(&self.config, self.directory.path(), &[])),
            ["swaks", ..] => {
                // It asks for the password at the terminal; it is the one that `app add` printed.
                let user = word_after(&words, "--auth-user").expect("swaks logs in");
                let from = word_after(&words, "--from").and_then(|at| words.get(at)).expect("a sender");
                assert!(self.mailboxes.iter().any(|(_, address)| address == from), "{line}: none of {:?}", self.mailboxes);
                let (_, password) = self.passwords.iter().find(|(it, _)| *it == words[user]).expect("this app was added");
                self.program(&[&words[..], &["--auth-password".to_owned(), password.clone()]].concat());
            }
            ["openssl", "req", ..] => {
                self.program(&words);
                let certificate = fs::read_to_string(&words[word_after(&words, "-out").expect("a file")]).expect("it was made");
                let (status, said) = http(self.http, "PUT", "/clients/certificate", &certificate);
                assert!((200..300).contains(&status), "upload: {status} {}", String::from_utf8_lossy(&said));
            }
            ["chmod" | "shred", ..] => self.program(&words),
            // The group comes with the installation, and only root can give files to it.
            ["chgrp", "outlink", _] => {}
            _ => panic!("nobody runs this line of a guide: {line}"),
        }
    }

    fn is_custom(&self) -> bool {
        self.key("link", "provider") == Some("custom")
    }

    /// Puts the sandbox's values in the place of the guide's. One that the guide does not give is added, unless a reader would miss it.
    fn set(&self, words: &mut Vec<String>, table: &str, names: &[&str], is_needed: bool) {
        for name in names {
            let Some(value) = self.key(table, name) else { continue };
            match word_after(words, &format!("--{name}")) {
                Some(at) => words[at] = value.to_owned(),
                None => {
                    assert!(!is_needed, "the guide gives no --{name}: {words:?}");
                    words.extend([format!("--{name}"), value.to_owned()]);
                }
            }
        }
    }

    fn adds_a_link(&self, mut words: Vec<String>) {
        self.set(&mut words, "link", &["tenant", "client-id"], true);
        self.set(&mut words, "link", &["authorization-endpoint", "device-endpoint", "token-endpoint"], self.is_custom());
        self.set(&mut words, "link", &["ca-file"], false);
        let proofs = ["--certificate", "--private-key-file", "--client-secret-file"];
        let is_proven = proofs.iter().any(|flag| words.iter().any(|word| word == flag));
        if is_proven || self.key("link", "grant") != Some("client-credentials") {
            self.outlink(&words);
            return;
        }
        // The secret is read from the terminal; Enter takes what the other questions offer.
        let secret = fs::read_to_string(self.path("provider/client-secret")).expect("the sandbox wrote it");
        let answers =
            [("Cloud", "\r"), ("proves itself", "\r"), ("Client secret: ", &format!("{}\r", secret.trim())), ("Scopes", "\r")];
        let mut command = Command::new("python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/terminal.py")).arg(SOON.as_secs().to_string());
        command.arg(outlink().get_program()).args(&words[1..]).arg("--config").arg(&self.config);
        let output = run(command, serde_json::json!(answers).to_string().as_bytes(), LONG);
        assert!(
            output.status.success(),
            "{words:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn adds_an_app(&mut self, words: &[String]) {
        let said = self.outlink(words);
        let told = |name: &str| {
            let line = said.lines().find_map(|line| line.trim_start().strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {said}")).trim().to_owned()
        };
        assert_eq!(format!("{}:{}", told("host "), told("port ")), self.relay.to_string());
        self.passwords.push((told("user name "), told("password ")));
    }

    fn authorises(&self, words: &[String]) {
        let mut command = outlink();
        command.args(&words[1..]).arg("--config").arg(&self.config);
        let (_, address) = self.mailboxes.iter().find(|(name, _)| *name == words[2]).expect("this mailbox was added");
        let (status, said) = self.browser.allows(Program::start(command), address);
        assert!(status == Some(0) && said.contains(" is authorised"), "{said}");
    }

    /// Runs `outlink`; gives what it said.
    fn outlink(&self, words: &[String]) -> String {
        let mut command = outlink();
        command.args(&words[1..]).arg("--config").arg(&self.config);
        self.runs(command)
    }

    /// Runs another program.
    fn program(&self, words: &[String]) {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        self.runs(command);
    }

    fn runs(&self, mut command: Command) -> String {
        command.current_dir(self.path("home"));
        let what = format!("{command:?}");
        let output = run(command, b"", SOON);
        let [out, err] = [output.stdout, output.stderr].map(|octets| String::from_utf8_lossy(&octets).into_owned());
        let log = self.daemon.as_ref().map(Program::output).unwrap_or_default();
        assert!(output.status.success(), "{what}: {out}{err}\n{log}");
        out
    }
}

/// The place of the word after this one.
fn word_after(words: &[String], word: &str) -> Option<usize> {
    words.iter().position(|it| it == word).map(|at| at + 1)
}
