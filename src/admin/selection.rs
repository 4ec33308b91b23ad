//! Which messages are meant, as words over the control socket and as the store's filter.

use super::{Refused, parse_time};
use crate::{
    mail::{Id, Name},
    queue::{Filter, State},
    relay::Relay,
};
use serde::{Deserialize, Serialize};

/// Messages with all of these; what is missing does not matter. An unknown key is refused: what it was to exclude would be included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Through this mailbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<String>,
    /// Of this app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Standing like one of these, as listings show it; none: all but the delivered ones.
    #[serde(skip_serializing_if = "Vec::is_empty", rename = "state")]
    pub states: Vec<String>,
    /// Accepted before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_before: Option<String>,
    /// To this address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// From or to this address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Selection {
    /// As the pairs of a URL's query.
    pub(super) fn pairs(&self) -> Vec<(&'static str, &str)> {
        let Self { mailbox, app, states, accepted_before, recipient, address } = self;
        let single = [
            ("mailbox", mailbox),
            ("app", app),
            ("accepted_before", accepted_before),
            ("recipient", recipient),
            ("address", address),
        ];
        let single = single.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?)));
        single.chain(states.iter().map(|state| ("state", state.as_str()))).collect()
    }

    /// From a URL's query, with the page's `after`.
    pub(super) fn read(query: &str) -> Result<(Self, Option<i64>), Refused> {
        let (mut selection, mut after) = (Self::default(), None);
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match &*key {
                "mailbox" => selection.mailbox = Some(value),
                "app" => selection.app = Some(value),
                "state" => selection.states.push(value),
                "accepted_before" => selection.accepted_before = Some(value),
                "recipient" => selection.recipient = Some(value),
                "address" => selection.address = Some(value),
                "after" => {
                    let number = value.parse().map_err(|_| {
                        Refused::Nonsense(format!("after={value:?} is no number; it is the `next` of the page before"))
                    });
                    after = Some(number?);
                }
                _ => {
                    let known = "mailbox, app, state, accepted_before, recipient, address, after";
                    return Err(Refused::Nonsense(format!("{key:?} is no key of this query; there are: {known}")));
                }
            }
        }
        Ok((selection, after))
    }

    /// The states that were asked for.
    pub(super) fn states(&self) -> Result<Vec<State>, Refused> {
        let state = |word: &String| {
            let text = || format!("no message is {word:?}; there are: waiting, held, failed, delivered");
            State::named(word).ok_or_else(|| Refused::Nonsense(text()))
        };
        self.states.iter().map(state).collect()
    }

    /// The store's filter, without states. Names must be configured, or have mail.
    pub(super) async fn filter(&self, relay: &Relay) -> Result<Filter, Refused> {
        let mailbox = match &self.mailbox {
            Some(name) => Some(known("mailbox", name, relay.known_mailboxes().await?)?),
            None => None,
        };
        let app = match &self.app {
            Some(name) => Some(known("app", name, relay.known_apps().await?)?),
            None => None,
        };
        let time = |text: &String| {
            let fault = || Refused::Nonsense(format!("{text:?} is no time such as 2026-11-24T09:00:00Z"));
            parse_time(text).ok_or_else(fault)
        };
        Ok(Filter {
            mailbox,
            app,
            accepted_before: self.accepted_before.as_ref().map(time).transpose()?,
            address: self.address.clone(),
            recipient: self.recipient.clone(),
            ..Filter::default()
        })
    }
}

fn known(what: &str, name: &str, all: Vec<Name>) -> Result<Name, Refused> {
    let found = all.iter().find(|known| known.as_str() == name).cloned();
    found.ok_or_else(|| Refused::no_such(what, name, &all))
}

/// The message id that `text` is.
pub(super) fn id(text: &str) -> Result<Id, Refused> {
    text.parse().map_err(|_| {
        let like = "26 characters of a-z and 2-7, as in the reply `250 2.0.0 OK queued as …` and in the log";
        Refused::Nonsense(format!("{text:?} is no message id: that has {like}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_read_as_it_is_written() {
        let selection = Selection {
            mailbox: Some("alerts".into()),
            states: vec!["waiting".into(), "held".into()],
            recipient: Some("a+b&c@example.org".into()),
            ..Selection::default()
        };
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(selection.pairs()).append_pair("after", "7");
        assert_eq!(Selection::read(&query.finish()).unwrap(), (selection, Some(7)));
    }

    #[test]
    fn a_slip_does_not_widen_the_selection() {
        assert!(Selection::read("mailbx=alerts").is_err() && Selection::read("after=x").is_err());
        assert!(serde_json::from_str::<Selection>(r#"{"mailbx": "alerts"}"#).is_err());
        let states = Selection { states: vec!["waitng".into()], ..Selection::default() }.states();
        assert!(states.unwrap_err().to_string().contains("waiting, held, failed, delivered"));
    }
}
