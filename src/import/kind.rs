//! Whose a file is, by what stands in it.

use super::{Broken, Input, Program, ini::Ini, json};

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `emailproxy.config`, or the cache store beside it.
    EmailProxy,
    /// `sasl-xoauth2.conf`.
    SaslConfig,
    /// A token file of sasl-xoauth2.
    SaslToken,
    /// Postfix's map of users and token files.
    PostfixMap,
    /// A token file of mutt_oauth2.py.
    MuttToken,
    /// The script itself.
    MuttScript,
}

impl Kind {
    /// The program that it belongs to.
    pub fn program(self) -> Program {
        match self {
            Self::EmailProxy => Program::EmailOauth2Proxy,
            Self::SaslConfig | Self::SaslToken | Self::PostfixMap => Program::SaslXoauth2,
            Self::MuttToken | Self::MuttScript => Program::MuttOauth2,
        }
    }
}

/// What a file is; `said` where a person said whose it is.
pub fn recognise(input: &Input, said: Option<Program>) -> Result<Kind, Broken> {
    let text = input.text.expose();
    let broken = |why: &str| Broken { file: input.name.clone(), line: None, why: why.to_owned() };
    if text.trim().is_empty() {
        return Err(broken("it is empty"));
    }
    if text.contains("-----BEGIN PGP MESSAGE-----") {
        return Err(broken("it is encrypted by gpg: gpg -d FILE | outlink import -"));
    }
    if text.contains('\0') {
        return Err(broken("it is no text; of Postfix's map give the text that postmap reads, not the .db file"));
    }
    let json = text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '/']);
    let guessed = match said {
        Some(Program::EmailOauth2Proxy) => Some(Kind::EmailProxy),
        Some(Program::SaslXoauth2) if json => Some(sasl(input)?),
        Some(Program::SaslXoauth2) => Some(Kind::PostfixMap),
        Some(Program::MuttOauth2) if json => Some(Kind::MuttToken),
        Some(Program::MuttOauth2) => Some(Kind::MuttScript),
        None if json => match json::object(input)? {
            object if object.has("registration") || object.has("access_token_expiration") => Some(Kind::MuttToken),
            object if ["refresh_token", "client_id", "access_token"].iter().any(|key| object.has(key)) => Some(sasl(input)?),
            _ => None,
        },
        None => guess(text),
    };
    guessed.ok_or_else(|| {
        let names = Program::ALL.map(Program::name).join(", ");
        broken(&format!("it looks like no file of {names}; where it is one, --from says whose"))
    })
}

/// A token file may have all that the configuration has; tokens it has alone.
fn sasl(input: &Input) -> Result<Kind, Broken> {
    let object = json::object(input)?;
    let is_token = ["refresh_token", "access_token", "expiry", "user"].iter().any(|key| object.has(key));
    Ok(if is_token { Kind::SaslToken } else { Kind::SaslConfig })
}

fn guess(text: &str) -> Option<Kind> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    if lines.clone().any(|line| line.starts_with("registrations = {")) {
        return Some(Kind::MuttScript);
    }
    let names: Vec<&str> = text.lines().filter_map(|line| line.trim_end().strip_prefix('[')?.strip_suffix(']')).collect();
    let is_ours = |name: &&str| name.contains('@') || *name == "emailproxy" || server(name);
    // A broken one is still one, and its fault is told by its line.
    if names.iter().any(is_ours) || Ini::parse(text).is_ok_and(|ini| ini.sections().iter().any(|it| is_ours(&it.name.as_str()))) {
        return Some(Kind::EmailProxy);
    }
    lines.any(|line| !line.trim_start().starts_with('#') && line.contains(":/")).then_some(Kind::PostfixMap)
}

fn server(name: &str) -> bool {
    name.split_once('-').is_some_and(|(kind, port)| ["SMTP", "IMAP", "POP"].contains(&kind) && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use proptest::prelude::*;

    fn input(text: &str) -> Input {
        Input { name: "file".into(), text: Secret::new(text.into()) }
    }

    #[test]
    fn each_file_is_known_by_what_stands_in_it() {
        for (text, expected) in [
            ("[Server setup]\n[SMTP-1587]\nserver_port = 587\n", Kind::EmailProxy),
            ("# cache\n[a@example.com]\nrefresh_token = x\n", Kind::EmailProxy),
            ("[emailproxy]\nbroken\n", Kind::EmailProxy),
            ("{\"client_id\": \"a\", \"client_secret\": \"b\"}", Kind::SaslConfig),
            ("// ours\n{\"client_id\": \"a\", \"refresh_token\": \"b\"}", Kind::SaslToken),
            ("[smtp.office365.com]:587 a@example.com:/etc/tokens/a\n", Kind::PostfixMap),
            ("# map\na@example.com a@example.com:/etc/tokens/a\n", Kind::PostfixMap),
            ("{\"registration\": \"google\", \"refresh_token\": \"x\"}", Kind::MuttToken),
            ("#!/usr/bin/env python3\nregistrations = {\n}\n", Kind::MuttScript),
        ] {
            assert_eq!(recognise(&input(text), None), Ok(expected), "{text}");
        }
        for (text, why) in [
            ("", "empty"),
            ("hello", "--from"),
            ("{\"a\": 1}", "--from"),
            ("-----BEGIN PGP MESSAGE-----\n", "gpg -d"),
            ("a\0b", "no text"),
            ("{\"client_id\": ", "ends too early"),
        ] {
            let broken = recognise(&input(text), None).unwrap_err();
            assert!(broken.to_string().contains(why), "{text}: {broken}");
        }
    }

    #[test]
    fn a_person_may_say_whose_a_file_is() {
        assert_eq!(recognise(&input("x y\n"), Some(Program::SaslXoauth2)), Ok(Kind::PostfixMap));
        assert_eq!(recognise(&input("{\"a\": 1}"), Some(Program::MuttOauth2)), Ok(Kind::MuttToken));
        assert_eq!(recognise(&input("x"), Some(Program::EmailOauth2Proxy)), Ok(Kind::EmailProxy));
    }

    proptest! {
        #[test]
        fn any_text_is_of_some_kind_or_none(text in "([\\[\\]{}\":=@/# \na-c-]|\\PC){0,80}") {
            let _ = recognise(&input(&text), None);
        }
    }
}
