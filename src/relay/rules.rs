//! What an app may do, beside what its mailbox lets pass: whether it may send at all, as whom, to whom. Pure.
//!
//! Each refusal names the key that says so: who reads it at the device has to tell it to the administrator.

use crate::{
    config::App,
    mail::{Address, author},
    smtp::Reply,
};

/// Whether it may send at all (RFC 5248 §2.4: X.7.13, user account disabled).
pub(super) fn enabled(app: &App) -> Result<(), Reply> {
    match app.enabled {
        true => Ok(()),
        false => Err(Reply::new(550, Some((7, 13)), format!("{} (enabled = false in [app.{}])", disabled(app), app.name))),
    }
}

/// The same as an answer to a right password.
pub(super) fn may_log_in(app: &App) -> Result<(), Reply> {
    enabled(app).map_err(|reply| Reply { code: 535, ..reply })
}

fn disabled(app: &App) -> String {
    format!("the application {} is switched off here", app.name)
}

/// Whether it may use this envelope sender. The null sender is nobody.
pub(super) fn sender(app: &App, sender: Option<&Address>) -> Result<(), Reply> {
    match (&app.allowed_from, sender) {
        (Some(allowed), Some(sender)) if !allowed.matches(sender) => Err(not_allowed(app, sender)),
        _ => Ok(()),
    }
}

/// Whether it may write this From field.
pub(super) fn from(app: &App, from: Option<&str>) -> Result<(), Reply> {
    let Some(allowed) = &app.allowed_from else { return Ok(()) };
    match from.and_then(author) {
        Some(author) if allowed.matches(&author) => Ok(()),
        Some(author) => Err(not_allowed(app, &author)),
        None => Err(Reply::new(550, Some((7, 1)), "the From field must hold exactly one address")),
    }
}

fn not_allowed(app: &App, sender: &Address) -> Reply {
    let text = format!("<{sender}> is not in allowed-from of [app.{}]: this application may not send as it", app.name);
    Reply::new(550, Some((7, 1)), text)
}

/// Whether it may send to this one, beside the `accepted` ones. What counts is the address that an alias stands for, `meant`.
pub(super) fn recipient(app: &App, accepted: usize, (named, meant): (&Address, Option<&Address>)) -> Result<(), Reply> {
    let recipient = meant.unwrap_or(named);
    if app.allowed_recipients.as_ref().is_some_and(|allowed| !allowed.matches(recipient)) {
        let alias = meant.map_or(String::new(), |_| format!(" ({named} in [aliases])"));
        let text = format!(
            "<{recipient}>{alias} is not in allowed-recipients of [app.{}]: this application may not send there",
            app.name
        );
        return Err(Reply::new(550, Some((7, 1)), text));
    }
    match app.limits.recipients {
        Some(most) if accepted >= most => {
            let text = format!("at most {most} recipients in a message (recipients in [app.{}.limits])", app.name);
            Err(Reply::new(452, Some((5, 3)), text))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Variables};
    use std::sync::Arc;

    fn app(keys: &str) -> Arc<App> {
        let text = format!(
            "[app.crowd]\nnetworks = [\"10.1.2.3\"]\nmailbox = \"m\"\n{keys}\n[mailbox.m]\nlink = \"l\"\naddress = \"m@b.example\"\n\
             [link.l]\nprovider = \"google\"\ngrant = \"authorization-code\"\nclient-id = \"c\"\n"
        );
        let (settings, _) = config::parse(&text, &Variables::new()).unwrap();
        settings.apps.values().next().unwrap().clone()
    }

    fn code(verdict: Result<(), Reply>) -> (u16, String) {
        verdict.err().map_or((250, String::new()), |reply| (reply.code, reply.text()))
    }

    #[test]
    fn each_rule_refuses_with_its_key() {
        let address = |text: &str| Address::parse(text).unwrap();
        let free = app("");
        let bound = app("enabled = false\nallowed-from = [\"*@b.example\"]\nallowed-recipients = [\"*@c.example\"]\n\
                         limits = { recipients = 2 }");
        let named = app("allowed-recipients = [\"root\"]");
        let (inside, outside) = (address("a@B.example"), address("a@evil.example"));
        for (verdict, expected, key) in [
            (enabled(&free), 250, ""),
            (enabled(&bound), 550, "enabled = false in [app.crowd]"),
            (may_log_in(&bound), 535, "enabled = false in [app.crowd]"),
            (sender(&free, Some(&outside)), 250, ""),
            (sender(&bound, Some(&inside)), 250, ""),
            (sender(&bound, None), 250, ""),
            (sender(&bound, Some(&outside)), 550, "allowed-from of [app.crowd]"),
            (from(&free, None), 250, ""),
            (from(&bound, Some("A <a@b.example>")), 250, ""),
            (from(&bound, Some("A <a@evil.example>")), 550, "allowed-from of [app.crowd]"),
            (from(&bound, Some("a@b.example, a@evil.example")), 550, "exactly one"),
            (from(&bound, None), 550, "exactly one"),
            (recipient(&free, 99, (&outside, None)), 250, ""),
            (recipient(&bound, 1, (&address("x@c.example"), None)), 250, ""),
            (recipient(&bound, 2, (&address("x@c.example"), None)), 452, "recipients in [app.crowd.limits]"),
            (recipient(&bound, 0, (&outside, None)), 550, "allowed-recipients of [app.crowd]"),
            (recipient(&bound, 0, (&address("root"), None)), 550, "allowed-recipients of [app.crowd]"),
            (recipient(&bound, 0, (&address("root"), Some(&address("x@c.example")))), 250, ""),
            (recipient(&bound, 0, (&address("root"), Some(&outside))), 550, "<a@evil.example> (root in [aliases]) is not in"),
            (recipient(&named, 0, (&address("root"), Some(&outside))), 550, "allowed-recipients of [app.crowd]"),
        ] {
            let (code, text) = code(verdict);
            assert!(code == expected && text.contains(key), "{code} {text}, expected {expected} {key}");
        }
    }
}
