//! `outlink link add`: every question of the provider's page is a flag; secrets come from files or standard input, never as arguments.

use super::{
    super::{
        Config, Exit, Failed, Outcome,
        change::{self, Subject},
        out::say,
        question,
        seal::{self, Given},
    },
    ask, told,
};
use crate::{
    config::write::{self, Kind},
    mail::Name,
    provider::{Cloud, Grant, Preset, Provider, preset},
};
use clap::Args;
use serde::{Deserialize, de::IntoDeserializer};
use std::path::{Path, PathBuf};

/// `outlink link add`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Add {
    /// Its name
    #[arg(value_name = "NAME", value_parser = Name::parse)]
    pub(super) name: Option<Name>,
    /// Service provider: google, microsoft or custom
    #[arg(long, value_name = "PROVIDER", value_parser = word::<Provider>)]
    pub(super) provider: Option<Provider>,
    /// Microsoft's cloud: global, gcc, gcc-high, dod, china or consumer
    #[arg(long, value_name = "CLOUD", value_parser = word::<Cloud>)]
    pub(super) cloud: Option<Cloud>,
    /// Microsoft: the directory's ID, or one of its domains
    #[arg(long, value_name = "TENANT")]
    pub(super) tenant: Option<String>,
    /// Grant type: authorization-code, client-credentials, device-code or service-account
    #[arg(long, value_name = "GRANT", value_parser = word::<Grant>)]
    pub(super) grant: Option<Grant>,
    /// Client ID (Microsoft: Application ID)
    #[arg(long, value_name = "ID")]
    pub(super) client_id: Option<String>,
    #[command(flatten)]
    pub(super) proof: Proof,
    /// The last day of the client secret, such as 2027-05-01
    #[arg(long, value_name = "DATE")]
    pub(super) client_secret_expires: Option<String>,
    /// How the client proves itself at the token endpoint: post, basic, private-key-jwt or none
    #[arg(long, value_name = "WAY")]
    pub(super) client_authentication: Option<String>,
    /// A scope; may be given more than once
    #[arg(long = "scope", value_name = "SCOPE")]
    pub(super) scopes: Vec<String>,
    /// Authorization endpoint
    #[arg(long, value_name = "URL")]
    pub(super) authorization_endpoint: Option<String>,
    /// Token endpoint
    #[arg(long, value_name = "URL")]
    pub(super) token_endpoint: Option<String>,
    /// Device authorization endpoint
    #[arg(long, value_name = "URL")]
    pub(super) device_endpoint: Option<String>,
    /// Revocation endpoint
    #[arg(long, value_name = "URL")]
    pub(super) revocation_endpoint: Option<String>,
    /// The issuer that a consent must come from (RFC 9207)
    #[arg(long, value_name = "URL")]
    pub(super) issuer: Option<String>,
    /// Redirect URL, where the browser comes back to; without one a free port of this machine
    #[arg(long, value_name = "URL")]
    pub(super) redirect_url: Option<String>,
    /// A private CA in PEM form, trusted for this link besides the system's
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// HTTP proxy, or none to take no notice of the environment's
    #[arg(long, value_name = "URL|none")]
    pub(super) proxy: Option<String>,
    /// The user at the proxy
    #[arg(long, value_name = "USER", requires = "proxy")]
    pub(super) proxy_user: Option<String>,
    /// Read the password for the proxy from this file; - is standard input
    #[arg(long, value_name = "FILE", requires = "proxy_user")]
    pub(super) proxy_password_file: Option<PathBuf>,
    /// A further parameter of the request that begins the grant; may be given more than once
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    pub(super) parameters: Vec<(String, String)>,
    /// Write a link anew that a command wrote before
    #[arg(long)]
    pub(super) replace: bool,
    #[command(flatten)]
    pub(super) config: Config,
}

/// What the application proves itself with.
#[derive(Debug, Args)]
pub(super) struct Proof {
    /// Read the client secret from this file; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(super) client_secret_file: Option<PathBuf>,
    /// The client secret is this credential of the systemd unit
    #[arg(long, value_name = "NAME", conflicts_with = "client_secret_file")]
    pub(super) client_secret_credential: Option<String>,
    /// The client's certificate in PEM form
    #[arg(long, value_name = "FILE")]
    pub(super) certificate: Option<PathBuf>,
    /// Read the private key (PEM) from this file; - is standard input. Not needed where the certificate's file has it
    #[arg(long, value_name = "FILE")]
    pub(super) private_key_file: Option<PathBuf>,
    /// The key's ID (kid), where the provider wants it named
    #[arg(long, value_name = "ID")]
    pub(super) key_id: Option<String>,
    /// Certificate and private key in one PKCS#12 file
    #[arg(long, value_name = "FILE", conflicts_with = "certificate")]
    pub(super) pkcs12: Option<PathBuf>,
    /// Read the password of that file from this one; - is standard input
    #[arg(long, value_name = "FILE", requires = "pkcs12")]
    pub(super) pkcs12_password_file: Option<PathBuf>,
    /// The token file of a federated workload identity
    #[arg(long, value_name = "FILE")]
    pub(super) federated_token: Option<PathBuf>,
    /// Read the JSON key of Google's service account from this file; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(super) service_account_file: Option<PathBuf>,
    /// Write secrets as references to their files, instead of sealing what is in them
    #[arg(long)]
    pub(super) reference: bool,
    /// Secrets that a person entered.
    #[arg(skip)]
    pub(super) entered: Entered,
}

/// Secrets that a person entered, none of them on the command line.
#[derive(Debug, Default)]
pub(super) struct Entered {
    pub(super) client_secret: Option<Given>,
    pub(super) pkcs12_password: Option<Given>,
}

impl Proof {
    /// Whether there is something that proves an application.
    pub(super) fn is_given(&self) -> bool {
        let files = [&self.certificate, &self.private_key_file, &self.pkcs12, &self.federated_token];
        self.has_client_secret() || files.iter().any(|file| file.is_some())
    }

    pub(super) fn has_client_secret(&self) -> bool {
        self.client_secret_file.is_some() || self.client_secret_credential.is_some() || self.entered.client_secret.is_some()
    }

    /// Its files that hold secrets.
    fn secret_files(&self) -> [&Option<PathBuf>; 4] {
        [&self.client_secret_file, &self.private_key_file, &self.pkcs12_password_file, &self.service_account_file]
    }
}

impl Add {
    /// The flags without which no link can be written.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let (provider, grant) = (self.provider, self.grant);
        let custom = provider == Some(Provider::Custom);
        let tenant = provider == Some(Provider::Microsoft)
            && self.cloud != Some(Cloud::Consumer)
            && self.token_endpoint.is_none()
            && self.tenant.is_none();
        [
            ("NAME", self.name.is_none()),
            ("--provider", provider.is_none()),
            ("--grant", grant.is_none()),
            ("--tenant", tenant),
            ("--client-id", self.client_id.is_none() && grant != Some(Grant::ServiceAccount)),
            ("--client-secret-file (or another proof)", grant == Some(Grant::ClientCredentials) && !self.proof.is_given()),
            ("--service-account-file", grant == Some(Grant::ServiceAccount) && self.proof.service_account_file.is_none()),
            ("--scope", custom && self.scopes.is_empty()),
            (
                "--authorization-endpoint",
                custom && grant == Some(Grant::AuthorizationCode) && self.authorization_endpoint.is_none(),
            ),
            ("--token-endpoint", custom && self.token_endpoint.is_none()),
            ("--device-endpoint", custom && grant == Some(Grant::DeviceCode) && self.device_endpoint.is_none()),
        ]
        .into_iter()
        .filter_map(|(flag, is_missing)| is_missing.then_some(flag))
        .collect()
    }

    /// What the provider's preset fills in so far.
    pub(super) fn preset(&self, provider: Provider, grant: Grant) -> Preset {
        preset(provider, self.cloud.unwrap_or_default(), self.tenant.as_deref(), grant, "")
    }

    /// The link as it would be written, without its secrets.
    pub(super) fn written(&self, provider: Provider, grant: Grant) -> Result<write::Link, Failed> {
        let path = |flag: &str, file: &Option<PathBuf>| file.as_deref().map(|file| seal::absolute(flag, file)).transpose();
        Ok(write::Link {
            provider,
            cloud: self.cloud,
            tenant: self.tenant.clone(),
            grant,
            client_id: self.client_id.clone(),
            client_secret: None,
            client_secret_expires: self.client_secret_expires.clone(),
            client_authentication: self.client_authentication.clone(),
            certificate: path("--certificate", &self.proof.certificate)?,
            private_key: None,
            key_id: self.proof.key_id.clone(),
            pkcs12: path("--pkcs12", &self.proof.pkcs12)?,
            pkcs12_password: None,
            federated_token: path("--federated-token", &self.proof.federated_token)?,
            service_account: None,
            scopes: self.scopes.clone(),
            authorization_endpoint: self.authorization_endpoint.clone(),
            token_endpoint: self.token_endpoint.clone(),
            device_endpoint: self.device_endpoint.clone(),
            revocation_endpoint: self.revocation_endpoint.clone(),
            issuer: self.issuer.clone(),
            redirect_url: self.redirect_url.clone(),
            ca_file: path("--ca-file", &self.ca_file)?,
            proxy: self.proxy.clone(),
            proxy_user: self.proxy_user.clone(),
            proxy_password: None,
            parameters: self.parameters.clone(),
        })
    }

    fn seal(&self, link: &mut write::Link, name: &Name, state_directory: &Path) -> Result<(), Failed> {
        let Proof { reference, entered, .. } = &self.proof;
        let read =
            |flag: &str, file: &Option<PathBuf>| file.as_deref().map(|file| seal::from_file(flag, file, *reference)).transpose();
        let written = |given: Option<Given>, key: &str| {
            given.map(|given| seal::written(&given, &format!("link.{name}.{key}"), state_directory)).transpose()
        };
        let credential = self.proof.client_secret_credential.clone().map(Given::Credential);
        let secret = read("--client-secret-file", &self.proof.client_secret_file)?;
        link.client_secret = written(secret.or(credential).or_else(|| entered.client_secret.clone()), "client-secret")?;
        link.private_key = written(read("--private-key-file", &self.proof.private_key_file)?, "private-key")?;
        let password = read("--pkcs12-password-file", &self.proof.pkcs12_password_file)?;
        link.pkcs12_password = written(password.or_else(|| entered.pkcs12_password.clone()), "pkcs12-password")?;
        let account = read("--service-account-file", &self.proof.service_account_file)?;
        link.service_account = written(account, "service-account")?;
        let password = read("--proxy-password-file", &self.proxy_password_file)?;
        link.proxy_password = written(password, "proxy-password")?;
        Ok(())
    }
}

/// Adds a link.
pub(super) fn add(mut add: Add) -> Outcome {
    let from_input = |file: &&Option<PathBuf>| file.as_deref() == Some(Path::new("-"));
    if add.proof.secret_files().into_iter().chain([&add.proxy_password_file]).filter(from_input).count() > 1 {
        return Err(Failed(Exit::Usage, "only one secret can be read from standard input".to_owned()));
    }
    let subject = Subject::read(&add.config, Kind::Link)?;
    if let Some(name) = &add.name {
        subject.place(name, add.replace)?;
    }
    let missing = add.missing();
    if !missing.is_empty() {
        ask::ask(question::person_for("this", &missing)?, &mut add, &subject)?;
    }
    let (Some(name), Some(provider), Some(grant)) = (add.name.clone(), add.provider, add.grant) else {
        return Err(Failed(Exit::Usage, format!("this needs {}", add.missing().join(", "))));
    };
    let place = subject.place(&name, add.replace)?;
    let mut link = add.written(provider, grant)?;
    add.seal(&mut link, &name, subject.definitions.state_directory())?;
    let done = change::carry_out(&subject, &place, &name, Some(link.document(&name).as_str()))?;
    done.lines.iter().for_each(say);
    if let Some(link) = done.settings.links.get(&name) {
        told::next(&subject, link);
    }
    Ok(Exit::Good)
}

/// One of the words of a provider, cloud or grant.
fn word<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    let text: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
    T::deserialize(text).map_err(|error| error.to_string())
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
