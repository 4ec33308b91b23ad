//! A mail that this program writes to people about itself. What stands in it may come from outside, and none of that may begin a header
//! field or a line of its own. Date and ids are given to it.

use super::{
    Address, Id,
    bounce::{clean, date, original::Part},
    page::Page,
};
use mail_builder::{
    MessageBuilder,
    headers::{HeaderType, address::Address as Mailbox, raw::Raw, text::Text},
    mime::MimePart,
};
use std::time::SystemTime;

/// One mail.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// `<id@hostname>` is its Message-ID.
    pub id: Id,
    /// The name of this relay.
    pub hostname: &'a str,
    /// Whom it comes from: the mailbox's own address.
    pub from: &'a Address,
    /// Whom it goes to.
    pub to: &'a [Address],
    /// Its Subject.
    pub subject: &'a str,
    /// Paragraphs, each with the columns by which it is indented.
    pub paragraphs: &'a [(usize, String)],
    /// When it is written.
    pub now: SystemTime,
}

impl Letter<'_> {
    /// The message, in CRLF lines of at most 998 octets, not dot-stuffed. It is ASCII but for addresses that are not.
    pub fn write(&self) -> Vec<u8> {
        let mut page = Page::default();
        self.paragraphs.iter().for_each(|(indent, text)| page.paragraph(*indent, &clean::one_line(text)));
        let to: Vec<Mailbox<'_>> = self.to.iter().map(|to| Mailbox::from(clean::quoted(to))).collect();
        let subject = clean::one_line(self.subject);
        // The crate would encode a long text also where it is plain.
        let title: HeaderType<'_> = if subject.is_ascii() { Raw::new(subject).into() } else { Text::new(subject).into() };
        let mut out = Vec::new();
        MessageBuilder::new()
            .from(Mailbox::new_address(Some("outlink"), clean::quoted(self.from)))
            .to(Mailbox::new_list(to))
            .header("Subject", title)
            .date(date(self.now))
            .message_id(format!("{}@{}", self.id, self.hostname))
            // RFC 3834 §5.1: so that no vacation notice answers it. The second field says the same to Exchange.
            .header("Auto-Submitted", Raw::new("auto-generated"))
            .header("X-Auto-Response-Suppress", Raw::new("All"))
            .header("MIME-Version", Raw::new("1.0"))
            .body(MimePart::from(Part::text(page.into_text())))
            .serialize(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn written(subject: &str, paragraphs: &[(usize, String)]) -> String {
        let address = |text: &str| Address::parse(text).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_511_045);
        let letter = Letter {
            id: Id::new(now, [7; 10]),
            hostname: "relay.contoso.com",
            from: &address("alerts@contoso.com"),
            to: &[address("ops@contoso.com"), address("a,b@contoso.com")],
            subject,
            paragraphs,
            now,
        };
        String::from_utf8(letter.write()).unwrap()
    }

    #[test]
    fn a_letter_is_written_as_mail_programs_expect_it() {
        let paragraphs = [(0, "One.".to_owned()), (2, "outlink authorize alerts".to_owned())];
        let expected = "From: \"outlink\" <alerts@contoso.com>\r\n\
             To: <ops@contoso.com>, <\"a,b\"@contoso.com>\r\n\
             Subject: [outlink relay.contoso.com] mailbox alerts needs-consent\r\n\
             Date: Tue, 24 Nov 2026 09:04:05 +0000\r\n\
             Message-ID: <ID@relay.contoso.com>\r\n\
             Auto-Submitted: auto-generated\r\n\
             X-Auto-Response-Suppress: All\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=\"utf-8\"\r\n\
             Content-Transfer-Encoding: 7bit\r\n\
             \r\n\
             One.\r\n\
             \r\n  \
             outlink authorize alerts\r\n\
             \r\n";
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_511_045);
        let id = Id::new(now, [7; 10]).to_string();
        let text = written("[outlink relay.contoso.com] mailbox alerts needs-consent", &paragraphs);
        assert_eq!(text.replace(&id, "ID"), expected);
    }

    #[test]
    fn nothing_from_outside_begins_a_field_or_a_line() {
        let hostile = "x\r\nBcc: all@contoso.com\r\n\r\n.\r\n".to_owned();
        let text = written(&hostile, &[(0, hostile.clone()), (0, "ä\r\nBcc: y".into())]);
        assert!(!text.contains("\r\nBcc"), "{text}");
        assert!(text.is_ascii() && text.contains("quoted-printable"), "{text}");
        assert!(text.split("\r\n").all(|line| line.len() <= 998 && line != "."), "{text}");
        assert!(written(&"x".repeat(5000), &[]).split("\r\n").all(|line| line.len() <= 998));
    }
}
