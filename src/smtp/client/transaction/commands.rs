//! The command lines of one message. An address or parameter can hold no line end by its type; [`check`] looks once more, because
//! a second command smuggled in here would be sent under the mailbox's name.

use crate::{
    mail::{BodyType, Envelope, Recipient, Ret},
    smtp::{Reply, client::Capabilities},
};
use std::io::Write;

/// Whether the envelope can go to a server with these offers; else the verdict.
pub(super) fn check(envelope: &Envelope, offered: &Capabilities) -> Result<(), Reply> {
    let addresses = || envelope.sender.iter().chain(envelope.recipients.iter().map(|recipient| &recipient.address));
    let parameters = envelope.envid.iter().chain(envelope.recipients.iter().filter_map(|recipient| recipient.orcpt.as_ref()));
    let mut texts = addresses().map(|address| address.as_str()).chain(parameters.map(|text| text.as_str()));
    if texts.any(|text| text.bytes().any(|b| b.is_ascii_control())) {
        return Err(Reply::new(553, Some((1, 7)), "an address holds a control character"));
    }
    // RFC 6531 §3.6: no downgrade.
    if !offered.smtputf8 && (envelope.smtputf8 || addresses().any(|address| !address.is_ascii())) {
        return Err(Reply::new(550, Some((6, 7)), "the provider's server does not take internationalised mail (SMTPUTF8)"));
    }
    Ok(())
}

/// `MAIL FROM` with what was offered of SIZE, BODY, SMTPUTF8, RET and ENVID.
pub(super) fn mail(envelope: &Envelope, length: u64, offered: &Capabilities, out: &mut Vec<u8>) {
    let sender = envelope.sender.as_ref().map_or("", |address| address.as_str());
    line(out, format_args!("MAIL FROM:<{sender}>"));
    if offered.size {
        line(out, format_args!(" SIZE={length}"));
    }
    if offered.eight_bit_mime && envelope.body == BodyType::EightBitMime {
        out.extend_from_slice(b" BODY=8BITMIME");
    }
    let needs_utf8 = || !envelope.sender.iter().chain(envelope.recipients.iter().map(|r| &r.address)).all(|a| a.is_ascii());
    if offered.smtputf8 && (envelope.smtputf8 || needs_utf8()) {
        out.extend_from_slice(b" SMTPUTF8");
    }
    if offered.dsn {
        match envelope.ret {
            Some(Ret::Full) => out.extend_from_slice(b" RET=FULL"),
            Some(Ret::Hdrs) => out.extend_from_slice(b" RET=HDRS"),
            None => {}
        }
        if let Some(envid) = &envelope.envid {
            line(out, format_args!(" ENVID={}", envid.as_str()));
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// `RCPT TO` with what was offered of NOTIFY and ORCPT.
pub(super) fn rcpt(recipient: &Recipient, offered: &Capabilities, out: &mut Vec<u8>) {
    line(out, format_args!("RCPT TO:<{}>", recipient.address));
    if offered.dsn {
        if let Some(notify) = recipient.notify {
            line(out, format_args!(" NOTIFY={notify}"));
        }
        if let Some(orcpt) = &recipient.orcpt {
            line(out, format_args!(" ORCPT={}", orcpt.as_str()));
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// `BDAT … LAST` for the whole message.
pub(super) fn bdat_last(length: u64, out: &mut Vec<u8>) {
    line(out, format_args!("BDAT {length} LAST\r\n"));
}

fn line(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes every write");
}
