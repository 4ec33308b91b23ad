//! sasl-xoauth2, Postfix's plugin: `/etc/sasl-xoauth2.conf` and its token files, JSON both. A token file may override every key of the
//! configuration but those about logging; without an endpoint of its own the plugin asks Google.

use super::{
    Account, Broken, Extra, Finding, Granted, Input, Left, Login, address,
    client::{Described, Proof},
    json::{self, Object},
};
use crate::{
    provider::{Grant, Provider},
    secret::Secret,
};
use std::path::PathBuf;

/// What the plugin asks unless it is told otherwise.
const GOOGLE: &str = "https://accounts.google.com/o/oauth2/token";

/// The files of one installation.
#[derive(Debug, Default)]
pub struct Setup {
    /// `sasl-xoauth2.conf`.
    pub config: Option<Input>,
    /// Token files: those that maps name, and those that were given themselves.
    pub tokens: Vec<TokenFile>,
}

/// A token file.
#[derive(Debug)]
pub struct TokenFile {
    /// Its path.
    pub name: String,
    /// The user of the login as the map has it; else the file's name.
    pub user: String,
    /// The server as the map has it, `host:port`.
    pub server: Option<String>,
    /// What it holds, or why it cannot be read.
    pub content: Result<Secret, String>,
}

/// Reads an installation. A token file that is broken leaves the others alone.
pub fn sasl_xoauth2(setup: &Setup, extra: &Extra) -> Result<Finding, Broken> {
    let config = setup.config.as_ref().map(json::object).transpose()?;
    let mut finding = Finding::default();
    for file in &setup.tokens {
        match account(file, config.as_ref(), extra, &mut finding.notes) {
            Ok(account) => finding.accounts.push(account),
            Err((reason, step)) => finding.left.push(Left::new(file.user.clone(), reason, step)),
        }
    }
    if setup.tokens.is_empty() {
        let file = setup.config.as_ref().map_or_else(|| "sasl-xoauth2".to_owned(), |input| input.name.clone());
        let why =
            "the accounts stand in other files: give Postfix's map too (the text /etc/postfix/sasl_passwd), or the token files";
        return Err(Broken { file, line: None, why: why.to_owned() });
    }
    Ok(finding)
}

fn account(
    file: &TokenFile,
    config: Option<&Object>,
    extra: &Extra,
    notes: &mut Vec<String>,
) -> Result<Account, (String, String)> {
    let text = file.content.as_ref().map_err(|why| {
        let step = "run this as root; where Postfix runs in a chroot, give the token file itself";
        (format!("its token file {} cannot be read: {why}", file.name), step.to_owned())
    })?;
    let token = json::object(&Input { name: file.name.clone(), text: text.clone() })
        .map_err(|broken| (broken.to_string(), "mend the file, or let the account consent anew: outlink authorize".to_owned()))?;
    let get = |key: &str| token.text(key).or_else(|| config.and_then(|config| config.text(key)));
    let yes = |key: &str| if token.has(key) { token.says_yes(key) } else { config.is_some_and(|config| config.says_yes(key)) };
    let Some(address) = address(&file.user) else {
        let why = "neither the map nor the token file's name has its address";
        return Err((why.to_owned(), "add it by hand: outlink mailbox add, outlink grant import".to_owned()));
    };
    if yes("manage_token_externally") {
        let why = "another program renews its access token (manage_token_externally), and has the refresh token";
        return Err((why.to_owned(), "let the account consent anew: outlink link add, outlink authorize".to_owned()));
    }
    let Some(client_id) = get("client_id").or_else(|| extra.client_id.clone()) else {
        let step = "give the configuration too, which is /etc/sasl-xoauth2.conf, or --client-id";
        return Err(("neither its token file nor a configuration has a client_id".to_owned(), step.to_owned()));
    };
    let proof = get("client_secret").map(Secret::new).or_else(|| extra.client_secret.clone()).map_or(Proof::None, Proof::Secret);
    let grant = if yes("use_client_credentials") { Grant::ClientCredentials } else { Grant::AuthorizationCode };
    let token_url = get("token_endpoint").unwrap_or_else(|| GOOGLE.to_owned());
    let scopes = get("scope").map(|text| text.split_whitespace().map(str::to_owned).collect());
    let described = Described {
        address: address.as_str(),
        grant,
        client_id: Some(client_id),
        proof,
        token_url: &token_url,
        permission_url: extra.authorization_endpoint.as_deref(),
        scopes,
        redirect_url: None,
    };
    let fitted = described.fit().map_err(|why| (why, "add it by hand: outlink link add".to_owned()))?;
    let mut client = fitted.client;
    let custom = client.provider == Provider::Custom;
    client.proxy = get("proxy");
    client.ca_file =
        get("ca_bundle_file").map(PathBuf::from).filter(|_| custom).or_else(|| extra.ca_file.clone().filter(|_| custom));
    if custom && client.scopes.is_empty() {
        client.scopes.clone_from(&extra.scopes);
    }
    if custom && client.scopes.is_empty() {
        let why = "sasl-xoauth2 keeps no scopes, and no preset knows those of this provider";
        return Err((why.to_owned(), "run this again with --scope for each (with that for offline access)".to_owned()));
    }
    let server = extra.server.clone().or_else(|| file.server.clone()).filter(|_| custom);
    if custom && server.is_none() {
        let why = "no map names the SMTP server of its provider";
        return Err((why.to_owned(), "give Postfix's map too, or --server HOST:PORT".to_owned()));
    }
    if custom && client.authorization_endpoint.is_none() && grant == Grant::AuthorizationCode {
        let note = "sasl-xoauth2 keeps no authorization endpoint: for a later consent write authorization-endpoint into the link";
        notes.push(format!("{address}: {note}"));
    }
    notes.extend(fitted.notes.iter().map(|note| format!("{address}: {note}")));
    let granted = match (grant, token.text("refresh_token")) {
        (Grant::ClientCredentials | Grant::ServiceAccount, _) => Granted::NotNeeded,
        (_, Some(token)) => Granted::Token(Secret::new(token)),
        (_, None) => Granted::Missing("its token file has no refresh_token".to_owned()),
    };
    let xoauth2_user = token.text("user").filter(|user| *user != file.user);
    Ok(Account { address, xoauth2_user, client, server, tls: None, grant: granted, login: Login::None })
}
