//! What a hook is told: one change of state, as JSON and as a sentence.

use crate::{
    config::{Hook, Only, Settings},
    mail::{Id, Name, State},
    relay::{Change, Subject},
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use std::time::{Duration, SystemTime};

/// Longest text taken from outside, in characters: replies of providers have some hundred.
const LONGEST_TEXT: usize = 2000;

/// A change as hooks are told it. The fields stand in this order in the JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Event {
    /// The same in every try, so that a receiver knows what it had before.
    pub(super) id: String,
    /// `link.changed` or `mailbox.changed`.
    pub(super) event: &'static str,
    /// All of it in one sentence; the key that chat servers show.
    pub(super) text: String,
    pub(super) link: String,
    pub(super) mailbox: Option<String>,
    pub(super) state: State,
    pub(super) before: State,
    pub(super) since: String,
    pub(super) until: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) advice: Option<String>,
    pub(super) advice_name: Option<String>,
    /// The relay that tells it.
    pub(super) host: String,
    pub(super) at: String,
    /// Earlier changes of the same link or mailbox that were not told, because the hook was slower.
    pub(super) left_out: u64,
    /// Whether nothing happened and somebody tries the hook.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) test: bool,
    /// Whose change.
    #[serde(skip)]
    pub(super) subject: Subject,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Event {
    /// The event of a change that was seen at `now`.
    pub(super) fn of(change: &Change, host: &str, id: Id, now: SystemTime) -> Self {
        let Change { subject, before, standing } = change;
        let (link, mailbox) = match subject {
            Subject::Link(link) => (link.to_string(), None),
            Subject::Mailbox { mailbox, link } => (link.to_string(), Some(mailbox.to_string())),
        };
        let advice = standing.advice.as_ref();
        let mut event = Self {
            id: id.to_string(),
            event: subject.event(),
            text: String::new(),
            link,
            mailbox,
            state: standing.state,
            before: *before,
            since: rfc3339(standing.since),
            until: standing.until.map(rfc3339),
            reason: standing.reason.as_deref().map(one_line),
            advice: advice.map(|advice| one_line(&advice.text)),
            advice_name: advice.and_then(|advice| advice.name()).map(str::to_owned),
            host: host.to_owned(),
            at: rfc3339(now),
            left_out: 0,
            test: false,
            subject: subject.clone(),
        };
        event.text = event.sentence();
        event
    }

    /// An event by which a hook is tried: nothing happened.
    pub(super) fn example(hook: &Hook, settings: &Settings, host: &str, id: Id, now: SystemTime) -> Self {
        let name = |text: &str| Name::parse(text).expect("it is a name");
        let mailboxes = settings.mailboxes.values().map(|mailbox| (mailbox.name.clone(), mailbox.link.clone()));
        let subjects = mailboxes.map(|(mailbox, link)| Subject::Mailbox { mailbox, link });
        let subject = subjects.chain(settings.links.keys().cloned().map(Subject::Link)).find(|subject| concerns(hook, subject));
        let example = Subject::Mailbox { mailbox: name("example"), link: name("example") };
        let standing = crate::relay::Standing {
            state: State::NeedsConsent,
            reason: Some("somebody tries this hook: nothing is wrong".to_owned()),
            advice: Some("nothing has to be done".into()),
            since: now - Duration::from_secs(60),
            until: None,
            next: None,
        };
        let change = Change { subject: subject.unwrap_or(example), before: State::Ready, standing };
        let mut event = Self::of(&change, host, id, now);
        event.test = true;
        event.text = format!("[test] {}", event.sentence());
        event
    }

    /// The name of what changed: `mailbox alerts`.
    pub(super) fn what(&self) -> String {
        self.subject.to_string()
    }

    /// `mailbox alerts (link contoso) on relay.contoso.com: needs-consent, was ready. Why: … To do: …`
    fn sentence(&self) -> String {
        let of_link = self.mailbox.as_ref().map(|_| format!(" (link {})", self.link)).unwrap_or_default();
        let why = self.reason.as_deref().map(|reason| format!(". Why: {reason}")).unwrap_or_default();
        let step = self.advice.as_deref().map(|advice| format!(". To do: {advice}")).unwrap_or_default();
        // The same for another reason, or because an end has come nearer.
        let state = if self.before == self.state {
            format!("still {}", self.state)
        } else {
            format!("{}, was {}", self.state, self.before)
        };
        format!("{}{of_link} on {}: {state}{why}{step}", self.what(), self.host)
    }

    /// As JSON.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers can be written")
    }
}

/// Whether this change runs this hook; `settings` tell where its mail would go through.
pub(super) fn runs(hook: &Hook, change: &Change, settings: &Settings) -> bool {
    let state = change.standing.state;
    let is_told = hook.states.contains(&state) && concerns(hook, &change.subject);
    is_told && (state.is_working() || !goes_through(hook, &change.subject, settings))
}

/// Whether the hook speaks of this link or mailbox.
fn concerns(hook: &Hook, subject: &Subject) -> bool {
    let Some(Only { links, mailboxes }) = &hook.only else { return true };
    match subject {
        Subject::Link(link) => links.contains(link),
        Subject::Mailbox { mailbox, link } => mailboxes.iter().any(|named| mailbox.is_of(named)) || links.contains(link),
    }
}

/// Whether the hook's mail goes through what it would speak of: in trouble it would wait with everything else, and arrive when all is
/// well again.
fn goes_through(hook: &Hook, subject: &Subject, settings: &Settings) -> bool {
    let crate::config::Action::Mail { mailbox: way, .. } = &hook.action else { return false };
    match subject {
        Subject::Mailbox { mailbox, .. } => mailbox == way,
        Subject::Link(link) => settings.mailboxes.get(way).is_some_and(|way| way.link == *link),
    }
}

/// `text` in one line of bounded length: it ends up in logs, terminals and environments.
pub(super) fn one_line(text: &str) -> String {
    let blank = |c: char| if c.is_control() { ' ' } else { c };
    let mut rest = text.chars();
    let kept: String = rest.by_ref().take(LONGEST_TEXT).map(blank).collect();
    let line = kept.split_whitespace().collect::<Vec<_>>().join(" ");
    if rest.next().is_some() { format!("{line} ...") } else { line }
}

fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        config::{self, Action},
        mail::Advice,
        relay::Standing,
    };

    pub(in crate::notify) fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    pub(in crate::notify) fn change(mailbox: &str, before: State, state: State) -> Change {
        let subject = match mailbox {
            "" => Subject::Link(name("contoso")),
            mailbox => Subject::Mailbox { mailbox: name(mailbox), link: name("contoso") },
        };
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_511_045);
        let standing = Standing { state, reason: None, advice: None, since, until: None, next: None };
        Change { subject, before, standing }
    }

    pub(in crate::notify) fn event(mailbox: &str, before: State, state: State) -> Event {
        let change = change(mailbox, before, state);
        let now = change.standing.since + Duration::from_millis(1500);
        Event::of(&change, "relay.contoso.com", Id::new(now, [7; 10]), now)
    }

    fn settings() -> Settings {
        let text = r#"
            [link.contoso]
            provider = "custom"
            grant = "authorization-code"
            client-id = "me"
            scopes = ["mail"]
            token-endpoint = "https://login.contoso.com/token"
            [link.fabrikam]
            provider = "google"
            grant = "authorization-code"
            client-id = "me"
            [mailbox.alerts]
            link = "contoso"
            address = "alerts@contoso.com"
            server = "smtp.contoso.com:587"
            [mailbox.other]
            link = "fabrikam"
            address = "other@fabrikam.com"
            [notify.all]
            command = ["/bin/true"]
            [notify.consents]
            command = ["/bin/true"]
            states = ["needs-consent"]
            mailboxes = ["alerts"]
            [notify.link]
            command = ["/bin/true"]
            links = ["contoso"]
            [notify.mail]
            to = ["ops@contoso.com"]
            mailbox = "alerts"
        "#;
        config::parse(text, &config::Variables::new()).unwrap_or_else(|faults| panic!("{faults:?}")).0
    }

    #[test]
    fn a_change_runs_the_hooks_that_ask_for_it() {
        use State::{Expiring, Failing, NeedsConsent, Ready};
        let settings = settings();
        for (change, expected) in [
            (change("alerts", Ready, NeedsConsent), vec!["all", "consents", "link"]),
            (change("alerts", Ready, Failing), vec!["all", "link"]),
            (change("alerts", Failing, Ready), vec!["all", "link", "mail"]),
            (change("alerts", Ready, Expiring), vec!["all", "link", "mail"]),
            (change("scans", Ready, NeedsConsent), vec!["all", "link", "mail"]),
            (change("", Ready, Failing), vec!["all", "link"]),
            (change("", Failing, Ready), vec!["all", "link", "mail"]),
            // For another reason, or a nearer end.
            (change("alerts", NeedsConsent, NeedsConsent), vec!["all", "consents", "link"]),
        ] {
            let run: Vec<_> = settings.hooks.values().filter(|hook| runs(hook, &change, &settings)).collect();
            let names: Vec<_> = run.iter().map(|hook| hook.name.as_str()).collect();
            assert_eq!(names, expected, "{change:?}");
        }
        let other = Change { subject: Subject::Link(name("fabrikam")), ..change("", Ready, Failing) };
        let run: Vec<_> =
            settings.hooks.values().filter(|hook| runs(hook, &other, &settings)).map(|hook| hook.name.as_str()).collect();
        assert_eq!(run, ["all", "mail"]);
        assert!(matches!(settings.hooks[&name("mail")].action, Action::Mail { .. }));
    }

    #[test]
    fn the_json_is_what_the_reference_says() {
        let mut change = change("alerts", State::Ready, State::NeedsConsent);
        change.standing.reason = Some("the provider said\r\n\"invalid_grant\" \u{1b}[31m".into());
        change.standing.advice = Some(Advice { name: "consent-gone".into(), text: "run `outlink authorize alerts`".into() });
        let now = change.standing.since + Duration::from_millis(1500);
        let event = Event::of(&change, "relay.contoso.com", Id::new(now, [7; 10]), now);
        let expected = format!(
            r#"{{"id":"{}","event":"mailbox.changed","text":"mailbox alerts (link contoso) on relay.contoso.com: needs-consent, was ready. Why: the provider said \"invalid_grant\" [31m. To do: run `outlink authorize alerts`","link":"contoso","mailbox":"alerts","state":"needs-consent","before":"ready","since":"2026-11-24T09:04:05.000Z","until":null,"reason":"the provider said \"invalid_grant\" [31m","advice":"run `outlink authorize alerts`","advice_name":"consent-gone","host":"relay.contoso.com","at":"2026-11-24T09:04:06.500Z","left_out":0}}"#,
            event.id
        );
        assert_eq!(event.json(), expected);
        let link = super::tests::event("", State::Failing, State::Ready);
        assert!(link.json().contains(r#""event":"link.changed","text":"link contoso on relay.contoso.com: ready, was failing","link":"contoso","mailbox":null"#), "{}", link.json());
    }

    #[test]
    fn an_example_says_that_it_is_one_and_speaks_of_what_the_hook_watches() {
        let settings = settings();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_511_045);
        let event = Event::example(&settings.hooks[&name("consents")], &settings, "relay", Id::new(now, [0; 10]), now);
        assert!(
            event.test && event.text.starts_with("[test] mailbox alerts ") && event.json().ends_with("\"test\":true}"),
            "{event:?}"
        );
    }

    #[test]
    fn no_text_from_outside_is_longer_than_a_bound() {
        assert_eq!(one_line(&"ä".repeat(5000)).chars().count(), LONGEST_TEXT + 4);
        assert_eq!(one_line(" a\n\t b\0 "), "a b");
    }
}
