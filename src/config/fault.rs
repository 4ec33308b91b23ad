//! What is wrong with a configuration, and where: the form that `outlink check` prints and `--json` carries.

use serde::Serialize;
use std::{fmt, path::PathBuf};

/// How much a fault matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The configuration is refused.
    Fault,
    /// It is taken, but somebody should know.
    Note,
}

/// One finding, with its place. Values of secret keys never stand in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fault {
    /// How much it matters.
    pub severity: Severity,
    /// The file, or `environment`.
    pub file: PathBuf,
    /// The line, from 1; `None` in the environment and where a whole file is meant.
    pub line: Option<usize>,
    /// The column in characters, from 1; `None` where there is no line.
    pub column: Option<usize>,
    /// The key with all its levels, `link.contoso.client-id`; empty where the text could not be read.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// The source line, or `VARIABLE=value`; plain secrets are masked. Empty where there is none.
    pub source_line: String,
    /// What to do; empty where the message says it all.
    pub hint: String,
}

impl Fault {
    /// Whether it refuses the configuration.
    pub fn is_fatal(&self) -> bool {
        self.severity == Severity::Fault
    }
}

impl fmt::Display for Fault {
    /// `FILE:LINE:COLUMN: key: message`, the source line, the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, "{number}:")?;
        }
        if self.severity == Severity::Note {
            f.write_str(" note:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)?;
        if !self.source_line.is_empty() {
            write!(f, "\n    {}", self.source_line)?;
        }
        match self.hint.is_empty() {
            true => Ok(()),
            false => write!(f, "\n  hint: {}", self.hint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_prints_its_place_its_source_line_and_its_hint() {
        let mut fault = Fault {
            severity: Severity::Fault,
            file: "/etc/outlink/outlink.toml".into(),
            line: Some(3),
            column: Some(1),
            key: "link.contoso.client-idd".into(),
            message: "unknown key".into(),
            source_line: "client-idd = \"x\"".into(),
            hint: "did you mean `client-id`?".into(),
        };
        let text = "/etc/outlink/outlink.toml:3:1: link.contoso.client-idd: unknown key\n    client-idd = \"x\"\n  hint: did you mean `client-id`?";
        assert_eq!(fault.to_string(), text);
        (fault.line, fault.column, fault.severity) = (None, None, Severity::Note);
        fault.file = "environment".into();
        assert!(fault.to_string().starts_with("environment: note: link.contoso.client-idd: unknown key\n"));
        let json = serde_json::to_value(&fault).unwrap();
        assert_eq!(
            (&json["severity"], &json["line"], &json["source-line"]),
            (&"note".into(), &().into(), &"client-idd = \"x\"".into())
        );
    }
}
