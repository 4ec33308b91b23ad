//! What to tell an administrator who is no OAuth expert: the cause, and the next step.
//!
//! Texts may hold placeholders: `{mailbox}` and `{link}` are names of the configuration, `{address}` is the mailbox's address,
//! `{client-id}` and `{tenant}` are the link's, `{entra}` and `{exchange}` its cloud's (the worldwide one's, where nobody says).
//! `{'address'}` is the address as a word of PowerShell.

use super::{Cloud, fault, microsoft, network, own, registration::quoted, reply};
use crate::mail::Advice;
use std::borrow::Cow;

/// One piece of advice. Its name never changes: documentation, log searches and scripts refer to it.
#[derive(Debug, PartialEq, Eq)]
pub struct AdviceEntry {
    /// Kebab-case.
    pub name: &'static str,
    /// What happened, in plain words.
    pub cause: &'static str,
    /// What to do about it.
    pub step: &'static str,
}

/// What holds where a caller says nothing else: Microsoft's worldwide cloud, in which most tenants are.
const DEFAULTS: [(&str, &str); 2] = cloud_names(Cloud::Global);

/// What advice calls the hosts of Microsoft's `cloud`, to be given to [`AdviceEntry::advise`] with the other names.
pub const fn cloud_names(cloud: Cloud) -> [(&'static str, &'static str); 2] {
    let addresses = microsoft::cloud(cloud);
    [("entra", addresses.login), ("exchange", addresses.application)]
}

/// Declares advice, and `ALL`, the list of it.
macro_rules! advice {
    ($($id:ident = $name:literal, $cause:expr, $step:expr;)*) => {
        $(pub(crate) static $id: crate::provider::AdviceEntry =
            crate::provider::AdviceEntry { name: $name, cause: $cause, step: $step };)*
        pub(in crate::provider) static ALL: &[&crate::provider::AdviceEntry] = &[$(&$id),*];
    };
}
pub(super) use advice;

impl AdviceEntry {
    /// The advice for one case, with `{name}` replaced by its value; see [`AdviceEntry::fill`].
    pub fn advise(&'static self, names: &[(&str, &str)]) -> Advice {
        Advice { name: Cow::Borrowed(self.name), text: self.fill(names) }
    }

    /// Cause and step in one line, filled in as by [`AdviceEntry::parts`].
    pub fn fill(&self, names: &[(&str, &str)]) -> String {
        self.parts(names).join("; ")
    }

    /// Cause and step, with `{name}` replaced by its value; a placeholder without value is shown as `<name>`. One pass: a value that
    /// looks like a placeholder stays as it is.
    pub fn parts(&self, names: &[(&str, &str)]) -> [String; 2] {
        [self.cause, self.step].map(|text| {
            let mut out = String::with_capacity(text.len());
            fill_into(text, names, &mut out);
            out
        })
    }
}

/// The commands in a filled text, of outlink or of PowerShell: what stands between backquotes and begins with a verb.
pub fn commands(text: &str) -> impl Iterator<Item = &str> {
    let is_command = |code: &&str| {
        let (verb, _) = code.split_once([' ', '-']).unwrap_or_default();
        verb == "outlink" || (verb.starts_with(|c: char| c.is_ascii_uppercase()) && code.contains(" -"))
    };
    text.split('`').skip(1).step_by(2).filter(is_command)
}

/// See [`AdviceEntry::parts`].
pub(super) fn fill_into(text: &str, names: &[(&str, &str)], out: &mut String) {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{')
        && let Some((name, tail)) = after.split_once('}')
    {
        out.push_str(before);
        let bare = name.trim_matches('\'');
        match names.iter().chain(&DEFAULTS).find(|(known, _)| *known == bare) {
            Some((_, value)) if bare == name => out.push_str(value),
            Some((_, value)) => out.push_str(&quoted(value)),
            None => out.extend(["<", bare, ">"]),
        }
        rest = tail;
    }
    out.push_str(rest);
}

/// What advice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A reply of a mail server.
    Reply,
    /// An error of a token endpoint or a login.
    SignIn,
    /// A failure on the way: names, networks, proxies, TLS.
    Way,
    /// What outlink finds on its own machine.
    Own,
}

impl AdviceEntry {
    /// What it is about.
    pub fn topic(&'static self) -> Topic {
        let tables = [(Topic::Reply, reply::ADVICE), (Topic::SignIn, fault::ADVICE), (Topic::Way, network::ADVICE)];
        let holds = |table: &[&'static Self]| table.iter().any(|entry| std::ptr::eq(*entry, self));
        tables.into_iter().find(|(_, table)| holds(table)).map_or(Topic::Own, |(topic, _)| topic)
    }
}

/// Every advice there is.
pub fn all_advice() -> impl Iterator<Item = &'static AdviceEntry> {
    [reply::ADVICE, fault::ADVICE, network::ADVICE, own::ALL].into_iter().flatten().copied()
}

/// The advice of that name.
pub fn advice_named(name: &str) -> Option<&'static AdviceEntry> {
    all_advice().find(|advice| advice.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn placeholders_are_filled_once_and_shown_when_unknown() {
        let advice = AdviceEntry { name: "a", cause: "{mailbox} is ill", step: "run it for {address} in {tenant}, not }{" };
        assert_eq!(
            advice.fill(&[("mailbox", "{tenant}"), ("address", "a@b.example")]),
            "{tenant} is ill; run it for a@b.example in <tenant>, not }{"
        );
    }

    #[test]
    fn a_word_of_powershell_is_quoted_where_it_has_to_be_and_clouds_have_their_own_hosts() {
        let advice = AdviceEntry { name: "a", cause: "x", step: "`Set {'address'}` at {entra} for {exchange} of {'mailbox'}" };
        assert_eq!(
            advice.fill(&[("address", "o'brien@b.example")]),
            "x; `Set 'o''brien@b.example'` at login.microsoftonline.com for https://outlook.office365.com/.default of <mailbox>"
        );
        let names = [&[("address", "a@b.example")], &cloud_names(Cloud::China)[..]].concat();
        assert_eq!(
            advice.fill(&names),
            "x; `Set a@b.example` at login.partner.microsoftonline.cn for https://partner.outlook.cn/.default of <mailbox>"
        );
    }

    #[test]
    fn commands_are_found_in_a_step() {
        let text = "run `Set-CASMailbox -Identity a@b.example -X $false`, look at `tls` and `Application SMTP.SendAsApp`, then `outlink \
                    authorize alerts`";
        let found: Vec<&str> = commands(text).collect();
        assert_eq!(found, ["Set-CASMailbox -Identity a@b.example -X $false", "outlink authorize alerts"]);
    }

    #[test]
    fn every_advice_has_a_name_of_its_own_and_plain_one_line_texts() {
        let mut names = HashSet::new();
        for advice in all_advice() {
            assert!(names.insert(advice.name), "{} twice", advice.name);
            assert!(advice.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{}", advice.name);
            for text in [advice.cause, advice.step] {
                assert!(!text.is_empty() && !text.ends_with('.') && !text.contains(['\n', '\r']), "{}", advice.name);
                assert!(!text.contains("  "), "{}", advice.name);
            }
            assert_eq!(advice_named(advice.name), Some(advice));
        }
        assert_eq!(advice_named("no-such-advice"), None);
    }

    #[test]
    fn advice_uses_only_the_placeholders_that_callers_fill() {
        for advice in all_advice() {
            for part in [advice.cause, advice.step].iter().flat_map(|text| text.split('{').skip(1)) {
                let name = part.split('}').next().unwrap().trim_matches('\'');
                assert!(
                    ["mailbox", "link", "address", "client-id", "tenant", "entra", "exchange"].contains(&name),
                    "{}: {name}",
                    advice.name
                );
            }
        }
    }
}
