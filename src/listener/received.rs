//! The Received field that says how a message came to us (RFC 5321 §4.4), with the transmission types of RFC 3848 and 6531.

use super::Peer;
use crate::{
    mail::{Envelope, Id},
    smtp::server::Hello,
};
use chrono::{DateTime, Local};
use std::{fmt::Write, net::IpAddr};

/// Longest EHLO argument repeated: that of a domain (RFC 5321 §4.5.3.1.2).
const LONGEST_NAME: usize = 255;

/// What is known of a message before its first octet.
pub(super) struct Arrival<'a> {
    pub(super) id: Id,
    pub(super) peer: &'a Peer,
    /// The version of TLS.
    pub(super) tls: Option<&'static str>,
    pub(super) hello: Option<&'a Hello>,
    pub(super) is_authenticated: bool,
    pub(super) envelope: &'a Envelope,
    pub(super) hostname: &'a str,
}

/// The date as RFC 5322 §3.3 writes it.
pub(super) fn date(now: DateTime<Local>) -> String {
    now.to_rfc2822()
}

impl Arrival<'_> {
    /// The whole field, folded, with its CRLF.
    pub(super) fn field(&self, date: &str) -> String {
        let peer = shown(self.peer);
        let name = self.hello.map(|hello| sanitised(&hello.name)).filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| self.peer.address.map_or_else(|| "unknown".to_owned(), literal));
        let tls = self.tls.map(|version| format!(" ({version})")).unwrap_or_default();
        let (hostname, transmission, id) = (self.hostname, self.transmission(), self.id);
        let mut field = format!("Received: from {name} ({peer})\r\n\tby {hostname} with {transmission}{tls} id {id}");
        // With more than one, it would tell each recipient of the others (RFC 5321 §7.2).
        if let [recipient] = self.envelope.recipients.as_slice() {
            _ = write!(field, "\r\n\tfor <{}>", recipient.address);
        }
        field.push_str(";\r\n\t");
        field.push_str(date);
        field.push_str("\r\n");
        field
    }

    fn transmission(&self) -> String {
        let (encrypted, authenticated) = (self.peer.encrypted, self.is_authenticated);
        let protocol = match self.envelope.smtputf8 {
            true => "UTF8SMTP",
            // Neither S nor A is defined for SMTP alone (RFC 3848).
            false if encrypted || authenticated || self.hello.is_some_and(|hello| hello.is_extended) => "ESMTP",
            false => "SMTP",
        };
        format!("{protocol}{}{}", if encrypted { "S" } else { "" }, if authenticated { "A" } else { "" })
    }
}

/// How the client came, in the words of a comment.
fn shown(peer: &Peer) -> String {
    match (peer.address, peer.local) {
        (Some(address), _) => literal(address),
        (None, Some(process)) => format!("local user {}", process.uid),
        (None, None) => "unknown".to_owned(),
    }
}

fn literal(peer: IpAddr) -> String {
    match peer {
        IpAddr::V4(peer) => format!("[{peer}]"),
        IpAddr::V6(peer) => format!("[IPv6:{peer}]"),
    }
}

/// What may stand in the field: the app's word for itself is anything.
fn sanitised(name: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    name.chars().filter(allowed).take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        listener::UnixPeer,
        mail::{Address, Recipient},
    };
    use std::time::SystemTime;

    #[test]
    fn the_field_says_how_the_message_came() {
        let id = Id::new(SystemTime::UNIX_EPOCH, [0; 10]);
        let to = |text: &str| Recipient::to(Address::parse(text).unwrap());
        let hello = |name: &str, is_extended| Some(Hello { name: name.into(), is_extended });
        let peer = |address: Option<&str>, encrypted| {
            let local = address.is_none().then_some(UnixPeer { uid: 33, gid: 33, pid: None });
            Peer {
                address: address.map(|it| it.parse().unwrap()),
                is_told: false,
                shown: String::new(),
                local,
                certificate: None,
                encrypted,
            }
        };
        let near = || peer(Some("127.0.0.1"), false);
        for (peer, hello, is_authenticated, smtputf8, recipients, expected) in [
            (
                near(),
                hello("MY_PC", true),
                true,
                false,
                vec![to("a@example.com")],
                "from MY_PC ([127.0.0.1]) with ESMTPA for <a@example.com>;",
            ),
            (
                peer(Some("::1"), false),
                hello("a) by evil (\r\nX", true),
                false,
                false,
                vec![to("a"), to("b")],
                "from abyevilX ([IPv6:::1]) with ESMTP;",
            ),
            (near(), hello("", false), false, false, vec![], "from [127.0.0.1] ([127.0.0.1]) with SMTP;"),
            (near(), None, true, true, vec![], "from [127.0.0.1] ([127.0.0.1]) with UTF8SMTPA;"),
            (peer(Some("10.1.2.3"), true), hello("x", true), true, false, vec![], "from x ([10.1.2.3]) with ESMTPSA (TLSv1.3);"),
            (peer(Some("10.1.2.3"), true), hello("x", false), false, false, vec![], "from x ([10.1.2.3]) with ESMTPS (TLSv1.3);"),
            (peer(None, false), hello("", true), false, true, vec![], "from unknown (local user 33) with UTF8SMTP;"),
        ] {
            let mut envelope = Envelope::from(None);
            (envelope.recipients, envelope.smtputf8) = (recipients, smtputf8);
            let arrival = Arrival {
                id,
                peer: &peer,
                tls: peer.encrypted.then_some("TLSv1.3"),
                hello: hello.as_ref(),
                is_authenticated,
                envelope: &envelope,
                hostname: "relay.example",
            };
            let field = arrival.field("Mon, 23 Nov 2026 10:00:00 +0000");
            assert!(field.ends_with(";\r\n\tMon, 23 Nov 2026 10:00:00 +0000\r\n"));
            let short = field.replace("\r\n\t", " ").replace(" by relay.example", "").replace(&format!(" id {id}"), "");
            assert!(short.starts_with(&format!("Received: {expected}")), "{short}");
        }
    }
}
