//! Which mailboxes mail of an author goes through now, as `outlink route` tells it.

use super::{Refused, Standing};
use crate::{
    mail::{Address, Name},
    relay::Relay,
};
use serde::{Deserialize, Serialize};

/// Mailboxes of one question: all apps of a large configuration name fewer.
const MOST: usize = 10_000;

/// Of which mailboxes, and whose mail.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Whose {
    /// The address in From.
    pub author: String,
    /// The mailboxes by name.
    pub mailboxes: Vec<String>,
}

/// A mailbox and this author's mail.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Way {
    /// The mailbox.
    pub mailbox: String,
    /// Whether mail goes another way, where there is one.
    pub held: bool,
    /// Why the provider does not let it send as this author, where that is so.
    pub denied: Option<String>,
    /// How it stands.
    #[serde(flatten)]
    pub standing: Standing,
}

/// Those that are known.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ways {
    /// In the order of the question.
    pub ways: Vec<Way>,
}

/// How they stand for this author.
pub fn ways(relay: &Relay, whose: &Whose) -> Result<Ways, Refused> {
    let author = Address::parse(&whose.author)
        .map_err(|error| Refused::Nonsense(format!("`{}` is no address: {error}", whose.author.escape_debug())))?;
    let names: Vec<Name> = whose.mailboxes.iter().take(MOST).filter_map(|name| Name::parse_mailbox(name).ok()).collect();
    let ways = relay.ways_of(&names, &author).into_iter().map(|(mailbox, standing, held, denied)| Way {
        mailbox: mailbox.to_string(),
        held,
        denied,
        standing: (&standing).into(),
    });
    Ok(Ways { ways: ways.collect() })
}
