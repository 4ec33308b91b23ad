//! The end of a grant: the provider is told first, then it is forgotten here. What is forgotten first could never be revoked.

use serde::{Deserialize, Serialize};

use super::{
    Tokens,
    exchange::exchange,
    proof::{self, Shown},
    source::Context,
    unavailable::Error,
    was_given_to,
};
use crate::{
    mail::Name,
    oauth::{Revocation, Revoked},
    provider::Provider,
    secret::Secret,
    store::Grant,
};

/// How a grant ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Whether the provider knows of it; else it has to be told by somebody.
    pub told: bool,
    /// What happened, for a person.
    pub said: String,
}

impl Tokens {
    /// Revokes the grant of `mailbox` at the provider, where that has a place for it, and forgets it. Its mail waits for a new
    /// consent. After an error the grant is still there.
    pub async fn revoke(&self, mailbox: &Name) -> Result<Ended, Error> {
        let source = self.with_consent(mailbox)?;
        let grant = self.world.store.grant(mailbox).await?.ok_or_else(|| Error::NoGrant { mailbox: mailbox.clone() })?;
        let context = source.context();
        let ended = match was_given_to(&grant, &context.link) {
            true => self.tell(&context, &grant.refresh_token).await,
            // Another server must not see it.
            false => Ok(Ended { told: false, said: of_another(&grant) }),
        };
        let ended = ended.map_err(|reason| Error::NotRevoked { mailbox: mailbox.clone(), reason })?;
        if !self.world.store.drop_grant(mailbox, grant.version.consent).await? {
            let reason = "another grant came in its place meanwhile".to_owned();
            return Err(Error::NotRevoked { mailbox: mailbox.clone(), reason });
        }
        source.new_grant(None, self.world.now());
        self.world.tell();
        tracing::warn!(event = "grant.revoked", mailbox = %mailbox, link = %source.link(), told = ended.told, "{}", ended.said);
        Ok(ended)
    }

    /// Tells the provider, where it has a place for that; `Err` says why it does not know.
    async fn tell(&self, context: &Context, refresh_token: &Secret) -> Result<Ended, String> {
        let Context { link, http, .. } = context;
        let Some(endpoint) = &link.revocation_endpoint else { return Ok(Ended { told: false, said: by_hand(context) }) };
        let evidence = proof::read(link, &self.world).await.map_err(|trouble| trouble.reason)?;
        let now = self.world.now();
        let shown = Shown::of(&evidence, link, now).map_err(|trouble| trouble.reason)?;
        let revocation =
            Revocation { endpoint, client_id: &link.client_id, authentication: shown.authentication(), refresh_token };
        let at = format!("revocation endpoint {}", endpoint.origin().ascii_serialization());
        let answer = exchange(http.clone(), revocation.request()).await.map_err(|error| format!("{at} {error}"))?;
        match revocation.read(&answer, now) {
            Revoked::Done => Ok(Ended { told: true, said: "the provider has revoked it".into() }),
            Revoked::Unknown => Ok(Ended { told: true, said: "the provider did not know it any more".into() }),
            Revoked::Refused(mut fault) => {
                let secrets: Vec<&Secret> = shown.secret().into_iter().chain([refresh_token]).collect();
                fault.scrub(&secrets);
                Err(format!("{at} answered {fault}"))
            }
        }
    }
}

fn of_another(grant: &Grant) -> String {
    let client = grant.client.as_deref().unwrap_or_default();
    format!(
        "it was given to client {client}, which is not the link's: end it in that provider's console, where a copy of it would still count"
    )
}

/// What a person does where no endpoint takes a token back.
fn by_hand(Context { link, account, .. }: &Context) -> String {
    match link.provider {
        Provider::Microsoft => format!(
            "Microsoft takes no token back: until an administrator ends the sessions of {account} (Entra admin centre, Users, the \
             user, Revoke sessions) a copy of it would still count"
        ),
        Provider::Google | Provider::Custom => format!(
            "link {} has no revocation-endpoint: end it in the provider's console, where a copy of it would still count",
            link.name
        ),
    }
}
