//! An OAuth client as another program describes it, fitted into a link: Google's and Microsoft's endpoints become their provider with
//! tenant and cloud, so that the link has the preset's limits and the advice of its provider; everything else is `custom`.

use crate::{
    config::write::{self, SecretText},
    mail::Address,
    oauth::ServiceAccount,
    provider::{self, Cloud, Grant, Provider},
    secret::Secret,
};
use std::path::PathBuf;
use url::Url;

/// A client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the key of this name")]
pub struct Client {
    pub provider: Provider,
    pub cloud: Option<Cloud>,
    pub tenant: Option<String>,
    pub grant: Grant,
    pub client_id: Option<String>,
    pub proof: Proof,
    pub scopes: Vec<String>,
    pub authorization_endpoint: Option<String>,
    pub token_endpoint: Option<String>,
    pub device_endpoint: Option<String>,
    pub redirect_url: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub proxy: Option<String>,
}

/// What it proves itself with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Its id alone.
    None,
    /// A client secret.
    Secret(Secret),
    /// A certificate and its key, in PEM form.
    Certificate {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        private_key: PathBuf,
    },
    /// The file with the JSON key of Google's service account.
    ServiceAccountFile(PathBuf),
    /// That key itself.
    ServiceAccount(Secret),
}

/// A client as it is described.
#[derive(Debug)]
pub(super) struct Described<'a> {
    /// The account, which tells Outlook.com's from a tenant's.
    pub(super) address: &'a str,
    pub(super) grant: Grant,
    pub(super) client_id: Option<String>,
    pub(super) proof: Proof,
    pub(super) token_url: &'a str,
    /// Where a person signs in; the device endpoint with that grant.
    pub(super) permission_url: Option<&'a str>,
    /// `None` where the program does not keep them.
    pub(super) scopes: Option<Vec<String>>,
    pub(super) redirect_url: Option<&'a str>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Fitted {
    pub(super) client: Client,
    /// Whether the scopes to which the account consented cover SMTP.
    pub(super) sends: bool,
    pub(super) notes: Vec<String>,
}

/// Whose the token endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Whose {
    Google,
    Microsoft { cloud: Option<Cloud>, tenant: Option<String>, old: bool },
    Custom,
}

/// Hosts of Google's token endpoint; the older ones still answer.
const GOOGLE: [&str; 3] = ["oauth2.googleapis.com", "accounts.google.com", "www.googleapis.com"];
/// First labels of the domains of Outlook.com's mailboxes.
const CONSUMER: [&str; 4] = ["outlook", "hotmail", "live", "msn"];
const OFFLINE: &str = "offline_access";

impl Described<'_> {
    /// Fits it into a link; else why not.
    pub(super) fn fit(self) -> Result<Fitted, String> {
        let url = Url::parse(self.token_url).map_err(|error| format!("its token endpoint is no URL: {error}"))?;
        let mut notes = Vec::new();
        let whose = match self.grant {
            // The key names the endpoint, which is Google's.
            Grant::ServiceAccount => Whose::Google,
            _ => whose(&url, self.address, self.scopes.as_deref().unwrap_or_default()),
        };
        let (provider, cloud, tenant) = match whose {
            Whose::Google => (Provider::Google, None, None),
            Whose::Microsoft { cloud, tenant, old } => {
                if old {
                    notes.push("its token endpoint was of Microsoft's version 1; outlink asks the one of version 2".to_owned());
                }
                (Provider::Microsoft, cloud, tenant)
            }
            Whose::Custom => (Provider::Custom, None, None),
        };
        let grant = self.grant_at(provider, &mut notes);
        let (scopes, sends) = scopes(provider, cloud, grant, self.scopes.as_deref());
        let own_endpoint = provider == Provider::Custom || is_foreign_google(provider, &url);
        let custom = |url: Option<&str>| url.filter(|_| own_endpoint).map(str::to_owned);
        let (authorization_endpoint, device_endpoint) = match grant {
            Grant::AuthorizationCode => (custom(self.permission_url), None),
            // The query of email-oauth2-proxy's address is what the endpoint takes in its form.
            Grant::DeviceCode => (None, custom(self.permission_url.and_then(|url| url.split('?').next()))),
            Grant::ClientCredentials | Grant::ServiceAccount => (None, None),
        };
        let redirect_url =
            (grant == Grant::AuthorizationCode && provider == Provider::Custom).then_some(self.redirect_url).flatten();
        let client = Client {
            provider,
            cloud,
            tenant,
            grant,
            client_id: self.client_id,
            proof: self.proof,
            scopes,
            authorization_endpoint,
            token_endpoint: own_endpoint.then(|| self.token_url.to_owned()),
            device_endpoint,
            redirect_url: redirect_url.map(str::to_owned),
            ca_file: None,
            proxy: None,
        };
        Ok(Fitted { client, sends, notes })
    }

    /// Google gives no mail scope to devices; a refresh token of its own is as good by the other grant.
    fn grant_at(&self, provider: Provider, notes: &mut Vec<String>) -> Grant {
        match (provider, self.grant) {
            (Provider::Google, Grant::DeviceCode) => {
                notes.push("Google gives no mail scopes to devices: the next consent is given in a browser".to_owned());
                Grant::AuthorizationCode
            }
            (_, grant) => grant,
        }
    }
}

/// Whether both are one key of a service account, however its JSON is laid out.
fn same_key(one: &Proof, other: &Proof) -> bool {
    let read = |proof: &Proof| match proof {
        Proof::ServiceAccount(key) => ServiceAccount::from_json(key).ok(),
        _ => None,
    };
    read(one).zip(read(other)).is_some_and(|(one, other)| one == other)
}

/// A service account whose endpoint is not Google's own: a test's.
fn is_foreign_google(provider: Provider, url: &Url) -> bool {
    provider == Provider::Google && !url.host_str().is_some_and(|host| GOOGLE.contains(&host))
}

fn whose(url: &Url, address: &str, scopes: &[String]) -> Whose {
    let host = url.host_str().unwrap_or_default();
    if GOOGLE.contains(&host) {
        return Whose::Google;
    }
    let path: Vec<&str> = url.path_segments().into_iter().flatten().collect();
    let (tenant, old) = match path[..] {
        [tenant, "oauth2", "v2.0", "token"] => (tenant, false),
        [tenant, "oauth2", "token"] => (tenant, true),
        _ => return Whose::Custom,
    };
    let dod = || scopes.iter().any(|scope| scope.contains("webmail.apps.mil") || scope.contains("outlook-dod."));
    let label = address.rsplit_once('@').and_then(|(_, domain)| domain.split('.').next()).unwrap_or_default();
    let nobody = ["common", "consumers"].iter().any(|it| tenant.eq_ignore_ascii_case(it));
    let cloud = match host {
        "login.microsoftonline.com" | "login.windows.net" => {
            let consumer = nobody && (tenant.eq_ignore_ascii_case("consumers") || CONSUMER.contains(&label));
            consumer.then_some(Cloud::Consumer)
        }
        "login.microsoftonline.us" if dod() => Some(Cloud::Dod),
        "login.microsoftonline.us" => Some(Cloud::GccHigh),
        "login.partner.microsoftonline.cn" | "login.chinacloudapi.cn" => Some(Cloud::China),
        _ => return Whose::Custom,
    };
    // Outlook.com's own directory is the preset's.
    let tenant = Some(tenant.to_owned()).filter(|it| cloud != Some(Cloud::Consumer) || !it.eq_ignore_ascii_case("consumers"));
    Whose::Microsoft { cloud, tenant, old }
}

/// The scopes to be written (none where the preset's will do), and whether those there were cover SMTP.
fn scopes(provider: Provider, cloud: Option<Cloud>, grant: Grant, given: Option<&[String]>) -> (Vec<String>, bool) {
    let Some(given) = given else { return (Vec::new(), true) };
    let preset = provider::preset(provider, cloud.unwrap_or_default(), Some("-"), grant, "").scopes;
    match (provider, grant) {
        (Provider::Custom, _) => (given.to_vec(), true),
        (Provider::Google, _) => (Vec::new(), given.iter().any(|scope| preset.contains(scope))),
        (Provider::Microsoft, Grant::ClientCredentials) => (Vec::new(), true),
        (Provider::Microsoft, _) => {
            // IMAP and POP are no matter of outlink's; the resource stays as it was consented to.
            let sends = |scope: &&String| scope.to_ascii_lowercase().ends_with("/smtp.send") || scope.ends_with("/.default");
            match given.iter().find(sends) {
                None => (Vec::new(), false),
                Some(scope) if preset.contains(scope) => (Vec::new(), true),
                Some(scope) => (vec![scope.clone(), OFFLINE.to_owned()], true),
            }
        }
    }
}

/// A client's secrets as they stand in a file.
#[derive(Debug, Default)]
pub struct Secrets {
    /// `client-secret`.
    pub client_secret: Option<SecretText>,
    /// `private-key`.
    pub private_key: Option<SecretText>,
    /// `service-account`.
    pub service_account: Option<SecretText>,
}

impl Client {
    /// The link as it is written.
    pub fn written(&self, secrets: Secrets) -> write::Link {
        let certificate = match &self.proof {
            Proof::Certificate { certificate, .. } => Some(certificate.clone()),
            _ => None,
        };
        // The other providers know by the proof how a client proves itself.
        let by_jwt = certificate.is_some() && self.provider == Provider::Custom;
        write::Link {
            provider: self.provider,
            cloud: self.cloud,
            tenant: self.tenant.clone(),
            grant: self.grant,
            client_id: self.client_id.clone(),
            client_secret: secrets.client_secret,
            client_secret_expires: None,
            client_authentication: by_jwt.then(|| "private-key-jwt".to_owned()),
            certificate,
            private_key: secrets.private_key,
            key_id: None,
            pkcs12: None,
            pkcs12_password: None,
            federated_token: None,
            service_account: secrets.service_account,
            scopes: self.scopes.clone(),
            authorization_endpoint: self.authorization_endpoint.clone(),
            token_endpoint: self.token_endpoint.clone(),
            device_endpoint: self.device_endpoint.clone(),
            revocation_endpoint: None,
            issuer: None,
            redirect_url: self.redirect_url.clone(),
            ca_file: self.ca_file.clone(),
            proxy: self.proxy.clone(),
            proxy_user: None,
            proxy_password: None,
            parameters: Vec::new(),
        }
    }

    /// Whether both are one client, so that one link serves both; where the browser comes back to is no matter of the client's.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let parts = |it: &Self| Self { redirect_url: None, authorization_endpoint: None, device_endpoint: None, ..it.clone() };
        let (mut one, other) = (parts(self), parts(other));
        if same_key(&one.proof, &other.proof) {
            one.proof.clone_from(&other.proof);
        }
        one == other
    }

    /// A word that may name its link: the organisation's where the account's address tells it.
    pub(super) fn word(&self, address: Option<&Address>) -> String {
        let host = self.token_endpoint.as_deref().and_then(|url| Url::parse(url).ok()?.domain().map(str::to_owned));
        let domain = address.and_then(Address::domain).map(str::to_owned).or(host);
        domain.and_then(|domain| domain.split('.').next().map(str::to_owned)).unwrap_or_else(|| self.provider.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(token_url: &str, address: &str, grant: Grant, scopes: &str) -> Fitted {
        let described = Described {
            address,
            grant,
            client_id: Some("me".into()),
            proof: Proof::None,
            token_url,
            permission_url: Some("https://login.example.com/begin?client_id=me"),
            scopes: Some(scopes.split(' ').map(str::to_owned).collect()),
            redirect_url: Some("http://localhost:8080"),
        };
        described.fit().unwrap()
    }

    #[test]
    fn endpoints_of_google_and_microsoft_become_their_provider_cloud_and_tenant() {
        use Cloud::{China, Consumer, Dod, GccHigh};
        use Provider::{Custom, Google, Microsoft};
        const SEND: &str = "https://outlook.office.com/SMTP.Send offline_access";
        let rows = [
            ("https://oauth2.googleapis.com/token", "a@b.com", Google, None, None),
            ("https://accounts.google.com/o/oauth2/token", "a@b.com", Google, None, None),
            (
                "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token",
                "a@contoso.com",
                Microsoft,
                None,
                Some("contoso.com"),
            ),
            ("https://login.microsoftonline.com/common/oauth2/v2.0/token", "a@contoso.com", Microsoft, None, Some("common")),
            (
                "https://login.microsoftonline.com/common/oauth2/v2.0/token",
                "a@hotmail.co.uk",
                Microsoft,
                Some(Consumer),
                Some("common"),
            ),
            ("https://login.microsoftonline.com/consumers/oauth2/v2.0/token", "a@b.com", Microsoft, Some(Consumer), None),
            ("https://login.microsoftonline.com/t/oauth2/token", "a@b.com", Microsoft, None, Some("t")),
            ("https://login.microsoftonline.us/t/oauth2/v2.0/token", "a@b.com", Microsoft, Some(GccHigh), Some("t")),
            ("https://login.partner.microsoftonline.cn/t/oauth2/v2.0/token", "a@b.cn", Microsoft, Some(China), Some("t")),
            ("https://login.live.com/oauth20_token.srf", "a@outlook.com", Custom, None, None),
            ("https://login.microsoftonline.com.example.org/t/oauth2/v2.0/token", "a@b.com", Custom, None, None),
            ("http://127.0.0.1:8026/token", "a@b.com", Custom, None, None),
        ];
        for (url, address, provider, cloud, tenant) in rows {
            let Fitted { client, .. } = fit(url, address, Grant::AuthorizationCode, SEND);
            assert_eq!((client.provider, client.cloud, client.tenant.as_deref()), (provider, cloud, tenant), "{url} {address}");
            assert_eq!(client.token_endpoint.is_some(), provider == Custom, "{url}");
            assert_eq!(client.redirect_url.is_some(), provider == Custom, "{url}");
        }
        let scope = "https://webmail.apps.mil/SMTP.Send offline_access";
        let dod = fit("https://login.microsoftonline.us/t/oauth2/v2.0/token", "a@b.mil", Grant::AuthorizationCode, scope).client;
        assert_eq!((dod.cloud, dod.scopes.join(" ")), (Some(Dod), scope.to_owned()));
    }

    #[test]
    fn only_what_smtp_needs_of_the_scopes_is_kept() {
        let microsoft = "https://login.microsoftonline.com/t/oauth2/v2.0/token";
        let all = "https://outlook.office365.com/IMAP.AccessAsUser.All https://outlook.office365.com/SMTP.Send offline_access";
        let fitted = fit(microsoft, "a@b.com", Grant::AuthorizationCode, all);
        assert_eq!(fitted.client.scopes, ["https://outlook.office365.com/SMTP.Send", "offline_access"]);
        assert!(fitted.sends);
        let preset = fit(microsoft, "a@b.com", Grant::AuthorizationCode, "https://outlook.office.com/SMTP.Send offline_access");
        assert_eq!((preset.client.scopes.len(), preset.sends), (0, true));
        for (url, scopes) in [
            (microsoft, "https://outlook.office365.com/IMAP.AccessAsUser.All offline_access"),
            ("https://oauth2.googleapis.com/token", "https://www.googleapis.com/auth/gmail.readonly"),
        ] {
            assert!(!fit(url, "a@b.com", Grant::AuthorizationCode, scopes).sends, "{scopes}");
        }
        let custom = fit("https://login.example.com/token", "a@b.com", Grant::AuthorizationCode, "mail-w offline");
        assert_eq!((custom.client.scopes.join(" "), custom.sends), ("mail-w offline".to_owned(), true));
    }

    #[test]
    fn a_device_of_google_becomes_a_browser_and_others_keep_their_endpoint() {
        let google = fit("https://oauth2.googleapis.com/token", "a@b.com", Grant::DeviceCode, "https://mail.google.com/");
        assert_eq!((google.client.grant, google.notes.len()), (Grant::AuthorizationCode, 1));
        let custom = fit("https://login.example.com/token", "a@b.com", Grant::DeviceCode, "mail");
        assert_eq!(custom.client.device_endpoint.as_deref(), Some("https://login.example.com/begin"));
        let bad = Described { token_url: "/token", ..described() }.fit();
        assert!(bad.unwrap_err().contains("no URL"));
    }

    fn described() -> Described<'static> {
        Described {
            address: "a@b.com",
            grant: Grant::AuthorizationCode,
            client_id: None,
            proof: Proof::None,
            token_url: "https://login.example.com/token",
            permission_url: None,
            scopes: None,
            redirect_url: None,
        }
    }

    #[test]
    fn accounts_that_differ_in_their_redirect_alone_share_a_link() {
        let one = Described { redirect_url: Some("http://localhost:1"), ..described() }.fit().unwrap().client;
        let other = Described { redirect_url: Some("http://localhost:2"), ..described() }.fit().unwrap().client;
        assert!(one.is_same(&other) && one != other);
        let third = Described { proof: Proof::Secret(Secret::new("s".into())), ..described() }.fit().unwrap().client;
        assert!(!one.is_same(&third));
    }
}
