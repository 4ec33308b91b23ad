//! What outlink says for itself: advice about what it finds on this machine, and about what ends or mends without anybody.
//!
//! Whoever gives it says in its reason what happened, so that only the step is told besides.

use super::advice::{AdviceEntry, advice, fill_into};
use crate::mail::Advice;
use std::borrow::Cow;

advice! {
    // Configuration.
    MAILBOX_NOT_CONFIGURED = "mailbox-not-configured",
        "mailbox {mailbox} is not configured",
        "add [mailbox.{mailbox}] or name another mailbox in the app";
    LINK_NOT_CONFIGURED = "link-not-configured",
        "mailbox {mailbox} names the link {link}, which is not configured",
        "add [link.{link}] or name another link in [mailbox.{mailbox}]";
    LINK_REFUSED = "link-refused",
        "the provider refuses the client of link {link} for a reason that outlink does not know",
        "compare [link.{link}] with the provider's console; a changed secret is taken up at once";
    CLIENT_AT_PROVIDER = "client-at-provider",
        "the provider does not let the client of link {link} have tokens, for a reason that outlink does not know",
        "mend it in the provider's console, for the client of link {link}; it is probed by itself";
    PROXY_PASSWORD = "proxy-password-unreadable",
        "the proxy's password for link {link} cannot be read",
        "let the service's user read it, and after that run `outlink reload`";

    // What proves the client.
    PROOF_UNREADABLE = "proof-unreadable",
        "what proves the client of link {link} cannot be read: its secret, certificate or key",
        "let the service's user read the file that the log names; it is taken up at once";
    PROOF_TOO_SLOW = "proof-too-slow",
        "what proves the client of link {link} was not read in time",
        "look at the disk on which its files lie; they are read again by themselves";

    // Grants.
    NO_GRANT_YET = "no-grant-yet",
        "nobody has authorised mailbox {mailbox} yet",
        "authorise it with `outlink authorize {mailbox}`";
    OTHER_CLIENT = "grant-of-another-client",
        "the grant of mailbox {mailbox} was given to another client than that of link {link}",
        "authorise it with `outlink authorize {mailbox}`, or put the link back; the old grant is kept until then";
    GRANT_SEALED = "grant-not-opened",
        "the key that seals the grant of mailbox {mailbox} is missing, or the grant is damaged",
        "put the key back, or authorise it with `outlink authorize {mailbox}`";
    CONSENT_NEEDED = "consent-needed",
        "the provider does not accept the grant of mailbox {mailbox}, for a reason that outlink does not know",
        "authorise it again with `outlink authorize {mailbox}`; the old grant is kept until then";
    GRANT_LOST = "grant-lost",
        "a refresh token that the provider gave in place of another could not be kept",
        "where the provider's refresh tokens work once, authorise it again with `outlink authorize {mailbox}`";

    // What passes.
    BY_ITSELF = "tried-again-by-itself",
        "something between outlink and the token endpoint failed that time mends",
        "it is tried again by itself";
    DEAD_TOKEN = "token-dead-on-arrival",
        "the token endpoint gave an access token that had already expired when it arrived",
        "check this machine's clock, and expires_in in the answers of the token endpoint";

    // What ends.
    SECRET_ENDS = "client-secret-ends",
        "the client secret of link {link} ends on the day that `client-secret-expires` names",
        "make a new secret in the provider's console, give link {link} its value, and set client-secret-expires in \
         [link.{link}] to its last day; mail goes on meanwhile";
    CERTIFICATE_ENDS = "certificate-ends",
        "the certificate of link {link} ends",
        "make a new certificate, upload it to the provider beside the old one, then put it in the place of the link's files; it \
         is taken up at once";
    CERTIFICATE_NOT_YET = "certificate-not-yet",
        "the certificate of link {link} does not count yet",
        "check this machine's clock; until then use the certificate before it";
    REFRESH_TOKEN_ENDS = "refresh-token-ends",
        "the refresh token of mailbox {mailbox} ends, and no renewal moves that",
        "authorise it again before with `outlink authorize {mailbox}`; mail goes on meanwhile";
    REFRESH_TOKEN_UNUSED = "refresh-token-unused",
        "the refresh token of mailbox {mailbox} ends when it is not used, and renewals of it fail",
        "mend what the renewals fail of, then it is used by itself; else authorise it again with `outlink authorize {mailbox}`";
    TESTING_CONSENT = "google-testing-consent",
        "consents for the client of link {link} last 7 days, because Google's consent screen is in Testing",
        "in the Google Cloud console under Google Auth Platform, Audience, set the consent screen to Internal or publish it (In \
         production), then authorise it again with `outlink authorize {mailbox}`";
}

impl AdviceEntry {
    /// The step alone, with `{name}` replaced by its value: for a reason that tells the cause already.
    pub fn step_of(&'static self, names: &[(&str, &str)]) -> Advice {
        let mut text = String::with_capacity(self.step.len());
        fill_into(self.step, names, &mut text);
        self.saying(text)
    }

    /// This advice in other words.
    pub fn saying(&'static self, text: String) -> Advice {
        Advice { name: Cow::Borrowed(self.name), text }
    }
}
