//! What `outlink link add` and `mailbox add` say at the end: what the provider's pages have to know, and what comes next.

use super::super::{change::Subject, out::say};
use crate::{config::Link, provider::Grant};

/// What comes after a new link.
pub(super) fn next(subject: &Subject, link: &Link) {
    at_the_provider(link, None);
    say("\nnext:");
    say(format_args!("  {}", subject.command(&format!("mailbox add --link {}", link.name))));
    if matches!(link.grant, Grant::AuthorizationCode | Grant::DeviceCode) {
        say(format_args!("  {}", subject.command("authorize MAILBOX")));
    }
}

/// What has to be done at the provider's pages, for the mailbox `address` where there is one.
pub(in crate::cli) fn at_the_provider(link: &Link, address: Option<&str>) {
    let steps = link.registration(address).steps();
    if !steps.is_empty() {
        say("\nat the provider:");
        steps.iter().for_each(say);
    }
}
