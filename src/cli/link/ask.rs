//! The questions of `outlink link add`, in the order and words of the page "Configure an outgoing link"; the provider's preset is the
//! answer without a key pressed, and is not written.

use super::{
    super::{
        Failed,
        change::Subject,
        question::{Person, needed},
        seal::Given,
    },
    add::Add,
};
use crate::{
    config::{self, write::Kind},
    mail::Name,
    provider::{Cloud, Grant, Provider},
};
use std::path::{Path, PathBuf};

const PROVIDERS: [(&str, Provider); 3] =
    [("Google", Provider::Google), ("Microsoft", Provider::Microsoft), ("Custom", Provider::Custom)];

const CLOUDS: [(&str, Cloud); 6] = [
    ("Global", Cloud::Global),
    ("GCC", Cloud::Gcc),
    ("GCC High", Cloud::GccHigh),
    ("DoD", Cloud::Dod),
    ("China (21Vianet)", Cloud::China),
    ("Outlook.com, Hotmail, Live", Cloud::Consumer),
];

const AUTHORIZATION_CODE: (&str, Grant) = ("Authorization code (a person consents in a browser)", Grant::AuthorizationCode);
const CLIENT_CREDENTIALS: (&str, Grant) = ("Client credentials (the application itself may send)", Grant::ClientCredentials);
const DEVICE_CODE: (&str, Grant) = ("Device code (a person consents on another device)", Grant::DeviceCode);
const SERVICE_ACCOUNT: (&str, Grant) = ("Service account (Workspace, domain-wide delegation)", Grant::ServiceAccount);

/// Asks for everything that no flag said.
pub(super) fn ask(person: Person, add: &mut Add, subject: &Subject) -> Result<(), Failed> {
    let provider = match add.provider {
        Some(provider) => provider,
        None => choose(person, "Service provider", &PROVIDERS)?,
    };
    add.provider = Some(provider);
    if add.name.is_none() {
        add.name = name(person, provider, subject)?;
    }
    if provider == Provider::Microsoft {
        directory(person, add)?;
    }
    let grant = match add.grant {
        Some(grant) => grant,
        None => choose(person, "Grant type", grants(provider, add.cloud))?,
    };
    add.grant = Some(grant);
    let asking = Asking { person, provider, grant };
    if grant != Grant::ServiceAccount && add.client_id.is_none() {
        let checked = Checked { key: "client-id", is_needed: true, set: &|link, answer| link.client_id = Some(answer) };
        add.client_id = asking.text(add, "Client ID", None, &checked)?;
    }
    asking.proof(add)?;
    asking.scopes(add)?;
    asking.endpoints(add)
}

fn choose<T: Copy>(person: Person, prompt: &str, items: &[(&str, T)]) -> Result<T, Failed> {
    let words: Vec<_> = items.iter().map(|(word, _)| *word).collect();
    Ok(items[person.choose(prompt, &words, 0)?].1)
}

fn grants(provider: Provider, cloud: Option<Cloud>) -> &'static [(&'static str, Grant)] {
    match (provider, cloud) {
        (Provider::Google, _) => &[AUTHORIZATION_CODE, SERVICE_ACCOUNT],
        (Provider::Microsoft, Some(Cloud::Consumer)) => &[AUTHORIZATION_CODE, DEVICE_CODE],
        (Provider::Microsoft | Provider::Custom, _) => &[CLIENT_CREDENTIALS, AUTHORIZATION_CODE, DEVICE_CODE],
    }
}

fn name(person: Person, provider: Provider, subject: &Subject) -> Result<Option<Name>, Failed> {
    let taken = subject.definitions.names(Kind::Link);
    let usual = provider.to_string();
    let default = Some(usual.as_str()).filter(|usual| !taken.iter().any(|name| name.as_str() == *usual));
    let fault = |answer: &str| match Name::parse(answer) {
        Err(error) => Some(error.to_string()),
        Ok(name) if taken.contains(&name) => Some(format!("there is a link {name} already")),
        Ok(_) => None,
    };
    Ok(person.text("Name", default, fault)?.and_then(|answer| Name::parse(&answer).ok()))
}

fn directory(person: Person, add: &mut Add) -> Result<(), Failed> {
    if add.cloud.is_none() {
        add.cloud = Some(choose(person, "Cloud", &CLOUDS)?).filter(|cloud| *cloud != Cloud::Global);
    }
    if add.tenant.is_none() && add.cloud != Some(Cloud::Consumer) {
        add.tenant = person.text("Tenant (directory ID, or a domain such as contoso.onmicrosoft.com)", None, |answer| {
            needed(answer).or_else(|| {
                let text = format!("[link.x]\ntenant = {}\n", toml::Value::from(answer));
                fault_of(&text, "link.x.tenant")
            })
        })?;
    }
    Ok(())
}

/// What is wrong with one key of a text, whatever else is.
fn fault_of(text: &str, key: &str) -> Option<String> {
    let faults = config::parse(text, &config::Variables::new()).err()?;
    let fault = faults.into_iter().find(|fault| fault.is_fatal() && fault.key == key)?;
    let hint = if fault.hint.is_empty() { String::new() } else { format!("; {}", fault.hint) };
    Some(format!("{}{hint}", fault.message))
}

/// Who is asked, about what.
#[derive(Clone, Copy)]
struct Asking {
    person: Person,
    provider: Provider,
    grant: Grant,
}

impl Asking {
    /// Asks for one key; `set` puts the answer into a link, of which the configuration then says what it thinks.
    fn text(self, add: &Add, prompt: &str, default: Option<&str>, checked: &Checked<'_>) -> Result<Option<String>, Failed> {
        let answer = self.person.text(prompt, default, |answer| match answer.is_empty() {
            true => checked.is_needed.then(|| "this is needed".to_owned()),
            false => self.fault(add, answer, checked),
        })?;
        // What the preset says needs not be written.
        Ok(answer.filter(|answer| Some(answer.as_str()) != default))
    }

    fn fault(self, add: &Add, answer: &str, checked: &Checked<'_>) -> Option<String> {
        let mut link = add.written(self.provider, self.grant).ok()?;
        (checked.set)(&mut link, answer.to_owned());
        let name = Name::parse("x").ok()?;
        fault_of(link.document(&name).as_str(), &format!("link.x.{}", checked.key))
    }

    fn proof(self, add: &mut Add) -> Result<(), Failed> {
        match self.grant {
            Grant::ServiceAccount if add.proof.service_account_file.is_none() => {
                add.proof.service_account_file = self.file("JSON key file of the service account")?;
            }
            Grant::ServiceAccount => {}
            Grant::ClientCredentials if !add.proof.is_given() => self.application(add)?,
            Grant::AuthorizationCode | Grant::DeviceCode if !add.proof.is_given() => {
                let hint = match self.provider {
                    Provider::Google => "Client secret (desktop clients have one, too)",
                    _ => "Client secret (empty: a public client has none)",
                };
                add.proof.entered.client_secret = self.person.secret(hint)?.map(Given::Here);
            }
            _ => {}
        }
        self.expiry(add)
    }

    fn application(self, add: &mut Add) -> Result<(), Failed> {
        let all = [Way::Secret, Way::Certificate, Way::Pkcs12, Way::FederatedToken, Way::PrivateKey];
        let ways: Vec<_> = all.into_iter().filter(|way| self.provider == Provider::Custom || *way != Way::PrivateKey).collect();
        let words: Vec<_> = ways.iter().map(|way| way.words()).collect();
        match ways[self.person.choose("How the application proves itself", &words, 0)?] {
            Way::Secret => {
                while add.proof.entered.client_secret.is_none() {
                    add.proof.entered.client_secret = self.person.secret("Client secret")?.map(Given::Here);
                }
            }
            Way::Certificate => {
                add.proof.certificate = self.file("Certificate file")?;
                add.proof.private_key_file = self.optional_file("Private key file (empty: it is in the certificate's file)")?;
            }
            Way::Pkcs12 => {
                add.proof.pkcs12 = self.file("PKCS#12 file")?;
                add.proof.entered.pkcs12_password = self.person.secret("Password of that file (empty: none)")?.map(Given::Here);
            }
            Way::FederatedToken => add.proof.federated_token = self.file("Token file")?,
            Way::PrivateKey => add.proof.private_key_file = self.file("Private key file")?,
        }
        Ok(())
    }

    fn expiry(self, add: &mut Add) -> Result<(), Failed> {
        if self.provider == Provider::Microsoft && add.proof.has_client_secret() && add.client_secret_expires.is_none() {
            let checked = Checked {
                key: "client-secret-expires",
                is_needed: false,
                set: &|link, answer| link.client_secret_expires = Some(answer),
            };
            add.client_secret_expires =
                self.text(add, "Last day of the client secret (such as 2027-05-01; empty: unknown)", None, &checked)?;
        }
        Ok(())
    }

    fn file(self, prompt: &str) -> Result<Option<PathBuf>, Failed> {
        let fault = |answer: &str| needed(answer).or_else(|| no_file(answer));
        Ok(self.person.text(prompt, None, fault)?.map(PathBuf::from))
    }

    fn optional_file(self, prompt: &str) -> Result<Option<PathBuf>, Failed> {
        let fault = |answer: &str| if answer.is_empty() { None } else { no_file(answer) };
        Ok(self.person.text(prompt, None, fault)?.map(PathBuf::from))
    }

    fn scopes(self, add: &mut Add) -> Result<(), Failed> {
        if !add.scopes.is_empty() {
            return Ok(());
        }
        let split =
            |answer: &str| answer.split([' ', ',']).filter(|scope| !scope.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let preset = add.preset(self.provider, self.grant).scopes.join(" ");
        let default = Some(preset.as_str()).filter(|preset| !preset.is_empty());
        let checked = Checked { key: "scopes", is_needed: true, set: &|link, answer| link.scopes = split(&answer) };
        add.scopes = self.text(add, "Scopes", default, &checked)?.map(|answer| split(&answer)).unwrap_or_default();
        Ok(())
    }

    fn endpoints(self, add: &mut Add) -> Result<(), Failed> {
        let preset = add.preset(self.provider, self.grant);
        let checked = |key, set| Checked { key, is_needed: true, set };
        if self.grant == Grant::AuthorizationCode && add.authorization_endpoint.is_none() {
            let checked = checked("authorization-endpoint", &|link, answer| link.authorization_endpoint = Some(answer));
            let default = preset.authorization_endpoint.as_deref();
            add.authorization_endpoint = self.text(add, "Authorization endpoint", default, &checked)?;
        }
        if self.grant == Grant::DeviceCode && add.device_endpoint.is_none() {
            let checked = checked("device-endpoint", &|link, answer| link.device_endpoint = Some(answer));
            add.device_endpoint = self.text(add, "Device authorization endpoint", preset.device_endpoint.as_deref(), &checked)?;
        }
        if add.token_endpoint.is_none() {
            let checked = checked("token-endpoint", &|link, answer| link.token_endpoint = Some(answer));
            add.token_endpoint = self.text(add, "Token endpoint", preset.token_endpoint.as_deref(), &checked)?;
        }
        if self.grant == Grant::AuthorizationCode && add.redirect_url.is_none() {
            let checked =
                Checked { key: "redirect-url", is_needed: false, set: &|link, answer| link.redirect_url = Some(answer) };
            add.redirect_url = self.text(add, "Redirect URL (empty: a free port of this machine)", None, &checked)?;
        }
        if self.provider == Provider::Custom && add.ca_file.is_none() {
            add.ca_file = self.optional_file("Private CA (PEM file; empty: the system's)")?;
        }
        Ok(())
    }
}

/// What proves an application.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Secret,
    Certificate,
    Pkcs12,
    FederatedToken,
    PrivateKey,
}

impl Way {
    fn words(self) -> &'static str {
        match self {
            Self::Secret => "Client secret",
            Self::Certificate => "Certificate (PEM)",
            Self::Pkcs12 => "Certificate (PKCS#12)",
            Self::FederatedToken => "Federated token (workload identity)",
            Self::PrivateKey => "Private key alone (private_key_jwt)",
        }
    }
}

/// How an answer is checked: as this key of the link, put there by `set`.
struct Checked<'a> {
    key: &'static str,
    is_needed: bool,
    set: &'a dyn Fn(&mut config::write::Link, String),
}

fn no_file(answer: &str) -> Option<String> {
    (!Path::new(answer).is_file()).then(|| format!("there is no file {answer}"))
}
