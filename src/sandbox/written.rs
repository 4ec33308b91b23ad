//! What the sandbox writes for an `outlink run` beside it: configuration, private CA, client secret, and a grant to import.

use super::{ADDRESS, Error, Options, Proof, Provider, Shared, TENANT, USER, random_bytes};
use crate::{
    provider::{self, Grant},
    secret::Secret,
};
use argon2::{Argon2, PasswordHasher as _};
use std::{
    fs, io,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// The grant that `options` ask for.
pub(super) fn grant(options: &Options) -> Result<Grant, Error> {
    let google = options.provider == provider::Provider::Google;
    match options.grant {
        None if google => Ok(Grant::AuthorizationCode),
        None => Ok(Grant::ClientCredentials),
        Some(grant @ Grant::AuthorizationCode) => Ok(grant),
        Some(grant @ Grant::ServiceAccount) if google => Ok(grant),
        Some(grant @ (Grant::ClientCredentials | Grant::DeviceCode)) if !google => Ok(grant),
        Some(grant) => Err(Error::Grant { provider: options.provider, grant }),
    }
}

/// The proof that `options` ask for. Google's clients all have a secret; its service accounts need no client.
pub(super) fn proof(options: &Options, grant: Grant) -> Result<Proof, Error> {
    use provider::Provider::{Google, Microsoft};
    let provider = options.provider;
    match options.proof {
        None if provider == Microsoft && grant == Grant::DeviceCode => Ok(Proof::None),
        None | Some(Proof::Secret) => Ok(Proof::Secret),
        Some(proof @ Proof::Certificate) if provider != Google => Ok(proof),
        Some(proof @ Proof::FederatedToken) if provider == Microsoft => Ok(proof),
        Some(proof @ Proof::None) if provider != Google && grant != Grant::ClientCredentials => Ok(proof),
        Some(proof) => Err(Error::Proof { provider, proof, grant }),
    }
}

impl Shared {
    /// Whether the link lives by a person's consent.
    pub(super) fn needs_consent(&self) -> bool {
        matches!(self.grant, Grant::AuthorizationCode | Grant::DeviceCode)
    }

    /// Whether that is given already.
    pub(super) fn is_granted(&self) -> bool {
        self.needs_consent() && self.options.granted
    }
}

/// What may lie beside the configuration from an earlier sandbox.
const FILES: [&str; 6] = ["client-secret", "grant", "client.pem", "client-key.pem", "federated-token", "service-account.json"];

impl Provider {
    /// Writes `outlink.toml` into `directory`, which is made where missing, with `ca.pem`, what proves the client, and, where
    /// the link needs a consent that is given, `grant`: a refresh token for `outlink grant import sandbox`. Returns the
    /// configuration's path.
    ///
    /// `relay_port` 0 lets the relay take a free port.
    pub fn write_config(&self, directory: &Path, relay_port: u16) -> io::Result<PathBuf> {
        fs::create_dir_all(directory)?;
        let directory = directory.canonicalize()?;
        let file = |name: &str| directory.join(name);
        // One of an earlier sandbox would be used in vain.
        FILES.iter().try_for_each(|name| remove(&file(name)))?;
        write(&file("ca.pem"), self.ca_pem(), 0o644)?;
        if self.shared.is_granted() {
            write(&file("grant"), self.refresh_token(ADDRESS).expose(), 0o600)?;
        }
        let proof = write_proof(&self.shared, &directory)?;
        let text = text(&self.shared, &directory, (relay_port, self.smtp()), &proof)?;
        let config = file("outlink.toml");
        // It holds the hash of a password: nobody else's business.
        write(&config, &text, 0o600)?;
        Ok(config)
    }
}

/// Writes what proves the client, and gives the link's lines for it.
fn write_proof(shared: &Shared, directory: &Path) -> io::Result<String> {
    let put = |name: &str, text: &str, mode: u32| {
        let file = directory.join(name);
        write(&file, text, mode)?;
        quoted(&file)
    };
    if shared.grant == Grant::ServiceAccount {
        let key = shared.service_account.file(&shared.issuer()).map_err(io::Error::other)?;
        return Ok(format!("service-account = {{ file = {} }}\n", put("service-account.json", key.expose(), 0o600)?));
    }
    let client = format!("client-id = \"{}\"\n", shared.client_id());
    Ok(match shared.proof {
        Proof::None => client,
        Proof::Secret => {
            let file = put("client-secret", shared.client_secret.expose(), 0o600)?;
            let until = shared.secret_until.map(|last| format!("client-secret-expires = {last}\n")).unwrap_or_default();
            format!("{client}client-secret = {{ file = {file} }}\n{until}")
        }
        Proof::Certificate => {
            let (certificate, key) = shared.client_certificate().map_err(io::Error::other)?;
            let by_jwt = match shared.options.provider {
                provider::Provider::Custom => "client-authentication = \"private-key-jwt\"\n",
                _ => "",
            };
            format!(
                "{client}certificate = {}\nprivate-key = {{ file = {} }}\n{by_jwt}",
                put("client.pem", &certificate, 0o644)?,
                put("client-key.pem", key.expose(), 0o600)?
            )
        }
        Proof::FederatedToken => {
            let token = shared.federated_token().map_err(io::Error::other)?;
            format!("{client}federated-token = {}\n", put("federated-token", token.expose(), 0o600)?)
        }
    })
}

/// A new file takes the place of an old one, so that its mode is right from the first byte.
fn write(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    let new = file.with_extension("new");
    remove(&new)?;
    fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?.write_all(text.as_bytes())?;
    fs::rename(&new, file)
}

/// Removes a file that may not be there.
fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

fn quoted(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some(text) => Ok(toml::Value::from(text).to_string()),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "the directory's name is not UTF-8")),
    }
}

fn text(shared: &Shared, directory: &Path, (relay_port, smtp): (u16, SocketAddr), proof: &str) -> io::Result<String> {
    let (state, ca) = (quoted(&directory.join("state"))?, quoted(&directory.join("ca.pem"))?);
    let (provider, grant, server) = (shared.options.provider, shared.grant, shared.issuer());
    let (more, tls) = match provider {
        provider::Provider::Google => (String::new(), "implicit"),
        provider::Provider::Microsoft => (format!("tenant = \"{TENANT}\"\n"), "starttls"),
        provider::Provider::Custom => {
            let lasting = if shared.needs_consent() { ", \"offline_access\"" } else { "" };
            (format!("scopes = [\"{}\"{lasting}]\n", super::scope_of_smtp(provider)), "starttls")
        }
    };
    let endpoints = endpoints(shared);
    let chunking = match shared.options.chunking {
        Some(true) => "chunking = \"auto\"\n",
        Some(false) => "chunking = \"off\"\n",
        None => "",
    };
    Ok(format!(
        "# Written by `outlink sandbox`: a relay that sends through the simulated provider.\n\
         state-directory = {state}\n\
         hostname = \"relay.sandbox.example\"\n\n\
         [listener.local]\n\
         bind = \"127.0.0.1:{relay_port}\"\n\
         delivery = \"{delivery}\"\n\n\
         [link.sandbox]\n\
         provider = \"{provider}\"\n\
         grant = \"{grant}\"\n\
         {more}\
         {proof}\
         {endpoints}\
         token-endpoint = \"{server}/token\"\n\
         ca-file = {ca}\n\n\
         [mailbox.sandbox]\n\
         link = \"sandbox\"\n\
         address = \"{ADDRESS}\"\n\
         server = \"{smtp}\"\n\
         tls = \"{tls}\"\n\
         {chunking}\n\
         [app.{USER}]\n\
         password = \"{hash}\"\n\
         mailbox = \"sandbox\"\n",
        delivery = shared.options.delivery,
        hash = hash(&shared.password)?,
    ))
}

/// The link's lines for everything but the token endpoint.
fn endpoints(shared: &Shared) -> String {
    let server = shared.issuer();
    let begins = match shared.grant {
        Grant::AuthorizationCode => format!("authorization-endpoint = \"{server}/authorize\"\n"),
        Grant::DeviceCode => format!("device-endpoint = \"{server}/devicecode\"\n"),
        Grant::ClientCredentials | Grant::ServiceAccount => return String::new(),
    };
    let ends = match shared.options.provider {
        provider::Provider::Microsoft => String::new(),
        provider::Provider::Google => format!("revocation-endpoint = \"{server}/revoke\"\n"),
        provider::Provider::Custom => format!("revocation-endpoint = \"{server}/revoke\"\nissuer = \"{server}\"\n"),
    };
    begins + &ends
}

/// The argon2id hash of the app's password.
fn hash(password: &Secret) -> io::Result<String> {
    let salt: [u8; 16] = random_bytes();
    let hash = Argon2::default().hash_password_with_salt(password.expose().as_bytes(), &salt);
    Ok(hash.map_err(|why| io::Error::other(format!("cannot hash the password: {why}")))?.to_string())
}
