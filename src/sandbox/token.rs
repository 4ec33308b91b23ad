//! The OAuth 2.0 server's state: which tokens it gave out, to whom, and whether they still count.
//!
//! Microsoft replaces a refresh token at each use and leaves the old one valid; Google does not replace it; Custom replaces it
//! and ends the old one at once, as RFC 9700 §2.2.2 asks for public clients: the hardest case for a client. The old one used
//! again ends the grant (§4.14.2), because of thief and owner one holds it, and nobody can say which. The fault
//! `one-time-refresh-tokens` makes the others as strict.

use super::{
    bounded::Bounded,
    clock::{Clock, unix_seconds},
    faults::{Fault, Faults},
    random_text,
};
use crate::{provider::Provider, secret::Secret};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// Life of an access token.
pub(super) const LIFE: Duration = Duration::from_secs(3599);

/// Most tokens of each kind remembered: the oldest are forgotten, so that a looping client cannot fill the memory.
const MOST: usize = 10_000;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An access token that counts, as the SMTP server needs it.
pub(super) struct Known {
    /// The 1st, 2nd … that was given out.
    pub(super) number: u64,
}

/// Why a token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Never given out, or forgotten.
    Unknown,
    /// Its life is over, its consent has ended, or a fault says so.
    Expired,
    /// It belongs to another mailbox.
    OtherUser,
    /// It is for something other than SMTP.
    OtherScope,
}

/// What a refresh token answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dead {
    /// Never given out.
    Unknown,
    /// The life that was chosen for all of them is over.
    Over,
    /// Not used for 90 days (Microsoft) or six months (Google).
    Inactive,
    /// It was used and replaced before; using it again ended its grant.
    Reused,
    /// Another token of its grant was used twice.
    Revoked,
}

/// What a person, or an administrator, agreed to; every token of it ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Consent {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Who agreed.
    pub(super) mailbox: String,
    /// To what; `None` is whatever is asked for.
    pub(super) scope: Option<String>,
    /// When.
    given: SystemTime,
}

struct Access {
    number: u64,
    issued: SystemTime,
    /// `None`: the application's own, good for any mailbox.
    mailbox: Option<String>,
    for_smtp: bool,
    /// The consent that it descends from.
    consent: Option<u64>,
    revoked: bool,
}

struct Refresh {
    consent: Consent,
    used: SystemTime,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Good,
    /// Used, and good for nothing but telling a second use.
    Replaced,
    /// Ended with its consent.
    Revoked,
}

struct State {
    access: Bounded<Access>,
    refresh: Bounded<Refresh>,
    /// Whose mailboxes a person may use besides the own one: `person mailbox`, in small letters.
    delegates: Bounded<()>,
    consents: u64,
    given: u64,
    reuses: u64,
}

impl Default for State {
    fn default() -> Self {
        let (access, refresh, delegates) = (Bounded::new(MOST), Bounded::new(MOST), Bounded::new(MOST));
        Self { access, refresh, delegates, consents: 0, given: 0, reuses: 0 }
    }
}

impl State {
    /// Ends the refresh tokens that still count. Replaced tokens stay what they are, so that each further use is counted.
    fn revoke_refresh(&mut self, ends: impl Fn(&Consent) -> bool) {
        let family = self.refresh.values_mut().filter(|refresh| ends(&refresh.consent));
        family.filter(|refresh| refresh.standing == Standing::Good).for_each(|refresh| refresh.standing = Standing::Revoked);
    }

    fn revoke_access(&mut self, ends: impl Fn(&Access) -> bool) {
        self.access.values_mut().filter(|access| ends(access)).for_each(|access| access.revoked = true);
    }
}

/// All tokens of one sandbox.
pub(super) struct Tokens {
    provider: Provider,
    clock: Arc<Clock>,
    faults: Arc<Faults>,
    /// What Microsoft's access tokens say instead; null takes a claim out.
    claims: serde_json::Map<String, serde_json::Value>,
    /// The life of refresh tokens, where one was chosen.
    life: Option<Duration>,
    state: Mutex<State>,
}

impl Tokens {
    /// With a `life`, Custom's refresh tokens live so long after each use; those of the others so long after the consent, as
    /// Google's do while the consent screen is in Testing, and Microsoft's of a single-page application.
    pub(super) fn new(provider: Provider, (clock, faults): (Arc<Clock>, Arc<Faults>), life: Option<Duration>) -> Self {
        Self { provider, clock, faults, life, claims: serde_json::Map::new(), state: Mutex::default() }
    }

    /// The same with these claims in Microsoft's access tokens.
    pub(super) fn saying(self, claims: serde_json::Map<String, serde_json::Value>) -> Self {
        Self { claims, ..self }
    }

    /// How long a refresh token of `consent` that is given or used now lives, where that is told.
    pub(super) fn left(&self, consent: &Consent) -> Option<Duration> {
        let life = self.life?;
        let begun = if self.provider == Provider::Custom { self.clock.now() } else { consent.given };
        begun.checked_add(life)?.duration_since(self.clock.now()).ok().or(Some(Duration::ZERO))
    }

    /// A new access token for `mailbox`, or for any where there is none.
    pub(super) fn issue(&self, mailbox: Option<&str>, client: &str, scope: &str) -> Secret {
        self.issue_of(None, mailbox, client, scope)
    }

    /// A new access token under a consent.
    pub(super) fn issue_under(&self, consent: &Consent, client: &str, scope: &str) -> Secret {
        self.issue_of(Some(consent.number), Some(&consent.mailbox), client, scope)
    }

    fn issue_of(&self, consent: Option<u64>, mailbox: Option<&str>, client: &str, scope: &str) -> Secret {
        let issued = self.clock.now();
        let text = match self.provider {
            // As long as an ordinary one of Google's, so that the inline form of AUTH just fits.
            Provider::Google => format!("ya29.{}", random_text(160)),
            Provider::Microsoft => self.json_web_token(mailbox, client, scope, issued),
            Provider::Custom => random_text(64),
        };
        let mut state = self.lock();
        state.given += 1;
        let access = Access {
            number: state.given,
            issued,
            mailbox: mailbox.map(String::from),
            // Exchange refuses what is for somebody else, and a person's token without its permission.
            for_smtp: self.is_for_smtp(scope) && !["aud", "scp"].iter().any(|claim| self.claims.contains_key(*claim)),
            consent,
            revoked: false,
        };
        state.access.insert(text.clone(), access);
        Secret::new(text)
    }

    /// Microsoft's is a signed JWT; nobody checks this one's signature, which is random, but its claims can be read.
    fn json_web_token(&self, mailbox: Option<&str>, client: &str, scope: &str, issued: SystemTime) -> String {
        let issued = unix_seconds(issued);
        let mut claims = serde_json::json!({
            "aud": scope.split_whitespace().find_map(|s| s.rsplit_once('/')).map_or(scope, |(resource, _)| resource),
            "iss": "https://sts.windows.net/sandbox/", "iat": issued, "nbf": issued, "exp": issued + LIFE.as_secs(),
            "appid": client, "tid": super::TENANT, "uti": random_text(16), "ver": "1.0",
            // Real ones carry several hundred octets of this.
            "xms_pad": random_text(300),
        });
        match mailbox {
            Some(mailbox) => {
                claims["upn"] = mailbox.into();
                claims["unique_name"] = mailbox.into();
                claims["scp"] = "SMTP.Send".into();
            }
            None => {
                claims["roles"] = serde_json::json!(["SMTP.SendAsApp"]);
                claims["oid"] = super::OBJECT_ID.into();
            }
        }
        for (claim, value) in &self.claims {
            claims[claim] = value.clone();
        }
        if let Some(claims) = claims.as_object_mut() {
            claims.retain(|_, value| !value.is_null());
        }
        let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = serde_json::json!({ "typ": "JWT", "alg": "RS256", "kid": "sandbox" });
        format!("{}.{}.{}", encode(&header), encode(&claims), random_text(256))
    }

    /// Whether the SMTP server will take a token of these scopes.
    fn is_for_smtp(&self, scope: &str) -> bool {
        let mut words = scope.split_whitespace();
        match self.provider {
            Provider::Google => words.any(|word| word == super::GOOGLE_SCOPE),
            // `outlook.office.com/.default` gives a token that Exchange refuses; the delegated scope works with both names.
            Provider::Microsoft => words.any(|word| {
                let word = word.to_ascii_lowercase();
                word == "https://outlook.office365.com/.default"
                    || word.ends_with("/smtp.send") && word.contains("outlook.office")
            }),
            Provider::Custom => true,
        }
    }

    /// A new refresh token for `mailbox`, as if a person had consented to everything.
    pub(super) fn consent(&self, mailbox: &str) -> Secret {
        let consent = self.begin(mailbox, None);
        self.refresh_token(&consent)
    }

    /// A person's new consent, that has no tokens yet.
    pub(super) fn begin(&self, mailbox: &str, scope: Option<&str>) -> Consent {
        let given = self.clock.now();
        let mut state = self.lock();
        state.consents += 1;
        Consent { number: state.consents, mailbox: mailbox.into(), scope: scope.map(String::from), given }
    }

    /// Its refresh token.
    pub(super) fn refresh_token(&self, consent: &Consent) -> Secret {
        self.add_refresh_token(&mut self.lock(), consent)
    }

    fn add_refresh_token(&self, state: &mut State, consent: &Consent) -> Secret {
        let text = match self.provider {
            Provider::Google => format!("1//0{}", random_text(72)),
            Provider::Microsoft => format!("1.A{}", random_text(700)),
            Provider::Custom => random_text(48),
        };
        let refresh = Refresh { consent: consent.clone(), used: self.clock.now(), standing: Standing::Good };
        state.refresh.insert(text.clone(), refresh);
        Secret::new(text)
    }

    /// Ends a consent with every token of it.
    pub(super) fn end(&self, consent: u64) {
        let mut state = self.lock();
        state.revoke_refresh(|of| of.number == consent);
        state.revoke_access(|access| access.consent == Some(consent));
    }

    /// Ends every consent of a mailbox.
    pub(super) fn end_all(&self, mailbox: &str) {
        let mut state = self.lock();
        state.revoke_refresh(|of| of.mailbox.eq_ignore_ascii_case(mailbox));
        let its = |access: &Access| access.mailbox.as_ref().is_some_and(|of| of.eq_ignore_ascii_case(mailbox));
        state.revoke_access(|access| access.consent.is_some() && its(access));
    }

    /// The consent that a token of either kind descends from, while the token counts, with its mailbox.
    pub(super) fn origin(&self, token: &str) -> Option<(u64, String)> {
        let state = self.lock();
        let refresh = state.refresh.get(token).filter(|refresh| refresh.standing == Standing::Good);
        if let Some(refresh) = refresh {
            return Some((refresh.consent.number, refresh.consent.mailbox.clone()));
        }
        let now = self.clock.now();
        let access = state.access.get(token).filter(|access| !access.revoked && now < access.issued + LIFE)?;
        Some((access.consent?, access.mailbox.clone()?))
    }

    /// Whose a refresh token is, or was.
    pub(super) fn mailbox(&self, token: &str) -> Option<String> {
        Some(self.lock().refresh.get(token)?.consent.mailbox.clone())
    }

    /// What a refresh token was agreed for, where that was said.
    pub(super) fn agreed(&self, token: &str) -> Option<String> {
        self.lock().refresh.get(token)?.consent.scope.clone()
    }

    /// Lets a person's tokens work for another mailbox too, as Exchange's FullAccess does.
    pub(super) fn delegate(&self, person: &str, mailbox: &str) {
        self.lock().delegates.insert(format!("{person} {mailbox}").to_ascii_lowercase(), ());
    }

    /// Uses a refresh token: whose it is, and the one that takes its place where the provider gives one.
    pub(super) fn refresh(&self, token: &str) -> Result<(Consent, Option<Secret>), Dead> {
        let now = self.clock.now();
        let longest = match self.provider {
            Provider::Google => DAY * 182,
            Provider::Microsoft => DAY * 90,
            Provider::Custom => Duration::MAX,
        };
        let mut state = self.lock();
        let refresh = state.refresh.get_mut(token).ok_or(Dead::Unknown)?;
        let consent = refresh.consent.clone();
        match refresh.standing {
            Standing::Good => {}
            Standing::Replaced => {
                state.reuses += 1;
                state.revoke_refresh(|of| of.number == consent.number);
                return Err(Dead::Reused);
            }
            Standing::Revoked => return Err(Dead::Revoked),
        }
        let begun = if self.provider == Provider::Custom { refresh.used } else { consent.given };
        if self.life.and_then(|life| begun.checked_add(life)).is_some_and(|end| now >= end) {
            return Err(Dead::Over);
        }
        if now.duration_since(refresh.used).is_ok_and(|idle| idle > longest) {
            return Err(Dead::Inactive);
        }
        refresh.used = now;
        let one_time = self.provider == Provider::Custom
            || self.faults.strikes(Fault::OneTimeRefreshTokens, Some(consent.mailbox.as_str()), &self.clock);
        if one_time {
            refresh.standing = Standing::Replaced;
        }
        let replaces = one_time || self.provider == Provider::Microsoft;
        let next = replaces.then(|| self.add_refresh_token(&mut state, &consent));
        Ok((consent, next))
    }

    /// Whether `token` lets `user` send now.
    pub(super) fn check(&self, token: &str, user: &str) -> Result<Known, Refused> {
        let now = self.clock.now();
        let state = self.lock();
        let access = state.access.get(token).ok_or(Refused::Unknown)?;
        if !access.for_smtp {
            return Err(Refused::OtherScope);
        }
        let stranger = |mailbox: &String| {
            let key = || format!("{mailbox} {user}").to_ascii_lowercase();
            !mailbox.eq_ignore_ascii_case(user) && state.delegates.get(&key()).is_none()
        };
        if access.mailbox.as_ref().is_some_and(stranger) {
            return Err(Refused::OtherUser);
        }
        if access.revoked {
            return Err(Refused::Expired);
        }
        let old = now >= access.issued + LIFE;
        if old || self.faults.strikes_older(Fault::ExpiredToken, Some(user), &self.clock, access.issued) {
            return Err(Refused::Expired);
        }
        Ok(Known { number: access.number })
    }

    /// How many access tokens were given out.
    pub(super) fn given(&self) -> u64 {
        self.lock().given
    }

    /// How often a replaced refresh token was used again.
    pub(super) fn reuses(&self) -> u64 {
        self.lock().reuses
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::faults::Setting, *};

    fn tokens(provider: Provider) -> Tokens {
        living(provider, None)
    }

    fn living(provider: Provider, life: Option<Duration>) -> Tokens {
        Tokens::new(provider, (Arc::default(), Arc::new(Faults::new(Duration::ZERO))), life)
    }

    #[test]
    fn a_chosen_life_counts_from_each_use_at_custom_and_from_the_consent_elsewhere() {
        for (provider, slides) in [(Provider::Google, false), (Provider::Microsoft, false), (Provider::Custom, true)] {
            let tokens = living(provider, Some(DAY * 7));
            let consent = tokens.begin("a@example.com", None);
            let mut token = tokens.refresh_token(&consent);
            let left = |days| tokens.left(&consent).is_some_and(|left| left.as_secs_f64().round() == (DAY * days).as_secs_f64());
            assert!(left(7), "{provider}");
            for day in 1..7 {
                tokens.clock.advance(24 * 3_600_000);
                token = tokens.refresh(token.expose()).unwrap().1.unwrap_or(token);
                assert!(left(if slides { 7 } else { 7 - day }), "{provider}");
            }
            tokens.clock.advance(24 * 3_600_000);
            match tokens.refresh(token.expose()) {
                Ok((_, next)) => token = next.filter(|_| slides).expect("only Custom's lives"),
                Err(dead) => assert!(dead == Dead::Over && !slides, "{provider}"),
            }
            tokens.clock.advance(7 * 24 * 3_600_000);
            assert_eq!(tokens.refresh(token.expose()).err(), Some(Dead::Over), "{provider}");
        }
    }

    #[test]
    fn a_token_counts_for_its_user_until_its_life_is_over() {
        let tokens = tokens(Provider::Google);
        let token = tokens.issue(Some("a@example.com"), "c", "https://mail.google.com/");
        assert_eq!(tokens.check(token.expose(), "A@example.com").map(|known| known.number), Ok(1));
        assert_eq!(tokens.check(token.expose(), "b@example.com").err(), Some(Refused::OtherUser));
        assert_eq!(tokens.check("ya29.other", "a@example.com").err(), Some(Refused::Unknown));
        tokens.clock.advance(3_599_000);
        assert_eq!(tokens.check(token.expose(), "a@example.com").err(), Some(Refused::Expired));
    }

    #[test]
    fn each_provider_rotates_in_its_own_way() {
        for (provider, rotates, old_stays) in
            [(Provider::Google, false, true), (Provider::Microsoft, true, true), (Provider::Custom, true, false)]
        {
            let tokens = tokens(provider);
            let first = tokens.consent("a@example.com");
            let (consent, next) = tokens.refresh(first.expose()).unwrap();
            assert_eq!((consent.mailbox.as_str(), next.is_some()), ("a@example.com", rotates), "{provider}");
            if let Some(next) = next {
                assert!(tokens.refresh(next.expose()).is_ok());
            }
            assert_eq!(tokens.refresh(first.expose()).is_ok(), old_stays, "{provider}");
        }
    }

    #[test]
    fn a_refresh_token_used_twice_ends_its_grant_and_no_other() {
        let tokens = tokens(Provider::Custom);
        let (first, other) = (tokens.consent("a@example.com"), tokens.consent("a@example.com"));
        let second = tokens.refresh(first.expose()).unwrap().1.unwrap();
        let third = tokens.refresh(second.expose()).unwrap().1.unwrap();
        assert_eq!(tokens.refresh(first.expose()).err(), Some(Dead::Reused));
        assert_eq!(tokens.refresh(third.expose()).err(), Some(Dead::Revoked), "the newest has ended too");
        assert_eq!(tokens.refresh(second.expose()).err(), Some(Dead::Reused));
        assert_eq!(tokens.reuses(), 2, "using a revoked token is no reuse");
        assert!(tokens.refresh(other.expose()).is_ok(), "another consent of the same mailbox");
    }

    #[test]
    fn what_descends_from_a_consent_ends_with_it_and_a_delegate_uses_another_mailbox() {
        let tokens = tokens(Provider::Google);
        let [first, second] = ["a@example.com"; 2].map(|mailbox| {
            let consent = tokens.begin(mailbox, None);
            (tokens.refresh_token(&consent), tokens.issue_under(&consent, "c", super::super::GOOGLE_SCOPE), consent.number)
        });
        tokens.delegate("A@example.com", "shared@example.com");
        assert!(tokens.check(first.1.expose(), "Shared@example.com").is_ok());
        assert_eq!(tokens.origin(first.1.expose()), Some((first.2, "a@example.com".into())));
        tokens.end(first.2);
        assert_eq!(tokens.check(first.1.expose(), "a@example.com").err(), Some(Refused::Expired));
        assert_eq!(tokens.refresh(first.0.expose()).err(), Some(Dead::Revoked));
        assert!(tokens.origin(first.1.expose()).is_none() && tokens.origin(first.0.expose()).is_none());
        assert!(tokens.check(second.1.expose(), "a@example.com").is_ok());
        tokens.end_all("A@example.com");
        assert!(tokens.check(second.1.expose(), "a@example.com").is_err() && tokens.refresh(second.0.expose()).is_err());
    }

    #[test]
    fn a_refresh_token_dies_of_idleness() {
        let tokens = tokens(Provider::Microsoft);
        let token = tokens.consent("a@example.com");
        tokens.clock.advance(89 * 24 * 3_600_000);
        assert!(tokens.refresh(token.expose()).is_ok());
        tokens.clock.advance(91 * 24 * 3_600_000);
        assert_eq!(tokens.refresh(token.expose()).err(), Some(Dead::Inactive));
    }

    #[test]
    fn the_expired_fault_spares_tokens_issued_after_it() {
        let tokens = tokens(Provider::Custom);
        let old = tokens.issue(None, "c", "mail");
        tokens.faults.switch_on(Fault::ExpiredToken, Setting::default(), &tokens.clock);
        assert_eq!(tokens.check(old.expose(), "a").err(), Some(Refused::Expired));
        tokens.clock.advance(1);
        let new = tokens.issue(None, "c", "mail");
        assert!(tokens.check(new.expose(), "a").is_ok());
    }

    #[test]
    fn the_wrong_scope_gives_a_token_that_smtp_refuses() {
        let tokens = tokens(Provider::Microsoft);
        for (scope, good) in [
            ("https://outlook.office365.com/.default", true),
            ("https://outlook.office.com/.default", false),
            ("https://graph.microsoft.com/.default", false),
            ("https://outlook.office.com/SMTP.Send offline_access", true),
        ] {
            let token = tokens.issue(None, "c", scope);
            assert_eq!(tokens.check(token.expose(), "a").is_ok(), good, "{scope}");
        }
    }
}
