//! Programs of a machine whose `/usr/sbin/sendmail` is outlink, as the guide puts it there: cron, PHP's mail(), mail(1), git send-email and
//! s-nail, none of which is told anything.
//!
//! They find it at its real place: the test runs itself in a mount namespace of its own (`unshare`), where /usr/sbin, /run, /var/spool and
//! the crontabs are directories of the test. No test needs to be root, and nothing is left behind.

mod support;

use serde_json::Value;
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};
use support::{
    LONG, Program, SOON,
    letters::await_that,
    mounts::{may_mount, mount},
    office::{FROM, SUBJECT, see, text},
    outlink, run,
    story::Story,
};

const CONFIGURATION: &str = r#"
[listener.programs]
bind = "unix:/run/outlink/smtp.sock"
socket-mode = "0666"
auth = "none"

[app.machine]
unix-user = ["root"]
mailbox = "sandbox"

[aliases]
root = "admin@example.org"
"#;

/// A machine on which a crontab of root holds one job.
struct Machine {
    story: Story,
    _daemon: Program,
}

impl Machine {
    fn start(crontab: &str) -> Self {
        let story = Story::new("microsoft", |text| {
            let rewrite = "when-from-differs = \"rewrite\"\naddress = ";
            text.replacen("address = ", rewrite, 1) + CONFIGURATION
        });
        let directory = story.directory.path();
        for place in ["/run", "/var/spool", "/etc/cron.d"] {
            if Path::new(place).exists() {
                mount(&["-t", "tmpfs", "none", place]);
            }
        }
        fs::create_dir_all("/run/outlink").expect("it can be made");
        for (place, mode) in [("/var/spool/outlink/drop", 0o3733), ("/var/spool/cron/crontabs", 0o700)] {
            fs::create_dir_all(place).expect("it can be made");
            fs::set_permissions(place, Permissions::from_mode(mode)).expect("it is ours");
        }
        // The guide's own line, where /usr/sbin is a directory of ours: nothing else of this machine is to be found there.
        let sbin = directory.join("sbin");
        fs::create_dir(&sbin).expect("it can be made");
        symlink(outlink().get_program(), sbin.join("sendmail")).expect("a link can be made");
        mount(&["--bind", sbin.to_str().expect("a name"), "/usr/sbin"]);
        // No job of this machine runs here.
        let empty = directory.join("empty");
        fs::write(&empty, "").expect("it can be written");
        if Path::new("/etc/crontab").exists() {
            mount(&["--bind", empty.to_str().expect("a name"), "/etc/crontab"]);
        }
        let file = Path::new("/var/spool/cron/crontabs/root");
        fs::write(file, crontab).expect("it can be written");
        fs::set_permissions(file, Permissions::from_mode(0o600)).expect("it is ours");
        let _daemon = story.start();
        Self { story, _daemon }
    }

    /// cron(8) in the foreground. It runs jobs of the time of booting at once, as /run is empty.
    fn cron(&self) -> Program {
        let library = self.story.directory.path().join("initgroups.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(&library);
        compiler.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/initgroups.c"));
        assert!(run(compiler, b"", SOON).status.success());
        let mut cron = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/cron"));
        cron.arg("-f").env("LD_PRELOAD", library).env("LC_ALL", "C.UTF-8");
        Program::start(cron)
    }

    /// Runs a program that has to be content.
    fn run(&self, mut command: Command, input: &str) {
        let directory = self.story.directory.path();
        command.current_dir(directory).env("HOME", directory).env("LC_ALL", "C.UTF-8").env_remove("MAILRC");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin");
        let output = run(command, input.as_bytes(), SOON);
        assert!(output.status.success(), "{output:?}");
    }

    /// The message number `count` at the provider: whom it went to, and what a mail program shows of it.
    fn arrived(&self, count: usize) -> (Vec<Value>, Value) {
        let message = await_that(&format!("message {count}"), LONG, || self.story.received().into_iter().nth(count - 1));
        let to = message["to"].as_array().expect("a list").clone();
        assert_eq!(message["from"], FROM);
        let octets = self.story.octets(&message);
        let seen = see(&octets);
        assert!(seen["From"].as_str().is_some_and(|from| from.ends_with(&format!("<{FROM}>")) || from == FROM), "{seen}");
        assert!(String::from_utf8_lossy(&octets).contains("(local user "), "{seen}");
        (to, seen)
    }
}

#[test]
fn what_cron_jobs_say_reaches_those_whom_the_crontab_names_and_root() {
    if !may_mount("what_cron_jobs_say_reaches_those_whom_the_crontab_names_and_root") {
        return;
    }
    let machine = Machine::start(
        "@reboot printf 'Gr\\303\\274\\303\\237e\\n.\\nend\\n'\nMAILTO=you@example.org,me@example.org\n@reboot echo two\n",
    );
    let cron = machine.cron();
    let mut all = [machine.arrived(1), machine.arrived(2)];
    all.sort_by_key(|(to, _)| to.len());
    let [(to, mail), (second, other)] = all;
    assert_eq!(to, ["admin@example.org"], "to the owner of the crontab, by the alias");
    assert_eq!(mail["text"], "Gr\u{fc}\u{df}e\n.\nend\n");
    assert!(mail["Subject"].as_str().is_some_and(|it| it.starts_with("Cron <root@")), "{mail}");
    assert!(mail["From"].as_str().is_some_and(|it| it.contains("Cron Daemon")), "{mail}");
    assert_eq!((second, &other["text"]), (vec!["you@example.org".into(), "me@example.org".into()], &"two\n".into()));
    drop(cron);
}

#[test]
fn php_mail_git_and_s_nail_find_it_by_themselves() {
    if !may_mount("php_mail_git_and_s_nail_find_it_by_themselves") {
        return;
    }
    let machine = Machine::start("");
    let directory = machine.story.directory.path();
    let expect = |count: usize, to: &[&str], subject: &str| {
        let (recipients, seen) = machine.arrived(count);
        assert_eq!((recipients, &seen["Subject"]), (to.iter().map(|&to| to.into()).collect(), &subject.into()), "{seen}");
        assert_eq!(seen["text"].as_str().map(str::trim_end), Some(text().trim_end()), "{seen}");
        seen
    };
    fs::write(directory.join("text"), text()).expect("it can be written");

    let mut php = Command::new("php");
    let code = "exit(mail('you@example.org', '=?utf-8?B?R3LDvMOfZSDntYI=?=', file_get_contents('text'), \
                'Content-Type: text/plain; charset=utf-8') ? 0 : 1);";
    php.args(["-n", "-r", code]);
    machine.run(php, "");
    expect(1, &["you@example.org"], SUBJECT);

    let mut mail = Command::new("bsd-mailx");
    mail.args(["-n", "-s", SUBJECT, "you@example.org", "root"]);
    machine.run(mail, &text());
    expect(2, &["admin@example.org", "you@example.org"], SUBJECT);

    let patch = format!(
        "From {} Mon Sep 17 00:00:00 2001\nFrom: R <r@laptop.example>\nSubject: [PATCH] x\nContent-Type: text/plain; \
         charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{}",
        "0".repeat(40),
        text()
    );
    fs::write(directory.join("0001.patch"), patch).expect("it can be written");
    let mut git = Command::new("git");
    git.args(["-c", "user.name=R", "-c", "user.email=r@laptop.example", "send-email", "--confirm=never", "--suppress-cc=all"]);
    git.args(["--to=you@example.org", "0001.patch"]);
    machine.run(git, "");
    let seen = expect(3, &["you@example.org"], "[PATCH] x");
    assert_eq!(seen["From"], format!("R <{FROM}>"));

    let mut s_nail = Command::new("s-nail");
    s_nail.args(["-n", "-S", "v15-compat", "-S", "sendwait", "-s", SUBJECT, "you@example.org"]);
    machine.run(s_nail, &text());
    expect(4, &["you@example.org"], SUBJECT);
}
