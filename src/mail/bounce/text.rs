//! The part that people read. First who wrote what to whom, why it did not arrive and what to do; what administrators ask for
//! comes last.

use super::{
    Bounce, Kind, Report,
    clean::{one_line, some_line},
    date,
};
use crate::mail::page::Page;

impl Bounce<'_> {
    pub(super) fn text(&self, subject: Option<&str>) -> String {
        let mut page = Page::default();
        page.paragraph(0, &format!("This is the mail relay {}.", self.hostname));
        page.paragraph(0, &self.news());
        page.line(2, &format!("From: {}", one_line(self.to.as_str())));
        if let Some(subject) = subject {
            page.line(2, &format!("Subject: {subject}"));
        }
        page.line(2, &format!("Sent: {}", date(self.accepted).to_rfc822()));
        page.end_paragraph();
        self.recipients.iter().for_each(|report| page.report(report));
        self.details(&mut page);
        page.into_text()
    }

    fn news(&self) -> String {
        let whom = match self.recipients.len() {
            1 => "the recipient named below",
            _ => "the recipients named below",
        };
        match self.kind {
            Kind::Failed => format!("Your message could not be delivered to {whom}. It will not be tried again."),
            Kind::Delayed { until } => format!(
                "Your message has not reached {whom} yet. This is only a warning: you need not send it again. It will be tried \
                 until {}, and should it fail, you will be told.",
                date(until).to_rfc822()
            ),
            Kind::Relayed => format!(
                "Your message to {whom} was handed on to the next mail server, which does not confirm deliveries. You asked for \
                 this notice; nothing needs to be done."
            ),
        }
    }

    fn details(&self, page: &mut Page) {
        page.paragraph(0, "For the administrator:");
        page.line(2, &format!("Message {} in the log of {}", self.of, self.hostname));
        for report in self.recipients {
            let (class, subject, detail) = report.status;
            let server = some_line(report.server).map_or_else(String::new, |server| format!(", server {server}"));
            let last = report.last_attempt.map_or_else(String::new, |time| format!(", last tried {}", date(time).to_rfc822()));
            let address = one_line(report.address.as_str());
            page.line(2, &format!("{address}: status {class}.{subject}.{detail}{server}{last}"));
        }
    }
}

impl Page {
    fn report(&mut self, report: &Report<'_>) {
        self.line(0, &one_line(report.address.as_str()));
        self.paragraph(2, &one_line(report.reason));
        if let Some(reply) = some_line(report.reply) {
            let server = some_line(report.server).map_or_else(String::new, |server| format!(" {server}"));
            self.line(2, &format!("The mail server{server} said:"));
            self.paragraph(4, &reply);
        }
        if let Some(advice) = some_line(report.advice) {
            self.paragraph(2, &format!("What to do: {advice}"));
        }
    }
}
