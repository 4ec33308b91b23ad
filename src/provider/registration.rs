//! What has to be done at the provider's own pages for a link, and where: menus, redirect URLs, PowerShell with the real ids in it.

use super::{Cloud, Grant, Provider};
use std::borrow::Cow;

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
    pub redirect_url: Option<&'a str>,
    /// Whether the client has no secret.
    pub is_public: bool,
    /// The mailbox that is to send, where it is known.
    pub address: Option<&'a str>,
}

/// Microsoft's menus; the portal is that of the cloud.
const ENTRA: &str = "Entra admin center → App registrations → your application";
/// Google's menu; its older name is APIs & Services → Credentials.
const GOOGLE: &str = "Google Cloud console → Google Auth Platform → Clients (formerly APIs & Services → Credentials)";

impl Registration<'_> {
    /// The redirect URL to register; `None` where none is: no browser comes back, or the provider takes every loopback port.
    pub fn redirect(&self) -> Option<&str> {
        match (self.grant, self.redirect_url, self.provider) {
            (Grant::AuthorizationCode, Some(url), _) => Some(url),
            (Grant::AuthorizationCode, None, Provider::Microsoft) => Some("http://localhost"),
            (Grant::AuthorizationCode, None, Provider::Custom) => Some("http://127.0.0.1/oauth/callback"),
            _ => None,
        }
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
                Some(url) => vec![format!("redirect URL to register at the provider: {url}")],
                None => vec![
                    "redirect URL to register at the provider: http://127.0.0.1/oauth/callback, of which every port must be taken \
                     (RFC 8252 §7.3); where it wants one port, give --redirect-url http://127.0.0.1:PORT/oauth/callback"
                        .to_owned(),
                ],
            },
            (Provider::Custom, _) => Vec::new(),
        }
    }

    fn person_at_google(&self) -> Vec<String> {
        let client = match self.redirect_url {
            Some(url) if !is_loopback(url) => {
                format!("redirect URL to register: {url}\n  at {GOOGLE} → Web application → Authorised redirect URIs")
            }
            Some(url) => format!(
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
        if let Some(url) = self.redirect() {
            let platform = if is_loopback(url) { "Mobile and desktop applications" } else { "Web" };
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
fn quoted(word: &str) -> Cow<'_, str> {
    let plain = word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'@'));
    if plain && !word.starts_with(['@', '-']) { word.into() } else { format!("'{}'", word.replace('\'', "''")).into() }
}

/// A text for within double quotes, where PowerShell looks for `$`, quotes and its escape character.
fn doubled(text: &str) -> String {
    text.chars().flat_map(|c| matches!(c, '$' | '`' | '"').then_some('`').into_iter().chain([c])).collect()
}

fn is_loopback(url: &str) -> bool {
    let host = url.split_once("://").map_or("", |(_, rest)| rest).split('/').next().unwrap_or_default();
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(':');
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|local| host.strip_prefix(local).is_some_and(ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(provider: Provider, grant: Grant, redirect_url: Option<&'static str>) -> Registration<'static> {
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
    fn the_redirect_url_to_register_is_told_with_its_menu() {
        use Grant::{AuthorizationCode as Code, DeviceCode};
        for (provider, grant, url, registered, menu) in [
            (Provider::Microsoft, Code, None, Some("http://localhost"), "Mobile and desktop applications"),
            (Provider::Microsoft, Code, Some("https://relay.contoso.com/cb"), Some("https://relay.contoso.com/cb"), "→ Web,"),
            (Provider::Microsoft, DeviceCode, None, None, "Allow public client flows"),
            (Provider::Google, Code, None, None, "Desktop app"),
            (
                Provider::Google,
                Code,
                Some("https://relay.contoso.com/cb"),
                Some("https://relay.contoso.com/cb"),
                "Web application",
            ),
            (Provider::Google, Code, Some("http://127.0.0.1:8025/cb"), Some("http://127.0.0.1:8025/cb"), "Desktop app"),
            (Provider::Custom, Code, None, Some("http://127.0.0.1/oauth/callback"), "RFC 8252"),
        ] {
            let registration = of(provider, grant, url);
            assert_eq!(registration.redirect(), registered, "{provider} {grant} {url:?}");
            let steps = registration.steps().join("\n");
            assert!(steps.contains(menu), "{provider} {grant} {url:?}: {steps}");
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

    #[test]
    fn only_loopback_is_loopback() {
        for (url, local) in [
            ("http://localhost", true),
            ("http://localhost:1/x", true),
            ("http://[::1]:1", true),
            ("http://127.0.0.1/", true),
            ("http://localhost.example.com", false),
            ("https://relay.example.com/localhost", false),
        ] {
            assert_eq!(is_loopback(url), local, "{url}");
        }
    }
}
