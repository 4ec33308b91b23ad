//! What each provider's preset fills in. Every field can be overridden by configuration.

use super::{Cloud, Grant, Provider, microsoft};

/// How the upstream connection is protected; there is no unprotected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// STARTTLS (RFC 3207), required.
    Starttls,
}

/// Whether BDAT is used where the server offers CHUNKING (RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chunking {
    /// Where offered.
    Auto,
    /// Never.
    Off,
}

/// The envelope sender of bounces and of other mail from nobody (RFC 5321 §4.5.5 asks for `<>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NullSender {
    /// Nobody: the null sender `<>` stays.
    Keep,
    /// The mailbox's own address takes its place, because the provider refuses the null sender.
    Mailbox,
}

/// Limits of one mailbox; 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections to the upstream at the same time.
    pub connections: u32,
    /// Messages over one connection before it is replaced.
    pub messages_per_connection: u32,
    /// Messages a minute.
    pub messages_per_minute: u32,
    /// Messages in 24 hours.
    pub messages_per_day: u32,
    /// Recipients in 24 hours.
    pub recipients_per_day: u32,
    /// Recipients of one message.
    pub recipients_per_message: u32,
}

/// What a preset fills in for one link and its mailboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preset {
    /// Authorization endpoint; `None` where only configuration can say.
    pub authorization_endpoint: Option<String>,
    /// Token endpoint.
    pub token_endpoint: Option<String>,
    /// Device authorization endpoint.
    pub device_endpoint: Option<String>,
    /// Where a refresh token is revoked (RFC 7009).
    pub revocation_endpoint: Option<String>,
    /// Scopes asked for.
    pub scopes: Vec<String>,
    /// SMTP server as `host:port`.
    pub server: Option<String>,
    /// How its connection is protected.
    pub tls: TlsMode,
    /// Whether BDAT is used.
    pub chunking: Chunking,
    /// Limits of a mailbox.
    pub limits: Limits,
    /// The envelope sender of mail from nobody.
    pub null_sender: NullSender,
}

/// Google's only scope for SMTP; the slash at the end belongs to it.
pub(super) const GOOGLE_SCOPE: &str = "https://mail.google.com/";

/// The preset of `provider`; `cloud` and `tenant` matter to Microsoft only, `address` (the mailbox's) to Google's day limit.
///
/// Without a tenant Microsoft's endpoints stay `None`, but for the consumer cloud (`consumers`): newly registered apps are
/// single-tenant and refused on `common` and `organizations` (AADSTS50194), and client credentials always are (AADSTS9001023).
/// Who registered a multi-tenant app writes `tenant = "organizations"`.
pub fn preset(provider: Provider, cloud: Cloud, tenant: Option<&str>, grant: Grant, address: &str) -> Preset {
    match provider {
        Provider::Google => google(address),
        Provider::Microsoft => exchange(cloud, tenant, grant),
        Provider::Custom => custom(),
    }
}

fn google(address: &str) -> Preset {
    Preset {
        authorization_endpoint: Some("https://accounts.google.com/o/oauth2/v2/auth".into()),
        token_endpoint: Some("https://oauth2.googleapis.com/token".into()),
        // Google's device flow exists, but gives no Gmail scope to anyone.
        device_endpoint: None,
        revocation_endpoint: Some("https://oauth2.googleapis.com/revoke".into()),
        scopes: vec![GOOGLE_SCOPE.into()],
        server: Some("smtp.gmail.com:465".into()),
        tls: TlsMode::Implicit,
        chunking: Chunking::Auto,
        limits: google_limits(address),
        null_sender: NullSender::Keep,
    }
}

/// Workspace counts 2,000 messages and 10,000 recipients in 24 hours, a consumer account 500 messages; both 100 recipients a
/// message over SMTP. No limit a minute and none for a connection is documented.
fn google_limits(address: &str) -> Limits {
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    let consumer = ["gmail.com", "googlemail.com"].iter().any(|known| domain.eq_ignore_ascii_case(known));
    let (messages_per_day, recipients_per_day) = if consumer { (500, 0) } else { (2_000, 10_000) };
    Limits { messages_per_day, recipients_per_day, ..UNKNOWN }
}

fn exchange(cloud: Cloud, tenant: Option<&str>, grant: Grant) -> Preset {
    let known = microsoft::cloud(cloud);
    let default = (cloud == Cloud::Consumer).then_some("consumers");
    let tenant = tenant.map(str::trim).filter(|tenant| !tenant.is_empty()).or(default);
    let endpoint = |what| tenant.map(|tenant| format!("https://{}/{tenant}/oauth2/v2.0/{what}", known.login));
    Preset {
        authorization_endpoint: endpoint("authorize"),
        token_endpoint: endpoint("token"),
        device_endpoint: endpoint("devicecode"),
        // Entra has none: an administrator revokes all sessions of a user at once.
        revocation_endpoint: None,
        scopes: match grant {
            Grant::ClientCredentials => vec![known.application.into()],
            _ => vec![known.delegated.into(), microsoft::OFFLINE.into()],
        },
        server: Some(known.server.into()),
        tls: TlsMode::Starttls,
        // Field reports of BDAT faults at Exchange Online.
        chunking: Chunking::Off,
        limits: Limits {
            connections: 3,
            messages_per_minute: 30,
            recipients_per_day: 10_000,
            recipients_per_message: 500,
            ..UNKNOWN
        },
        // It takes only the mailbox's own addresses as the sender.
        null_sender: NullSender::Mailbox,
    }
}

fn custom() -> Preset {
    Preset {
        authorization_endpoint: None,
        token_endpoint: None,
        device_endpoint: None,
        revocation_endpoint: None,
        scopes: Vec::new(),
        server: None,
        tls: TlsMode::Starttls,
        chunking: Chunking::Auto,
        limits: UNKNOWN,
        null_sender: NullSender::Keep,
    }
}

/// What is careful where nothing is known: RFC 5321 §4.5.3.1.8 has every server take 100 recipients.
const UNKNOWN: Limits = Limits {
    connections: 10,
    messages_per_connection: 0,
    messages_per_minute: 0,
    messages_per_day: 0,
    recipients_per_day: 0,
    recipients_per_message: 100,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn google_is_reached_on_465_and_counts_by_the_kind_of_account() {
        for (address, messages) in
            [("a@contoso.com", 2_000), ("a@gmail.com", 500), ("A@GoogleMail.COM", 500), ("a@notgmail.com", 2_000), ("a", 2_000)]
        {
            let preset = preset(Provider::Google, Cloud::Global, None, Grant::AuthorizationCode, address);
            assert_eq!(preset.limits.messages_per_day, messages, "{address}");
            assert_eq!((preset.limits.connections, preset.limits.recipients_per_message), (10, 100));
            assert_eq!((preset.server.as_deref(), preset.tls), (Some("smtp.gmail.com:465"), TlsMode::Implicit));
            assert_eq!(preset.scopes, ["https://mail.google.com/"]);
            assert_eq!((preset.device_endpoint, preset.null_sender), (None, NullSender::Keep));
        }
    }

    #[test]
    fn each_cloud_has_its_own_hosts_and_scopes() {
        let rows = [
            (Cloud::Global, "login.microsoftonline.com", "smtp.office365.com:587", "https://outlook.office.com/SMTP.Send"),
            (Cloud::Gcc, "login.microsoftonline.com", "smtp.office365.com:587", "https://outlook.office365.com/SMTP.Send"),
            (Cloud::GccHigh, "login.microsoftonline.us", "smtp.office365.us:587", "https://outlook.office365.us/SMTP.Send"),
            (Cloud::Dod, "login.microsoftonline.us", "outlook-dod.office365.us:587", "https://outlook.office365.us/SMTP.Send"),
            (
                Cloud::China,
                "login.partner.microsoftonline.cn",
                "smtp.partner.outlook.cn:587",
                "https://partner.outlook.cn/SMTP.Send",
            ),
            (Cloud::Consumer, "login.microsoftonline.com", "smtp-mail.outlook.com:587", "https://outlook.office.com/SMTP.Send"),
        ];
        for (cloud, login, server, scope) in rows {
            let preset = preset(Provider::Microsoft, cloud, Some("t.example"), Grant::AuthorizationCode, "a@t.example");
            assert_eq!(preset.authorization_endpoint, Some(format!("https://{login}/t.example/oauth2/v2.0/authorize")));
            assert_eq!(preset.token_endpoint, Some(format!("https://{login}/t.example/oauth2/v2.0/token")));
            assert_eq!(preset.device_endpoint, Some(format!("https://{login}/t.example/oauth2/v2.0/devicecode")));
            assert_eq!((preset.server.as_deref(), preset.tls), (Some(server), TlsMode::Starttls));
            assert_eq!(preset.scopes, [scope, "offline_access"]);
            assert_eq!((preset.chunking, preset.null_sender), (Chunking::Off, NullSender::Mailbox));
            let limits = preset.limits;
            assert_eq!((limits.connections, limits.messages_per_minute), (3, 30));
            assert_eq!((limits.recipients_per_day, limits.recipients_per_message), (10_000, 500));
        }
    }

    #[test]
    fn client_credentials_ask_for_the_default_scope_of_their_cloud() {
        for (cloud, scope) in [
            (Cloud::Global, "https://outlook.office365.com/.default"),
            (Cloud::Gcc, "https://outlook.office365.com/.default"),
            (Cloud::GccHigh, "https://outlook.office365.us/.default"),
            (Cloud::Dod, "https://outlook.office365.us/.default"),
            (Cloud::China, "https://partner.outlook.cn/.default"),
        ] {
            assert_eq!(preset(Provider::Microsoft, cloud, Some("t"), Grant::ClientCredentials, "").scopes, [scope]);
        }
    }

    #[test]
    fn without_a_tenant_only_consumers_have_endpoints() {
        for (cloud, tenant, token) in [
            (Cloud::Global, None, None),
            (Cloud::Global, Some(" "), None),
            (Cloud::Consumer, None, Some("https://login.microsoftonline.com/consumers/oauth2/v2.0/token")),
            (Cloud::Consumer, Some("common"), Some("https://login.microsoftonline.com/common/oauth2/v2.0/token")),
        ] {
            let preset = preset(Provider::Microsoft, cloud, tenant, Grant::AuthorizationCode, "a@outlook.com");
            assert_eq!(preset.token_endpoint.as_deref(), token);
        }
    }

    #[test]
    fn a_custom_provider_fills_in_nothing_but_careful_limits() {
        let preset = preset(Provider::Custom, Cloud::Global, Some("t"), Grant::ClientCredentials, "a@example.com");
        assert_eq!((preset.token_endpoint, preset.server, preset.scopes), (None, None, vec![]));
        assert_eq!((preset.limits.connections, preset.limits.recipients_per_message), (10, 100));
        assert_eq!(preset.null_sender, NullSender::Keep);
    }
}
