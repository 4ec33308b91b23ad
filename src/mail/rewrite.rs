//! Rewriting of the author: what the provider would refuse or replace gets the mailbox's address, and whoever reads it can still answer.

use super::{
    Address, Change, author,
    header::{Field, Header},
    phrase,
};

/// Ends of domains that nobody outside can answer to (RFC 6761, RFC 6762, and what distributions call a machine).
const NOWHERE: [&str; 8] = ["localhost", "localdomain", "local", "internal", "lan", "home.arpa", "invalid", "test"];

/// Makes `mailbox` the author, unless the author is one that `allowed` lets pass: the display name stays, the former address becomes the
/// Reply-To where there is none, and a Sender that does not pass goes. The octets of all other fields, and their order, stay.
pub fn rewrite(header: &mut Header, mailbox: &Address, allowed: impl Fn(&Address) -> bool) -> Vec<Change> {
    let passes = |address: &Address| address.is_same(mailbox) || allowed(address);
    let mut changes = Vec::new();
    let values: Vec<Vec<u8>> = header.all("From").map(Field::value).collect();
    let only = match values.as_slice() {
        [value] => author(&phrase::text(value)),
        _ => None,
    };
    if !only.as_ref().is_some_and(passes) {
        let elements: Vec<&[u8]> = values.iter().flat_map(|value| phrase::elements(value)).collect();
        let answerable: Vec<&[u8]> = elements.iter().copied().filter(|element| is_answerable(element)).collect();
        if !header.has("Reply-To") && !answerable.is_empty() {
            let value = answerable.iter().map(|element| answer_to(element)).collect::<Vec<_>>().join(&b", "[..]);
            let reply_to = Field::new("Reply-To", "").with_value(&value);
            let after = header.fields.iter().position(|field| field.is("From")).map_or(header.fields.len(), |at| at + 1);
            header.fields.insert(after, reply_to);
            changes.push(Change::AddedReplyTo);
        }
        set_from(header, &from(elements.first().copied().unwrap_or_default(), mailbox));
        changes.push(Change::RewroteFrom);
    }
    let before = header.fields.len();
    let is_foreign = |field: &Field| field.is("Sender") && !author(&phrase::text(&field.value())).as_ref().is_some_and(passes);
    header.fields.retain(|field| !is_foreign(field));
    if header.fields.len() < before {
        changes.push(Change::RemovedSender);
    }
    changes
}

/// Puts `value` into the first From and removes the others; a header without one gets it at its end.
fn set_from(header: &mut Header, value: &[u8]) {
    let Some(first) = header.fields.iter().position(|field| field.is("From")) else {
        let field = Field::new("From", "").with_value(value);
        return header.fields.push(field);
    };
    header.fields[first] = header.fields[first].with_value(value);
    let mut at = 0;
    header.fields.retain(|field| {
        at += 1;
        at - 1 == first || !field.is("From")
    });
}

/// The element as it may stand in a Reply-To.
fn answer_to(element: &[u8]) -> Vec<u8> {
    phrase::with_quoted_name(element).unwrap_or_else(|| element.trim_ascii().to_owned())
}

/// The mailbox's address under the name of `element`.
fn from(element: &[u8], mailbox: &Address) -> Vec<u8> {
    let name = match phrase::split(element) {
        Some((name, _)) if phrase::has_bare(name, b'@') => phrase::quoted_where_needed(name),
        Some((name, _)) => name.to_owned(),
        // `root (Cron Daemon)`: the form of old mail programs.
        None => phrase::comment(element).map(phrase::quoted).unwrap_or_default(),
    };
    match name.is_empty() {
        true => mailbox.as_str().as_bytes().to_owned(),
        false => [&name, format!(" <{mailbox}>").as_bytes()].concat(),
    }
}

/// Whether somebody outside could answer to this address.
fn is_answerable(element: &[u8]) -> bool {
    let Some(address) = author(&phrase::text(element)) else { return false };
    let domain = address.domain().unwrap_or_default().to_ascii_lowercase();
    let ends = |end: &&str| domain == **end || domain.strip_suffix(*end).is_some_and(|rest| rest.ends_with('.'));
    domain.contains('.') && !NOWHERE.iter().any(ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewritten(text: &str) -> (String, Vec<Change>) {
        let (mut header, _) = Header::of(text.as_bytes());
        let mailbox = Address::parse("alerts@contoso.com").unwrap();
        let changes = rewrite(&mut header, &mailbox, |address| address.as_str() == "noreply@contoso.com");
        let mut out = Vec::new();
        header.write(&mut out);
        (String::from_utf8_lossy(&out).into_owned(), changes)
    }

    #[test]
    fn the_author_becomes_the_mailbox_and_can_still_be_answered() {
        use Change::*;
        for (text, expected, changes) in [
            ("From: alerts@contoso.com\r\n", "From: alerts@contoso.com\r\n", &[][..]),
            ("From: A <noreply@contoso.com>\r\n", "From: A <noreply@contoso.com>\r\n", &[]),
            (
                "Subject: x\r\nFrom: Jira <jira@other.example>\r\nTo: a@b\r\n",
                "Subject: x\r\nFrom: Jira <alerts@contoso.com>\r\nReply-To: Jira <jira@other.example>\r\nTo: a@b\r\n",
                &[AddedReplyTo, RewroteFrom],
            ),
            (
                "From: x@y.example\r\nReply-To: z@y.example\r\n",
                "From: alerts@contoso.com\r\nReply-To: z@y.example\r\n",
                &[RewroteFrom],
            ),
            // What only this machine knows can be answered by nobody.
            ("From: root (Cron Daemon)\r\n", "From: \"Cron Daemon\" <alerts@contoso.com>\r\n", &[RewroteFrom]),
            ("From: \"Web\" <www-data@web1.localdomain>\r\n", "From: \"Web\" <alerts@contoso.com>\r\n", &[RewroteFrom]),
            ("From: ops@x.example <ops@x.local>\r\n", "From: \"ops@x.example\" <alerts@contoso.com>\r\n", &[RewroteFrom]),
            (
                "From: a@x.example <b@x.example>\r\n",
                "From: \"a@x.example\" <alerts@contoso.com>\r\nReply-To: \"a@x.example\" <b@x.example>\r\n",
                &[AddedReplyTo, RewroteFrom],
            ),
            ("Subject: x\r\n", "Subject: x\r\nFrom: alerts@contoso.com\r\n", &[RewroteFrom]),
            (
                "From: a@x.example, b@x.example\r\nSender: a@x.example\r\n",
                "From: alerts@contoso.com\r\nReply-To: a@x.example, b@x.example\r\n",
                &[AddedReplyTo, RewroteFrom, RemovedSender],
            ),
            (
                "From: a@x.example\r\nFrom: b@x.example\r\n",
                "From: alerts@contoso.com\r\nReply-To: a@x.example, b@x.example\r\n",
                &[AddedReplyTo, RewroteFrom],
            ),
            (
                "From: alerts@contoso.com\r\nSender: Alerts@contoso.com\r\n",
                "From: alerts@contoso.com\r\nSender: Alerts@contoso.com\r\n",
                &[],
            ),
        ] {
            assert_eq!(rewritten(text), (expected.to_owned(), changes.to_vec()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn rewriting_twice_is_rewriting_once_and_the_other_fields_keep_their_octets_and_order(
            text in "((From|Sender|Reply-To|Subject|X-A|To): [a-z@<>\", .()\u{fc}]{0,40}(\r\n [a-z]{0,5})?\r\n){0,8}"
        ) {
            let (once, changes) = rewritten(&text);
            prop_assert_eq!(rewritten(&once), (once.clone(), vec![]));
            let others = |text: &str| {
                let (header, _) = Header::of(text.as_bytes());
                let mut fields = header.fields;
                fields.retain(|field| !field.is("From") && !field.is("Sender") && !field.is("Reply-To"));
                fields
            };
            prop_assert_eq!(others(&once), others(&text));
            let (header, _) = Header::of(once.as_bytes());
            prop_assert!(changes.is_empty() || header.all("From").count() == 1);
        }
    }
}
