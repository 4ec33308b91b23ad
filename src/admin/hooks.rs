//! Hooks over the control socket: one is tried.

use super::Refused;
use crate::{
    mail::Name,
    notify::{self, Trial},
    relay::Relay,
};
use std::sync::Arc;

/// Runs a hook once with an example, and tells how that went.
pub async fn test_hook(relay: &Arc<Relay>, hook: &str) -> Result<Trial, Refused> {
    let found = match Name::parse(hook) {
        Ok(name) => notify::test(relay, &name).await,
        Err(_) => None,
    };
    found.ok_or_else(|| {
        let known: Vec<String> = relay.configured().hooks.keys().map(ToString::to_string).collect();
        let hint = match known.is_empty() {
            true => "none is configured; add a table [notify.NAME] and run `outlink reload`".to_owned(),
            false => format!("configured are {}", known.join(", ")),
        };
        Refused::Unknown(format!("there is no hook {hook:?}: {hint}"))
    })
}
