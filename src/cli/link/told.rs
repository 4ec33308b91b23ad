//! What `outlink link add` and `mailbox add` say at the end: what the provider's pages have to know, and what comes next.

use super::super::{change::Subject, out::say};
use crate::{
    config::Link,
    provider::{Grant, Registration},
};

/// What comes after a new link.
pub(super) fn next(subject: &Subject, link: &Link, redirect_url: Option<&str>, has_secret: bool) {
    let registration = registration(link, redirect_url, has_secret, None);
    let steps = registration.steps();
    if !steps.is_empty() {
        say("\nat the provider:");
        steps.iter().for_each(say);
    }
    say("\nnext:");
    say(format_args!("  {}", subject.command(&format!("mailbox add --link {}", link.name))));
    if matches!(link.grant, Grant::AuthorizationCode | Grant::DeviceCode) {
        say(format_args!("  {}", subject.command("authorize MAILBOX")));
    }
}

/// What the provider's pages have to know of a link.
pub(in crate::cli) fn registration<'a>(
    link: &'a Link,
    redirect_url: Option<&'a str>,
    has_secret: bool,
    address: Option<&'a str>,
) -> Registration<'a> {
    Registration {
        provider: link.provider,
        cloud: link.cloud,
        grant: link.grant,
        client_id: &link.client_id,
        redirect_url,
        is_public: !has_secret,
        address,
    }
}
