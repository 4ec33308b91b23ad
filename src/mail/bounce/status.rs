//! The part that programs read: `message/delivery-status` (RFC 3464 §2), one block for the message and one for each recipient.

use super::{Bounce, Kind, Report, clean, date};
use mail_builder::headers::{Header, raw::Raw};

impl Bounce<'_> {
    pub(super) fn status(&self) -> Vec<u8> {
        let mut fields = Fields::default();
        fields.add("Original-Envelope-Id", self.envid.and_then(clean::printable));
        fields.add("Reporting-MTA", Some(format!("dns; {}", self.hostname)));
        fields.add("Arrival-Date", Some(date(self.accepted).to_rfc822()));
        // Ours (RFC 3464 §2.4): Final-Log-ID would be that of the last server.
        fields.add("X-Outlink-ID", Some(self.of.to_string()));
        for report in self.recipients {
            fields.0.extend_from_slice(b"\r\n");
            self.recipient(report, &mut fields);
        }
        fields.0
    }

    fn recipient(&self, report: &Report<'_>, fields: &mut Fields) {
        let (action, until) = match self.kind {
            Kind::Failed => ("failed", None),
            Kind::Delayed { until } => ("delayed", Some(until)),
            Kind::Relayed => ("relayed", None),
        };
        let (class, subject, detail) = report.status;
        // Without a type it is none (RFC 3461 §4.2).
        fields.add("Original-Recipient", report.orcpt.and_then(clean::printable).filter(|orcpt| is_typed(orcpt)));
        fields.add("Final-Recipient", Some(clean::typed(report.address)));
        fields.add("Action", Some(action.into()));
        fields.add("Status", Some(format!("{class}.{subject}.{detail}")));
        fields.add("Remote-MTA", clean::ascii_line(report.server).map(|server| format!("dns; {server}")));
        fields.add("Diagnostic-Code", clean::ascii_line(report.reply).map(|reply| format!("smtp; {reply}")));
        fields.add("Last-Attempt-Date", report.last_attempt.map(|time| date(time).to_rfc822()));
        fields.add("Will-Retry-Until", until.map(|time| date(time).to_rfc822()));
    }
}

fn is_typed(recipient: &str) -> bool {
    let is_atom = |kind: &str| !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    recipient.split_once(';').is_some_and(|(kind, address)| is_atom(kind) && !address.is_empty())
}

#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn add(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.0.extend_from_slice(name.as_bytes());
            self.0.extend_from_slice(b": ");
            Raw::new(value).write_header(&mut self.0, name.len() + 2);
        }
    }
}
