//! `outlink sendmail` as programs of this machine call it: handed over through the Unix socket, left in the drop directory while the
//! daemon is down and taken up later; and what somebody else puts into that directory. The real programs are in `machine.rs`.

mod support;

use std::{
    fs::{self, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
};
use support::{
    Program, SOON, outlink,
    queued::{queue, until},
    run,
    story::Story,
};

/// A relay with a socket for programs, and a directory for when it is down.
struct Machine {
    story: Story,
    socket: PathBuf,
    drop: PathBuf,
}

impl Machine {
    fn new() -> Self {
        Self::with("unix-user = [\"0\"]")
    }

    fn with(proof: &str) -> Self {
        Self::more(proof, "")
    }

    /// With further tables of the configuration.
    fn more(proof: &str, tables: &str) -> Self {
        let spool = |config: &Path| config.with_file_name("spool");
        let uid = own_uid();
        let proof = proof.replace("[\"0\"]", &format!("[\"{uid}\"]"));
        let story = Story::new("microsoft", |text| {
            let port = text.lines().find(|line| line.starts_with("bind = ")).expect("there is a listener").to_owned();
            let text = queue(text).replacen("[app.sandbox]\n", &format!("[app.sandbox]\n{proof}\n"), 1);
            assert!(text.contains(&port));
            text
        });
        let (socket, drop) = (story.directory.path().join("smtp.sock"), spool(&story.config).join("drop"));
        let text = fs::read_to_string(&story.config).expect("it was written");
        let more = format!(
            "[listener.programs]\nbind = \"unix:{}\"\nauth = \"none\"\n[drop]\ndirectory = \"{}\"\n{tables}\n",
            socket.display(),
            drop.display()
        );
        fs::write(&story.config, format!("{text}\n{more}")).expect("it can be written");
        fs::create_dir_all(&drop).expect("a spool");
        fs::set_permissions(&drop, Permissions::from_mode(0o3733)).expect("it is ours");
        Self { story, socket, drop }
    }

    fn sendmail(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = outlink();
        command.arg("sendmail").arg("--socket").arg(&self.socket).arg("--drop").arg(&self.drop).args(arguments);
        run(command, input.as_bytes(), SOON)
    }

    /// As somebody calls it who names no place, with this `sendmail.conf`.
    fn by_conf(&self, conf: &Path, arguments: &[&str], input: &str) -> Output {
        let mut command = outlink();
        command.arg("sendmail").arg("--conf").arg(conf).args(arguments);
        run(command, input.as_bytes(), SOON)
    }

    fn down(&self, daemon: Program) {
        let (status, said) = daemon.stop();
        assert_eq!(status, Some(0), "{said}");
    }

    fn good(&self, arguments: &[&str], input: &str) -> String {
        let output = self.sendmail(arguments, input);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn bad(&self, arguments: &[&str], input: &str, exit: i32, said: &str) {
        let output = self.sendmail(arguments, input);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {output:?}");
        assert!(stderr.starts_with("outlink: ") && stderr.contains(said), "{arguments:?}: {stderr}");
    }

    /// The octets of the message with this subject, once the provider has it, and its recipients.
    fn arrived(&self, subject: &str) -> (String, String) {
        let mut found = None;
        until(subject, SOON, || {
            found = self.story.received().into_iter().find_map(|message| {
                let octets = String::from_utf8_lossy(&self.story.octets(&message)).into_owned();
                octets.contains(&format!("\r\nSubject: {subject}\r\n")).then(|| (octets, message["to"].to_string()))
            });
            found.is_some()
        });
        found.expect("it arrived")
    }

    /// The names in the directory that stand for messages.
    fn left(&self) -> Vec<String> {
        names(&self.drop)
    }

    fn refused(&self) -> PathBuf {
        self.drop.with_file_name("refused")
    }

    /// A whole message in the format of the directory.
    fn message(&self, subject: &str) -> String {
        format!("outlink-drop 1\nfrom <robot@sandbox.example>\nto <you@example.org>\n\nSubject: {subject}\r\n\r\nx\r\n")
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let mut names: Vec<String> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Who runs this test.
fn own_uid() -> String {
    let output = Command::new("id").arg("-u").output().expect("id(1) is there");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn programs_hand_their_mail_over() {
    let machine = Machine::new();
    let daemon = machine.story.start();
    // cron.
    let cron = "From: root (Cron Daemon)\nTo: you@example.org\nSubject: Cron\n\nout\n.\nput\n";
    machine.good(&["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "-f", "robot@sandbox.example", "you@example.org"], cron);
    let (octets, _) = machine.arrived("Cron");
    assert!(octets.ends_with("\r\n\r\nout\r\n.\r\nput\r\n"), "{octets}");
    // PHP: the recipients stand in the header, and a hidden one stays hidden.
    let php = "To: You <you@example.org>, me@example.org\r\nBcc: hidden@example.org\r\nSubject: PHP\r\nX-PHP: 1\r\n\r\nGr\u{fc}\u{df}e\r\n";
    machine.good(&["-t", "-i"], php);
    let (octets, to) = machine.arrived("PHP");
    assert!(!octets.contains("hidden") && octets.contains("Gr\u{fc}\u{df}e"), "{octets}");
    assert!(["you@", "me@", "hidden@"].iter().all(|who| to.contains(who)), "{to}");
    // git send-email.
    machine.good(
        &["-i", "-f", "robot@sandbox.example", "you@example.org", "me@example.org"],
        "From: R <robot@sandbox.example>\nTo: you@example.org\nSubject: [PATCH] x\n\n---\n.\n",
    );
    assert!(machine.arrived("[PATCH] x").0.ends_with("---\r\n.\r\n"));
    // mail(1), whose message a lone dot ends.
    let said = machine.good(&["-v", "--", "you@example.org"], "Subject: mail\n\nbody\n.\nnot this\n");
    assert!(said.contains("OK queued as"), "{said}");
    assert!(machine.arrived("mail").0.ends_with("\r\n\r\nbody\r\n"));
    // logwatch.
    machine.good(&["-t"], "To: you@example.org\nFrom: robot@sandbox.example\nSubject: Logwatch\n\n report\n");
    machine.arrived("Logwatch");
    // A name alone: the address is the mailbox's in the end.
    machine.good(&["-F", "The Name", "-f", "robot@sandbox.example", "you@example.org"], "Subject: name\n\nx\n");
    assert!(machine.arrived("name").0.contains("From: \"The Name\" <robot@sandbox.example>\r\n"));
    // SMTP on standard input.
    let session = "EHLO x\r\nMAIL FROM:<robot@sandbox.example>\r\nRCPT TO:<you@example.org>\r\nDATA\r\nSubject: spoken\r\n\r\nx\r\n.\r\nQUIT\r\n";
    let said = machine.good(&["-bs"], session);
    assert!(said.starts_with("220 ") && said.contains("\r\n250 2.0.0 OK queued as ") && said.contains("\r\n221 "), "{said}");
    machine.arrived("spoken");
    assert_eq!(machine.left(), Vec::<String>::new(), "nothing had to be left");
    drop(daemon);
}

#[test]
fn exit_statuses_say_what_was_wrong() {
    let machine = Machine::new();
    let daemon = machine.story.start();
    let text = "Subject: x\n\nx\n";
    machine.bad(&["-z", "you@example.org"], text, 64, "-z is no option");
    machine.bad(&[], text, 64, "no recipients");
    machine.bad(&["-t"], text, 65, "names no recipient");
    machine.bad(&["-t"], "To: a b c\n\n", 65, "To: `a b c` is no address");
    machine.bad(&["-f", "robot@sandbox.example", "nobody-here-such"], text, 67, "refused the recipient <nobody-here-such>");
    machine.bad(
        &["-f", "robot@sandbox.example", "you@example.org"],
        &format!("{text}{}", "x".repeat(200_000)),
        65,
        "refused the message",
    );
    let (status, said) = daemon.stop();
    assert_eq!(status, Some(0), "{said}");
    let nowhere = machine.drop.with_file_name("nowhere");
    machine.bad(&["--drop", &nowhere.display().to_string(), "you@example.org"], text, 69, "cannot be left in");
    let spoken = machine.sendmail(&["-bs"], "");
    assert_eq!((spoken.status.code(), &spoken.stdout[..4]), (Some(75), &b"421 "[..]));
    // The queue is worked off without being asked.
    for arguments in [&["-q"][..], &["-q30m"], &["-v", "-q"]] {
        assert_eq!(machine.good(arguments, ""), "");
    }
    let daemon = machine.story.start();
    let list = machine.good(&["-bp", "--config", &machine.story.config.display().to_string()], "");
    assert!(list.contains("the queue is empty"), "{list}");
    drop(daemon);
    for (name, said) in [("newaliases", "nothing is to be done"), ("sendmail", "")] {
        let link = machine.story.directory.path().join(name);
        symlink(outlink().get_program(), &link).expect("a link can be made");
        let output = run(Command::new(&link), b"", SOON);
        let expected = if said.is_empty() { 64 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "{name}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(said), "{name}: {output:?}");
    }
}

#[test]
fn what_the_daemon_takes_later_is_left_for_it() {
    let machine = Machine::more("unix-user = [\"0\"]", "[app.sandbox.limits]\nmessages-per-minute = 1");
    let daemon = machine.story.start();
    let args = ["-f", "robot@sandbox.example", "you@example.org"];
    machine.good(&args, "Subject: first\n\nx\n");
    let said = machine.good(&[&["-v"], &args[..]].concat(), "Subject: second\n\nx\n");
    assert!(said.contains("outlink said 450 ") && said.contains("left in"), "{said}");
    assert_eq!(machine.left().len(), 1);
    daemon.logged_or_printed("drop.deferred");
    // Where it cannot be left, the caller hears to try again.
    let nowhere = machine.drop.with_file_name("nowhere").display().to_string();
    machine.bad(&[&["--drop", &nowhere], &args[..]].concat(), "Subject: third\n\nx\n", 75, "cannot be left in");
    machine.down(daemon);
    let text = fs::read_to_string(&machine.story.config).expect("it is there");
    fs::write(&machine.story.config, text.replace("messages-per-minute = 1\n", "messages-per-minute = 100\n"))
        .expect("it can be written");
    let daemon = machine.story.start();
    machine.arrived("second");
    until("it is gone", SOON, || machine.left().is_empty());
    drop(daemon);
}

#[test]
fn very_many_recipients_get_it_in_several_messages() {
    let machine = Machine::more("unix-user = [\"0\"]", "[listener.programs.limits]\nrecipients = 900");
    let to = |domain: &str| (0..1950).map(|n| format!("u{n}@{domain}")).collect::<Vec<_>>().join(",\n ");
    let send = |domain: &str| {
        machine.good(&["-t", "-f", "robot@sandbox.example"], &format!("To: {}\nSubject: many\n\nx\n", to(domain)));
    };
    // The directory's messages have at most a thousand, those through the socket as many as its listener takes.
    send("left.example");
    assert_eq!(machine.left().len(), 2);
    let daemon = machine.story.start();
    send("taken.example");
    assert!(daemon.output().lines().filter(|line| line.contains("message.accepted")).count() >= 3);
    until("all have it", SOON, || {
        let received = machine.story.received();
        let got: std::collections::HashSet<_> = received
            .iter()
            .flat_map(|message| message["to"].as_array().expect("recipients").iter().map(ToString::to_string))
            .collect();
        got.len() == 2 * 1950
    });
    drop(daemon);
}

#[test]
fn what_is_too_large_is_said_at_once() {
    let machine = Machine::more("unix-user = [\"0\"]", "[listener.programs.limits]\nmessage-size = \"1 MiB\"");
    let daemon = machine.story.start();
    let message = |octets: usize| {
        format!("Subject: large\n\n{}", "123456789 123456789 123456789 123456789 123456789 123\n".repeat(octets / 54))
    };
    let args = ["-f", "robot@sandbox.example", "you@example.org"];
    machine.bad(&args, &message(2 << 20), 65, "outlink refused the message: 552 5.3.4");
    machine.down(daemon);
    // What nobody would take up is not left.
    machine.bad(&args, &message(36 << 20), 65, "at most");
    assert_eq!(machine.left(), Vec::<String>::new());
    machine.good(&args, &message(34 << 20));
    assert_eq!(machine.left().len(), 1);
}

#[test]
fn names_in_any_letters_become_the_from() {
    let machine = Machine::new();
    let daemon = machine.story.start();
    let mut command = outlink();
    command.arg("sendmail").arg("--socket").arg(&machine.socket).arg("--drop").arg(&machine.drop);
    command.args(["-f", "robot@sandbox.example", "-F"]).arg(std::ffi::OsStr::from_bytes(b"M\xfcller")).arg("you@example.org");
    let output = run(command, b"Subject: name\n\nx\n", SOON);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(machine.arrived("name").0.contains("\r\nFrom: =?utf-8?Q?M=C3=BCller?= <robot@sandbox.example>\r\n"));
    // An address is not guessed at.
    let mut command = outlink();
    command.arg("sendmail").arg(std::ffi::OsStr::from_bytes(b"m\xfcller@example.org"));
    let output = run(command, b"", SOON);
    assert!(output.status.code() == Some(64) && String::from_utf8_lossy(&output.stderr).contains("UTF-8"), "{output:?}");
    drop(daemon);
}

/// The `[aliases]` that a text tells its reader to write.
fn aliases_of(text: &str) -> String {
    let from = text.find("\n[aliases]\n").expect("it has aliases") + 1;
    let length = text[from + 1..].find(['[', '`']).map_or(text.len() - from, |at| at + 1);
    text[from..from + length].to_owned()
}

#[test]
fn what_cron_sends_to_root_arrives_with_the_documented_configuration() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["config/examples/sendmail.toml", "docs/guide.md"] {
        let text = fs::read_to_string(manifest.join(file)).expect("it is there");
        let machine = Machine::more("unix-user = [\"0\"]", &aliases_of(&text));
        let daemon = machine.story.start();
        let cron = "From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> job\n\nout\n";
        machine.good(&["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"], cron);
        let (_, to) = machine.arrived("Cron <root@host> job");
        assert!(to.contains("it@contoso.com"), "{file}: {to}");
        // cronie; a job of another user.
        let cronie = cron.replace("root", "www-data");
        machine.good(&["-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "root"], &cronie);
        let (_, to) = machine.arrived("Cron <www-data@host> job");
        assert!(to.contains("it@contoso.com"), "{file}: {to}");
        drop(daemon);
    }
}

#[test]
fn a_user_of_no_app_is_told_so_and_may_leave_nothing() {
    let machine = Machine::with("networks = [\"127.0.0.9\"]");
    let daemon = machine.story.start();
    machine.bad(&["you@example.org"], "Subject: x\n\nx\n", 77, "unix-user");
    fs::write(machine.drop.join("msg-1"), machine.message("nobody")).expect("it can be written");
    let line = daemon.logged_or_printed("drop.refused");
    assert!(line.contains("no app is known by the user"), "{line}");
    until("it is put aside", SOON, || names(&machine.refused()) == ["msg-1", "msg-1.why"] && machine.left().is_empty());
    // Who it was, and what to do, stands beside it.
    let why = fs::read_to_string(machine.refused().join("msg-1.why")).expect("it is there");
    assert!(why.contains(&format!("({})", own_uid())) && why.contains("unix-user"), "{why}");
}

trait Logged {
    fn logged_or_printed(&self, text: &str) -> String;
}

impl Logged for Program {
    /// The log line that holds `text`, wherever logs go.
    fn logged_or_printed(&self, text: &str) -> String {
        let mut found = None;
        until(text, SOON, || {
            found = self.output().lines().find(|line| line.contains(text)).map(str::to_owned);
            found.is_some()
        });
        found.expect("it was found")
    }
}

#[test]
fn what_is_left_while_the_daemon_is_down_arrives_once() {
    let machine = Machine::new();
    let args = ["-i", "-N", "never", "-R", "hdrs", "-V", "4711", "-f", "robot@sandbox.example", "you@example.org"];
    let said = machine.good(&[&["-v"], &args[..]].concat(), "Subject: before\n\n.\n");
    assert!(said.contains("left in"), "{said}");
    machine.good(&["-t", "-f", "<>"], "To: you@example.org\nBcc: hidden@example.org\nSubject: null\n\nx\n");
    assert_eq!(machine.left().len(), 2);
    for name in machine.left() {
        assert!(name.starts_with("msg-"), "{name}");
        let mode = fs::metadata(machine.drop.join(&name)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }
    let daemon = machine.story.start();
    assert!(machine.arrived("before").0.ends_with("\r\n\r\n.\r\n"));
    let (octets, to) = machine.arrived("null");
    assert!(!octets.contains("hidden") && to.contains("hidden@"), "{to} {octets}");
    until("both are gone", SOON, || machine.left().is_empty());
    // Taken up while it runs, too, as somebody without the socket leaves them.
    let elsewhere = machine.story.directory.path().join("nowhere.sock").display().to_string();
    machine.good(&["--socket", &elsewhere, "-f", "robot@sandbox.example", "you@example.org"], "Subject: later\n\nx\n");
    machine.arrived("later");
    until("it is gone", SOON, || machine.left().is_empty());
    let list = machine.story.good(&["app", "list"]);
    assert!(list.contains(", by a file in the drop directory, listener drop, without TLS; 3 messages in 24 hours"), "{list}");
    drop(daemon);
    let daemon = machine.story.start();
    machine.good(&["-f", "robot@sandbox.example", "you@example.org"], "Subject: last\n\nx\n");
    machine.arrived("last");
    for subject in ["before", "null", "later", "last"] {
        let copies = machine.story.received().into_iter().filter(|message| {
            String::from_utf8_lossy(&machine.story.octets(message)).contains(&format!("\r\nSubject: {subject}\r\n"))
        });
        assert_eq!(copies.count(), 1, "{subject}");
    }
    drop(daemon);
}

#[test]
fn nothing_in_the_directory_is_believed() {
    let machine = Machine::new();
    let outside = machine.story.directory.path().join("outside");
    fs::write(&outside, machine.message("stolen")).expect("it can be written");
    let path = |name: &str| machine.drop.join(name);
    symlink(&outside, path("msg-1-symlink")).expect("a link can be made");
    fs::hard_link(&outside, path("msg-2-hardlink")).expect("a link can be made");
    fs::create_dir(path("msg-3-directory")).expect("a directory can be made");
    let made = Command::new("mkfifo").arg(path("msg-4-pipe")).status();
    assert!(made.is_ok_and(|status| status.success()));
    fs::write(path("msg-5-foreign"), "#!/bin/sh\ntouch /tmp/run\n").expect("it can be written");
    let large = fs::File::create(path("msg-6-large")).expect("it can be made");
    large.set_len(40 << 20).expect("a hole costs nothing");
    fs::write(path("msg-7-command"), "outlink-drop 1\nfrom <a@b.example>\nto <c@d.example>\r\nDATA\n\n")
        .expect("it can be written");
    fs::write(path("new-8-unfinished"), machine.message("unfinished")).expect("it can be written");
    fs::write(path("other"), machine.message("other")).expect("it can be written");
    fs::write(path("msg-9-good"), machine.message("good")).expect("it can be written");
    let daemon = machine.story.start();
    machine.arrived("good");
    for (name, why) in [
        ("msg-1-symlink", "no regular file"),
        ("msg-2-hardlink", "more than one name"),
        ("msg-3-directory", "no regular file"),
        ("msg-4-pipe", "no regular file"),
        ("msg-5-foreign", "does not begin with"),
        ("msg-6-large", "larger than 36 MiB"),
        ("msg-7-command", "line 3"),
    ] {
        let output = daemon.output();
        let line = output.lines().find(|line| line.contains(name) && line.contains("drop.refused"));
        assert!(line.is_some_and(|line| line.contains(why)), "{name}: {line:?}");
    }
    until("what is good is gone", SOON, || machine.left() == ["new-8-unfinished", "other"]);
    let refused = names(&machine.refused());
    assert_eq!(
        refused.iter().filter(|name| !name.ends_with(".why")).count(),
        6,
        "all but the directory, which was empty: {refused:?}"
    );
    assert_eq!(fs::read_to_string(&outside).expect("it is there"), machine.message("stolen"));
    assert_eq!(machine.story.received().len(), 1, "nothing else was sent");
    // A directory that others could rearrange is not used.
    fs::set_permissions(&machine.drop, Permissions::from_mode(0o777)).expect("it is ours");
    daemon.logged_or_printed("its mode is 777, not 3733");
}

#[test]
fn a_file_that_all_may_read_says_where_the_socket_and_the_directory_are() {
    let machine = Machine::new();
    let conf = machine.story.config.with_file_name("sendmail.conf");
    let said = machine.story.good(&["sendmail", "--write-conf", "--domain", "sandbox.example"]);
    assert!(said.contains(&format!("written: {}", conf.display())), "{said}");
    assert_eq!(fs::metadata(&conf).expect("it was written").permissions().mode() & 0o777, 0o644);
    let text = fs::read_to_string(&conf).expect("it was written");
    for line in [format!("socket = \"{}\"", machine.socket.display()), format!("drop = \"{}\"", machine.drop.display())] {
        assert!(text.contains(&line), "{text}");
    }
    machine.story.good(&["sendmail", "--write-conf"]);
    assert_eq!(fs::read_to_string(&conf).expect("it is there"), text, "the domain stays");
    assert!(!machine.story.good(&["check"]).contains("sendmail.conf"));

    let args = ["-i", "-f", "robot@sandbox.example", "you@example.org"];
    let output = machine.by_conf(&conf, &args, "Subject: down\n\nx\n");
    assert!(output.status.success() && machine.left().len() == 1, "{output:?}");
    let daemon = machine.story.start();
    machine.arrived("down");
    let output = machine.by_conf(&conf, &["-i", "you@example.org"], "From: robot@sandbox.example\nSubject: up\n\nx\n");
    assert!(output.status.success(), "{output:?}");
    machine.arrived("up");
    let id = Command::new("id").arg("-un").output().expect("coreutils are there");
    let user = String::from_utf8_lossy(&id.stdout).trim().to_owned();
    daemon.logged(&format!("\"from\":\"{user}@sandbox.example\""), SOON);

    // Options win; without the file it is as if it said nothing.
    let elsewhere = machine.drop.with_file_name("elsewhere");
    let output = machine.by_conf(
        &conf,
        &[&["--socket", "/nowhere", "--drop", &elsewhere.display().to_string()], &args[..]].concat(),
        "x\n",
    );
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("elsewhere"), "{output:?}");
}

#[test]
fn a_fault_in_that_file_is_told_and_stops_no_mail_that_finds_its_way() {
    let machine = Machine::new();
    let conf = machine.story.config.with_file_name("sendmail.conf");
    let args = ["-f", "robot@sandbox.example", "you@example.org"];
    let nowhere = machine.drop.with_file_name("nowhere").display().to_string();
    for (text, expected) in [
        ("socket = \"smtp.sock\"\n", "sendmail.conf:1:10: socket: `smtp.sock` is no whole path"),
        ("# x\nsoket = \"/x\"\n", "sendmail.conf:2:1: soket: unknown key"),
        ("drop = [\n", "sendmail.conf:"),
    ] {
        fs::write(&conf, text).expect("it can be written");
        // Nothing else leads anywhere: the caller is told that it keeps its message.
        let output = machine.by_conf(&conf, &[&["--socket", "/nowhere", "--drop", &nowhere], &args[..]].concat(), "x\n");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{text}: {output:?}");
        assert!(said.contains(expected) && said.contains("cannot be left in"), "{said}");
        let checked = machine.story.good(&["check"]);
        assert!(checked.contains(expected.split(": ").next().unwrap_or_default()), "{checked}");
        let (status, said) = machine.story.command(&["sendmail", "--write-conf"]);
        assert!(status == Some(1) && said.contains("was written by a person"), "{said}");
    }
    let text = format!("socket = \"{}\"\ndrop = \"{}\"\ndomain = 7\n", machine.socket.display(), machine.drop.display());
    fs::write(&conf, text).expect("it can be written");
    let output = machine.by_conf(&conf, &args, "Subject: kept\n\nx\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("sendmail.conf:3:10: domain: "), "{output:?}");
    assert_eq!(machine.left().len(), 1);
    let daemon = machine.story.start();
    machine.arrived("kept");
    let output = machine.by_conf(&conf, &args, "Subject: sent\n\nx\n");
    assert!(output.status.success(), "{output:?}");
    machine.arrived("sent");
    drop(daemon);

    fs::write(&conf, "socket = \"/run/other.sock\"\n").expect("it can be written");
    let checked = machine.story.good(&["check"]);
    for note in ["note: socket: no listener has the socket /run/other.sock", "note: drop: the daemon looks into "] {
        assert!(checked.contains(note), "{note}: {checked}");
    }
}

#[test]
fn refused_recipients_do_not_stop_the_others_and_the_sender_hears_of_them() {
    let machine = Machine::more("unix-user = [\"0\"]", "[app.sandbox.limits]\nrecipients = 2");
    let send = |arguments: &[&str], subject: &str| machine.good(arguments, &format!("Subject: {subject}\n\nx\n"));
    let from = ["-f", "robot@sandbox.example"];
    send(&[&from[..], &["you@example.org", "nobody-such", "me@example.org", "third@example.org"]].concat(), "some");
    send(&[&from[..], &["nobody-such"]].concat(), "none");
    send(&["-f", "<>", "nobody-such"], "untold");
    assert_eq!(machine.left().len(), 3);
    let daemon = machine.story.start();
    until("the message and two bounces", SOON, || machine.story.received().len() == 3);
    let received = machine.story.received();
    let octets = |message| String::from_utf8_lossy(&machine.story.octets(message)).into_owned();
    let (bounces, others): (Vec<_>, Vec<_>) = received.iter().partition(|message| octets(message).contains("multipart/report"));
    let to = others[0]["to"].to_string();
    assert!(to.contains("you@") && to.contains("me@") && !to.contains("third@"), "{to}");
    let bounces: Vec<String> = bounces.into_iter().map(octets).collect();
    assert_eq!(bounces.len(), 2);
    assert!(bounces.iter().all(|bounce| bounce.contains("\r\nTo: <robot@sandbox.example>\r\n")), "{bounces:?}");
    assert!(bounces.iter().all(|bounce| bounce.contains("nobody-such") && bounce.contains("5.1.3")), "{bounces:?}");
    assert_eq!(
        bounces.iter().filter(|bounce| bounce.contains("third@example.org") && bounce.contains("at most 2 recipients")).count(),
        1
    );
    // Where there is no sender to be told, an administrator is.
    let line = daemon.logged_or_printed("drop.refused");
    assert!(line.contains(&format!("({})", own_uid())) && line.contains("aliases.nobody-such"), "{line}");
    until("only the last one is kept", SOON, || machine.left().is_empty() && names(&machine.refused()).len() == 2);
    drop(daemon);
    // None is sent again.
    let daemon = machine.story.start();
    send(&[&from[..], &["you@example.org"]].concat(), "after");
    machine.arrived("after");
    assert_eq!(machine.story.received().len(), 4);
    drop(daemon);
}

#[test]
fn very_many_names_do_not_stop_what_lies_among_them() {
    let machine = Machine::new();
    let junk = |letter: &str| {
        for n in 0..12_000 {
            fs::File::create(machine.drop.join(format!("{letter}{n}"))).expect("it can be made");
        }
    };
    junk("a");
    fs::write(machine.drop.join("msg-1"), machine.message("among")).expect("it can be written");
    junk("z");
    let daemon = machine.story.start();
    machine.arrived("among");
    daemon.logged_or_printed("drop.crowded");
    until("it is gone", SOON, || !machine.drop.join("msg-1").exists());
    drop(daemon);
}

/// Gives all below to the user `nobody`.
fn give(path: &Path) {
    std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
    if path.is_dir() {
        fs::read_dir(path).expect("it can be listed").flatten().for_each(|entry| give(&entry.path()));
    }
}

const NOBODY: u32 = 65_534;

#[test]
fn what_the_service_can_neither_read_nor_move_is_told_once() {
    let machine = Machine::with("unix-user = [\"0\", \"65534\"]");
    let directory = machine.story.directory.path();
    let program = directory.join("outlink");
    fs::copy(outlink().get_program(), &program).expect("it can be copied");
    let is_root = own_uid() == "0";
    if is_root {
        give(directory);
    }
    fs::set_permissions(&machine.drop, Permissions::from_mode(0o3733)).expect("it is ours");
    fs::create_dir_all(machine.drop.join("msg-1-full/x")).expect("it can be made");
    fs::write(machine.drop.join("msg-2-closed"), machine.message("closed")).expect("it can be written");
    fs::set_permissions(machine.drop.join("msg-2-closed"), Permissions::from_mode(0o000)).expect("it is ours");
    let mut command = Command::new(&program);
    command.args(["run", "--config"]).arg(&machine.story.config);
    if is_root {
        command.uid(NOBODY).gid(NOBODY);
    }
    let daemon = Program::start(command);
    let line = daemon.logged_or_printed("msg-1-full");
    assert!(line.contains("cannot be moved away") && !line.contains("is kept there"), "{line}");
    let line = daemon.logged_or_printed("msg-2-closed");
    assert!(line.contains("drop.refused") && line.contains("mode"), "{line}");
    until("what can be moved is", SOON, || machine.left() == ["msg-1-full"]);
    // Rounds go on, and nothing is told twice.
    let left = machine.drop.join("msg-3");
    fs::write(&left, "x").expect("it can be written");
    fs::set_permissions(&left, Permissions::from_mode(0o644)).expect("it is ours");
    daemon.logged_or_printed("msg-3");
    assert_eq!(daemon.output().lines().filter(|line| line.contains("msg-1-full")).count(), 1);
    drop(daemon);
}
