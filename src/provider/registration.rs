//! What has to be done at the provider's own pages for a link, and where: menus, redirect URLs, PowerShell with the real ids in it.

use super::{Cloud, Grant, Provider, as_written, is_loopback, loopback_redirect};
use std::borrow::Cow;
use url::Url;

/// Of which link the pages have to know.
#[derive(Debug, Clone, Copy)]
pub struct Registration<'a> {
    /// Whose pages.
    pub provider: Provider,
    /// Microsoft's cloud.
    pub cloud: Cloud,
    /// The link's grant.
    pub grant: Grant,
    /// The link's client id.
    pub client_id: &'a str,
    /// The configured redirect URL.
    pub redirect_url: Option<&'a Url>,
    /// Whether the client proves itself with nothing.
    pub is_public: bool,
    /// The mailbox that is to send, where it is known.
    pub address: Option<&'a str>,
}

/// Microsoft's menus; the portal is that of the cloud.
const ENTRA: &str = "Entra admin center → App registrations → your application";
/// Entra's platform whose redirects may have any port.
const DESKTOP: &str = "Mobile and desktop applications";
/// Google's menu; its older name is APIs & Services → Credentials.
const GOOGLE: &str = "Google Cloud console → Google Auth Platform → Clients (formerly APIs & Services → Credentials)";

impl Registration<'_> {
    /// What the provider must know of the redirect URL, in one sentence, for the moment of a login.
    pub fn reminder(&self) -> String {
        let (client, url) = (self.client_id, self.redirect());
        match (self.provider, self.is_local()) {
            (Provider::Microsoft, true) => {
                format!("app {client} needs the redirect URL {url} under Authentication, \"{DESKTOP}\"; its port does not count")
            }
            (Provider::Google, true) => match self.redirect_url {
                None => format!("client {client} must be of the type \"Desktop app\"; then nothing has to be registered"),
                Some(_) => format!(
                    "client {client} must be of the type \"Desktop app\", or a \"Web application\" with the redirect URL {url}"
                ),
            },
            (Provider::Custom, true) if self.redirect_url.is_none_or(|url| url.port().is_none()) => {
                format!("client {client} needs the redirect URL {url}, at any port (RFC 8252)")
            }
            _ => format!("{url} must be registered for client {client}, letter by letter"),
        }
    }

    fn redirect(&self) -> &str {
        self.redirect_url.map_or(loopback_redirect(self.provider), as_written)
    }

    /// Whether the browser comes back to its own machine.
    fn is_local(&self) -> bool {
        self.redirect_url.is_none_or(is_loopback)
    }

    /// What to do there, in sentences and lines to copy.
    pub fn steps(&self) -> Vec<String> {
        match (self.provider, self.grant) {
            (Provider::Microsoft, Grant::ClientCredentials) => self.application(),
            (Provider::Microsoft, _) => self.person_at_microsoft(),
            (Provider::Google, Grant::ServiceAccount) => vec![
                "Google Admin console → Security → Access and data control → API controls → Domain-wide delegation → Add new: the numeric \
                 client ID of the service account, scope https://mail.google.com/ (up to 24 hours until it works)"
                    .to_owned(),
            ],
            (Provider::Google, _) => self.person_at_google(),
            (Provider::Custom, Grant::AuthorizationCode) => match self.redirect_url {
                Some(_) => vec![format!("redirect URL to register at the provider: {}", self.redirect())],
                None => vec![format!(
                    "redirect URL to register at the provider: {}, of which every port must be taken (RFC 8252 §7.3); where it wants \
                     one port, give --redirect-url http://127.0.0.1:PORT/oauth/callback",
                    self.redirect()
                )],
            },
            (Provider::Custom, _) => Vec::new(),
        }
    }

    fn person_at_google(&self) -> Vec<String> {
        let url = self.redirect();
        let client = match self.redirect_url {
            Some(_) if !self.is_local() => {
                format!("redirect URL to register: {url}\n  at {GOOGLE} → Web application → Authorised redirect URIs")
            }
            Some(_) => format!(
                "redirect URL: {url}; a client of the type Desktop app registers none, a Web application this one\n  at {GOOGLE}"
            ),
            None => format!(
                "no redirect URL is registered: a client of the type Desktop app takes every port of 127.0.0.1\n  at {GOOGLE}"
            ),
        };
        let audience =
            "Google Auth Platform → Audience: Internal (Workspace), or publish the app; in Testing a consent ends after 7 days";
        vec![client, audience.to_owned()]
    }

    fn person_at_microsoft(&self) -> Vec<String> {
        let mut steps = Vec::new();
        if self.grant == Grant::AuthorizationCode {
            let platform = if self.is_local() { DESKTOP } else { "Web" };
            let url = self.redirect();
            steps.push(format!(
                "redirect URL to register: {url}\n  at {ENTRA} → Authentication → Add a platform → {platform}, never Single-page application"
            ));
        }
        if self.is_public || self.grant == Grant::DeviceCode {
            steps.push(format!("{ENTRA} → Authentication → Allow public client flows: Yes"));
        }
        if self.cloud != Cloud::Consumer {
            let menu = "API permissions → Add a permission → APIs my organization uses → Office 365 Exchange Online → Delegated permissions";
            steps.push(format!("{ENTRA} → {menu}: SMTP.Send"));
            steps.push(self.smtp_auth());
        }
        steps
    }

    /// Both recipes; they exclude each other.
    fn application(&self) -> Vec<String> {
        let (id, mailbox) = (quoted(self.client_id), quoted(self.mailbox()));
        let (scope, filter) = (doubled(self.mailbox()), doubled(&self.mailbox().replace('\'', "''")));
        vec![
            "Exchange Online PowerShell (Connect-ExchangeOnline). OBJECT_ID is the Object ID under Entra admin center → Enterprise \
             applications; the one under App registrations does not work:"
                .to_owned(),
            format!("  New-ServicePrincipal -AppId {id} -ObjectId OBJECT_ID"),
            "then one of two ways. Recommended, RBAC for Applications; do not give the Entra permission SMTP.SendAsApp as well:".to_owned(),
            format!("  New-ManagementScope -Name \"outlink {scope}\" -RecipientRestrictionFilter \"PrimarySmtpAddress -eq '{filter}'\""),
            format!(
                "  New-ManagementRoleAssignment -App {id} -Role \"Application SMTP.SendAsApp\" -CustomResourceScope \"outlink {scope}\""
            ),
            format!(
                "or the classic way: {ENTRA} → API permissions → Office 365 Exchange Online → Application permissions: SMTP.SendAsApp, Grant \
                 admin consent, and:"
            ),
            format!("  Add-MailboxPermission -Identity {mailbox} -User OBJECT_ID -AccessRights FullAccess"),
            self.smtp_auth(),
        ]
    }

    fn smtp_auth(&self) -> String {
        let command = format!("Set-CASMailbox -Identity {} -SmtpClientAuthenticationDisabled $false", quoted(self.mailbox()));
        format!("SMTP AUTH has to be on for the mailbox (OAuth needs it, too):\n  {command}")
    }

    fn mailbox(&self) -> &str {
        self.address.unwrap_or("MAILBOX")
    }
}

/// A word of PowerShell: in single quotes where it has more than plain characters.
pub(super) fn quoted(word: &str) -> Cow<'_, str> {
    let plain = word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'@'));
    if plain && !word.starts_with(['@', '-']) { word.into() } else { format!("'{}'", word.replace('\'', "''")).into() }
}

/// A text for within double quotes, where PowerShell looks for `$`, quotes and its escape character.
fn doubled(text: &str) -> String {
    text.chars().flat_map(|c| matches!(c, '$' | '`' | '"').then_some('`').into_iter().chain([c])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(provider: Provider, grant: Grant, redirect_url: Option<&Url>) -> Registration<'_> {
        Registration {
            provider,
            cloud: Cloud::Global,
            grant,
            client_id: "c-1",
            redirect_url,
            is_public: false,
            address: Some("alerts@contoso.com"),
        }
    }

    #[test]
    fn the_redirect_url_to_register_is_told_with_its_menu_and_again_at_the_login() {
        use Grant::{AuthorizationCode as Code, DeviceCode};
        use Provider::{Custom, Google, Microsoft};
        let (far, near) = ("https://relay.contoso.com/cb", "http://127.0.0.1:8025/cb");
        for (provider, grant, url, menus, reminded) in [
            (Microsoft, Code, "", ["register: http://localhost\n", "→ Mobile and"], "\"Mobile and desktop applications\""),
            (Microsoft, Code, "http://localhost", ["register: http://localhost\n", "→ Mobile and"], "http://localhost under"),
            (Microsoft, Code, far, [far, "→ Web,"], "letter by letter"),
            (Microsoft, DeviceCode, "", ["Allow public client flows", "SMTP.Send"], ""),
            (Google, Code, "", ["Desktop app", "every port"], "nothing has to be registered"),
            (Google, Code, far, [far, "→ Web application"], "letter by letter"),
            (Google, Code, near, [near, "Desktop app"], near),
            (Custom, Code, "", ["http://127.0.0.1/oauth/callback", "RFC 8252"], "at any port"),
            (Custom, Code, near, [near, "register"], "letter by letter"),
        ] {
            let redirect = Url::parse(url).ok();
            let registration = of(provider, grant, redirect.as_ref());
            let steps = registration.steps().join("\n");
            assert!(menus.iter().all(|menu| steps.contains(menu)), "{provider} {grant} {url:?}: {steps}");
            assert!(registration.reminder().contains(reminded), "{provider} {grant} {url:?}: {}", registration.reminder());
        }
    }

    #[test]
    fn an_applications_powershell_has_its_ids_and_both_recipes_the_narrow_one_first() {
        let steps = of(Provider::Microsoft, Grant::ClientCredentials, None).steps().join("\n");
        for line in [
            "New-ServicePrincipal -AppId c-1 -ObjectId OBJECT_ID",
            "New-ManagementRoleAssignment -App c-1 -Role \"Application SMTP.SendAsApp\"",
            "-RecipientRestrictionFilter \"PrimarySmtpAddress -eq 'alerts@contoso.com'\"",
            "Add-MailboxPermission -Identity alerts@contoso.com -User OBJECT_ID -AccessRights FullAccess",
            "Set-CASMailbox -Identity alerts@contoso.com -SmtpClientAuthenticationDisabled $false",
        ] {
            assert!(steps.contains(line), "{line}: {steps}");
        }
        assert!(steps.find("New-ManagementRoleAssignment") < steps.find("Add-MailboxPermission"));
    }

    #[test]
    fn an_address_is_quoted_where_powershell_would_read_something_else() {
        let mut registration = of(Provider::Microsoft, Grant::ClientCredentials, None);
        registration.address = Some("o'brien+$x@contoso.com");
        let steps = registration.steps().join("\n");
        for line in [
            "-eq 'o''brien+`$x@contoso.com'\"",
            "-Name \"outlink o'brien+`$x@contoso.com\"",
            "-Identity 'o''brien+$x@contoso.com' -",
        ] {
            assert!(steps.contains(line), "{line}: {steps}");
        }
    }
}
