//! Plays a table: a configuration with a link, a mailbox and an app for each row, its fault, its mail, and the questions afterwards.

use crate::support::{
    Program, SOON,
    clock::{Clock, Passing},
    http, outlink,
    queued::{Mail, queue},
    run,
    story::{App, Story},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

/// The log's event that tells of a mailbox.
pub(crate) const CHANGED: &str = "mailbox.changed";

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wrong {
    /// The SMTP server's reply at this step.
    Reply(&'static str, &'static str),
    /// Google's token endpoint: error, description, subtype.
    Google(&'static str, &'static str, &'static str),
    /// Entra's token endpoint: AADSTS number, error, text.
    Entra(u32, &'static str, &'static str),
    /// The token endpoint answers with this HTTP status: error, or a page of HTML.
    Http(u16, &'static str),
}

/// By which grant the row's link lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Client credentials, or a service account.
    Application,
    /// A person's consent.
    Consent,
}

/// What becomes of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It waits, and goes out by itself when the fault is over.
    Waits,
    /// It waits for a new consent.
    WaitsForConsent,
    /// Its sender gets a bounce.
    Bounces,
    /// It goes out at once by another way: in parts, or with another token.
    Goes,
}

/// One row: what goes wrong, by which grant, the log's event that tells it, the advice's name, how the mailbox stands (with `link`
/// before it where its link stands so, too, and is not ready), and what becomes of the message.
pub(crate) struct Row(
    pub(crate) Wrong,
    pub(crate) Grant,
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) Then,
);

impl Row {
    pub(crate) fn name(at: usize) -> String {
        format!("row-{at}")
    }

    pub(crate) fn address(at: usize) -> String {
        format!("row-{at}@sandbox.example")
    }

    /// The fault, and its setting.
    fn fault(&self, personality: &str, at: usize) -> (&'static str, Value) {
        let (name, mut setting) = match self.0 {
            Wrong::Reply(step, reply) => ("smtp-reply", json!({ "step": step, "reply": reply })),
            Wrong::Google(error, description, "") => ("token-refused", json!({ "error": error, "description": description })),
            Wrong::Google(error, description, subtype) => {
                ("token-refused", json!({ "error": error, "description": description, "subtype": subtype }))
            }
            Wrong::Entra(number, error, text) => {
                ("token-refused", json!({ "error": error, "aadsts": number, "description": text }))
            }
            Wrong::Http(status, text) if text.starts_with('<') => ("token-refused", json!({ "status": status, "html": text })),
            Wrong::Http(status, error) => ("token-refused", json!({ "status": status, "error": error, "aadsts": 90_055 })),
        };
        // An application's token at Microsoft is for no mailbox.
        let by_client = name == "token-refused" && self.1 == Grant::Application && personality == "microsoft";
        match self.0 {
            _ if by_client => setting["client"] = client(at).into(),
            // Nobody has said yet who they are.
            Wrong::Reply("greeting" | "ehlo", _) => {}
            _ => setting["mailbox"] = Row::address(at).into(),
        }
        // What is final strikes once: the bounce goes by the same mailbox.
        if matches!(self.5, Then::Bounces | Then::Goes) {
            setting["times"] = 1.into();
        }
        (name, setting)
    }
}

/// The client id of a row's link at Microsoft.
pub(crate) fn client(at: usize) -> String {
    format!("00000000-0000-4000-8000-{at:012}")
}

/// Makes those of all rows known.
pub(crate) fn register(story: &Story, rows: usize) {
    let ids: Vec<String> = (0..rows).map(client).collect();
    assert_eq!(http(story.http, "PUT", "/clients/ids", &json!(ids).to_string()).0, 204, "ids");
}

/// A provider, the rows' configuration, and the daemon.
struct Stage<'a> {
    personality: &'a str,
    rows: &'a [Row],
    story: Story,
    clock: Clock,
    daemon: Program,
}

/// Plays all rows; fails with everything that was not as the table says.
pub(crate) fn play(personality: &str, rows: &[Row]) {
    let mut stage = Stage::set(personality, rows);
    let ids = stage.send();
    let mut wrong = stage.told(&ids);
    wrong.extend(stage.stands());
    wrong.extend(stage.explained(&ids));
    stage.mend();
    wrong.extend(stage.delivered());
    assert!(wrong.is_empty(), "{} of {} rows are not as they should be:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    let (status, output) = stage.daemon.stop();
    assert_eq!(status, Some(0), "{output}");
}

impl<'a> Stage<'a> {
    fn set(personality: &'a str, rows: &'a [Row]) -> Self {
        let story = Story::new(personality, queue);
        let text = fs::read_to_string(&story.config).expect("it was written");
        fs::write(&story.config, configuration(&text, personality, &story, rows.iter().map(|row| row.1)))
            .expect("it can be written");
        register(&story, rows.len());
        let consents = (0..rows.len()).filter(|at| rows[*at].1 == Grant::Consent);
        consents.for_each(|at| import(&story, at));
        for (at, row) in rows.iter().enumerate() {
            let (fault, setting) = row.fault(personality, at);
            story.fault(fault, &setting);
        }
        let clock = Clock::new(Passing::All, story.directory.path(), story.http, story.relay);
        let daemon = clock.start(&story.config, story.directory.path());
        Self { personality, rows, story, clock, daemon }
    }

    /// Sends a message for each row; gives their ids in the queue.
    fn send(&self) -> Vec<String> {
        let ids = Mutex::new(BTreeMap::new());
        thread::scope(|scope| {
            for part in 0..8 {
                let ids = &ids;
                scope.spawn(move || {
                    for at in (part..self.rows.len()).step_by(8) {
                        let (name, address) = (Row::name(at), Row::address(at));
                        let sender = format!("<{address}>");
                        let mail = Mail { id: &name, sender: &sender, from: &address, ..Mail::default() };
                        let id = App::login(self.story.relay, &name, &self.story.password).queue(mail);
                        ids.lock().expect("nobody panicked").insert(at, id);
                    }
                });
            }
        });
        ids.into_inner().expect("nobody panicked").into_values().collect()
    }

    /// Waits for the events; gives what is not told.
    fn told(&self, ids: &[String]) -> Vec<String> {
        let deadline = Instant::now() + SOON;
        loop {
            let log = self.log();
            let wrong: Vec<String> = (0..self.rows.len()).filter_map(|at| untold(&self.rows[at], at, &ids[at], &log)).collect();
            if wrong.is_empty() || Instant::now() > deadline {
                return wrong;
            }
            // The log is a stream of other rows' lines; none of them says that all is told.
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Pastes what the log says into `outlink explain`; gives what it does not know, or takes for something else.
    fn explained(&self, ids: &[String]) -> Vec<String> {
        let (log, wrong) = (self.log(), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for part in 0..4 {
                let (log, wrong) = (&log, &wrong);
                scope.spawn(move || {
                    for at in (part..self.rows.len()).step_by(4).filter(|at| !self.rows[*at].3.is_empty()) {
                        wrong.lock().expect("nobody panicked").extend(self.unexplained(at, &ids[at], log));
                    }
                });
            }
        });
        wrong.into_inner().expect("nobody panicked")
    }

    fn unexplained(&self, at: usize, id: &str, log: &[Value]) -> Option<String> {
        let (row, name) = (&self.rows[at], Row::name(at));
        let is_it = |line: &&Value| {
            line["event"] == row.2 && line["advice_name"] == row.3 && (line["mailbox"] == name.as_str() || line["id"] == id)
        };
        let line = log.iter().find(is_it)?;
        let text = [&line["reason"], &line["reply"]].into_iter().find_map(Value::as_str)?;
        let mut command = outlink();
        command.args(["explain", "--json", "--provider", self.personality, text]);
        let output = run(command, b"", SOON);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let first = &said["meanings"][0];
        // What is the message's alone changes no state.
        let (subject, state) = match (row.4.strip_prefix("link "), row.4) {
            // That all mailboxes of this link share one token does not stand in the text.
            (Some(state), _) if row.1 == Grant::Application => (first["subject"].clone(), json!(state)),
            (Some(state), _) => (json!("link"), json!(state)),
            (None, "ready") => (first["subject"].clone(), Value::Null),
            (None, state) => (json!("mailbox"), json!(state)),
        };
        let is_right = output.status.code() == Some(0)
            && first["advice_name"] == row.3
            && first["subject"] == subject
            && first["state"] == state;
        let told = [&first["advice_name"], &first["subject"], &first["state"]];
        (!is_right).then(|| format!("{name} {:?}: explained as {told:?}, not {} {subject} {state}: {text}", row.0, row.3))
    }

    fn log(&self) -> Vec<Value> {
        self.daemon.output().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Compares how each mailbox stands.
    fn stands(&self) -> Vec<String> {
        let (status, said) = self.clock.command(&["link", "list", "--json"], &self.story.config);
        assert_eq!(status, Some(0), "{said}");
        let list: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{said}: {e}"));
        let links: BTreeMap<&str, &Value> =
            list["links"].as_array().into_iter().flatten().map(|link| (link["link"].as_str().expect("a name"), link)).collect();
        let differs = |(at, row): (usize, &Row)| {
            let name = Row::name(at);
            let link = links.get(name.as_str()).unwrap_or_else(|| panic!("no link {name} in {said}"));
            let mailbox = &link["mailboxes"][0];
            let stands = [&link["state"], &mailbox["state"]];
            let kept = ["waiting", "held", "failed"].map(|tally| mailbox[tally]["messages"].as_u64().unwrap_or(99));
            let is_kept = match (row.5, kept) {
                (Then::Waits | Then::WaitsForConsent, [waiting, held, 0]) => waiting + held == 1,
                // The message itself, so that it can be tried again.
                (Then::Bounces, kept) => kept == [0, 0, 1],
                (Then::Goes, kept) => kept == [0, 0, 0],
                _ => false,
            };
            let expected = row.4.strip_prefix("link ").map_or(["ready", row.4], |both| [both; 2]);
            let is_right = stands == expected && is_kept;
            (!is_right).then(|| format!("{name} {:?}: stands {stands:?}, not {expected:?}, with {kept:?}: {mailbox}", row.0))
        };
        self.rows.iter().enumerate().filter_map(differs).collect()
    }

    /// Ends all faults, and gives new consents where they are wanted.
    fn mend(&self) {
        self.story.mend("smtp-reply");
        self.story.mend("token-refused");
        let consents = (0..self.rows.len()).filter(|at| self.rows[*at].5 == Then::WaitsForConsent);
        consents.for_each(|at| import(&self.story, at));
    }

    /// Lets time pass until everything is at its end; gives what did not come, or came twice.
    fn delivered(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        // A day, in which even a quota is over.
        for _ in 0..24 {
            wrong = self.missing();
            if wrong.is_empty() {
                break;
            }
            self.clock.forward(Duration::from_secs(3600));
            let settled = Instant::now() + Duration::from_secs(1);
            while !wrong.is_empty() && Instant::now() < settled {
                thread::sleep(Duration::from_millis(50));
                wrong = self.missing();
            }
        }
        wrong
    }

    /// Each message once; or its bounce, to its sender.
    fn missing(&self) -> Vec<String> {
        let received = self.story.received();
        let count = |at: usize, is_it: &dyn Fn(&Value) -> bool| {
            let user = Row::address(at);
            received.iter().filter(|message| message["user"] == user.as_str() && is_it(message)).count()
        };
        let missing = |(at, row): (usize, &Row)| {
            let (name, address) = (Row::name(at), Row::address(at));
            let mails = count(at, &|message| message["message_id"] == format!("<{name}@app.example>"));
            let is_bounce = |message: &Value| message["subject"] == format!("Undelivered mail: {name}").as_str();
            let bounces = count(at, &|message| is_bounce(message) && message["to"][0] == address.as_str());
            let expected = if row.5 == Then::Bounces { (0, 1) } else { (1, 0) };
            ((mails, bounces) != expected).then(|| {
                format!("{name} {:?}: {mails} deliveries and {bounces} bounces, not {expected:?} ({:?})", row.0, self.personality)
            })
        };
        self.rows.iter().enumerate().filter_map(missing).collect()
    }
}

/// The row's complaint, unless a line of the log tells it: this event, of this mailbox or message, with this advice.
fn untold(row: &Row, at: usize, id: &str, log: &[Value]) -> Option<String> {
    let name = Row::name(at);
    let is_its = |line: &&Value| line["mailbox"] == name.as_str() || line["id"] == id;
    let its: Vec<&Value> = log.iter().filter(is_its).collect();
    let telling = its.iter().filter(|line| {
        let advice = line["advice_name"].as_str().unwrap_or_default();
        line["event"] == row.2
            && advice == row.3
            && (row.3.is_empty() || line["advice"].as_str().is_some_and(|text| text.len() > 20))
    });
    let (told, times) = (telling.count(), its.iter().filter(|line| line["event"] == row.2).count());
    // Renewals of a link's own token name no mailbox.
    let renewals =
        log.iter().filter(|line| line["link"] == name.as_str() && line["event"] == "token.failed" && line["level"] == "WARN");
    let renewals = renewals.count();
    let mut said = String::new();
    for line in its.iter().filter(|line| line["event"] != "message.accepted") {
        let reason = [&line["reason"], &line["reply"], &line["message"]].into_iter().find_map(Value::as_str).unwrap_or_default();
        let short: String = reason.chars().take(160).collect();
        let _ = write!(said, "\n    {} {} {} {short}", line["event"], line["state"], line["advice_name"]);
    }
    match told {
        0 => Some(format!("{name} {:?}: not told as {} {}:{said}", row.0, row.2, row.3)),
        // Trouble is told once, however often it is tried.
        _ if row.2.ends_with(".changed") && times != 1 => Some(format!("{name} {:?}: told {times} times:{said}", row.0)),
        _ if renewals > 1 => Some(format!("{name} {:?}: {renewals} renewals told as failed:{said}", row.0)),
        _ => None,
    }
}

/// The grant that a person gave, brought in.
pub(crate) fn import(story: &Story, at: usize) {
    let (status, token) = http(story.http, "POST", &format!("/grant?mailbox={}", Row::address(at)), "");
    assert_eq!(status, 200, "a grant");
    let file = story.directory.path().join("grant");
    fs::write(&file, token).expect("it can be written");
    story.good(&["grant", "import", &Row::name(at), "--file", file.to_str().expect("a name")]);
}

/// The sandbox's configuration with a link, a mailbox and an app for each row.
pub(crate) fn configuration(text: &str, personality: &str, story: &Story, rows: impl Iterator<Item = Grant>) -> String {
    let table = |name: &str| {
        let begin = text.find(&format!("[{name}]\n")).expect("it was written");
        let end = text[begin + 1..].find("\n[").map_or(text.len(), |end| begin + 1 + end);
        text[begin..end].to_owned()
    };
    let (link, mailbox, app) = (table("link.sandbox"), table("mailbox.sandbox"), table("app.sandbox"));
    let key = service_account(story, personality);
    let mut written = text.to_owned();
    for (at, grant) in rows.enumerate() {
        let own = |table: &str| table.replace("sandbox]", &format!("{}]", Row::name(at)));
        let link = match (personality, grant) {
            ("google", Grant::Application) => {
                let is_anothers = |line: &&str| {
                    let persons = ["client-", "authorization-", "revocation-"];
                    !persons.iter().any(|name| line.starts_with(name))
                };
                let lines: Vec<&str> = link.lines().filter(is_anothers).collect();
                let service = format!("grant = \"service-account\"\nservice-account = {{ file = \"{key}\" }}");
                own(&lines.join("\n")).replace("grant = \"authorization-code\"", &service)
            }
            ("google", Grant::Consent) => own(&link),
            (_, Grant::Application) => own(&link).replace(&client(1), &client(at)),
            (_, Grant::Consent) => {
                let begins = format!("authorization-endpoint = \"http://{}/authorize\"", story.http);
                let grant = format!("grant = \"authorization-code\"\n{begins}");
                own(&link).replace("grant = \"client-credentials\"", &grant)
            }
        };
        let mailbox = own(&mailbox).replace("link = \"sandbox\"", &format!("link = \"{}\"", Row::name(at)));
        let mailbox = mailbox.replace("robot@sandbox.example", &Row::address(at));
        let app = own(&app).replace("mailbox = \"sandbox\"", &format!("mailbox = \"{}\"", Row::name(at)));
        let _ = write!(written, "\n{link}\n{mailbox}\n{app}\n");
    }
    written
}

/// The file with the key of Google's service account.
fn service_account(story: &Story, personality: &str) -> String {
    let file = story.directory.path().join("service-account.json");
    if personality == "google" {
        let (status, key) = http(story.http, "GET", "/service-account", "");
        assert_eq!(status, 200, "a key");
        fs::write(&file, key).expect("it can be written");
    }
    file.display().to_string()
}
