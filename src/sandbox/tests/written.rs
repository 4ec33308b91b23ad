//! The written configuration: each grant and each proof is one that the program's own configuration takes.

use super::*;
use crate::{
    config,
    provider::Grant::{self, AuthorizationCode, ClientCredentials, DeviceCode, ServiceAccount},
};

async fn with(who: provider::Provider, grant: Grant, proof: Option<Proof>) -> Result<Provider, Error> {
    Provider::start(Options { grant: Some(grant), proof, ..options(who) }).await
}

#[tokio::test]
async fn the_written_link_lives_by_the_grant_and_the_proof_that_were_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    for (who, grant, proof) in [
        (GOOGLE, AuthorizationCode, None),
        (GOOGLE, ServiceAccount, None),
        (MICROSOFT, AuthorizationCode, None),
        (MICROSOFT, AuthorizationCode, Some(Proof::None)),
        (MICROSOFT, AuthorizationCode, Some(Proof::Certificate)),
        (MICROSOFT, ClientCredentials, None),
        (MICROSOFT, ClientCredentials, Some(Proof::Certificate)),
        (MICROSOFT, ClientCredentials, Some(Proof::FederatedToken)),
        (MICROSOFT, DeviceCode, None),
        (CUSTOM, AuthorizationCode, None),
        (CUSTOM, AuthorizationCode, Some(Proof::None)),
        (CUSTOM, ClientCredentials, Some(Proof::Secret)),
        (CUSTOM, ClientCredentials, Some(Proof::Certificate)),
        (CUSTOM, DeviceCode, None),
    ] {
        let provider = with(who, grant, proof).await.unwrap();
        let file = provider.write_config(directory.path(), 0).unwrap();
        let (settings, notes) = config::load(&file).unwrap_or_else(|faults| panic!("{who} {grant} {proof:?}: {faults:?}"));
        let link = settings.links.values().next().unwrap();
        // Microsoft's devices are warned of whoever plays Microsoft.
        assert_eq!(notes.is_empty(), (who, grant) != (MICROSOFT, DeviceCode), "{who} {grant} {proof:?}: {notes:?}");
        assert_eq!(link.grant, grant);
        let written = match &link.proof {
            config::Proof::None => Proof::None,
            config::Proof::Secret { .. } => Proof::Secret,
            config::Proof::Certificate(_) => Proof::Certificate,
            config::Proof::FederatedToken(_) => Proof::FederatedToken,
            config::Proof::PrivateKey(_) => panic!("{who} {grant} {proof:?}"),
        };
        let usual = match (who, grant) {
            (_, ServiceAccount) | (MICROSOFT, DeviceCode) => Proof::None,
            _ => Proof::Secret,
        };
        assert_eq!(written, proof.unwrap_or(usual), "{who} {grant}");
        assert_eq!(link.service_account.is_some(), grant == ServiceAccount);
        let consent = matches!(grant, AuthorizationCode | DeviceCode);
        let here = |url: &url::Url| url.port() == Some(provider.http().port());
        assert_eq!(link.revocation_endpoint.as_ref().is_some_and(here), consent && who != MICROSOFT);
        assert_eq!(link.issuer.is_some(), consent && who == CUSTOM);
        let token = std::fs::read_to_string(directory.path().join("grant")).ok();
        assert_eq!((token.is_some(), provider.needs_consent()), (consent, consent), "{who} {grant}: an earlier file is gone");
    }
}

#[tokio::test]
async fn a_consent_can_be_left_to_a_person() {
    let directory = tempfile::tempdir().unwrap();
    let provider = Provider::start(Options { granted: false, ..options(GOOGLE) }).await.unwrap();
    provider.write_config(directory.path(), 0).unwrap();
    assert!(provider.needs_consent() && !provider.is_granted() && !directory.path().join("grant").exists());
}

#[tokio::test]
async fn what_a_provider_does_not_have_is_refused_in_a_sentence() {
    for (who, grant) in [(GOOGLE, ClientCredentials), (GOOGLE, DeviceCode), (CUSTOM, ServiceAccount), (MICROSOFT, ServiceAccount)]
    {
        let why = with(who, grant, None).await.err().unwrap();
        assert_eq!(why.to_string(), format!("the simulated {who} has no grant {grant}"));
    }
    for (who, grant, proof) in [
        (GOOGLE, AuthorizationCode, Proof::None),
        (GOOGLE, AuthorizationCode, Proof::Certificate),
        (MICROSOFT, ClientCredentials, Proof::None),
        (CUSTOM, ClientCredentials, Proof::FederatedToken),
    ] {
        let why = with(who, grant, Some(proof)).await.err().unwrap();
        assert_eq!(why.to_string(), format!("the simulated {who} takes no proof {proof} with the grant {grant}"));
    }
}
