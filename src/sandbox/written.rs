//! What the sandbox writes for an `outlink run` beside it: configuration, private CA, client secret, and a grant to import.

use super::{ADDRESS, Error, Options, Provider, Shared, TENANT, USER, random_bytes};
use crate::{provider, secret::Secret};
use argon2::{Argon2, PasswordHasher as _};
use std::{
    fs, io,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// By which grant the written link lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    /// A consent: there is a refresh token to import.
    AuthorizationCode,
    ClientCredentials,
}

/// The grant that `options` ask for.
pub(super) fn grant(options: &Options) -> Result<Grant, Error> {
    let provider = options.provider;
    match (options.grant, provider) {
        (None, provider::Provider::Google) | (Some(provider::Grant::AuthorizationCode), _) => Ok(Grant::AuthorizationCode),
        (None, _) => Ok(Grant::ClientCredentials),
        (Some(provider::Grant::ClientCredentials), provider::Provider::Microsoft | provider::Provider::Custom) => {
            Ok(Grant::ClientCredentials)
        }
        (Some(grant), provider) => Err(Error::Grant { provider, grant }),
    }
}

impl Provider {
    /// Writes `outlink.toml` into `directory`, which is made where missing, with `ca.pem`, `client-secret` and, where the link
    /// needs a consent, `grant`: a refresh token for `outlink grant import sandbox`. Returns the configuration's path.
    ///
    /// `relay_port` 0 lets the relay take a free port.
    pub fn write_config(&self, directory: &Path, relay_port: u16) -> io::Result<PathBuf> {
        fs::create_dir_all(directory)?;
        let directory = directory.canonicalize()?;
        let file = |name: &str| directory.join(name);
        write(&file("ca.pem"), self.ca_pem(), 0o644)?;
        write(&file("client-secret"), self.shared.client_secret.expose(), 0o600)?;
        match self.shared.grant {
            Grant::AuthorizationCode => write(&file("grant"), self.refresh_token(ADDRESS).expose(), 0o600)?,
            // One of an earlier sandbox would be imported in vain.
            Grant::ClientCredentials => remove(&file("grant"))?,
        }
        let text = text(&self.shared, &directory, relay_port, self.smtp(), self.http())?;
        let config = file("outlink.toml");
        // It holds the hash of a password: nobody else's business.
        write(&config, &text, 0o600)?;
        Ok(config)
    }
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

fn text(shared: &Shared, directory: &Path, relay_port: u16, smtp: SocketAddr, http: SocketAddr) -> io::Result<String> {
    let quoted = |path: &Path| match path.to_str() {
        Some(text) => Ok(toml::Value::from(text).to_string()),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "the directory's name is not UTF-8")),
    };
    let (state, secret, ca) =
        (quoted(&directory.join("state"))?, quoted(&directory.join("client-secret"))?, quoted(&directory.join("ca.pem"))?);
    let provider = shared.options.provider;
    let (more, tls) = match provider {
        provider::Provider::Google => (String::new(), "implicit"),
        provider::Provider::Microsoft => (format!("tenant = \"{TENANT}\"\n"), "starttls"),
        provider::Provider::Custom => (format!("scopes = [\"{}\"]\n", super::scope_of_smtp(provider)), "starttls"),
    };
    let grant = match shared.grant {
        Grant::AuthorizationCode => provider::Grant::AuthorizationCode,
        Grant::ClientCredentials => provider::Grant::ClientCredentials,
    };
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
         client-id = \"{client}\"\n\
         client-secret = {{ file = {secret} }}\n\
         authorization-endpoint = \"http://{http}/authorize\"\n\
         token-endpoint = \"http://{http}/token\"\n\
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
        client = shared.client_id(),
        hash = hash(&shared.password)?,
    ))
}

/// The argon2id hash of the app's password.
fn hash(password: &Secret) -> io::Result<String> {
    let salt: [u8; 16] = random_bytes();
    let hash = Argon2::default().hash_password_with_salt(password.expose().as_bytes(), &salt);
    Ok(hash.map_err(|why| io::Error::other(format!("cannot hash the password: {why}")))?.to_string())
}
