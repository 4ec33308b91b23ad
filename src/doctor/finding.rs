//! What an examination found out: one finding for each check, the same in texts, JSON and over the control socket.

use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It is as it should be.
    Ok,
    /// It could not be asked, or makes no sense after what failed.
    NotChecked,
    /// Mail flows, but something is not as it should be.
    Warning,
    /// With this no mail flows.
    Failed,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::NotChecked => "not checked",
            Self::Warning => "warning",
            Self::Failed => "failed",
        })
    }
}

/// What one check found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The link that it is about.
    pub link: Option<String>,
    /// The mailbox.
    pub mailbox: Option<String>,
    /// Which check.
    pub check: String,
    /// How it ended.
    pub status: Status,
    /// What was found, in one line.
    pub what: String,
    /// Why it is so.
    pub why: Option<String>,
    /// What to do.
    pub fix: Option<String>,
    /// The name of that in the tables of advice.
    pub advice_name: Option<String>,
    /// How long it took.
    pub ms: Option<u64>,
}

/// All findings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// In the order of the checks: what concerns everything, then each link with its mailboxes.
    pub findings: Vec<Finding>,
}

/// What to examine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Names of links or mailboxes; none of anything is all.
    #[serde(default)]
    pub names: Vec<String>,
    /// Names of links.
    #[serde(default)]
    pub links: Vec<String>,
    /// Names of mailboxes.
    #[serde(default)]
    pub mailboxes: Vec<String>,
    /// Who gets a message that shows whether mail goes out.
    #[serde(default)]
    pub send: Option<String>,
    /// Who sends it; else the mailbox's own address.
    #[serde(default)]
    pub from: Option<String>,
}

/// What a finding is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Of {
    pub(super) link: Option<String>,
    pub(super) mailbox: Option<String>,
}

impl Of {
    fn finding(&self, check: &str, status: Status, what: impl Into<String>) -> Finding {
        let (link, mailbox) = (self.link.clone(), self.mailbox.clone());
        let (why, fix, advice_name, ms) = (None, None, None, None);
        Finding { link, mailbox, check: check.to_owned(), status, what: clean(what.into()), why, fix, advice_name, ms }
    }

    pub(super) fn good(&self, check: &str, what: impl Into<String>) -> Finding {
        self.finding(check, Status::Ok, what)
    }

    pub(super) fn warning(&self, check: &str, what: impl Into<String>) -> Finding {
        self.finding(check, Status::Warning, what)
    }

    pub(super) fn failed(&self, check: &str, what: impl Into<String>) -> Finding {
        self.finding(check, Status::Failed, what)
    }

    pub(super) fn skipped(&self, check: &str, what: impl Into<String>) -> Finding {
        self.finding(check, Status::NotChecked, what)
    }

    /// Each of these checks, not made for the same reason.
    pub(super) fn all_skipped(&self, checks: &[&str], why: &str) -> Vec<Finding> {
        checks.iter().map(|check| self.skipped(check, why)).collect()
    }
}

impl Finding {
    /// A finding about everything.
    pub fn general(check: &str, status: Status, what: impl Into<String>) -> Self {
        Of::default().finding(check, status, what)
    }

    /// With the reason.
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(clean(why.into()));
        self
    }

    /// With the next step.
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(clean(fix.into()));
        self
    }

    pub(super) fn named(mut self, name: &str) -> Self {
        self.advice_name = Some(name.to_owned()).filter(|name| !name.is_empty());
        self
    }

    pub(super) fn took(mut self, time: Duration) -> Self {
        self.ms = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self
    }

    pub(super) fn is_failed(&self) -> bool {
        self.status == Status::Failed
    }
}

impl Report {
    /// How many checks ended so.
    pub fn count(&self, status: Status) -> usize {
        self.findings.iter().filter(|finding| finding.status == status).count()
    }
}

/// A server's words on one line, and of a length that a person reads.
fn clean(text: String) -> String {
    const LONGEST: usize = 1000;
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST + 1).collect();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
