//! What can be made to go wrong while the sandbox runs.
//!
//! A fault is on until it is switched off, has struck `times` times, or `seconds` of the sandbox's clock have passed. What a fault
//! silenced stays so until it is switched off or its `seconds` have passed, also when its times are spent. Each mailbox and each
//! client may have its own setting of one fault, so that many rows of a table can be played at once.

use super::{
    clock::{Clock, rfc3339},
    spoken,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

/// How long a slow answer takes when nobody said.
const SLOW: Duration = Duration::from_secs(5);

/// What `Retry-After` says when nobody said.
const RETRY_AFTER: u64 = 10;

/// Most recipients of one message when nobody said.
const RECIPIENTS: u64 = 10;

/// Longest delay taken: beyond it every client has given up.
const LONGEST: u64 = 3_600_000;

/// Everything that can be switched on; the discriminant is its bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Access tokens issued before the fault was switched on are refused; new ones work.
    ExpiredToken,
    /// The token endpoint refuses the grant.
    InvalidGrant,
    /// The token endpoint answers 503 with a page of HTML.
    TokenServerDown,
    /// The token endpoint answers after `milliseconds`.
    TokenServerSlow,
    /// The token endpoint answers 429 with a Retry-After of `retry_after` seconds.
    TokenServerThrottled,
    /// AUTH is answered by 535 whatever the token.
    Auth535,
    /// AUTH is answered by 535 5.7.139.
    SmtpAuthDisabled,
    /// AUTH is answered by 432 4.3.2.
    TooManyConnections,
    /// MAIL is answered by 421 and the connection closed.
    Busy,
    /// AUTH is answered by 454 4.7.0.
    TooManyLogins,
    /// The end of the message is answered by the provider's day limit.
    Quota,
    /// The end of the message is answered by SendAsDenied.
    SendAsDenied,
    /// The first recipient of each message, and every address that begins with `refused`, is answered by 550 5.1.1.
    RecipientRefused,
    /// The end of the message is answered by 430 4.2.0.
    MailboxLogonFailure,
    /// The connection is cut in the middle of the message.
    DropInData,
    /// The message is taken, the connection cut before the reply.
    FinalReplyLost,
    /// Every reply comes `milliseconds` late, one after the other.
    SlowReplies,
    /// BDAT is answered as an unknown command, its octets swallowed.
    BdatRefused,
    /// Every reply leaves one round trip of `milliseconds` after its command arrived, many at once on their way.
    RoundTrip,
    /// Every refresh token works once, whoever the provider is; the second use of one ends its whole grant.
    OneTimeRefreshTokens,
    /// The token endpoint answers that the client secret has expired.
    ClientSecretExpired,
    /// MAIL is read and not answered before the fault is switched off.
    SilentAtMail,
    /// DATA, or each BDAT, is read and not answered before the fault is switched off.
    SilentAtData,
    /// The message is taken and its end not answered before the fault is switched off.
    SilentAtEnd,
    /// Every recipient that begins with `later` is answered by 450 4.2.1.
    RcptTemporary,
    /// Recipients beyond `count` in one message are answered by 452 4.5.3.
    TooManyRecipients,
    /// Whoever presses Allow has denied.
    ConsentDenied,
    /// Whoever presses Allow was signed in as `other@sandbox.example`.
    OtherAccount,
    /// No refresh token comes with a consent.
    NoRefreshToken,
    /// The token endpoint answers `error`, `description` and, at Microsoft, the number `aadsts`.
    TokenRefused,
    /// The authorization endpoint does, on the provider's page or in the redirect.
    AuthorizeRefused,
    /// The device endpoint does.
    DeviceRefused,
    /// The SMTP server gives `reply` at `step`.
    SmtpReply,
}

use Fault::*;

impl Fault {
    /// All of them.
    pub const ALL: [Self; 33] = [
        ExpiredToken,
        InvalidGrant,
        TokenServerDown,
        TokenServerSlow,
        TokenServerThrottled,
        Auth535,
        SmtpAuthDisabled,
        TooManyConnections,
        Busy,
        TooManyLogins,
        Quota,
        SendAsDenied,
        RecipientRefused,
        MailboxLogonFailure,
        DropInData,
        FinalReplyLost,
        SlowReplies,
        BdatRefused,
        RoundTrip,
        OneTimeRefreshTokens,
        ClientSecretExpired,
        SilentAtMail,
        SilentAtData,
        SilentAtEnd,
        RcptTemporary,
        TooManyRecipients,
        ConsentDenied,
        OtherAccount,
        NoRefreshToken,
        TokenRefused,
        AuthorizeRefused,
        DeviceRefused,
        SmtpReply,
    ];

    /// Its name on the command line and in URLs.
    pub fn name(self) -> &'static str {
        match self {
            ExpiredToken => "expired-token",
            InvalidGrant => "invalid-grant",
            TokenServerDown => "token-server-down",
            TokenServerSlow => "token-server-slow",
            TokenServerThrottled => "token-server-throttled",
            Auth535 => "auth-535",
            SmtpAuthDisabled => "smtp-auth-disabled",
            TooManyConnections => "too-many-connections",
            Busy => "busy",
            TooManyLogins => "too-many-logins",
            Quota => "quota",
            SendAsDenied => "send-as-denied",
            RecipientRefused => "recipient-refused",
            MailboxLogonFailure => "mailbox-logon-failure",
            DropInData => "drop-in-data",
            FinalReplyLost => "final-reply-lost",
            SlowReplies => "slow-replies",
            BdatRefused => "bdat-refused",
            RoundTrip => "round-trip",
            OneTimeRefreshTokens => "one-time-refresh-tokens",
            ClientSecretExpired => "client-secret-expired",
            SilentAtMail => "silent-at-mail",
            SilentAtData => "silent-at-data",
            SilentAtEnd => "silent-at-end",
            RcptTemporary => "rcpt-temporary",
            TooManyRecipients => "too-many-recipients",
            ConsentDenied => "consent-denied",
            OtherAccount => "other-account",
            NoRefreshToken => "no-refresh-token",
            TokenRefused => "token-refused",
            AuthorizeRefused => "authorize-refused",
            DeviceRefused => "device-refused",
            SmtpReply => "smtp-reply",
        }
    }

    /// The fault of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }

    fn bit(self) -> u64 {
        1 << self as u32
    }
}

/// How a fault is switched on; everything is optional.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// How often it strikes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// How long it stays on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// The only XOAUTH2 user that it strikes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<String>,
    /// The delay of the slow ones and of the round trip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
    /// The seconds that a throttled client is told to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The most recipients of one message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The only OAuth client that it strikes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The error of an OAuth endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its AADSTS number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aadsts: Option<u32>,
    /// Its finer name: Google's `error_subtype`, Microsoft's `suberror`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtype: Option<String>,
    /// The HTTP status that it comes with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// A page of HTML in place of all that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// How an error of the authorization endpoint reaches the application; else as the provider does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// Where the SMTP server gives the reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// The reply: code, enhanced code and text, lines divided by `\n`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
}

/// What an OAuth endpoint is to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) error: String,
    pub(super) description: String,
    pub(super) aadsts: Option<u32>,
    /// Google's `error_subtype`, Microsoft's `suberror`.
    pub(super) subtype: Option<String>,
    pub(super) status: Option<u16>,
    /// A page that takes the place of JSON.
    pub(super) html: Option<String>,
    pub(super) via: Option<Via>,
}

/// How an error of the authorization endpoint reaches the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// Not at all: the provider shows it to the person.
    Page,
    /// By the browser.
    Redirect,
}

/// Where the SMTP server gives a reply of one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "they are SMTP's own words")]
pub enum Step {
    Greeting,
    Ehlo,
    Auth,
    Mail,
    Rcpt,
    /// At DATA, or at each BDAT.
    Data,
    /// At the end of the message.
    End,
}

/// Whom a fault may strike.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Who<'a> {
    pub(super) mailbox: Option<&'a str>,
    pub(super) client: Option<&'a str>,
}

impl<'a> From<Option<&'a str>> for Who<'a> {
    fn from(mailbox: Option<&'a str>) -> Self {
        Self { mailbox, client: None }
    }
}

impl Setting {
    /// What is missing or wrong, in a sentence.
    pub(super) fn check(&self, fault: Fault) -> Result<(), String> {
        if let Some(status) = self.status.filter(|status| !(400..600).contains(status)) {
            return Err(format!("`status` is an HTTP status from 400 to 599, not {status}"));
        }
        match (fault, self.step, &self.reply) {
            (SmtpReply, Some(_), Some(reply)) => spoken::check(reply),
            (SmtpReply, _, _) => Err("give `step`, and `reply` such as \"450 4.2.1 try later\"".into()),
            _ => Ok(()),
        }
    }

    /// Whose it is; another setting of the same fault for the same takes its place.
    fn only(&self) -> Only {
        let small = |text: &Option<String>| text.as_ref().map(|text| text.to_ascii_lowercase());
        (small(&self.mailbox), small(&self.client))
    }
}

/// The one mailbox, and the one client.
type Only = (Option<String>, Option<String>);

/// Most settings at once: more than any table has rows.
const MOST: usize = 1000;

/// A fault that is on.
struct Armed {
    setting: Setting,
    since: SystemTime,
    until: Option<SystemTime>,
}

impl Armed {
    fn is_over(&self, clock: &Clock) -> bool {
        self.until.is_some_and(|until| clock.now() >= until)
    }
}

/// All faults. The bits say which may be on, so that the common case, none, takes no lock.
pub(super) struct Faults {
    bits: AtomicU64,
    armed: Mutex<BTreeMap<(Fault, Only), Armed>>,
    /// In microseconds: a round trip below one millisecond can be asked for by option.
    round_trip: AtomicU64,
}

impl Faults {
    pub(super) fn new(round_trip: Duration) -> Self {
        let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX).min(LONGEST * 1000);
        Self { bits: AtomicU64::new(0), armed: Mutex::default(), round_trip: AtomicU64::new(micros) }
    }

    /// The artificial round-trip time now.
    pub(super) fn round_trip(&self) -> Duration {
        Duration::from_micros(self.round_trip.load(Ordering::Relaxed))
    }

    /// Whether there was room.
    pub(super) fn switch_on(&self, fault: Fault, setting: Setting, clock: &Clock) -> bool {
        if fault == RoundTrip {
            self.round_trip.store(setting.milliseconds.unwrap_or(20).min(LONGEST) * 1000, Ordering::Relaxed);
            return true;
        }
        let since = clock.now();
        let until = setting.seconds.and_then(|seconds| since.checked_add(Duration::from_secs(seconds)));
        let (mut all, key) = (self.lock(), (fault, setting.only()));
        if all.len() >= MOST && !all.contains_key(&key) {
            return false;
        }
        all.insert(key, Armed { setting, since, until });
        self.bits.fetch_or(fault.bit(), Ordering::Release);
        true
    }

    pub(super) fn switch_off(&self, fault: Fault) {
        if fault == RoundTrip {
            return self.round_trip.store(0, Ordering::Relaxed);
        }
        let mut armed = self.lock();
        armed.retain(|(of, _), _| *of != fault);
        self.bits.fetch_and(!fault.bit(), Ordering::Release);
    }

    /// Whether the fault strikes now; spends one of its times.
    pub(super) fn strikes<'a>(&self, fault: Fault, who: impl Into<Who<'a>>, clock: &Clock) -> bool {
        self.strike(fault, who.into(), clock, |_| true).is_some()
    }

    /// As [`Faults::strikes`], for something that exists since `issued`: strikes only what is older than the fault.
    pub(super) fn strikes_older<'a>(&self, fault: Fault, who: impl Into<Who<'a>>, clock: &Clock, issued: SystemTime) -> bool {
        self.strike(fault, who.into(), clock, |armed| issued <= armed.since).is_some()
    }

    /// As [`Faults::strikes`], for one more recipient than `taken`.
    pub(super) fn strikes_beyond<'a>(&self, fault: Fault, who: impl Into<Who<'a>>, clock: &Clock, taken: usize) -> bool {
        self.strike(fault, who.into(), clock, |armed| taken as u64 >= armed.setting.count.unwrap_or(RECIPIENTS)).is_some()
    }

    /// The delay, if the fault strikes now.
    pub(super) fn delay<'a>(&self, fault: Fault, who: impl Into<Who<'a>>, clock: &Clock) -> Option<Duration> {
        let struck = self.strike(fault, who.into(), clock, |_| true)?;
        Some(struck.milliseconds.map_or(SLOW, |ms| Duration::from_millis(ms.min(LONGEST))))
    }

    /// The seconds for `Retry-After`, if the fault strikes now.
    pub(super) fn retry_after(&self, fault: Fault, who: Who<'_>, clock: &Clock) -> Option<u64> {
        self.strike(fault, who, clock, |_| true).map(|struck| struck.retry_after.unwrap_or(RETRY_AFTER))
    }

    /// What an OAuth endpoint is to answer, if the fault strikes now.
    pub(super) fn answer(&self, fault: Fault, who: Who<'_>, clock: &Clock) -> Option<Answer> {
        let struck = self.strike(fault, who, clock, |_| true)?;
        Some(Answer {
            error: struck.error.unwrap_or_else(|| if fault == TokenRefused { "invalid_grant" } else { "access_denied" }.into()),
            description: struck.description.unwrap_or_default(),
            aadsts: struck.aadsts,
            subtype: struck.subtype,
            status: struck.status,
            html: struck.html,
            via: struck.via,
        })
    }

    /// The reply to give at this step, if the fault strikes now.
    pub(super) fn reply(&self, step: Step, mailbox: Option<&str>, clock: &Clock) -> Option<String> {
        self.strike(SmtpReply, mailbox.into(), clock, |armed| armed.setting.step == Some(step))?.reply
    }

    /// Whether it was switched on and not off, even if it has struck for the last time.
    pub(super) fn is_on(&self, fault: Fault, clock: &Clock) -> bool {
        self.lock().iter().any(|((of, _), armed)| *of == fault && !armed.is_over(clock))
    }

    /// The setting of the first that strikes; one for this mailbox or client comes before one for all.
    fn strike(&self, fault: Fault, who: Who<'_>, clock: &Clock, fits: impl Fn(&Armed) -> bool) -> Option<Setting> {
        if self.bits.load(Ordering::Acquire) & fault.bit() == 0 {
            return None;
        }
        let mut all = self.lock();
        all.retain(|(of, _), armed| *of != fault || !armed.is_over(clock));
        let named = |only: &Option<String>, it: Option<&str>| {
            only.as_ref().is_none_or(|only| it.is_some_and(|it| it.eq_ignore_ascii_case(only)))
        };
        let mut of_fault = all.iter_mut().rev().filter(|((of, _), _)| *of == fault).map(|(_, armed)| armed).peekable();
        if of_fault.peek().is_none() {
            self.bits.fetch_and(!fault.bit(), Ordering::Release);
            return None;
        }
        let armed = of_fault.find(|armed| {
            let Setting { mailbox, client, times, .. } = &armed.setting;
            *times != Some(0) && named(mailbox, who.mailbox) && named(client, who.client) && fits(armed)
        })?;
        if let Some(times) = &mut armed.setting.times {
            *times -= 1;
        }
        Some(armed.setting.clone())
    }

    /// Every fault with its state, for `GET /faults`.
    pub(super) fn list(&self, clock: &Clock) -> Vec<serde_json::Value> {
        let (all, trip) = (self.lock(), self.round_trip());
        let rows = |fault: Fault| {
            if fault == RoundTrip {
                let trip = trip.as_secs_f64() * 1000.0;
                return vec![serde_json::json!({ "name": fault.name(), "on": trip > 0.0, "milliseconds": trip })];
            }
            let is_on = |armed: &&Armed| armed.setting.times != Some(0) && !armed.is_over(clock);
            let on = all.iter().filter(|((of, _), _)| *of == fault).map(|(_, armed)| armed).filter(is_on);
            let on: Vec<_> = on
                .map(|armed| {
                    serde_json::json!({
                        "name": fault.name(), "on": true, "since": rfc3339(armed.since), "until": armed.until.map(rfc3339),
                        "setting": armed.setting,
                    })
                })
                .collect();
            if on.is_empty() { vec![serde_json::json!({ "name": fault.name(), "on": false })] } else { on }
        };
        Fault::ALL.into_iter().flat_map(rows).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Fault, Only), Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_and_a_bit_of_its_own() {
        let bits = Fault::ALL.iter().fold(0, |bits, fault| bits | fault.bit());
        assert_eq!(bits.count_ones() as usize, Fault::ALL.len());
        let reference = include_str!("../../docs/reference.md");
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(fault));
            assert!(reference.contains(&format!("`{}`", fault.name())), "the reference does not know {}", fault.name());
        }
        assert_eq!(Fault::named("flood"), None);
    }

    #[test]
    fn a_fault_ends_after_its_times_or_its_seconds() {
        let (faults, clock) = (Faults::new(Duration::ZERO), Clock::default());
        assert!(!faults.strikes(Busy, None, &clock));
        faults.switch_on(Busy, Setting { times: Some(2), ..Setting::default() }, &clock);
        assert_eq!([(); 3].map(|()| faults.strikes(Busy, None, &clock)), [true, true, false]);
        faults.switch_on(Quota, Setting { seconds: Some(60), ..Setting::default() }, &clock);
        assert!(faults.strikes(Quota, None, &clock));
        assert!(faults.is_on(Busy, &clock), "what it silenced stays silent");
        clock.advance(60_000);
        assert!(!faults.is_on(Quota, &clock) && !faults.strikes(Quota, None, &clock));
    }

    #[test]
    fn each_mailbox_and_each_client_may_have_a_setting_of_its_own() {
        let (faults, clock) = (Faults::new(Duration::ZERO), Clock::default());
        let row = |mailbox: &str, client: &str, reply: &str, step| Setting {
            mailbox: Some(mailbox.to_owned()).filter(|text| !text.is_empty()),
            client: Some(client.to_owned()).filter(|text| !text.is_empty()),
            reply: Some(reply.into()),
            error: Some(reply.into()),
            step: Some(step),
            ..Setting::default()
        };
        for setting in [
            row("", "", "450 all", Step::Mail),
            row("a@example.com", "", "450 a", Step::Mail),
            row("b@example.com", "", "450 old", Step::Mail),
            row("B@example.com", "", "450 b", Step::Rcpt),
        ] {
            assert!(faults.switch_on(SmtpReply, setting, &clock));
        }
        let reply = |step, mailbox| faults.reply(step, Some(mailbox), &clock);
        assert_eq!(reply(Step::Mail, "A@example.com").as_deref(), Some("450 a"));
        assert_eq!(reply(Step::Mail, "b@example.com").as_deref(), Some("450 all"));
        assert_eq!(reply(Step::Rcpt, "b@example.com").as_deref(), Some("450 b"));
        assert_eq!(reply(Step::End, "a@example.com"), None);
        faults.switch_on(TokenRefused, row("", "one", "first", Step::Mail), &clock);
        faults.switch_on(TokenRefused, row("", "two", "second", Step::Mail), &clock);
        let of = |client| faults.answer(TokenRefused, Who { client, mailbox: None }, &clock).map(|answer| answer.error);
        assert_eq!((of(Some("two")).as_deref(), of(Some("one")).as_deref(), of(None)), (Some("second"), Some("first"), None));
        assert_eq!(faults.list(&clock).iter().filter(|row| row["on"] == true).count(), 5);
        faults.switch_off(TokenRefused);
        assert_eq!((of(Some("two")), faults.is_on(SmtpReply, &clock)), (None, true));
    }

    #[test]
    fn a_fault_of_one_mailbox_spares_the_others() {
        let (faults, clock) = (Faults::new(Duration::ZERO), Clock::default());
        faults.switch_on(Auth535, Setting { mailbox: Some("a@example.com".into()), ..Setting::default() }, &clock);
        assert!(!faults.strikes(Auth535, Some("b@example.com"), &clock));
        assert!(faults.strikes(Auth535, Some("A@example.com"), &clock));
        faults.switch_off(Auth535);
        assert!(!faults.strikes(Auth535, Some("a@example.com"), &clock));
    }
}
