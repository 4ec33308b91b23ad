//! Authorization codes (RFC 6749 §4.1): used once, within ten minutes, where they were sent, by who began (RFC 7636).
//!
//! A code used twice ends what came of its first use (§4.1.2): one of the two users was a thief.

use super::super::{
    bounded::Bounded,
    random_text,
    token::{Consent, Tokens},
};
use super::refusal::BadCode;
use crate::provider::Provider;
use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// Life of a code: Google's and Microsoft's, and the most that RFC 6749 §4.1.2 recommends.
const LIFE: Duration = Duration::from_secs(600);

/// Most codes remembered.
const MOST: usize = 1000;

/// How the challenge of RFC 7636 is made of its verifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Plain(String),
    S256(String),
}

impl Challenge {
    fn fits(&self, verifier: &str) -> bool {
        match self {
            Self::Plain(text) => text == verifier,
            Self::S256(text) => *text == URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes())),
        }
    }
}

/// What was agreed to.
#[derive(Debug, Clone)]
pub(super) struct Agreed {
    pub(super) account: String,
    pub(super) scope: String,
    pub(super) nonce: Option<String>,
    /// Whether a refresh token comes with it.
    pub(super) lasting: bool,
}

struct Code {
    agreed: Agreed,
    redirect: String,
    challenge: Option<Challenge>,
    given: SystemTime,
    /// The consent that it was changed for.
    used: Option<u64>,
}

/// All codes of one sandbox. There is one client, so that every code is its own.
pub(in crate::sandbox) struct Codes {
    codes: Mutex<Bounded<Code>>,
    /// Who has agreed before.
    agreed: Mutex<Bounded<()>>,
}

impl Default for Codes {
    fn default() -> Self {
        Self { codes: Mutex::new(Bounded::new(MOST)), agreed: Mutex::new(Bounded::new(MOST)) }
    }
}

impl Codes {
    /// Notes that somebody agrees; whether it is for the first time.
    pub(super) fn agree(&self, account: &str) -> bool {
        let mut agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner);
        let first = agreed.get(&account.to_ascii_lowercase()).is_none();
        agreed.insert(account.to_ascii_lowercase(), ());
        first
    }

    /// Forgets that somebody agreed.
    pub(super) fn forget(&self, account: &str) {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner).remove(&account.to_ascii_lowercase());
    }

    /// A new code, shaped as the provider's are.
    pub(super) fn give(
        &self,
        provider: Provider,
        agreed: Agreed,
        (redirect, challenge): (String, Option<Challenge>),
        now: SystemTime,
    ) -> String {
        let text = match provider {
            Provider::Google => format!("4/0A{}", random_text(51)),
            Provider::Microsoft => format!("1.A{}", random_text(500)),
            Provider::Custom => random_text(32),
        };
        let code = Code { agreed, redirect, challenge, given: now, used: None };
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).insert(text.clone(), code);
        text
    }

    /// Who agreed when a code was given.
    pub(super) fn account(&self, code: &str) -> Option<String> {
        Some(self.codes.lock().unwrap_or_else(PoisonError::into_inner).get(code)?.agreed.account.clone())
    }

    /// Changes a code for a consent.
    pub(super) fn redeem(
        &self,
        tokens: &Tokens,
        (code, redirect, verifier): (&str, &str, Option<&str>),
        now: SystemTime,
    ) -> Result<(Consent, Agreed), BadCode> {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let code = codes.get_mut(code).ok_or(BadCode::Unknown)?;
        if let Some(consent) = code.used {
            tokens.end(consent);
            return Err(BadCode::Used);
        }
        if now.duration_since(code.given).is_ok_and(|age| age >= LIFE) {
            return Err(BadCode::Expired);
        }
        if code.redirect != redirect {
            return Err(BadCode::Redirect { given: redirect.to_owned(), wanted: code.redirect.clone() });
        }
        // A verifier without a challenge is an attack that took the challenge out (RFC 9700 §4.8.2).
        let proven = match (&code.challenge, verifier) {
            (Some(challenge), Some(verifier)) => challenge.fits(verifier),
            (challenge, verifier) => challenge.is_none() && verifier.is_none(),
        };
        if !proven {
            return Err(BadCode::Verifier);
        }
        let consent = tokens.begin(&code.agreed.account, Some(&code.agreed.scope));
        code.used = Some(consent.number);
        Ok((consent, code.agreed.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_fits_its_verifier_and_no_other() {
        // RFC 7636, appendix B.
        let challenge = Challenge::S256("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".into());
        assert!(challenge.fits("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        assert!(!challenge.fits("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"));
        assert!(Challenge::Plain("a".into()).fits("a") && !Challenge::Plain("a".into()).fits("b"));
    }
}
