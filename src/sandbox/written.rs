//! What the sandbox writes for an `outlink run` beside it: configuration, private CA, client secret, and a grant to import.

use super::{ADDRESS, Provider, Shared, TENANT, USER, random_bytes};
use crate::{provider, secret::Secret};
use argon2::{Argon2, PasswordHasher as _};
use std::{
    fs, io,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

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
        if self.shared.options.provider == provider::Provider::Google {
            write(&file("grant"), self.refresh_token(ADDRESS).expose(), 0o600)?;
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
    match fs::remove_file(&new) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?.write_all(text.as_bytes())?;
    fs::rename(&new, file)
}

fn text(shared: &Shared, directory: &Path, relay_port: u16, smtp: SocketAddr, http: SocketAddr) -> io::Result<String> {
    let quoted = |path: &Path| match path.to_str() {
        Some(text) => Ok(toml::Value::from(text).to_string()),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "the directory's name is not UTF-8")),
    };
    let (state, secret, ca) =
        (quoted(&directory.join("state"))?, quoted(&directory.join("client-secret"))?, quoted(&directory.join("ca.pem"))?);
    let (link, tls) = match shared.options.provider {
        provider::Provider::Google => ("provider = \"google\"\ngrant = \"authorization-code\"\n".to_owned(), "implicit"),
        provider::Provider::Microsoft => {
            (format!("provider = \"microsoft\"\ngrant = \"client-credentials\"\ntenant = \"{TENANT}\"\n"), "starttls")
        }
        provider::Provider::Custom => (
            format!(
                "provider = \"custom\"\ngrant = \"client-credentials\"\nscopes = [\"{}\"]\n",
                super::scope_of_smtp(provider::Provider::Custom)
            ),
            "starttls",
        ),
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
         delivery = \"direct\"\n\n\
         [link.sandbox]\n\
         {link}\
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
