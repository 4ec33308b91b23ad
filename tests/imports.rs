//! `outlink import`: files that other programs wrote (email-oauth2-proxy and mutt_oauth2.py run here; sasl-xoauth2's are written as its source
//! reads them), and mail through what came of them.

mod support;

use outlink::import::ini::Ini;
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
};
use support::{
    LONG, Program, free_port,
    login::{ME, browse},
    outlink,
    queued::{Mail, queue, until},
    run, start_daemon,
    story::{App, Story},
};
use url::Url;

/// What an application logs in with to the old program: with a space and more than ASCII in it.
const PASSWORD: &str = "marked päss word";

/// What `scripts/install-tools` brought.
fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools").join(name);
    assert!(path.exists(), "{} is missing; run `make tools`", path.display());
    path
}

fn client(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// An outlink with its files, and those that are imported.
struct House {
    directory: tempfile::TempDir,
    config: PathBuf,
}

impl House {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = directory.path().join("outlink.toml");
        let (head, local) = ("state-directory = \"state\"\nhostname = \"relay.example.com\"\n", free_port());
        let text = text.replace("{local}", &format!("[listener.local]\nbind = \"127.0.0.1:{local}\"\n"));
        fs::write(&config, format!("{head}{text}\n[queue]\nminimum-free = \"0 B\"\n")).expect("it can be written");
        Self { directory, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("it can be written");
        path.to_str().expect("a name").to_owned()
    }

    fn import(&self, words: &[&str], input: &str) -> (Option<i32>, String) {
        let mut command = outlink();
        command.arg("import").args(words).arg("--config").arg(&self.config);
        let output = run(command, input.as_bytes(), LONG);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).expect("it speaks UTF-8"))
    }

    /// As [`House::import`] with `--json`; gives the exit status, and what each thing became by its kind and name.
    fn items(&self, words: &[&str], input: &str) -> (Option<i32>, BTreeMap<String, String>, Value) {
        let mut command = outlink();
        command.arg("import").args(words).args(["--json", "--config"]).arg(&self.config);
        let output = run(command, input.as_bytes(), LONG);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let told: Value =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)));
        let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
        let items = told["items"].as_array().expect("items").iter();
        let items = items.map(|item| (format!("{} {}", text(item, "kind"), text(item, "name")), text(item, "became"))).collect();
        (output.status.code(), items, told)
    }

    fn start(&self) -> Program {
        start_daemon(&self.config, self.directory.path(), &[])
    }

    /// The files in `conf.d`, with what they hold.
    fn written(&self) -> BTreeMap<String, String> {
        let listed = fs::read_dir(self.path("conf.d")).into_iter().flatten();
        let files = listed.map(|it| it.expect("it can be listed").path());
        let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
        files.map(|path| (name(&path), fs::read_to_string(&path).expect("it can be read"))).collect()
    }
}

/// What the sandbox wrote for a relay: keys of its link and mailbox.
fn key(story: &Story, name: &str) -> String {
    let text = fs::read_to_string(&story.config).expect("it is there");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
    line.unwrap_or_else(|| panic!("{name}: {text}")).trim_matches('"').to_owned()
}

fn sandbox(options: &[&str]) -> Story {
    Story::with("custom", &[&["--grant", "authorization-code"], options].concat(), queue)
}

fn is_taken(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// A configuration of email-oauth2-proxy for the sandbox's mailbox.
fn proxy_config(story: &Story, port: u16) -> String {
    let server: SocketAddr = key(story, "server").parse().expect("an address");
    let secret = fs::read_to_string(story.directory.path().join("client-secret")).expect("it was written");
    format!(
        "[Server setup]\ndocumentation = text\n\tover lines: one = two\n\n[SMTP-{port}]\nlocal_address = 127.0.0.1\n\
         server_address = {}\nserver_port = {}\nserver_starttls = True\n\n[{ME}]\npermission_url = {}\ntoken_url = {}\n\
         oauth2_scope = mail.send offline_access\nredirect_uri = http://127.0.0.1:{}/oauth/callback\nclient_id = outlink-sandbox\n\
         client_secret = {}\nuse_pkce = True\n\n[emailproxy]\nencrypt_client_secret_on_first_use = True\n",
        server.ip(),
        server.port(),
        key(story, "authorization-endpoint"),
        key(story, "token-endpoint"),
        free_port(),
        secret.trim(),
    )
}

/// The real program.
fn email_oauth2_proxy(story: &Story, config: &str, port: u16, options: &[&str]) -> Program {
    let mut command = Command::new(tool("python/bin/emailproxy"));
    command.args(["--no-gui", "--local-server-auth", "--config-file", config]).args(options);
    command.env("SSL_CERT_FILE", story.directory.path().join("ca.pem")).env("PYTHONUNBUFFERED", "1");
    let program = Program::start(command);
    until("email-oauth2-proxy listens", LONG, || is_taken(port));
    program
}

/// Signs in at the provider for the request that the program printed.
fn consent(program: &Program) {
    let line = program.printed("Please visit the following URL", LONG);
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("an address");
    let url = Url::parse(url).expect("a URL");
    let back = browse("POST", &url, &format!("decision=allow&account={}", ME.replace('@', "%40"))).location();
    assert_eq!(browse("GET", &back, "").status, 200);
}

#[test]
fn an_application_of_email_oauth2_proxy_goes_on_through_outlink_as_it_is() {
    let story = sandbox(&["--no-grant"]);
    let (port, house) = (free_port(), House::new("{local}"));
    let config = house.file("emailproxy.config", &proxy_config(&story, port));
    let old = email_oauth2_proxy(&story, &config, port, &[]);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let app = thread::spawn(move || {
        let mut app = App::login(address, ME, PASSWORD);
        app.mail(Mail { id: "through-the-old-one", ..Mail::default() })
    });
    consent(&old);
    let said = app.join().expect("the application sends");
    assert!(said.starts_with("250 "), "{said}\n{}", old.output());
    let ca = story.directory.path().join("ca.pem");
    let words = [config.as_str(), "--ca-file", ca.to_str().expect("a name"), "--app", "all", "--listeners"];

    // Nothing is written by a rehearsal.
    let (status, said) = house.import(&[&words[..], &["--password-stdin", "--dry-run"]].concat(), PASSWORD);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("would be taken:\n") && said.contains("mailbox robot (robot@sandbox.example, link sandbox)"), "{said}");
    assert!(house.written().is_empty() && !house.path("state/outlink.db").exists());

    // While it runs all but its refresh token is taken.
    let with_password = [&words[..], &["--password-stdin"]].concat();
    let (status, items, _) = house.items(&with_password, PASSWORD);
    assert_eq!((status, items["grant robot"].as_str()), (Some(1), "left"), "{items:?}");
    assert_eq!(items["mailbox robot"], "taken");
    old.signal("TERM");
    old.printed("Stopping SMTP server", LONG);
    until("its port is free", LONG, || !is_taken(port));

    let (status, items, told) = house.items(&with_password, PASSWORD);
    assert_eq!((status, items["grant robot"].as_str()), (Some(0), "taken"), "{told}");
    let before = house.written();
    assert!(before["link-sandbox.toml"].contains("client-secret = { sealed = \"outlink1:"), "{before:?}");
    let listener = &before[&format!("listener-smtp-{port}.toml")];
    assert!(listener.contains(&format!("bind = \"127.0.0.1:{port}\"")), "{listener}");

    let daemon = house.start();
    let mut app = App::login(address, ME, PASSWORD);
    app.queue(Mail { id: "through-outlink", ..Mail::default() });
    story.with_subject("through-outlink");
    assert_eq!(story.stat("refresh_token_reuses"), 0, "{}", daemon.output());

    // Once more, beside the daemon: all is there. And what it renews by then is never replaced unasked.
    let (status, said) = house.import(&with_password, PASSWORD);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.starts_with("already there, and unchanged:\n") && !said.contains("taken:"), "{said}");
    assert!(said.contains("grant of mailbox robot: the mailbox has one; --refresh-grants"), "{said}");
    assert_eq!(house.written(), before);
    let secret = fs::read_to_string(story.directory.path().join("client-secret")).expect("it was written");
    let all = format!("{said}{told}{}{before:?}", daemon.output());
    for secret in [PASSWORD, secret.trim()] {
        assert!(!all.contains(secret), "{secret} is told: {all}");
    }
}

#[test]
fn a_cache_store_of_email_oauth2_proxy_is_read_beside_its_configuration() {
    let story = sandbox(&["--no-grant"]);
    let (port, house) = (free_port(), House::new("{local}"));
    let config = house.file("emailproxy.config", &proxy_config(&story, port));
    let cache = house.path("cache.config");
    let cache = cache.to_str().expect("a name");
    let old = email_oauth2_proxy(&story, &config, port, &["--cache-store", cache]);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let app = thread::spawn(move || drop(App::login(address, ME, PASSWORD)));
    consent(&old);
    app.join().expect("the application logs in");
    drop(old);
    let ca = story.directory.path().join("ca.pem");
    let file = house.file("passwords", &format!("wrong\n{PASSWORD}\n"));
    let words = [config.as_str(), "--ca-file", ca.to_str().expect("a name"), "--password-file", &file];
    // The configuration alone has no refresh token.
    let (status, said) = house.import(&[&words[..], &["--dry-run"]].concat(), "");
    assert!(status == Some(1) && said.contains("keeps no refresh token"), "{said}");
    let (status, items, told) = house.items(&[&words[..], &["--cache-store", cache]].concat(), "");
    assert_eq!((status, items["grant robot"].as_str()), (Some(0), "taken"), "{told}");
    house.start().logged("event=\"token.renewed\" mailbox=robot", LONG);
}

/// A configuration that email-oauth2-proxy itself encrypts and writes.
fn encrypted(house: &House, sections: Value, accounts: Value) -> String {
    let file = house.path("emailproxy.config");
    let mut command = Command::new(tool("python/bin/python"));
    command.arg(client("encrypted.py"));
    let wanted = json!({"file": file, "sections": sections, "accounts": accounts});
    let output = run(command, wanted.to_string().as_bytes(), LONG);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file.to_str().expect("a name").to_owned()
}

const MICROSOFT: &str = "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token";

/// Keys of an account at Microsoft by a person's consent.
fn delegated() -> Value {
    json!({
        "permission_url": "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/authorize", "token_url": MICROSOFT,
        "oauth2_scope": "https://outlook.office365.com/IMAP.AccessAsUser.All https://outlook.office365.com/SMTP.Send offline_access",
        "redirect_uri": "http://localhost", "client_id": "11111111-2222-3333-4444-555555555555",
    })
}

fn with(mut one: Value, other: Value) -> Value {
    let more = other.as_object().expect("an object").clone();
    one.as_object_mut().expect("an object").extend(more);
    one
}

#[test]
fn what_each_version_encrypted_opens_with_its_own_password() {
    let house = House::new("");
    let names = ["new@contoso.com", "old@contoso.com", "mixed@contoso.com", "other@contoso.com"];
    let sections: Value = names.iter().map(|name| ((*name).to_owned(), delegated())).collect::<serde_json::Map<_, _>>().into();
    let account = |name: &str, password: &str, iterations: u32, says: bool| {
        json!({"name": name, "password": password, "iterations": iterations, "says_iterations": says,
               "values": {"refresh_token": format!("marked-refresh-{name}"), "access_token": "marked-access"}})
    };
    let accounts = json!([
        account(names[0], "first", 1_200_000, true),
        account(names[1], "second", 100_000, false),
        account(names[2], "first", 870_000, true),
        account(names[3], "third", 100_000, false),
    ]);
    let file = encrypted(&house, sections, accounts);
    let (status, items, told) = house.items(&[&file, "--password-stdin"], "first\nsecond\n");
    assert_eq!(status, Some(1), "{told}");
    // One client: one link.
    assert_eq!(items.keys().filter(|name| name.starts_with("link ")).collect::<Vec<_>>(), ["link contoso"]);
    for name in ["new", "old", "mixed"] {
        assert_eq!(items[&format!("grant {name}")], "taken", "{told}");
    }
    assert_eq!((items["mailbox other"].as_str(), items["grant other"].as_str()), ("taken", "left"));
    let text = told.to_string();
    assert!(text.contains("none of the 2 passwords that were given opens it") && !text.contains("marked-"), "{text}");
    let link = &house.written()["link-contoso.toml"];
    let scopes = "scopes = [\"https://outlook.office365.com/SMTP.Send\", \"offline_access\"]";
    assert!(link.contains("tenant = \"contoso.com\"") && link.contains(scopes) && !link.contains("endpoint"), "{link}");
    // The one that was left is taken with its password, and the others are not touched.
    let (status, items, told) = house.items(&[&file, "--password-stdin"], "third\nfirst\nsecond\n");
    assert_eq!((status, items["grant other"].as_str(), items["grant new"].as_str()), (Some(0), "taken", "there"), "{told}");
    let stored = grants(&house);
    assert_eq!(stored, ["mixed", "new", "old", "other"]);
}

/// The mailboxes that have a grant.
fn grants(house: &House) -> Vec<String> {
    let (status, said) = support::story::command(&["mailbox", "list", "--json"], &house.config);
    assert_eq!(status, Some(0), "{said}");
    let list: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
    let all = list["mailboxes"].as_array().expect("mailboxes");
    let granted = all.iter().filter(|it| it["authorised_since"].is_string());
    granted.map(|it| it["mailbox"].as_str().expect("a name").to_owned()).collect()
}

/// Accounts of each flow, and of each kind that cannot be taken: sections and what is encrypted.
fn every_flow() -> (Value, Value) {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
    let key = |name: &str| keys.join(name).to_str().expect("a name").to_owned();
    let service_account = fs::read_to_string(keys.join("service-account.json")).expect("it is there");
    let google = json!({"permission_url": "https://accounts.google.com/o/oauth2/auth", "token_url": "https://oauth2.googleapis.com/token",
        "oauth2_scope": "https://mail.google.com/", "redirect_uri": "http://localhost", "client_id": "g.apps.googleusercontent.com",
        "client_secret": "marked-google-secret"});
    let application = json!({"token_url": MICROSOFT, "oauth2_scope": "https://outlook.office365.com/.default",
        "oauth2_flow": "client_credentials", "client_id": "app"});
    let sections = json!({
        "emailproxy": {"allow_catch_all_accounts": "True"},
        "SMTP-1587": {"server_address": "smtp.office365.com", "server_port": "587", "server_starttls": "True"},
        "SMTP-1465": {"local_address": "10.1.2.3", "server_address": "smtp.gmail.com", "server_port": "465"},
        "SMTP-1466": {"local_address": "127.0.0.1", "server_address": "smtp.mail.yahoo.com", "server_port": "465",
            "local_certificate_path": "/c", "local_key_path": "/k"},
        "IMAP-1993": {"server_address": "outlook.office365.com", "server_port": "993"},
        "me@gmail.com": google,
        "device@contoso.com": with(delegated(), json!({"oauth2_flow": "device", "client_id": "device",
            "permission_url": "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/devicecode?client_id=device&scope=x"})),
        "app@contoso.com": with(application.clone(), json!({"client_secret": "marked-app-secret"})),
        "cert@contoso.com": with(application.clone(), json!({"client_id": "cert", "jwt_certificate_path": key("rsa.crt"), "jwt_key_path": key("rsa.pem")})),
        "gone@contoso.com": with(application.clone(), json!({"client_id": "gone", "jwt_certificate_path": "/none.crt", "jwt_key_path": "/none.pem"})),
        "sealed@contoso.com": with(application.clone(), json!({"client_id": "sealed"})),
        "sa@example.org": {"token_url": "https://oauth2.googleapis.com/token", "oauth2_scope": "https://mail.google.com/",
            "oauth2_flow": "service_account", "client_id": "file", "client_secret": key("service-account.json")},
        "sb@example.org": {"token_url": "https://oauth2.googleapis.com/token", "oauth2_scope": "https://mail.google.com/",
            "oauth2_flow": "service_account", "client_id": "key", "client_secret": service_account.trim()},
        "ropc@contoso.com": with(application.clone(), json!({"oauth2_flow": "password"})),
        "reader@contoso.com": with(delegated(), json!({"client_id": "reader",
            "oauth2_scope": "https://outlook.office365.com/IMAP.AccessAsUser.All offline_access"})),
        "yahoo@yahoo.com": {"permission_url": "https://api.login.yahoo.com/oauth2/request_auth", "client_id": "y",
            "token_url": "https://api.login.yahoo.com/oauth2/get_token", "oauth2_scope": "mail-w", "redirect_uri": "http://localhost"},
        "your.email@gmail.com": with(google.clone(), json!({"client_id": "*** your client id here ***"})),
        "@fabrikam.com": with(application, json!({"client_id": "all", "client_secret": "marked-catch-all"})),
        "one@fabrikam.com": {},
    });
    let account = |name: &str, key: &str| json!({"name": name, "password": PASSWORD, "iterations": 100_000, "says_iterations": true, "values": {key: format!("marked-{name}")}});
    let accounts = json!([
        account("me@gmail.com", "refresh_token"),
        account("device@contoso.com", "refresh_token"),
        account("reader@contoso.com", "refresh_token"),
        account("sealed@contoso.com", "client_secret_encrypted"),
        account("one@fabrikam.com", "access_token"),
    ]);
    (sections, accounts)
}

#[test]
fn every_flow_of_email_oauth2_proxy_is_taken_or_told_why_not() {
    let house = House::new("");
    let (sections, accounts) = every_flow();
    let file = encrypted(&house, sections, accounts);
    let (status, items, told) = house.items(&[&file, "--password-stdin", "--app", "one@fabrikam.com", "--listeners"], PASSWORD);
    assert_eq!(status, Some(1), "{told}");
    let left: Vec<&String> = items.iter().filter(|(_, became)| *became == "left").map(|(name, _)| name).collect();
    let expected = ["account gone@contoso.com", "account ropc@contoso.com", "grant reader", "grant yahoo"];
    assert_eq!(left, expected, "{told}");
    for name in ["me", "device", "app", "cert", "sealed", "sa", "sb", "yahoo", "one", "reader"] {
        assert_eq!(items[&format!("mailbox {name}")], "taken", "{told}");
    }
    let files = house.written();
    let has = |file: &str, lines: &[&str]| {
        let text = files.get(file).unwrap_or_else(|| panic!("{file}: {:?}", files.keys()));
        lines.iter().for_each(|line| assert!(text.contains(line), "{file}: {line}\n{text}"));
    };
    has(
        "link-gmail.toml",
        &["provider = \"google\"", "grant = \"authorization-code\"", "client-id = \"g.apps", "client-secret = { sealed"],
    );
    has("mailbox-device.toml", &["address = \"device@contoso.com\""]);
    assert!(files.values().any(|text| text.contains("grant = \"device-code\"") && text.contains("provider = \"microsoft\"")));
    let certificate = files.values().find(|text| text.contains("client-id = \"cert\"")).expect("a link by certificate");
    assert!(certificate.contains("certificate = \"") && certificate.contains("private-key = { sealed"), "{certificate}");
    has("link-example.toml", &["grant = \"service-account\"", "service-account = { sealed"]);
    has("mailbox-sb.toml", &["link = \"example\""]);
    has(
        "link-yahoo.toml",
        &["provider = \"custom\"", "token-endpoint = \"https://api.login.yahoo.com/oauth2/get_token\"", "scopes = [\"mail-w\"]"],
    );
    has("mailbox-yahoo.toml", &["server = \"smtp.mail.yahoo.com:465\"", "tls = \"implicit\""]);
    has("link-fabrikam.toml", &["grant = \"client-credentials\"", "client-id = \"all\""]);
    has("app-one.toml", &["user = \"one@fabrikam.com\"", "password = \"$argon2id$"]);
    has("listener-smtp-1587.toml", &["bind = \"127.0.0.1:1587\""]);
    // The one that there is without any would go with the first one that is written.
    has("listener-local.toml", &["bind = \"127.0.0.1:2525\""]);
    assert!(
        !files.contains_key("listener-smtp-1465.toml") && !files.contains_key("listener-smtp-1466.toml"),
        "{:?}",
        files.keys()
    );
    let notes = told["notes"].to_string();
    for note in ["[@fabrikam.com] served any address", "10.1.2.3", "[SMTP-1466] spoke TLS", "IMAP", "sample file"] {
        assert!(notes.contains(note), "{note}: {notes}");
    }
    assert!(!format!("{told}{files:?}").contains("marked"), "{told}{files:?}");
    let (status, said) = support::story::command(&["check"], &house.config);
    assert_eq!(status, Some(0), "{said}");
    // A second run finds everything again, also the links of service accounts.
    let (_, items, told) = house.items(&[&file, "--password-stdin", "--app", "one@fabrikam.com", "--listeners"], PASSWORD);
    assert!(items.values().all(|became| became == "there" || became == "left"), "{told}");
    assert_eq!(house.written(), files);
}

#[test]
fn a_running_daemon_takes_ports_over_at_once_and_not_while_another_has_them() {
    let house = House::new("");
    let (local, port) = (free_port(), free_port());
    let config = fs::read_to_string(&house.config).expect("it is there");
    fs::write(&house.config, format!("{config}\n[listener.local]\nbind = \"127.0.0.1:{local}\"\n")).expect("it can be written");
    let text = format!(
        "[SMTP-{port}]\nlocal_address = 127.0.0.1\nserver_address = smtp.gmail.com\nserver_port = 465\n\n[me@gmail.com]\n\
         permission_url = https://accounts.google.com/o/oauth2/auth\ntoken_url = https://oauth2.googleapis.com/token\n\
         oauth2_scope = https://mail.google.com/\nredirect_uri = http://localhost\nclient_id = g.apps\nclient_secret = s\n"
    );
    let file = house.file("emailproxy.config", &text);
    let daemon = house.start();
    let other = std::net::TcpListener::bind(("127.0.0.1", port)).expect("it is free");
    let name = format!("listener smtp-{port}");
    let words = [file.as_str(), "--listeners", "--only", "me@gmail.com"];
    let (_, items, told) = house.items(&words, "");
    assert_eq!(items[&name], "left", "{told}");
    let said = told.to_string();
    assert!(
        said.contains("another program has this port") && said.contains("stop the old program, then run this again"),
        "{said}"
    );
    assert!(!house.written().contains_key(&format!("listener-smtp-{port}.toml")));
    drop(other);
    let (_, items, told) = house.items(&words, "");
    assert_eq!(items[&name], "taken", "{told}");
    assert!(!told["next"].to_string().contains("start outlink"), "{told}");
    assert!(is_taken(port) && is_taken(local), "{}", daemon.output());
}

#[test]
fn names_that_are_taken_and_accounts_that_are_there_are_left_alone() {
    let by_hand = "[link.contoso]\nprovider = \"google\"\ngrant = \"authorization-code\"\nclient-id = \"c\"\n\
                   [mailbox.alerts]\nlink = \"contoso\"\naddress = \"alerts@example.com\"\n\
                   [mailbox.there]\nlink = \"contoso\"\naddress = \"Robot@contoso.com\"\n";
    let house = House::new(by_hand);
    let plain = |name: &str| (name.to_owned(), delegated());
    let sections: serde_json::Map<_, _> = [plain("alerts@contoso.com"), plain("robot@contoso.com")].into_iter().collect();
    let file = encrypted(&house, sections.into(), json!([]));
    let (status, items, told) = house.items(&[&file], "");
    assert_eq!(status, Some(1), "{told}");
    let became = |name: &str| items.get(name).map(String::as_str);
    assert_eq!(became("link contoso-2"), Some("taken"), "{told}");
    assert_eq!(became("mailbox alerts-contoso-com"), Some("taken"), "{told}");
    assert_eq!(became("account robot@contoso.com"), Some("left"), "{told}");
    assert!(told.to_string().contains("mailbox there sends as Robot@contoso.com through another link"), "{told}");
    // Only one account, and one that is not there.
    let (status, items, _) = house.items(&[&file, "--only", "ALERTS@contoso.com", "--dry-run"], "");
    assert!(status == Some(1) && !items.contains_key("account robot@contoso.com"), "{items:?}");
    let (status, said) = house.import(&[&file, "--only", "nobody@contoso.com"], "");
    assert!(status == Some(1) && said.contains("no account nobody@contoso.com"), "{said}");
}

#[test]
fn a_person_at_a_terminal_is_asked_for_the_password_of_each_account() {
    let house = House::new("");
    let sections = json!({"a@contoso.com": delegated(), "b@contoso.com": delegated()});
    let account = |name: &str| json!({"name": name, "password": PASSWORD, "iterations": 100_000, "says_iterations": true, "values": {"refresh_token": "marked-token"}});
    let file = encrypted(&house, sections, json!([account("a@contoso.com"), account("b@contoso.com")]));
    let mut command = Command::new("python3");
    command.arg(client("terminal.py")).arg(LONG.as_secs().to_string()).arg(outlink().get_program());
    command.args(["import", &file, "--config"]).arg(&house.config);
    let question = |name: &str| format!("log in to email-oauth2-proxy as {name}");
    let answers = json!([
        [question("a@contoso.com"), "wrong\r"],
        [question("a@contoso.com"), format!("{PASSWORD}\r")],
        [question("b@contoso.com"), "\r"],
    ]);
    let output = run(command, answers.to_string().as_bytes(), LONG);
    let screen = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{screen}");
    assert!(screen.contains("that password does not open what a@contoso.com has encrypted"), "{screen}");
    assert!(screen.contains("grant of mailbox a") && screen.contains("the password of its login was not given"), "{screen}");
    assert!(!screen.contains("marked") && !screen.contains("wrong"), "{screen}");
    assert_eq!(grants(&house), ["a"]);
}

#[test]
fn an_installation_of_sasl_xoauth2_moves_beside_a_running_daemon() {
    let story = sandbox(&[]);
    let daemon = story.start();
    let house = House::new("");
    let (token, secret) = (read(&story, "grant"), read(&story, "client-secret"));
    let config = house.file(
        "sasl-xoauth2.conf",
        &json!({"client_id": "outlink-sandbox", "client_secret": secret.trim(), "token_endpoint": key(&story, "token-endpoint"),
                "ca_bundle_file": story.directory.path().join("ca.pem"), "log_full_trace_on_failure": "no"})
        .to_string(),
    );
    // As the plugin writes it, and with what it may override.
    let first =
        json!({"access_token": "marked-access", "expiry": "0", "refresh_token": token.trim(), "user": "robot@sandbox.example"});
    let first = house.file("robot", &serde_json::to_string_pretty(&first).expect("JSON"));
    let broken = house.file("broken", "{\n  \"refresh_token\": \"marked-broken\n}");
    let other = house.file("other", "{\"refresh_token\": \"marked-other\", \"client_id\": \"mine\", \"token_endpoint\": \"https://accounts.google.com/o/oauth2/token\"}");
    let external = house.file("external", "{\"access_token\": \"marked-x\", \"manage_token_externally\": \"yes\"}");
    let server = key(&story, "server");
    let (host, port) = server.split_once(':').expect("host and port");
    let map = house.file(
        "sasl_passwd",
        &format!(
            "# map\n[{host}]:{port} robot+box@sandbox.example:{first}\nsmtp.example.com broken@sandbox.example:{broken}\n\
             other@example.com\n  other@example.com:{other}\n[{host}]:{port} ext@sandbox.example:{external}\n\
             [{host}]:{port} gone@sandbox.example:/nowhere/gone\nisp.example.com me:marked-plain\n"
        ),
    );
    let story_config = House { directory: house.directory, config: story.config.clone() };
    let (status, items, told) = story_config.items(&[&config, &map, "--scope", "mail.send", "--scope", "offline_access"], "");
    assert_eq!(status, Some(1), "{told}");
    let became = |name: &str| items.get(name).map(String::as_str);
    // The sandbox's own link is that client already.
    assert_eq!((became("link sandbox"), became("mailbox robot-box")), (Some("there"), Some("taken")), "{told}");
    assert_eq!((became("grant robot-box"), became("grant other")), (Some("taken"), Some("taken")), "{told}");
    for name in ["broken", "ext", "gone"] {
        assert_eq!(became(&format!("account {name}@sandbox.example")), Some("left"), "{told}");
    }
    let text = told.to_string();
    assert!(text.contains("broken:2: it is no JSON here") && text.contains("isp.example.com"), "{text}");
    assert!(!text.contains("marked") && !text.contains(token.trim()) && !text.contains(secret.trim()), "{text}");
    let mut command = outlink();
    command.args(["app", "add", "postfix", "--mailbox", "robot-box", "--json", "--config"]).arg(&story.config);
    let app: Value = serde_json::from_slice(&run(command, b"", LONG).stdout).expect("JSON");
    let mut app = App::login(story.relay, "postfix", app["password"].as_str().expect("a password"));
    app.queue(Mail { id: "by-postfix", ..Mail::default() });
    let message = story.with_subject("by-postfix");
    assert_eq!(message["user"], ME, "the token file's own user is the login's\n{}", daemon.output());
}

fn read(story: &Story, name: &str) -> String {
    fs::read_to_string(story.directory.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn a_token_file_that_mutts_script_wrote_moves() {
    let story = sandbox(&[]);
    let house = House::new("");
    // The script as it is shipped, told of the client and the provider, and with pipes that encrypt nothing.
    let mut script = fs::read_to_string(tool("mutt_oauth2.py")).expect("it is there");
    let (secret, server) = (read(&story, "client-secret"), key(&story, "server"));
    let http = key(&story, "token-endpoint").trim_end_matches("/token").to_owned();
    for (from, to) in [
        ("['gpg', '--encrypt', '--recipient', 'YOUR_GPG_IDENTITY']", "['cat']".to_owned()),
        ("['gpg', '--decrypt']", "['cat']".to_owned()),
        ("'https://accounts.google.com/o/oauth2/token'", format!("'{http}/token'")),
        ("'https://accounts.google.com/o/oauth2/auth'", format!("'{http}/authorize'")),
        ("'smtp.gmail.com'", format!("'{server}'")),
        (
            "'https://mail.google.com/',\n        'client_id': ''",
            "'mail.send offline_access',\n        'client_id': 'outlink-sandbox'".to_owned(),
        ),
        ("'client_secret': ''", format!("'client_secret': '{}'", secret.trim())),
    ] {
        assert!(script.contains(from), "{from} is not in the script any more");
        script = script.replacen(from, &to, 1);
    }
    let script = house.file("mutt_oauth2.py", &script);
    let token = json!({"registration": "google", "authflow": "localhostauthcode", "email": ME, "access_token": "",
        "access_token_expiration": "", "refresh_token": read(&story, "grant").trim()});
    let file = house.file("token", &token.to_string());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its mode can be set");
    let mut command = Command::new(tool("python/bin/python"));
    command.args([&script, &file]);
    let output = run(command, b"", LONG);
    assert!(output.status.success(), "{output:?}");
    let renewed = fs::read_to_string(&file).expect("it is there");
    assert!(!renewed.contains(read(&story, "grant").trim()), "the script has renewed its token");

    // As `gpg -d token | outlink import - mutt_oauth2.py`.
    let (status, said) = house.import(&["-"], &renewed);
    assert!(status == Some(1) && said.contains("its client's id stands in the script"), "{said}");
    let ca = story.directory.path().join("ca.pem");
    let (status, items, told) = house.items(&["-", &script, "--ca-file", ca.to_str().expect("a name"), "--app", ME], &renewed);
    assert_eq!((status, items["grant robot"].as_str()), (Some(0), "taken"), "{told}");
    let app = &told["apps"][0];
    let mut local = fs::read_to_string(&house.config).expect("it is there");
    let port = free_port();
    local.push_str(&format!("[listener.local]\nbind = \"127.0.0.1:{port}\"\n"));
    fs::write(&house.config, local).expect("it can be written");
    let daemon = house.start();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut app = App::login(address, app["user"].as_str().expect("a user"), app["password"].as_str().expect("a password"));
    app.queue(Mail { id: "by-mutt", ..Mail::default() });
    story.with_subject("by-mutt");
    assert_eq!(story.stat("refresh_token_reuses"), 0, "{}", daemon.output());
}

#[test]
fn files_that_are_none_are_refused_with_their_line_and_nothing_is_written() {
    let house = House::new("");
    let long = house.file("long", &"# x\n".repeat(2 << 20));
    let binary = house.path("binary");
    fs::write(&binary, [0x85, 0x01, 0xff, 0x00]).expect("it can be written");
    let file = |name: &str, text: &str| house.file(name, text);
    let rows = [
        (vec![file("one", "[emailproxy]\nmarked\n")], 74, "one:2: this is neither"),
        (vec![file("two", "[SMTP-1587]\nserver_port = 1\n")], 74, "there is no account in it"),
        (vec![file("three", "{\"client_id\": \"marked\"")], 74, "three:1: it is JSON that ends too early"),
        (vec![file("four", "-----BEGIN PGP MESSAGE-----\n")], 74, "gpg -d FILE | outlink import -"),
        (vec![file("five", "marked")], 74, "--from says whose"),
        (vec![file("six", "{\"client_id\": \"marked\", \"client_secret\": \"marked\"}")], 74, "give Postfix's map too"),
        (vec![long], 74, "longer than 4 MiB"),
        (vec![binary.to_str().expect("a name").to_owned()], 74, "is no text"),
        (vec!["/nowhere/emailproxy.config".to_owned()], 74, "cannot read /nowhere"),
        (vec![house.directory.path().to_str().expect("a name").to_owned()], 74, "a directory"),
        (vec!["-".to_owned(), "--password-stdin".to_owned()], 64, "only one thing"),
        (vec!["-".to_owned(), "--from".to_owned(), "pine".to_owned()], 64, "mutt_oauth2"),
        (
            vec![file("seven", "{\"refresh_token\": \"marked\"}"), "--cache-store".to_owned(), file("eight", "")],
            64,
            "--cache-store",
        ),
    ];
    for (words, expected, why) in rows {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (status, said) = house.import(&words, "");
        assert!(status == Some(expected) && said.contains(why), "{words:?}: {status:?}: {said}");
        assert!(!said.contains("marked"), "{words:?}: {said}");
    }
    assert!(house.written().is_empty());
    fs::write(&house.config, "nonsense = 1\n").expect("it can be written");
    assert_eq!(house.import(&[&house.file("nine", "[a@b.c]\n")], "").0, Some(78));
}

#[test]
fn a_stopped_services_store_stays_its_users_when_root_imports() {
    if !rustix::process::geteuid().is_root() {
        // Only root has to become somebody else; everybody else takes the other stories' way.
        return;
    }
    const NOBODY: u32 = 65534;
    let house = House::new("");
    fs::set_permissions(house.directory.path(), fs::Permissions::from_mode(0o755)).expect("its mode can be set");
    fs::create_dir(house.path("state")).expect("it can be made");
    std::os::unix::fs::chown(house.path("state"), Some(NOBODY), Some(NOBODY)).expect("root may do so");
    let account = json!([{"name": "a@contoso.com", "password": "p", "iterations": 100_000, "says_iterations": true,
        "values": {"refresh_token": "marked-token"}}]);
    let file = encrypted(&house, json!({"a@contoso.com": delegated()}), account);
    let (status, _, told) = house.items(&[&file, "--password-stdin"], "p");
    assert_eq!(status, Some(0), "{told}");
    for entry in fs::read_dir(house.path("state")).expect("it can be listed") {
        let entry = entry.expect("it can be listed");
        let owner = std::os::unix::fs::MetadataExt::uid(&entry.metadata().expect("it is there"));
        assert_eq!(owner, NOBODY, "{}", entry.path().display());
    }
}

#[test]
fn the_commands_of_the_guide_are_understood() {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migrating.md")).expect("it is there");
    let house = House::new("");
    let commands = guide.lines().filter_map(|line| line.split_once("outlink import "));
    let commands: Vec<&str> = commands.filter(|(before, _)| !before.contains('`')).map(|(_, words)| words).collect();
    assert!(commands.len() >= 4, "{commands:?}");
    for words in commands {
        let words: Vec<String> = words.split(' ').map(|word| word.replace("/etc", "/nowhere").replace('~', "/nowhere")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // The files are not there: what is asked for is clear.
        let (status, said) = house.import(&words, "{\"registration\": \"google\", \"email\": \"a@b.c\"}");
        assert!(status == Some(74) && said.contains("cannot read /nowhere"), "{words:?}: {status:?} {said}");
    }
}

/// The sections of an INI file, each with its values by key.
type Sections = Vec<(String, BTreeMap<String, String>)>;

#[test]
fn ini_files_are_read_as_python_reads_them() {
    let line = "(\\[[abA]{0,2}\\]x?|[ \t]{0,3}[abB]{0,2}[ ]?[=:]?[ ]?[a=:;#\\[%]{0,3}|[ ]{0,2}[#;][a= ]{0,3}|[ \t]{0,2})";
    let texts = proptest::collection::vec(proptest::string::string_regex(line).expect("a pattern"), 0..12)
        .prop_map(|lines| format!("[s]\n{}\n", lines.join("\n")));
    let mut runner = TestRunner::deterministic();
    let texts: Vec<String> = (0..4000).map(|_| texts.new_tree(&mut runner).expect("a text").current()).collect();
    let mut command = Command::new(tool("python/bin/python"));
    command.arg(client("inis.py"));
    let output = run(command, serde_json::to_string(&texts).expect("JSON").as_bytes(), LONG);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: Vec<Option<Sections>> = serde_json::from_slice(&output.stdout).expect("JSON");
    let ours = |text: &str| {
        let ini = Ini::parse(text).ok()?;
        let values = |name: &str| ini.keys(name).map(|key| (key.to_owned(), ini.get(name, key).expect("it is there"))).collect();
        Some(ini.sections().iter().map(|section| (section.name.clone(), values(&section.name))).collect())
    };
    let read = theirs.iter().flatten().count();
    assert!(read > 300 && read < texts.len() - 300, "{read} of {} are read: that compares little", texts.len());
    for (text, theirs) in texts.iter().zip(theirs) {
        assert_eq!(ours(text), theirs, "{text:?}");
    }
}
