//! Logins of people, as commands and programs ask for them: begin, answer, look, give up.

use super::Refused;
use crate::relay::{
    Relay,
    authorize::{Begun, LONGEST_POLL, Progress, Wish},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The answer of a login.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The address to which the browser was sent back, or its query.
    pub url: String,
}

/// Begins a login.
pub async fn begin(relay: &Arc<Relay>, wish: Wish) -> Result<Begun, Refused> {
    Ok(relay.begin_authorization(wish).await?)
}

/// Hands in the answer of the login `id`.
pub fn answer(relay: &Arc<Relay>, id: &str, answer: &Answer) -> Result<(), Refused> {
    Ok(relay.answer_authorization(id, &answer.url)?)
}

/// How the login `id` stands; waits a while for its end.
pub async fn progress(relay: &Relay, id: &str) -> Result<Progress, Refused> {
    relay.authorization(id, LONGEST_POLL).await.ok_or_else(unknown)
}

/// Gives the login `id` up, unless its answer came.
pub fn cancel(relay: &Relay, id: &str) -> Result<(), Refused> {
    if relay.cancel_authorization(id) { Ok(()) } else { Err(unknown()) }
}

fn unknown() -> Refused {
    Refused::Unknown("there is no such login: it ended long ago, or outlink was restarted; start it again".to_owned())
}
