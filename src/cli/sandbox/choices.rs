//! What the options of `outlink sandbox` can say.

use crate::{config, provider, sandbox};
use clap::ValueEnum;

/// Whom to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Personality {
    Google,
    Microsoft,
    Custom,
}

impl From<Personality> for provider::Provider {
    fn from(personality: Personality) -> Self {
        match personality {
            Personality::Google => Self::Google,
            Personality::Microsoft => Self::Microsoft,
            Personality::Custom => Self::Custom,
        }
    }
}

/// The grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Grant {
    AuthorizationCode,
    ClientCredentials,
    DeviceCode,
    ServiceAccount,
}

impl From<Grant> for provider::Grant {
    fn from(grant: Grant) -> Self {
        match grant {
            Grant::AuthorizationCode => Self::AuthorizationCode,
            Grant::ClientCredentials => Self::ClientCredentials,
            Grant::DeviceCode => Self::DeviceCode,
            Grant::ServiceAccount => Self::ServiceAccount,
        }
    }
}

/// The proofs of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Proof {
    Secret,
    Certificate,
    FederatedToken,
    None,
}

impl From<Proof> for sandbox::Proof {
    fn from(proof: Proof) -> Self {
        match proof {
            Proof::Secret => Self::Secret,
            Proof::Certificate => Self::Certificate,
            Proof::FederatedToken => Self::FederatedToken,
            Proof::None => Self::None,
        }
    }
}

/// The contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Delivery {
    Queue,
    Direct,
    DirectThenQueue,
}

impl From<Delivery> for config::Delivery {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Queue => Self::Queue,
            Delivery::Direct => Self::Direct,
            Delivery::DirectThenQueue => Self::DirectThenQueue,
        }
    }
}
