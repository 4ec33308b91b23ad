//! What a browser shows after a login: done, or what is wrong and the next step. One page, without scripts or anything from elsewhere.

use crate::relay::authorize::{Login, Progress, Why};
use maud::{DOCTYPE, html};

/// Nothing is loaded or run, nobody may frame it, and the one style is named by its hash (a test computes it).
pub(super) const POLICY: &str = "default-src 'none'; style-src 'sha256-QCy4PXqi4YRZw0WDGSJss7MQTnGmB/Sk7BebjWpQMf8='; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}";

/// How a login ended, for a page.
#[derive(Debug, Clone)]
pub struct Ended {
    mailbox: Option<String>,
    progress: Progress,
}

impl Ended {
    /// The login of this mailbox.
    pub fn new(mailbox: impl Into<String>, progress: Progress) -> Self {
        Self { mailbox: Some(mailbox.into()), progress }
    }

    /// Of a login that is not known.
    pub fn unknown(progress: Progress) -> Self {
        Self { mailbox: None, progress }
    }

    /// Whether all is well.
    pub(super) fn is_good(&self) -> bool {
        match &self.progress {
            Progress::Pending | Progress::Working | Progress::Done { login: Login::Accepted, .. } => true,
            Progress::Done { login: Login::Failed { .. }, .. } | Progress::Failed { .. } => false,
        }
    }
}

/// The page.
pub(super) fn page(ended: &Ended) -> String {
    let mailbox =
        ended.mailbox.as_deref().map(|mailbox| format!("Mailbox {mailbox}")).unwrap_or_else(|| "The mailbox".to_owned());
    let title = match &ended.progress {
        Progress::Pending | Progress::Working => format!("{mailbox} is still being tried"),
        Progress::Done { login: Login::Accepted, .. } => format!("{mailbox} is authorised"),
        Progress::Done { login: Login::Failed { .. }, .. } => format!("{mailbox} is authorised, but cannot send yet"),
        // It may well be authorised: by what came first.
        Progress::Failed { why: Why::Answered, .. } => "This login is over".to_owned(),
        Progress::Failed { .. } => format!("{mailbox} was not authorised"),
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { (title) " - outlink" }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                @match &ended.progress {
                    Progress::Pending | Progress::Working => p { "The command that began the login tells how it ends; outlink status does, too." },
                    Progress::Done { account, login, .. } => {
                        @if let Some(account) = account { p { "Signed in: " (account) } }
                        @match login {
                            Login::Accepted => p { "Its mail server took the login. You may close this page." },
                            Login::Failed { reason, advice } => {
                                p { (reason) }
                                p { "Next step: " (advice) }
                            },
                        }
                    },
                    Progress::Failed { reason, advice, .. } => {
                        p { (reason) }
                        p { "Next step: " (advice) }
                    },
                }
            }
        }
    };
    page.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, prelude::BASE64_STANDARD};

    #[test]
    fn the_policy_names_the_style() {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
        let expected = format!("'sha256-{}'", BASE64_STANDARD.encode(digest));
        assert!(POLICY.contains(&expected), "{expected} is missing in {POLICY}");
    }
}
