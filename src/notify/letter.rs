//! A change of state as a mail: what happened, why, what to do, and the commands for it.

use super::event::Event;
use crate::mail::State;

/// The subject: `[outlink relay.contoso.com] mailbox alerts needs-consent`.
pub(super) fn subject(event: &Event) -> String {
    let test = if event.test { "test: " } else { "" };
    format!("[outlink {}] {test}{} {}", event.host, event.what(), event.state)
}

/// The text, in paragraphs with their indents.
pub(super) fn paragraphs(event: &Event, hook: &str) -> Vec<(usize, String)> {
    let mut all = vec![(0, format!("This is the mail relay {}.", event.host))];
    let mut say = |indent, text| all.push((indent, text));
    if event.test {
        say(
            0,
            format!("Somebody tries the hook {hook}: nothing is wrong, and nothing has to be done. What follows is an example."),
        );
    }
    let of_link = event.mailbox.as_ref().map(|_| format!(" (link {})", event.link)).unwrap_or_default();
    let before = if event.before == event.state { String::new() } else { format!("; before, it was {}", event.before) };
    say(0, format!("The {}{of_link} is {} since {}{before}.", event.what(), event.state, event.since));
    say(0, meaning(event));
    if let Some(reason) = &event.reason {
        say(0, "Why:".into());
        say(2, reason.clone());
    }
    if let Some(advice) = &event.advice {
        say(0, "What to do:".into());
        say(2, advice.clone());
    }
    say(0, "Commands, on the relay:".into());
    commands(event).into_iter().for_each(|command| say(2, command));
    if event.left_out > 0 {
        say(0, format!("It changed {} times before this without being told, because this hook was slower.", event.left_out));
    }
    say(0, format!("Sent by the hook notify.{hook}; event {}.", event.id));
    all
}

fn meaning(event: &Event) -> String {
    let until = event.until.as_deref().map(|until| format!(" on {until}")).unwrap_or_default();
    match event.state {
        State::Ready => "It works; what waited goes out by itself.".into(),
        State::Expiring => format!("It works, but something that it needs ends{until}: act before."),
        State::Failing => "It does not work now. Its mail is kept and waits; it is tried again by itself.".into(),
        State::OverQuota => "The provider's quota is used up. Its mail is kept, and goes out when the quota resets.".into(),
        State::NeedsRepair => "It does not work until something is mended. Its mail is kept and waits.".into(),
        State::NeedsConsent => "It does not work until a person signs in again. Its mail is kept and waits.".into(),
        State::Paused => "An operator holds it. Its mail is kept and waits until it is released.".into(),
    }
}

fn commands(event: &Event) -> Vec<String> {
    let mailbox = event.mailbox.as_ref();
    let mut commands = Vec::new();
    match (event.state, mailbox) {
        (State::NeedsConsent, Some(mailbox)) => commands.push(format!("outlink authorize {mailbox}")),
        (State::Paused, Some(mailbox)) => commands.push(format!("outlink queue release --mailbox {mailbox}")),
        _ => {}
    }
    commands.push("outlink link list".into());
    if !event.state.is_working() {
        commands.push(mailbox.map_or("outlink queue".into(), |mailbox| format!("outlink queue list --mailbox {mailbox}")));
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::event::tests::event;

    #[test]
    fn a_mail_says_what_happened_why_and_which_command_mends_it() {
        let mut event = event("alerts", State::Ready, State::NeedsConsent);
        event.reason = Some("the refresh token was revoked".into());
        event.advice = Some("let robot@contoso.com sign in again".into());
        event.left_out = 3;
        assert_eq!(subject(&event), "[outlink relay.contoso.com] mailbox alerts needs-consent");
        let text: Vec<String> = paragraphs(&event, "ops").into_iter().map(|(_, text)| text).collect();
        let expected = [
            "This is the mail relay relay.contoso.com.",
            "The mailbox alerts (link contoso) is needs-consent since 2026-11-24T09:04:05.000Z; before, it was ready.",
            "It does not work until a person signs in again. Its mail is kept and waits.",
            "Why:",
            "the refresh token was revoked",
            "What to do:",
            "let robot@contoso.com sign in again",
            "Commands, on the relay:",
            "outlink authorize alerts",
            "outlink link list",
            "outlink queue list --mailbox alerts",
            "It changed 3 times before this without being told, because this hook was slower.",
        ];
        assert_eq!(text[..text.len() - 1], expected);
        assert!(text[text.len() - 1].starts_with("Sent by the hook notify.ops; event "));
    }

    #[test]
    fn each_state_of_link_and_mailbox_has_a_meaning() {
        for state in State::ALL {
            for mailbox in ["", "alerts"] {
                let mut event = event(mailbox, State::Ready, state);
                event.test = true;
                assert!(paragraphs(&event, "ops").iter().all(|(_, text)| !text.is_empty()), "{state}");
                assert!(subject(&event).contains("] test: "));
            }
        }
    }
}
