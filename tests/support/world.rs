//! A provider made of programs that are not ours (`tests/clients/provider.mjs`), and outlink beside it. Every secret of such a world
//! is known, so that it can be looked for in whatever outlink wrote ([`World::expect_no_secret`]).

use super::{
    Program, SOON,
    client_key::{self, Key},
    free_port, http,
    hunt::Hunt,
    outlink, run, start_daemon, write_certificates,
};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

pub(crate) const CLIENT_SECRET: &str = "marked-client-secret-4711";
pub(crate) const APP_PASSWORD: &str = "marked-app-password-0815";
pub(crate) const WRONG_PASSWORD: &str = "marked-wrong-password-1234";
pub(crate) const MAILBOX: &str = "robot@example.com";

/// How the client proves itself at the OAuth server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    Post,
    Basic,
    /// `certificate` and `private-key` in PEM.
    Pem(Key),
    /// `pkcs12` and `pkcs12-password`.
    Pkcs12(Key),
}

/// What a story wants of its world.
pub(crate) struct Setup<'a> {
    /// The link's `grant`.
    pub(crate) grant: &'a str,
    /// `starttls` or `implicit`.
    pub(crate) tls: &'a str,
    pub(crate) proof: Proof,
    /// The scopes, besides `mail.send`.
    pub(crate) scopes: &'a [&'a str],
    /// The link's `redirect-url`.
    pub(crate) redirect: Option<&'a str>,
    /// More lines for the link, `{oauth}` for the OAuth server's address.
    pub(crate) link: &'a str,
    /// Seconds that an access token serves.
    pub(crate) life: u32,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        let (grant, tls, proof) = ("authorization-code", "starttls", Proof::Post);
        Self { grant, tls, proof, scopes: &["offline_access"], redirect: None, link: "", life: 3600 }
    }
}

/// The provider, a configuration for it, and the daemon when it was started.
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) provider: Program,
    pub(crate) oauth: SocketAddr,
    pub(crate) refresh_token: String,
    pub(crate) relay: SocketAddr,
    /// `[http] bind`.
    pub(crate) http: SocketAddr,
    pub(crate) config: PathBuf,
    pub(crate) daemon: Option<Program>,
    /// What earlier programs of this story wrote.
    pub(crate) written: String,
    /// Secrets besides those that the provider tells.
    pub(crate) secrets: Vec<String>,
}

impl World {
    /// `authentication` is `post` or `basic`.
    pub(crate) fn new(grant: &str, tls: &str, authentication: &str) -> Self {
        let proof = if authentication == "basic" { Proof::Basic } else { Proof::Post };
        let scopes: &[&str] = if grant == "authorization-code" { &["offline_access"] } else { &[] };
        Self::with(&Setup { grant, tls, proof, scopes, ..Setup::default() })
    }

    pub(crate) fn with(setup: &Setup<'_>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        write_certificates(directory.path());
        let mut secrets = [CLIENT_SECRET, APP_PASSWORD, WRONG_PASSWORD].map(str::to_owned).to_vec();
        secrets.extend(["marked-broken-access-token", "marked-broken-refresh-token"].map(str::to_owned));
        if let Proof::Pem(key) | Proof::Pkcs12(key) = setup.proof {
            secrets.extend(client_key::write(directory.path(), key));
        }
        let mut provider = Program::start(provider(setup, directory.path()));
        let ready = provider.event("ready", SOON);
        let text = |key: &str| ready[key].as_str().unwrap_or_else(|| panic!("`{key}` is missing in {ready}")).to_owned();
        let (relay, http) = (free_address(), free_address());
        let refresh_token = text("refresh");
        secrets.push(refresh_token.clone());
        fs::write(directory.path().join("client.secret"), format!("{CLIENT_SECRET}\n")).expect("it can be written");
        let places = Places { directory: directory.path(), oauth: &text("oauth"), smtp: &text("smtp"), relay, http };
        let config = directory.path().join("etc/outlink.toml");
        for made in ["etc", "state"] {
            fs::create_dir(directory.path().join(made)).expect("it can be made");
        }
        fs::write(&config, places.configuration(setup)).expect("it can be written");
        let oauth = text("oauth").trim_start_matches("http://").parse().expect("an address");
        let (daemon, written) = (None, String::new());
        Self { directory, provider, oauth, refresh_token, relay, http, config, daemon, written, secrets }
    }

    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the daemon with more in its environment.
    pub(crate) fn start_with(&mut self, environment: &[(&str, &str)]) {
        let environment = [&[("RUST_LOG", "trace")], environment].concat();
        self.daemon = Some(start_daemon(&self.config, self.directory.path(), &environment));
    }

    /// A command on this world's configuration, every line of its log on standard error.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = outlink();
        command.args(words).arg("--config").arg(&self.config).env("RUST_LOG", "trace");
        command
    }

    /// Runs a command to its end; what it said is kept.
    pub(crate) fn run(&mut self, words: &[&str], input: &str) -> Output {
        let output = run(self.command(words), input.as_bytes(), SOON);
        self.keep(&output);
        output
    }

    pub(crate) fn import(&mut self) {
        let output = self.run(&["grant", "import", "robot"], &format!("{}\n", self.refresh_token));
        assert!(output.status.success(), "grant import: {output:?}");
    }

    pub(crate) fn keep(&mut self, output: &Output) {
        let text = String::from_utf8_lossy;
        let _ = write!(self.written, "{}\n{}\n", text(&output.stdout), text(&output.stderr));
    }

    /// Makes the provider misbehave, or `well` again.
    pub(crate) fn mode(&self, name: &str) {
        self.order(&format!("/mode/{name}"));
    }

    /// Seconds that access tokens serve from now on.
    pub(crate) fn life(&self, seconds: u32) {
        self.order(&format!("/life/{seconds}"));
    }

    /// All access tokens end, and the connections that they opened.
    pub(crate) fn forget(&self) {
        self.order("/forget");
    }

    fn order(&self, path: &str) {
        assert_eq!(http(self.oauth, "PUT", path, "").0, 204, "{path}");
    }

    /// Another refresh token, of a grant of its own.
    pub(crate) fn another_grant(&mut self) -> String {
        let (status, token) = http(self.oauth, "PUT", "/grant", "");
        assert_eq!(status, 200, "/grant");
        let token = String::from_utf8(token).expect("a token is text");
        self.secrets.push(token.clone());
        token
    }

    /// Sends as the app does; gives whether it was taken, and what swaks saw.
    pub(crate) fn send(&self, password: &str, to: &str) -> (bool, String) {
        swaks(self.relay, password, to)
    }

    pub(crate) fn expect_taken(&self) {
        let (taken, said) = self.send(APP_PASSWORD, "team@example.org");
        assert!(taken, "{said}\noutlink:\n{}", self.output());
    }

    pub(crate) fn output(&self) -> String {
        self.daemon.as_ref().map_or_else(String::new, Program::output)
    }

    /// Stops the daemon cleanly; what it wrote is kept.
    pub(crate) fn stop(&mut self) {
        // Pages that a checkpoint has not taken up yet are only seen while it runs.
        self.expect_no_secret_kept();
        let daemon = self.daemon.take().expect("it was started");
        let (status, output) = daemon.stop();
        assert_eq!(status, Some(0), "{output}");
        self.written += &output;
    }

    /// How many tokens the provider gave for this kind of grant.
    pub(crate) fn tokens(&self, grant: &str) -> usize {
        self.provider.events("token").iter().filter(|token| token["grant"] == grant).count()
    }

    /// Fails when the provider refused a token request, but for a device whose person is not done yet.
    pub(crate) fn expect_no_refusal(&self) {
        let refused = self.provider.events("token-refused");
        let refused: Vec<&Value> = refused.iter().filter(|refusal| refusal["error"] != "authorization_pending").collect();
        assert!(refused.is_empty(), "the provider refused: {refused:?}\noutlink:\n{}{}", self.written, self.output());
    }

    /// Everything secret of this story.
    fn hunt(&self) -> Hunt {
        let mut secrets: Vec<Vec<u8>> = self.secrets.iter().map(|secret| secret.clone().into_bytes()).collect();
        for (event, keys) in [
            ("token", &["access", "refresh", "identity", "assertion", "verifier"][..]),
            ("code", &["code"]),
            ("device", &["code"]),
            ("login", &["token"]),
        ] {
            for event in self.provider.events(event) {
                secrets.extend(keys.iter().filter_map(|key| event[key].as_str()).map(|text| text.as_bytes().to_vec()));
            }
        }
        let key = fs::read_to_string(self.key_file()).unwrap_or_default();
        // `outlink-key1:BASE64` a line.
        for text in key.lines().filter_map(|line| line.split_once(':')).map(|(_, text)| text.trim_end_matches('=')) {
            secrets.extend([text.as_bytes().to_vec(), BASE64_STANDARD_NO_PAD.decode(text).expect("a key is base64")]);
        }
        Hunt::new(secrets)
    }

    fn key_file(&self) -> PathBuf {
        self.directory.path().join("state/key")
    }

    /// Fails when anything secret stands in the output of outlink or of its commands. Shows where, not what.
    pub(crate) fn expect_no_secret_said(&self) {
        let written = format!("{}\n{}", self.written, self.output());
        assert!(written.contains("crowd"), "nothing was logged at all, so nothing is proven:\n{written}");
        self.hunt().text("output", &written);
    }

    /// As [`World::expect_no_secret_said`], and in whatever else outlink wrote.
    pub(crate) fn expect_no_secret(&self) {
        self.expect_no_secret_said();
        self.expect_no_secret_kept();
    }

    /// Fails when anything secret stands in a file of outlink's state or configuration, or in the environment or arguments of a
    /// running daemon and its children. A key stands in the key file, and there alone.
    fn expect_no_secret_kept(&self) {
        let (hunt, state) = (self.hunt(), self.directory.path().join("state"));
        assert!(hunt.finds(&fs::read(self.key_file()).expect("a key file")), "the key is not known, so nothing is proven");
        assert!(fs::read(state.join("outlink.db")).is_ok_and(|pages| !pages.is_empty()), "there is no database");
        hunt.directory(&state, &[&self.key_file()]);
        hunt.directory(&self.directory.path().join("etc"), &[]);
        if let Some(daemon) = &self.daemon {
            hunt.process(daemon.id());
        }
    }
}

/// Sends a message by swaks as the app does; gives whether it was taken, and what swaks saw.
pub(crate) fn swaks(relay: SocketAddr, password: &str, to: &str) -> (bool, String) {
    let mut command = Command::new("swaks");
    let (host, port) = (relay.ip().to_string(), relay.port().to_string());
    command.args(["--timeout", "80", "--server", &host, "--port", &port, "--ehlo", "client.example"]);
    command.args(["--auth", "PLAIN", "--auth-user", "crowd", "--auth-password", password]);
    command.args(["--from", MAILBOX, "--to", to, "--header", "Subject: counterpart", "--body", ".\n..two\nend"]);
    let output = run(command, b"", SOON * 3);
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where everything of a world is.
struct Places<'a> {
    directory: &'a Path,
    oauth: &'a str,
    smtp: &'a str,
    relay: SocketAddr,
    http: SocketAddr,
}

impl Places<'_> {
    fn configuration(&self, setup: &Setup<'_>) -> String {
        let Self { oauth, smtp, relay, http, .. } = self;
        let path = |name: &str| self.directory.join(name).display().to_string();
        let scopes: Vec<String> = ["mail.send"].iter().chain(setup.scopes).map(|scope| format!("\"{scope}\"")).collect();
        let redirect = setup.redirect.map(|url| format!("redirect-url = \"{url}\"\n")).unwrap_or_default();
        let proof = match setup.proof {
            Proof::Post | Proof::Basic => {
                let method = if setup.proof == Proof::Basic { "basic" } else { "post" };
                format!("client-secret = {{ file = \"{}\" }}\nclient-authentication = \"{method}\"\n", path("client.secret"))
            }
            Proof::Pem(_) => format!(
                "client-authentication = \"private-key-jwt\"\ncertificate = \"{}\"\nprivate-key = {{ file = \"{}\" }}\n",
                path("client.pem"),
                path("client.key"),
            ),
            Proof::Pkcs12(_) => format!(
                "client-authentication = \"private-key-jwt\"\npkcs12 = \"{}\"\npkcs12-password = {{ file = \"{}\" }}\n",
                path("client.p12"),
                path("client.p12.password"),
            ),
        };
        format!(
            r#"
state-directory = "{state}"
hostname = "relay.example.com"

[listener.local]
bind = "{relay}"
delivery = "direct"

[link.theirs]
provider = "custom"
grant = "{grant}"
client-id = "outlink"
{proof}scopes = [{scopes}]
authorization-endpoint = "{oauth}/auth"
token-endpoint = "{oauth}/token"
device-endpoint = "{oauth}/device/auth"
{redirect}ca-file = "{ca}"
{link}

[mailbox.robot]
link = "theirs"
address = "{MAILBOX}"
server = "{smtp}"
tls = "{tls}"

[app.crowd]
password = "{password}"
mailbox = "robot"

[http]
bind = "{http}"

[log]
level = "trace"
"#,
            state = path("state"),
            ca = path("ca.pem"),
            grant = setup.grant,
            tls = setup.tls,
            link = setup.link.replace("{oauth}", oauth),
            scopes = scopes.join(", "),
            password = hash(APP_PASSWORD),
        )
    }
}

fn provider(setup: &Setup<'_>, directory: &Path) -> Command {
    let mut command = Command::new("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/provider.mjs")).arg(directory).arg(setup.tls);
    command.env("ACCESS_TOKEN_LIFE", setup.life.to_string());
    let redirects = ["http://127.0.0.1/oauth/callback"].into_iter().chain(setup.redirect).collect::<Vec<_>>();
    command.env("REDIRECT_URLS", redirects.join(" "));
    match setup.proof {
        Proof::Post => command.env("CLIENT_AUTHENTICATION", "client_secret_post").env("CLIENT_SECRET", CLIENT_SECRET),
        Proof::Basic => command.env("CLIENT_AUTHENTICATION", "client_secret_basic").env("CLIENT_SECRET", CLIENT_SECRET),
        Proof::Pem(_) | Proof::Pkcs12(_) => {
            command.env("CLIENT_AUTHENTICATION", "private_key_jwt").env("CLIENT_CERTIFICATE", directory.join("client.pem"))
        }
    };
    command
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

fn hash(password: &str) -> String {
    let mut command = outlink();
    command.args(["app", "hash"]);
    let output = run(command, format!("{password}\n").as_bytes(), SOON);
    assert!(output.status.success(), "app hash: {output:?}");
    String::from_utf8(output.stdout).expect("a hash is text").trim().to_owned()
}
