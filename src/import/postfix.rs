//! Postfix's `smtp_sasl_password_maps` as a text (postmap(1)): a destination or a sender, then `user:path` of a token file for sasl-xoauth2.
//!
//! A line that begins with white space goes on with the one before it; `#` begins a comment as the first character that is no space.

use super::{Finding, Input, Left};

/// A line of the map that names a token file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The server, `host:port`; `None` where the key is a sender.
    pub server: Option<String>,
    /// The user of the login.
    pub user: String,
    /// Where its tokens are, as Postfix sees it: a Postfix in a chroot has the file below its queue directory.
    pub path: String,
}

/// Port of a destination that names none.
const SMTP: u16 = 25;

/// Reads a map. What is no token file goes to what is left; an ordinary password is never repeated.
pub fn read(input: &Input, finding: &mut Finding) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (line, text) in logical(input.text.expose()) {
        let what = || format!("{}:{line}", input.name);
        let Some((key, value)) = text.split_once(char::is_whitespace) else {
            let step = "write the destination, a space, then user:path";
            finding.left.push(Left::new(what(), "there is a key without a value", step));
            continue;
        };
        let Some((user, path)) = value.trim().split_once(':') else {
            let step = "write user:path behind the destination";
            finding.left.push(Left::new(what(), "there is no `:` between the user and the path of its tokens", step));
            continue;
        };
        if !path.starts_with('/') {
            let note = format!("{}: passed over: {key} is served by an ordinary password, not by a token file", what());
            finding.notes.push(note);
            continue;
        }
        let entry = Entry { server: destination(key), user: user.to_owned(), path: path.to_owned() };
        // The same account at several spellings of one destination.
        match entries.iter_mut().find(|it| it.user == entry.user && it.path == entry.path) {
            Some(other) => other.server = other.server.take().or(entry.server),
            None => entries.push(entry),
        }
    }
    entries
}

/// Lines with their numbers, continuations joined.
fn logical(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        match (line.starts_with(char::is_whitespace), lines.last_mut()) {
            _ if trimmed.is_empty() || trimmed.starts_with('#') => {}
            (true, Some((_, last))) => {
                last.push(' ');
                last.push_str(trimmed);
            }
            _ => lines.push((index + 1, trimmed.to_owned())),
        }
    }
    lines
}

/// `[host]:port`, `[host]`, `host:port` or `host`; a sender is no server.
fn destination(key: &str) -> Option<String> {
    if key.contains('@') {
        return None;
    }
    let (host, port) = match key.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => key.split_once(':').map_or((key, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None | Some("smtp") => SMTP,
        Some("submission") => 587,
        Some("submissions" | "smtps") => 465,
        Some(port) => port.parse().ok()?,
    };
    let host = host.strip_prefix("IPv6:").unwrap_or(host);
    Some(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use proptest::prelude::*;

    fn read_text(text: &str) -> (Vec<Entry>, Finding) {
        let mut finding = Finding::default();
        let entries = read(&Input { name: "sasl_passwd".into(), text: Secret::new(text.into()) }, &mut finding);
        (entries, finding)
    }

    #[test]
    fn token_files_are_found_and_ordinary_passwords_passed_over() {
        let text = "# outgoing\n[smtp.office365.com]:587 a@contoso.com:/etc/tokens/a@contoso.com\n\
                    smtp.office365.com:submission\n  a@contoso.com:/etc/tokens/a@contoso.com\n   # inside\n\
                    b@contoso.com\tb@contoso.com:/etc/tokens/b\n\nrelay.example.com me:marked-password\nalone\nx y\n";
        let (entries, finding) = read_text(text);
        let told: Vec<_> = entries.iter().map(|it| format!("{:?} {} {}", it.server, it.user, it.path)).collect();
        assert_eq!(
            told,
            ["Some(\"smtp.office365.com:587\") a@contoso.com /etc/tokens/a@contoso.com", "None b@contoso.com /etc/tokens/b"]
        );
        assert_eq!(finding.left.iter().map(|left| left.what.as_str()).collect::<Vec<_>>(), ["sasl_passwd:9", "sasl_passwd:10"]);
        assert!(finding.notes.len() == 1 && finding.notes[0].contains("relay.example.com"), "{finding:?}");
        assert!(!format!("{finding:?}").contains("marked"));
    }

    #[test]
    fn destinations_are_read_in_each_of_their_spellings() {
        for (key, expected) in [
            ("[smtp.gmail.com]:465", Some("smtp.gmail.com:465")),
            ("[smtp.gmail.com]", Some("smtp.gmail.com:25")),
            ("smtp.gmail.com:submissions", Some("smtp.gmail.com:465")),
            ("[IPv6:2001:db8::1]:587", Some("[2001:db8::1]:587")),
            ("[a", None),
            ("a:none", None),
            ("me@example.com", None),
        ] {
            assert_eq!(destination(key).as_deref(), expected, "{key}");
        }
    }

    proptest! {
        #[test]
        fn any_map_is_read(text in "([\\[\\]:@#/ \t\na-c]|\\PC){0,80}") {
            let _ = read_text(&text);
        }
    }
}
