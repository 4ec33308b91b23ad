//! `mailbox` and `fallback` of an app: where its mail goes.

use super::{
    mailbox::{BY_SENDER, reference},
    settings::Route,
    table::{Table, Wrong},
};
use crate::mail::Name;
use std::collections::BTreeSet;

/// Mailboxes that one app names: more would hide what a person meant.
const MOST: usize = 16;

/// Reads both.
pub(super) fn read(table: &mut Table<'_>, mailboxes: &BTreeSet<Name>) -> Option<Route> {
    let has_senders = table.has("allowed-from");
    if !table.has("mailbox") {
        table.missing("mailbox", "name the mailbox that it sends through");
    }
    let texts = table.list("mailbox", |text| Ok(text.to_owned()));
    let fallback = table.text("fallback");
    let fallback_name = fallback.as_ref().map(|text| reference(table, "fallback", text, mailboxes));
    let texts = texts?;
    if texts.iter().any(|text| text == BY_SENDER) {
        if texts.len() > 1 {
            table.fault("mailbox", Wrong::new("`by-sender` stands alone", "name the mailbox for all others as `fallback`"));
        }
        if !has_senders {
            table.missing("allowed-from", "an app that is routed by sender has to name the senders that it may use");
        }
        return Some(Route::BySender { fallback: fallback_name.flatten() });
    }
    if texts.is_empty() {
        table.fault("mailbox", Wrong::new("this list is empty", "name the mailbox that it sends through"));
    }
    let count = texts.len();
    let mut names: Vec<Name> = texts.iter().filter_map(|text| reference(table, "mailbox", text, mailboxes)).collect();
    let is_whole = names.len() == count && count > 0;
    names.extend(fallback_name.flatten());
    let all: BTreeSet<&Name> = names.iter().collect();
    if all.len() < names.len() {
        table.fault(if fallback.is_some() { "fallback" } else { "mailbox" }, "a mailbox is named twice");
    }
    if names.len() > MOST {
        table.fault("mailbox", format!("an app has at most {MOST} mailboxes"));
    }
    is_whole.then_some(Route::Listed(names))
}
