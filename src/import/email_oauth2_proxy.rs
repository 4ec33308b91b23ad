//! The configuration of email-oauth2-proxy (`emailproxy.config`, and its `--cache-store` file): its accounts, catch-alls and servers.
//!
//! Tokens and `client_secret_encrypted` are Fernet tokens under the password with which the account's applications log in to it. Their key
//! is made by PBKDF2 from that password, `token_salt` and `token_iterations`; versions before October 2023 wrote no iterations and meant 100,000,
//! and a file may hold values of several versions, so that each number of theirs is tried.

use super::{
    Account, Broken, Door, Extra, Finding, Granted, Input, Left, Login, Shared, address,
    client::{Described, Fitted, Proof},
    fernet,
    ini::Ini,
};
use crate::{
    mail::Address,
    provider::{Grant, Provider},
    secret::Secret,
};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use std::{net::IpAddr, num::NonZeroU32, path::PathBuf};

/// The section of its own settings.
const OWN: &str = "emailproxy";
/// Versions before October 2023; what newer ones take unless the file says otherwise.
const ITERATIONS: [u32; 2] = [1_200_000, 100_000];
/// What a cache store may say of an account, as the program itself has it.
const CACHED: [&str; 7] = [
    "access_token",
    "access_token_expiry",
    "refresh_token",
    "token_salt",
    "token_iterations",
    "client_secret_encrypted",
    "last_activity",
];
/// The values of the sample file that a person has to replace.
const EXAMPLE: &str = "*** your";

const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// The next password that may be an account's; `None` when there is no other. The number counts those tried for this account.
pub type Passwords<'a> = dyn FnMut(&Address, usize) -> Option<Secret> + 'a;

/// Reads its files.
pub fn email_oauth2_proxy(
    config: &Input,
    cache: Option<&Input>,
    extra: &Extra,
    passwords: &mut Passwords<'_>,
) -> Result<Finding, Broken> {
    let files = Files { config: parse(config)?, cache: cache.map(parse).transpose()?, extra };
    let mut finding = Finding::default();
    for section in files.accounts() {
        match section.split_once('@') {
            Some(("", domain)) => files.shared(&section, domain, &mut finding),
            _ => files.account(&section, passwords, &mut finding),
        }
    }
    for section in files.config.sections() {
        files.server(&section.name, &mut finding);
    }
    if finding.accounts.is_empty() && finding.shared.is_empty() && finding.left.is_empty() {
        let why = "there is no account in it: no section has an address such as [alerts@example.com] as its name".to_owned();
        return Err(Broken { file: config.name.clone(), line: None, why });
    }
    Ok(finding)
}

fn parse(input: &Input) -> Result<Ini, Broken> {
    Ini::parse(input.text.expose()).map_err(|fault| Broken { file: input.name.clone(), line: Some(fault.line), why: fault.why })
}

/// Why an account cannot be taken, and what to do.
type Why = (String, String);
/// A server, and how its connection is protected; none where the preset knows both.
type Server = (Option<String>, Option<&'static str>);

struct Files<'a> {
    config: Ini,
    cache: Option<Ini>,
    extra: &'a Extra,
}

impl Files<'_> {
    fn accounts(&self) -> Vec<String> {
        let named =
            |ini: &Ini| ini.sections().iter().map(|section| section.name.clone()).filter(|name| name.contains('@')).collect();
        let mut accounts: Vec<String> = named(&self.config);
        let cached = self.cache.as_ref().filter(|_| self.has_catch_all()).map(named).unwrap_or_default();
        accounts.extend(cached.into_iter().filter(|name| self.config.section(name).is_none()));
        accounts
    }

    fn own(&self, key: &str) -> bool {
        self.config.boolean(OWN, key).unwrap_or(false)
    }

    fn has_catch_all(&self) -> bool {
        self.own("allow_catch_all_accounts")
    }

    /// What counts for an account: its section (the cache's first), or else the catch-all's of its domain, or of all.
    fn get(&self, account: &str, key: &str) -> Option<String> {
        let said = self.get_own(account, key);
        let catch_all = || {
            let domain = account.rsplit('@').next().unwrap_or_default();
            self.get_own(&format!("@{domain}"), key).or_else(|| self.get_own("@", key))
        };
        said.or_else(|| catch_all().filter(|_| self.has_catch_all())).filter(|value| !value.is_empty())
    }

    fn get_own(&self, account: &str, key: &str) -> Option<String> {
        let cached = self.cache.as_ref().filter(|_| CACHED.contains(&key)).and_then(|cache| cache.get(account, key));
        cached.or_else(|| self.config.get(account, key))
    }

    fn account(&self, section: &str, passwords: &mut Passwords<'_>, finding: &mut Finding) {
        let is_example = |key: &str| self.get(section, key).is_some_and(|value| value.contains(EXAMPLE));
        if is_example("client_id") {
            return finding.notes.push(format!("[{section}] still has the values of the sample file: passed over"));
        }
        let Some(address) = address(section) else {
            let step = "add the mailbox by hand: outlink mailbox add";
            return finding.left.push(Left::new(format!("[{section}]"), "its name is no address with a domain", step));
        };
        let mut lock = Lock::new(self, section, &address);
        lock.open(passwords);
        match self.read(section, &address, &lock) {
            Ok((account, notes)) => {
                finding.notes.extend(notes.into_iter().map(|note| format!("{address}: {note}")));
                finding.accounts.push(account);
            }
            Err((reason, step)) => finding.left.push(Left::new(address.to_string(), reason, step)),
        }
    }

    fn read(&self, section: &str, address: &Address, lock: &Lock) -> Result<(Account, Vec<String>), Why> {
        let (fitted, mut notes) = self.client(section, address.as_str(), lock)?;
        let mut client = fitted.client;
        client.ca_file = self.extra.ca_file.clone().filter(|_| client.provider == Provider::Custom);
        let (server, tls) = match client.provider {
            Provider::Custom => self.server_of(section, &client.token_endpoint)?,
            Provider::Google | Provider::Microsoft => (None, None),
        };
        let grant = match client.grant {
            Grant::ClientCredentials | Grant::ServiceAccount => Granted::NotNeeded,
            Grant::AuthorizationCode | Grant::DeviceCode if !fitted.sends => {
                Granted::Missing("the consent was for reading mail alone: its oauth2_scope has no scope for SMTP".to_owned())
            }
            Grant::AuthorizationCode | Grant::DeviceCode => lock.refresh_token(),
        };
        if let Granted::Token(_) = grant
            && self.config.sections().iter().any(|it| server_name(&it.name).is_some_and(|(kind, _)| kind != "SMTP"))
        {
            notes.push(
                "the old program carries IMAP or POP too; if it has to go on for that, let outlink have a consent of its own \
                 (outlink authorize) instead of this refresh token: two programs on one that works once lose it"
                    .to_owned(),
            );
        }
        let login = lock.password.clone().map_or(Login::Unknown, Login::Password);
        Ok((Account { address: address.clone(), xoauth2_user: None, client, server, tls, grant, login }, notes))
    }

    /// The client of a section.
    fn client(&self, section: &str, address: &str, lock: &Lock) -> Result<(Fitted, Vec<String>), Why> {
        let get = |key: &str| self.get(section, key);
        let by_hand = || "add it by hand: outlink link add, outlink mailbox add".to_owned();
        let grant = match (get("oauth2_flow").as_deref(), get("permission_url").is_some()) {
            (Some("device"), _) => Grant::DeviceCode,
            (_, true) | (Some("authorization_code"), false) => Grant::AuthorizationCode,
            (Some("client_credentials"), false) => Grant::ClientCredentials,
            (Some("service_account"), false) => Grant::ServiceAccount,
            (Some("password"), false) => {
                let why =
                    "it sends the account's own password to the provider (oauth2_flow = password), which outlink does not do";
                let step = "let the account consent (grant authorization-code), or give the application its own right \
                            (client-credentials): outlink link add";
                return Err((why.to_owned(), step.to_owned()));
            }
            (Some(_), false) => return Err(("its oauth2_flow is none that outlink knows".to_owned(), by_hand())),
            (None, false) => return Err(("it has neither permission_url nor oauth2_flow".to_owned(), by_hand())),
        };
        let token_url = get("token_url").ok_or_else(|| ("it has no token_url".to_owned(), by_hand()))?;
        let client_id = get("client_id").ok_or_else(|| ("it has no client_id".to_owned(), by_hand()))?;
        let scopes = get("oauth2_scope").map(|text| text.split_whitespace().map(str::to_owned).collect());
        let mut notes = Vec::new();
        let proof = match grant {
            Grant::ServiceAccount => self.service_account(section, &client_id, lock)?,
            _ => self.proof(section, grant, lock, &mut notes)?,
        };
        let (permission_url, redirect_url) = (get("permission_url"), get("redirect_uri"));
        let described = Described {
            address,
            grant,
            client_id: (grant != Grant::ServiceAccount).then_some(client_id),
            proof,
            token_url: &token_url,
            permission_url: permission_url.as_deref(),
            scopes: Some(scopes.unwrap_or_default()),
            redirect_url: redirect_url.as_deref(),
        };
        let mut fitted = described.fit().map_err(|why| (why, by_hand()))?;
        notes.append(&mut fitted.notes);
        Ok((fitted, notes))
    }

    /// What the client proves itself with: a secret wins over a certificate, as it does there.
    fn proof(&self, section: &str, grant: Grant, lock: &Lock, notes: &mut Vec<String>) -> Result<Proof, Why> {
        let get = |key: &str| self.get(section, key);
        if let Some(secret) = get("client_secret") {
            if secret.contains(EXAMPLE) {
                notes.push("its client_secret is the sample file's, and was left out".to_owned());
            } else {
                return Ok(Proof::Secret(Secret::new(secret)));
            }
        }
        if get("client_secret_encrypted").is_some() {
            let opened = lock.client_secret.clone().or_else(|| self.extra.client_secret.clone());
            return opened.map(Proof::Secret).ok_or_else(|| {
                let step = "run this again with the password (--password-file), or with the secret (--client-secret-file)";
                (format!("its client secret is encrypted, and {}", lock.why()), step.to_owned())
            });
        }
        if let (Some(certificate), Some(key)) = (get("jwt_certificate_path"), get("jwt_key_path")) {
            return Ok(Proof::Certificate { certificate: PathBuf::from(certificate), private_key: PathBuf::from(key) });
        }
        if let Some(secret) = &self.extra.client_secret {
            return Ok(Proof::Secret(secret.clone()));
        }
        if grant == Grant::ClientCredentials && self.own("use_login_password_as_client_credentials_secret") {
            return lock.password.clone().map(Proof::Secret).ok_or_else(|| {
                let why = format!("its client secret is the password of its login, and {}", lock.why());
                (why, "run this again with --password-file".to_owned())
            });
        }
        Ok(Proof::None)
    }

    /// There `client_id` says what `client_secret` is.
    fn service_account(&self, section: &str, kind: &str, lock: &Lock) -> Result<Proof, Why> {
        let plain = self.get(section, "client_secret").map(|text| Secret::new(text.trim().to_owned()));
        let key = plain.or_else(|| lock.client_secret.clone()).ok_or_else(|| {
            let step =
                "run this again with the password (--password-file), or write the link with the JSON key: outlink link add";
            (format!("the key of its service account is encrypted, and {}", lock.why()), step.to_owned())
        })?;
        match kind {
            "file" => Ok(Proof::ServiceAccountFile(PathBuf::from(key.expose()))),
            "key" => Ok(Proof::ServiceAccount(key)),
            _ => Err((
                "the client_id of a service account is neither `file` nor `key`".to_owned(),
                "write the link with the JSON key: outlink link add".to_owned(),
            )),
        }
    }

    /// The SMTP server of an account at another provider: the only one, or the only one of its domain. Which one the old program used
    /// depended on the port that the application came to.
    fn server_of(&self, section: &str, token_endpoint: &Option<String>) -> Result<Server, Why> {
        if let Some(server) = &self.extra.server {
            return Ok((Some(server.clone()), None));
        }
        let known = ["smtp.gmail.com", "smtp.office365.com", "smtp-mail.outlook.com", "outlook.office365.com"];
        let servers: Vec<(String, String)> = self
            .config
            .sections()
            .iter()
            .filter(|it| server_name(&it.name).is_some_and(|(kind, _)| kind == "SMTP"))
            .filter_map(|it| Some((it.name.clone(), self.config.get(&it.name, "server_address")?)))
            .filter(|(_, host)| !known.contains(&host.as_str()))
            .collect();
        let endpoint = token_endpoint.as_deref().and_then(|url| url::Url::parse(url).ok()?.host_str().map(str::to_owned));
        let domains = [Some(section.rsplit('@').next().unwrap_or_default().to_owned()), endpoint];
        let near: Vec<_> = servers.iter().filter(|(_, host)| domains.iter().flatten().any(|it| same_site(it, host))).collect();
        let (name, host) = match (&near[..], &servers[..]) {
            ([one], _) => *one,
            ([], [one]) => one,
            _ => {
                let why = "which SMTP server it used is not said: that depended on the port that an application came to";
                return Err((why.to_owned(), "run this again with --only ADDRESS --server HOST:PORT".to_owned()));
            }
        };
        let starttls = ["server_starttls", "starttls"].iter().find_map(|key| self.config.boolean(name, key)).unwrap_or(false);
        let port = self.config.get(name, "server_port").and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0);
        let port =
            port.ok_or_else(|| (format!("[{name}] has no server_port"), "run this again with --server HOST:PORT".to_owned()))?;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        Ok((Some(format!("{host}:{port}")), Some(if starttls { "starttls" } else { "implicit" })))
    }

    fn shared(&self, section: &str, domain: &str, finding: &mut Finding) {
        if !self.has_catch_all() {
            let note =
                format!("[{section}] is passed over: allow_catch_all_accounts is not set, so the old program made no use of it");
            return finding.notes.push(note);
        }
        let lock = Lock { why: Some("catch-all sections have no password of their own".to_owned()), ..Lock::default() };
        match self.client(section, &format!("any@{domain}"), &lock) {
            Ok((fitted, _)) => finding.shared.push(Shared { section: section.to_owned(), client: fitted.client }),
            // What a catch-all does not say, each account of it says.
            Err((reason, _)) => finding.notes.push(format!("[{section}] makes no link of its own: {reason}")),
        }
    }

    fn server(&self, section: &str, finding: &mut Finding) {
        let Some((kind, port)) = server_name(section) else { return };
        let said = self.config.get(section, "local_address");
        let address = match said.as_deref().unwrap_or("::") {
            "::" | "0.0.0.0" => Some(None),
            "localhost" => Some(Some(IpAddr::from([127, 0, 0, 1]))),
            other => other.parse().ok().map(Some),
        };
        let Some(address) = address else {
            finding.notes.push(format!("[{section}] listened on a name instead of an address: write a listener by hand"));
            return;
        };
        let tls = ["local_certificate_path", "local_key_path"].iter().all(|key| self.config.get(section, key).is_some());
        finding.doors.push(Door { section: section.to_owned(), is_smtp: kind == "SMTP", address, port, tls });
    }
}

/// `SMTP-1587` is a server of kind SMTP at port 1587.
fn server_name(section: &str) -> Option<(&str, u16)> {
    let (kind, port) = section.split_once('-')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    ["SMTP", "IMAP", "POP"].contains(&kind).then_some((kind, port))
}

/// Whether two hosts have their last two labels in common.
fn same_site(one: &str, other: &str) -> bool {
    let site = |host: &str| host.rsplitn(3, '.').take(2).map(str::to_ascii_lowercase).collect::<Vec<_>>();
    one.contains('.') && site(one) == site(other)
}

/// What an account has encrypted, and what its password opened.
#[derive(Default)]
struct Lock {
    salt: Vec<u8>,
    iterations: Vec<NonZeroU32>,
    sealed_refresh: Option<String>,
    sealed_secret: Option<String>,
    sealed_access: Option<String>,
    account: Option<Address>,
    /// Why nothing is open.
    why: Option<String>,
    password: Option<Secret>,
    refresh: Option<Secret>,
    client_secret: Option<Secret>,
}

impl Lock {
    fn new(files: &Files<'_>, section: &str, address: &Address) -> Self {
        let own = |key: &str| files.get_own(section, key).filter(|value| !value.is_empty());
        let mut lock = Self {
            sealed_refresh: own("refresh_token"),
            sealed_secret: files
                .get(section, "client_secret_encrypted")
                .filter(|_| files.get(section, "client_secret").is_none()),
            sealed_access: own("access_token"),
            account: Some(address.clone()),
            ..Self::default()
        };
        let salt = files.get(section, "token_salt");
        match salt.as_deref().map(|salt| BASE64.decode(salt.trim())) {
            Some(Ok(salt)) => lock.salt = salt,
            Some(Err(_)) => lock.why = Some("its token_salt is damaged".to_owned()),
            None => lock.why = Some("its token_salt is missing".to_owned()),
        }
        let said = files.get(section, "token_iterations").map(|text| text.parse::<u32>());
        match said {
            Some(Ok(number)) if number <= fernet::MOST_ITERATIONS => lock.iterations.extend(NonZeroU32::new(number)),
            Some(_) => {
                lock.why = Some(format!("its token_iterations is no number up to {}", fernet::MOST_ITERATIONS));
            }
            None => {}
        }
        // Values without the number beside them are older ones.
        let known = ITERATIONS.into_iter().rev().filter_map(NonZeroU32::new);
        lock.iterations.extend(known);
        let mut seen = std::collections::BTreeSet::new();
        lock.iterations.retain(|number| seen.insert(*number));
        lock
    }

    /// Tries passwords until one opens what there is.
    fn open(&mut self, passwords: &mut Passwords<'_>) {
        let Some(address) = self.account.clone() else { return };
        // The access token is worth nothing, but it tells whether this is the login's password.
        let sealed = [&self.sealed_refresh, &self.sealed_secret, &self.sealed_access].map(Clone::clone);
        if self.why.is_some() || sealed.iter().all(Option::is_none) {
            return;
        }
        let mut tried = 0;
        while let Some(password) = passwords(&address, tried) {
            tried += 1;
            let keys: Vec<_> = self.iterations.iter().map(|it| (*it, None)).collect();
            let mut ring = Ring { password: &password, salt: &self.salt, keys };
            let [refresh, secret, access] = sealed.clone().map(|text| text.and_then(|text| ring.open(&text)));
            if refresh.is_some() || secret.is_some() || access.is_some() {
                (self.refresh, self.client_secret, self.password) = (refresh, secret, Some(password));
                return;
            }
        }
        self.why = Some(match tried {
            0 => "the password of its login was not given".to_owned(),
            1 => "the password that was given does not open it".to_owned(),
            many => format!("none of the {many} passwords that were given opens it"),
        });
    }

    fn why(&self) -> &str {
        self.why.as_deref().unwrap_or("it does not open with the password that opens the rest")
    }

    fn refresh_token(&self) -> Granted {
        match (&self.refresh, &self.sealed_refresh) {
            (Some(token), _) => Granted::Token(token.clone()),
            (None, Some(_)) => Granted::Missing(format!("its refresh token is encrypted, and {}", self.why())),
            (None, None) => Granted::Missing("the old program keeps no refresh token for it".to_owned()),
        }
    }
}

/// The keys of one password, each made when it is first needed: that takes a second.
struct Ring<'a> {
    password: &'a Secret,
    salt: &'a [u8],
    keys: Vec<(NonZeroU32, Option<fernet::Key>)>,
}

impl Ring<'_> {
    fn open(&mut self, token: &str) -> Option<Secret> {
        let (password, salt) = (self.password, self.salt);
        self.keys
            .iter_mut()
            .find_map(|(iterations, key)| key.get_or_insert_with(|| fernet::Key::derive(password, salt, *iterations)).open(token))
    }
}
