//! `[link.NAME]`: an OAuth 2.0 client at a provider, filled up from the provider's preset.

use super::{
    parameters, proof, proxy, redirect,
    settings::{Link, Proof, Proxy},
    table::{Table, Wrong},
    words,
};
use crate::{
    mail::Name,
    provider::{self, Cloud, Grant, Preset, Provider, Registration, ScopeFinding},
};
use std::{collections::BTreeMap, path::PathBuf};
use url::Url;

/// The directories of Microsoft that stand for no tenant.
const NO_TENANT: [&str; 3] = ["common", "organizations", "consumers"];

/// What the table says, before the preset.
struct Given {
    provider: Option<Provider>,
    cloud: Cloud,
    grant: Option<Grant>,
    tenant: Option<String>,
    client_id: Option<String>,
    proof: proof::Given,
    client_secret_expires: Option<chrono::NaiveDate>,
    scopes: Option<Vec<String>>,
    authorization_endpoint: Option<Url>,
    token_endpoint: Option<Url>,
    device_endpoint: Option<Url>,
    revocation_endpoint: Option<Url>,
    issuer: Option<String>,
    redirect_url: Option<Url>,
    parameters: BTreeMap<String, String>,
    ca_file: Option<PathBuf>,
    proxy: Proxy,
    /// Whether a key stands there, well or ill.
    has_client_id: bool,
    has_tenant: bool,
    has_scopes: bool,
    has_token_endpoint: bool,
    has_device_endpoint: bool,
}

/// Reads one.
pub(super) fn read(name: Name, table: &mut Table<'_>) -> Option<Link> {
    let mut given = take(table);
    table.finish();
    let (provider, grant) = (given.provider?, given.grant?);
    check_grant(table, provider, grant, &given);
    if !given.has_client_id && grant != Grant::ServiceAccount {
        table.missing("client-id", "copy it from the provider's page of the application");
    }
    let preset = provider::preset(provider, given.cloud, given.tenant.as_deref(), grant, "");
    let token_endpoint = token_endpoint(table, provider, &mut given, &preset);
    let proof = given.proof.settle(table, provider, grant, token_endpoint.as_ref());
    parameters::check(table, provider, &given.parameters);
    if let Some(url) = &given.redirect_url {
        redirect::check(table, provider, grant, url);
    }
    let scopes = scopes(table, provider, grant, &mut given, &preset);
    let or_preset = |given: Option<Url>, preset: Option<String>| given.or_else(|| Url::parse(&preset?).ok());
    Some(Link {
        name,
        provider,
        cloud: given.cloud,
        grant,
        tenant: given.tenant,
        client_id: if grant == Grant::ServiceAccount { given.client_id.unwrap_or_default() } else { given.client_id? },
        proof: proof?,
        key_id: given.proof.key_id,
        service_account: given.proof.service_account,
        client_secret_expires: given.client_secret_expires,
        scopes,
        authorization_endpoint: or_preset(given.authorization_endpoint, preset.authorization_endpoint),
        token_endpoint: token_endpoint?,
        device_endpoint: or_preset(given.device_endpoint, preset.device_endpoint),
        revocation_endpoint: or_preset(given.revocation_endpoint, preset.revocation_endpoint),
        issuer: given.issuer,
        parameters: given.parameters,
        redirect_url: given.redirect_url,
        ca_file: given.ca_file,
        proxy: given.proxy,
    })
}

impl Link {
    /// What has to be done for it at the provider's pages; with the mailbox that is to send, where it is known.
    pub fn registration<'a>(&'a self, address: Option<&'a str>) -> Registration<'a> {
        Registration {
            provider: self.provider,
            cloud: self.cloud,
            grant: self.grant,
            client_id: &self.client_id,
            redirect_url: self.redirect_url.as_ref(),
            is_public: self.proof == Proof::None,
            address,
        }
    }
}

fn take(table: &mut Table<'_>) -> Given {
    for (key, hint) in [
        ("provider", "write provider = \"google\", \"microsoft\" or \"custom\""),
        ("grant", "write grant = \"client-credentials\" or \"authorization-code\""),
    ] {
        if !table.has(key) {
            table.missing(key, hint);
        }
    }
    let given = Given {
        has_client_id: table.has("client-id"),
        has_tenant: table.has("tenant"),
        has_scopes: table.has("scopes"),
        has_token_endpoint: table.has("token-endpoint"),
        has_device_endpoint: table.has("device-endpoint"),
        provider: table.choice(
            "provider",
            &[("google", Provider::Google), ("microsoft", Provider::Microsoft), ("custom", Provider::Custom)],
        ),
        cloud: take_cloud(table),
        grant: table.choice(
            "grant",
            &[
                ("authorization-code", Grant::AuthorizationCode),
                ("client-credentials", Grant::ClientCredentials),
                ("device-code", Grant::DeviceCode),
                ("service-account", Grant::ServiceAccount),
            ],
        ),
        tenant: table.parsed("tenant", tenant),
        client_id: table.parsed("client-id", words::word),
        proof: proof::take(table),
        client_secret_expires: table.parsed("client-secret-expires", |text| {
            text.parse().map_err(|_| Wrong::new(format!("`{text}` is no date"), "write year, month and day: 2027-05-01"))
        }),
        scopes: table.list("scopes", scope),
        authorization_endpoint: table.parsed("authorization-endpoint", words::endpoint),
        token_endpoint: table.parsed("token-endpoint", words::endpoint),
        device_endpoint: table.parsed("device-endpoint", words::endpoint),
        revocation_endpoint: table.parsed("revocation-endpoint", words::endpoint),
        // Compared letter by letter, so it stays as it is written.
        issuer: table.parsed("issuer", |text| words::endpoint(text).map(|_| text.to_owned())),
        redirect_url: table.parsed("redirect-url", redirect::parse),
        parameters: parameters::take(table),
        ca_file: table.path("ca-file"),
        proxy: proxy::take(table),
    };
    if let Some(file) = given.ca_file.as_ref().filter(|file| !file.is_file()) {
        let hint = "write the path of the CA's certificate in PEM form, readable by the service's user";
        table.fault("ca-file", Wrong::new(format!("there is no file {}", file.display()), hint));
    }
    given
}

fn take_cloud(table: &mut Table<'_>) -> Cloud {
    let words = [
        ("global", Cloud::Global),
        ("gcc", Cloud::Gcc),
        ("gcc-high", Cloud::GccHigh),
        ("dod", Cloud::Dod),
        ("china", Cloud::China),
        ("consumer", Cloud::Consumer),
    ];
    table.choice("cloud", &words).unwrap_or_default()
}

/// It becomes a part of a URL's path.
fn tenant(text: &str) -> Result<String, Wrong> {
    match !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')) && !text.contains("..")
    {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new(
            format!("`{text}` is no tenant"),
            "write the directory's id or a domain of it, such as \"contoso.onmicrosoft.com\"",
        )),
    }
}

/// RFC 6749 §3.3: one scope has no space, quote or backslash in it.
fn scope(text: &str) -> Result<String, Wrong> {
    if text.contains([' ', ',']) {
        return Err(Wrong::new(
            format!("`{text}` looks like several scopes"),
            "write each in quotes of its own: [\"one\", \"two\"]",
        ));
    }
    match !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\')) {
        true => Ok(text.to_owned()),
        false => Err(format!("`{text}` is no scope").into()),
    }
}

/// Grants that the provider does not give.
fn check_grant(table: &Table<'_>, provider: Provider, grant: Grant, given: &Given) {
    let advice = match (provider, grant) {
        (Provider::Google, Grant::ClientCredentials) => {
            Some(("Google has no client credentials for mail", "write \"service-account\" (Workspace) or \"authorization-code\""))
        }
        (Provider::Google, Grant::DeviceCode) => Some((
            "Google does not give mail scopes to devices",
            "write \"authorization-code\"; the URL can be pasted from another machine",
        )),
        (Provider::Microsoft | Provider::Custom, Grant::ServiceAccount) => {
            Some(("service accounts are Google's", "write \"client-credentials\""))
        }
        (Provider::Microsoft, Grant::ClientCredentials) if given.cloud == Cloud::Consumer => {
            Some(("Outlook.com has no application permission", "write \"authorization-code\""))
        }
        _ => None,
    };
    if let Some((message, hint)) = advice {
        table.fault("grant", Wrong::new(message, hint));
    } else if grant == Grant::DeviceCode {
        check_device(table, provider, given);
    }
    if provider != Provider::Microsoft && given.cloud != Cloud::Global {
        table.note("cloud", "clouds are Microsoft's; this has no effect here");
    }
    let nobody = given.tenant.as_deref().is_some_and(|tenant| NO_TENANT.iter().any(|nobody| tenant.eq_ignore_ascii_case(nobody)));
    if provider == Provider::Microsoft && grant == Grant::ClientCredentials && nobody {
        let hint = "write the directory's own id or domain (Entra would answer AADSTS9001023)";
        table.fault("tenant", Wrong::new("client credentials need one certain tenant", hint));
    }
}

/// Device code works where nobody forbids it, and Microsoft's own policy does so in many tenants.
fn check_device(table: &Table<'_>, provider: Provider, given: &Given) {
    match provider {
        Provider::Microsoft => {
            let message = "Conditional Access blocks device codes in many tenants, and then later renewals too (AADSTS530036)";
            let hint = "prefer grant = \"authorization-code\": its URL can be opened on another machine and the answer pasted";
            table.note("grant", Wrong::new(message, hint));
        }
        Provider::Custom if !given.has_device_endpoint => {
            table.missing("device-endpoint", "the provider's manual or its .well-known/openid-configuration names it");
        }
        Provider::Custom | Provider::Google => {}
    }
}

/// The configured scopes, checked, or the preset's.
fn scopes(table: &Table<'_>, provider: Provider, grant: Grant, given: &mut Given, preset: &Preset) -> Vec<String> {
    let Some(mut scopes) = given.scopes.take() else {
        if provider == Provider::Custom && !given.has_scopes {
            table.missing("scopes", "the provider's manual names them, such as [\"mail.send\", \"offline_access\"]");
        }
        return preset.scopes.clone();
    };
    for finding in provider::check_scopes(provider, given.cloud, grant, &mut scopes) {
        match finding {
            ScopeFinding::Corrected { from, to, note } => table.note("scopes", format!("`{from}` is taken as `{to}`: {note}")),
            ScopeFinding::Wrong { scope, why } => table.fault("scopes", format!("the scope `{scope}` is wrong: {why}")),
            ScopeFinding::Missing { scope, why } => {
                table.fault("scopes", Wrong::new(format!("the scope `{scope}` is missing: {why}"), "add it"))
            }
        }
    }
    scopes
}

fn token_endpoint(table: &Table<'_>, provider: Provider, given: &mut Given, preset: &Preset) -> Option<Url> {
    let filled = given.token_endpoint.take().or_else(|| Url::parse(preset.token_endpoint.as_ref()?).ok());
    let tenant_counts = provider == Provider::Microsoft && given.tenant.is_none() && !given.has_tenant;
    // A preset may fill in `common`, which serves people but no application.
    let needs_tenant = tenant_counts && given.grant == Some(Grant::ClientCredentials) && given.cloud != Cloud::Consumer;
    if !given.has_token_endpoint && (filled.is_none() || needs_tenant) {
        match provider {
            Provider::Microsoft if given.has_tenant && given.tenant.is_none() => {}
            Provider::Microsoft if tenant_counts => {
                table.missing("tenant", "write the directory's id or a domain of it, such as \"contoso.onmicrosoft.com\"");
            }
            _ => table.missing("token-endpoint", "the provider's manual or its .well-known/openid-configuration names it"),
        }
    }
    filled
}
