//! One line for `systemctl status`: how many mailboxes are ready, what is not and what to do about it, where the daemon listens.

use crate::{
    admin::{Listening, rfc3339},
    mail::State,
    relay::{Standing, Subject},
};

/// What is not ready and named; the others are counted.
const MOST_NAMED: usize = 3;

/// Longest text of one that is named, in characters: a line that runs off the screen tells nothing.
const LONGEST: usize = 160;

/// The line.
pub(super) fn summary(standings: &[(Subject, Standing)], listeners: &[Listening]) -> String {
    let mailboxes = standings.iter().filter(|(subject, _)| subject.mailbox().is_some());
    let (all, ready) = (mailboxes.clone().count(), mailboxes.filter(|(_, standing)| standing.state.is_working()).count());
    let counted = match ready == all {
        true => format!("{all} {} ready", if all == 1 { "mailbox" } else { "mailboxes" }),
        false => format!("{ready} of {all} {} ready", if all == 1 { "mailbox" } else { "mailboxes" }),
    };
    // A mailbox that its link keeps from sending says nothing that the link does not.
    let of_link = |subject: &Subject, standing: &Standing| {
        let is_its_link = |(other, of): &&(Subject, Standing)| {
            *other == Subject::Link(subject.link().clone()) && of.state == standing.state && of.reason == standing.reason
        };
        subject.mailbox().is_some() && standings.iter().any(|it| is_its_link(&it))
    };
    let mut told: Vec<_> =
        standings.iter().filter(|(subject, standing)| standing.state != State::Ready && !of_link(subject, standing)).collect();
    told.sort_by_key(|(_, standing)| std::cmp::Reverse((standing.state != State::Paused, standing.state)));
    let named = told.iter().take(MOST_NAMED).map(|(subject, standing)| named(subject, standing));
    let more = told.len().saturating_sub(MOST_NAMED);
    let more = (more > 0).then(|| format!("{more} more: run outlink health"));
    let addresses: Vec<String> = listeners.iter().map(|listener| format!("{} on {}", listener.name, listener.address)).collect();
    let listening = format!("listening: {}", addresses.join(", "));
    std::iter::once(counted).chain(named).chain(more).chain([listening]).collect::<Vec<_>>().join("; ")
}

fn named(subject: &Subject, standing: &Standing) -> String {
    let name = match subject {
        Subject::Link(name) => format!("link {name}"),
        Subject::Mailbox { mailbox, .. } => mailbox.to_string(),
    };
    let time = match standing.until {
        Some(until) => format!("until {}", seconds(until)),
        None => format!("since {}", seconds(standing.since)),
    };
    let to_do = standing.advice.as_ref().map(|advice| format!(": {}", shortened(&advice.text))).unwrap_or_default();
    format!("{name} {} {time}{to_do}", standing.state)
}

fn seconds(time: std::time::SystemTime) -> String {
    let text = rfc3339(time);
    text.split_once('.').map_or(text.clone(), |(whole, _)| format!("{whole}Z"))
}

fn shortened(text: &str) -> String {
    // systemd takes what follows a line's end for another variable.
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text[..end].chars().map(plain).collect::<String>()),
        None => text.chars().map(plain).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Name;
    use std::time::{Duration, SystemTime};

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn standing(state: State, reason: &str, advice: &str) -> Standing {
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_511_045_123);
        let reason = (!reason.is_empty()).then(|| reason.to_owned());
        let advice = (!advice.is_empty()).then(|| advice.into());
        Standing { state, reason, advice, since, until: None, next: None }
    }

    fn mailbox(mailbox: &str) -> Subject {
        Subject::Mailbox { mailbox: name(mailbox), link: name("contoso") }
    }

    #[test]
    fn the_line_names_what_is_not_ready_and_stays_short() {
        let listeners = [Listening { name: name("local"), address: "127.0.0.1:2525".into(), presented: None }];
        let link = Subject::Link(name("contoso"));
        let ready = |subject: Subject| (subject, standing(State::Ready, "", ""));
        let all = [ready(link.clone()), ready(mailbox("alerts")), ready(mailbox("crowd"))];
        assert_eq!(summary(&all, &listeners), "2 mailboxes ready; listening: local on 127.0.0.1:2525");
        let mut one = all.clone();
        one[1].1 = standing(State::NeedsConsent, "revoked", "authorise it with\n`outlink authorize alerts`");
        assert_eq!(
            summary(&one, &listeners),
            "1 of 2 mailboxes ready; alerts needs-consent since 2026-11-24T09:04:05Z: authorise it with `outlink authorize alerts`; \
             listening: local on 127.0.0.1:2525"
        );
        let of_link = all.clone().map(|(subject, _)| (subject, standing(State::NeedsRepair, "expired", "renew it")));
        let line = summary(&of_link, &listeners);
        assert!(
            line.starts_with("0 of 2 mailboxes ready; link contoso needs-repair since") && !line.contains("alerts"),
            "{line}"
        );
        let advice = "\u{e4}".repeat(1000);
        let many: Vec<_> = (0..100)
            .map(|number| (mailbox(&format!("m{number}")), standing(State::Failing, &number.to_string(), &advice)))
            .collect();
        let line = summary(&many, &listeners);
        assert!(line.contains("97 more: run outlink health") && line.chars().count() < 1000, "{line}");
    }
}
