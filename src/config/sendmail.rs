//! `sendmail.conf` beside the main file: what `outlink sendmail` has to know. Every user runs that and may not read the configuration, so
//! this is a file of its own that all may read, without secrets.

use super::{
    Bind, DROP, Fault, Settings, Severity, Variables,
    sources::Sources,
    table::{Reader, Table, Wrong},
    words,
};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Its name, beside the main file.
pub const SENDMAIL_CONF: &str = "sendmail.conf";

/// Where the daemon listens for programs of this machine.
pub const SENDMAIL_SOCKET: &str = "/run/outlink/smtp.sock";

/// Octets that are read of it.
const LARGEST: u64 = 64 << 10;

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendmailConf {
    /// Where the daemon listens.
    pub socket: PathBuf,
    /// Where messages are left while it is down.
    pub drop: PathBuf,
    /// The domain of users as senders; `None`: the machine's name for mail.
    pub domain: Option<String>,
}

impl Default for SendmailConf {
    fn default() -> Self {
        Self { socket: SENDMAIL_SOCKET.into(), drop: DROP.into(), domain: None }
    }
}

impl SendmailConf {
    /// Reads `file`. One that is not there says what is built in; so does one in a directory that this user may not look into. What is
    /// faulty is as if it were not written.
    pub fn read(file: &Path) -> (Self, Vec<Fault>) {
        let fault = |message: String, hint: &str| (Self::default(), vec![whole(file, message, hint)]);
        match fs::metadata(file) {
            Ok(_) => {}
            Err(why) if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
                return Default::default();
            }
            Err(why) => return fault(format!("it cannot be looked at: {why}"), ""),
        }
        let hint = format!("every user has to read it: chmod 644 {}", file.display());
        let mut text = String::new();
        match File::open(file).and_then(|open| open.take(LARGEST + 1).read_to_string(&mut text)) {
            Err(why) => fault(format!("it cannot be read: {why}"), &hint),
            Ok(_) if text.len() as u64 > LARGEST => {
                fault(format!("it is larger than {} KiB", LARGEST >> 10), "three keys are all that it may have")
            }
            Ok(_) => Self::parse(&text, file),
        }
    }

    /// Reads the text of `file`.
    pub fn parse(text: &str, file: &Path) -> (Self, Vec<Fault>) {
        // No variable of whoever calls says where his mail goes.
        let variables = Variables::new();
        let (found, mut faults) = match Sources::from_text(text, &variables) {
            Ok(sources) => {
                let reader = Reader::new(&sources);
                (read(&mut reader.root()), reader.into_faults())
            }
            Err(faults) => (Self::default(), faults),
        };
        faults.iter_mut().for_each(|fault| fault.file = file.to_owned());
        (found, faults)
    }

    /// The file that says so, as a command writes it.
    pub fn text(&self) -> String {
        let quoted = |path: &Path| toml::Value::from(path.to_string_lossy().into_owned()).to_string();
        let domain = self.domain.as_ref().map(|domain| format!("domain = {}\n", toml::Value::from(domain.as_str())));
        format!(
            "# Written by outlink sendmail --write-conf. Every user may read it; every key: docs/reference.md\nsocket = {}\ndrop = {}\n{}",
            quoted(&self.socket),
            quoted(&self.drop),
            domain.unwrap_or_default()
        )
    }
}

/// What `outlink check` notes of the file beside `main`, if there is one; `settings` are those of `main`, where they are good.
pub fn notes(main: &Path, settings: Option<&Settings>) -> Vec<Fault> {
    let file = main.with_file_name(SENDMAIL_CONF);
    if !file.exists() {
        return Vec::new();
    }
    let (conf, faults) = SendmailConf::read(&file);
    if !faults.is_empty() {
        return faults.into_iter().map(|fault| Fault { severity: Severity::Note, ..fault }).collect();
    }
    let Some(settings) = settings else { return Vec::new() };
    let has_socket = settings.listeners.values().any(|listener| listener.bind == Bind::Unix(conf.socket.clone()));
    let hint = "`outlink sendmail --write-conf` writes it by what the configuration says";
    let note =
        |key: &str, message: String| Fault { severity: Severity::Note, key: key.to_owned(), ..whole(&file, message, hint) };
    let socket = (!has_socket).then(|| note("socket", format!("no listener has the socket {}", conf.socket.display())));
    let drop = (conf.drop != settings.drop)
        .then(|| note("drop", format!("the daemon looks into {}, not into {}", settings.drop.display(), conf.drop.display())));
    socket.into_iter().chain(drop).collect()
}

fn read(table: &mut Table<'_>) -> SendmailConf {
    let default = SendmailConf::default();
    let absolute = |text: &str| match text.starts_with('/') && !text.contains('\0') {
        true => Ok(PathBuf::from(text)),
        false => Err(Wrong::new(
            format!("`{}` is no whole path", text.escape_debug()),
            "write it from the root, as \"/run/outlink/smtp.sock\"",
        )),
    };
    let socket = table.parsed("socket", absolute).unwrap_or(default.socket);
    let drop = table.parsed("drop", absolute).unwrap_or(default.drop);
    let domain = table.parsed("domain", words::hostname);
    table.finish();
    SendmailConf { socket, drop, domain }
}

/// A fault of the file as a whole.
fn whole(file: &Path, message: String, hint: &str) -> Fault {
    Fault {
        severity: Severity::Fault,
        file: file.to_owned(),
        line: None,
        column: None,
        key: String::new(),
        message,
        source_line: String::new(),
        hint: hint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (SendmailConf, String) {
        let (conf, faults) = SendmailConf::parse(text, Path::new("/etc/outlink/sendmail.conf"));
        (conf, faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn what_it_does_not_say_is_built_in_and_what_is_written_is_read() {
        let good = |conf: SendmailConf| (conf, String::new());
        assert_eq!(parse("# nothing\n"), good(SendmailConf::default()));
        let all = SendmailConf { socket: "/run/a\"b.sock".into(), drop: "/var/x".into(), domain: Some("contoso.com".into()) };
        assert_eq!(parse(&all.text()), good(all));
        let some = SendmailConf { socket: "/a".into(), ..SendmailConf::default() };
        assert_eq!(parse("socket = \"/a\"\n"), good(some.clone()));
        // Beside a fault too.
        assert_eq!(parse("socket = \"/a\"\ndrop = 7\n").0, some);
    }

    #[test]
    fn each_fault_names_its_line_and_key() {
        for (text, expected) in [
            ("socket = \"smtp.sock\"\n", "/etc/outlink/sendmail.conf:1:10: socket: `smtp.sock` is no whole path"),
            ("\ndrop = 7\n", "/etc/outlink/sendmail.conf:2:8: drop: "),
            ("sockets = \"/a\"\n", "did you mean `socket`?"),
            ("domain = \"a b\"\n", "domain: "),
            ("socket = \n", "/etc/outlink/sendmail.conf:1:"),
            ("[app.x]\n", "app"),
        ] {
            let said = parse(text).1;
            assert!(said.contains(expected) && said.contains("/etc/outlink/sendmail.conf"), "{text}: {said}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_no_fault_and_one_that_cannot_be_read_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(SENDMAIL_CONF);
        assert_eq!(SendmailConf::read(&file), (SendmailConf::default(), vec![]));
        fs::write(&file, b"\xff").unwrap();
        assert!(SendmailConf::read(&file).1[0].message.starts_with("it cannot be read"));
        fs::write(&file, "#".repeat(70_000)).unwrap();
        assert!(SendmailConf::read(&file).1[0].message.contains("larger than 64 KiB"));
    }
}
