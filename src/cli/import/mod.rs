//! `outlink import`: links, mailboxes and grants taken over from another program's files.
//!
//! Everything is read and planned first; then each thing is written as its own command would write it (`link add`, `mailbox add`, `grant import`,
//! `app add`), one after the other, so that what fails for one account leaves the others alone, and a second run goes on where the first ended.

mod carry;
mod files;
mod listeners;
mod told;

use super::{Config, Exit, Failed, Outcome, change::Subject, check, question, reach, runtime, seal};
use crate::{
    config::{Settings, write},
    import::{self, Extra, Finding, Left, Program, Proof},
    mail::Address,
    oauth,
    secret::Secret,
};
use clap::Args;
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    time::Duration,
};
use told::{Item, Report};

/// Passwords that are tried for an account; each costs a second or two.
const MOST_PASSWORDS: usize = 64;
/// How often a person is asked for one account's.
const QUESTIONS: usize = 3;
/// How long a port of the old program may take to answer, on this machine.
const NEAR: Duration = Duration::from_millis(500);

/// `outlink import`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Its files: emailproxy.config; or sasl-xoauth2.conf with Postfix's map or token files; or a decrypted token file of mutt_oauth2.py. - is
    /// standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Whose files they are, where that cannot be seen: email-oauth2-proxy, sasl-xoauth2 or mutt_oauth2
    #[arg(long, value_name = "PROGRAM", value_parser = program)]
    from: Option<Program>,
    /// email-oauth2-proxy: the file of its --cache-store
    #[arg(long, value_name = "FILE")]
    cache_store: Option<PathBuf>,
    /// email-oauth2-proxy: read passwords with which applications log in to it from this file, one a line; each is tried for each account
    #[arg(long = "password-file", value_name = "FILE")]
    password_files: Vec<PathBuf>,
    /// email-oauth2-proxy: read those passwords from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Take only this account; may be given more than once
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    only: Vec<Address>,
    /// The OAuth client's id, where the files do not have it
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Read the client secret from this file, where the files do not have it
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// Microsoft's directory, where the files do not have it
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// The SMTP server of a provider that is neither Google nor Microsoft
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
    /// A scope at such a provider, where the files do not have it; may be given more than once
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Authorization endpoint of such a provider, where the files do not have it
    #[arg(long, value_name = "URL")]
    authorization_endpoint: Option<String>,
    /// A private CA of such a provider, in PEM form
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Add an app for this account, or for all: with the password of its login where that was given, else with one that is made
    #[arg(long = "app", value_name = "ADDRESS|all")]
    apps: Vec<String>,
    /// email-oauth2-proxy: take over the loopback addresses and ports on which it took SMTP, so that applications stay as they are
    #[arg(long)]
    listeners: bool,
    /// Put refresh tokens in the place of those that mailboxes have already
    #[arg(long)]
    refresh_grants: bool,
    /// Take refresh tokens although the old program still seems to run
    #[arg(long)]
    still_running: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
}

/// Takes over what the files hold.
pub(super) fn import(arguments: &Arguments) -> Outcome {
    let standard_input = arguments.files.iter().filter(|file| file.as_os_str() == "-").count();
    if standard_input + usize::from(arguments.password_stdin) > 1 {
        return Err(Failed(Exit::Usage, "only one thing can be read from standard input".to_owned()));
    }
    let (settings, _) = check::load(&arguments.config)?;
    let subjects = Subjects::read(&arguments.config)?;
    let mut report = Report::new(arguments.dry_run);
    let mut finding = arguments.find(&mut report)?;
    let running = old_program(&finding, &settings)?.filter(|_| !arguments.still_running);
    for account in &mut finding.accounts {
        resolve(&mut account.client);
    }
    for shared in &mut finding.shared {
        resolve(&mut shared.client);
    }
    report.notes.append(&mut finding.notes);
    report.items.extend(finding.left.drain(..).map(|Left { what, reason, step }| Item::left("account", &what, reason, step)));
    let (links, mailboxes) =
        (subjects.links.definitions.names(write::Kind::Link), subjects.mailboxes.definitions.names(write::Kind::Mailbox));
    let plan = import::plan(finding.accounts, finding.shared, &settings, links, mailboxes);
    // Listeners first: what is to be typed into applications tells them.
    let stopped = listeners::take_over(arguments, &settings, &finding.doors, &mut report);
    let carrier = carry::Carrier { arguments, settings: &settings, subjects: &subjects, running };
    let stopped = stopped.or_else(|| carrier.carry_out(plan, &mut report));
    report.finish(arguments, &subjects);
    if let Some(Failed(exit, text)) = stopped {
        return Err(Failed(exit, text));
    }
    Ok(if report.is_complete() { Exit::Good } else { Exit::Findings })
}

/// The configuration, for each kind of thing that is written.
struct Subjects {
    links: Subject,
    mailboxes: Subject,
    apps: Subject,
}

impl Subjects {
    fn read(config: &Config) -> Result<Self, Failed> {
        let read = |kind| Subject::read(config, kind);
        Ok(Self { links: read(write::Kind::Link)?, mailboxes: read(write::Kind::Mailbox)?, apps: read(write::Kind::App)? })
    }
}

impl Arguments {
    /// What the files say.
    fn find(&self, report: &mut Report) -> Result<Finding, Failed> {
        let extra = self.extra()?;
        let files = files::Files::read(&self.files, self.cache_store.as_deref(), self.from)?;
        report.programs = files.programs();
        let given = self.passwords()?;
        let person = question::person().filter(|_| !self.password_stdin);
        let mut passwords = |address: &Address, tried: usize| {
            if !self.wants(address) {
                return None;
            }
            if let Some(password) = given.get(tried) {
                return Some(password.clone());
            }
            let person = person.filter(|_| tried < given.len() + QUESTIONS)?;
            if tried > given.len() {
                eprintln!("outlink: that password does not open what {address} has encrypted");
            }
            let prompt =
                format!("Password with which applications log in to email-oauth2-proxy as {address} (Enter passes it over)");
            person.secret(&prompt).ok().flatten()
        };
        let mut finding = files.find(&extra, &mut passwords)?;
        if !self.only.is_empty() {
            finding.accounts.retain(|account| self.wants(&account.address));
            finding.left.retain(|left| Address::parse(&left.what).is_ok_and(|address| self.wants(&address)));
            finding.shared.clear();
            if finding.accounts.is_empty() && finding.left.is_empty() {
                let names = self.only.iter().map(Address::as_str).collect::<Vec<_>>().join(", ");
                return Err(Failed(Exit::Findings, format!("the files have no account {names}")));
            }
        }
        Ok(finding)
    }

    fn wants(&self, address: &Address) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only.is_same(address))
    }

    fn wants_app(&self, address: &Address) -> bool {
        self.apps.iter().any(|app| app == "all" || app.eq_ignore_ascii_case(address.as_str()))
    }

    fn extra(&self) -> Result<Extra, Failed> {
        let client_secret = self.client_secret_file.as_deref().map(|file| seal::from_file("--client-secret-file", file, false));
        let client_secret = match client_secret.transpose()? {
            Some(seal::Given::Here(secret)) => Some(secret),
            _ => None,
        };
        Ok(Extra {
            client_id: self.client_id.clone(),
            client_secret,
            tenant: self.tenant.clone(),
            server: self.server.clone(),
            scopes: self.scopes.clone(),
            authorization_endpoint: self.authorization_endpoint.clone(),
            ca_file: self.ca_file.as_deref().map(|file| seal::absolute("--ca-file", file)).transpose()?,
        })
    }

    /// The passwords that were given, one a line.
    fn passwords(&self) -> Result<Vec<Secret>, Failed> {
        let mut texts = Vec::new();
        for file in &self.password_files {
            let text = seal::text_of(file)
                .map_err(|why| Failed(Exit::InputOutput, format!("--password-file: cannot read {}: {why}", file.display())))?;
            texts.push(Secret::new(text));
        }
        if self.password_stdin {
            texts.push(super::app::read_secret("--password-stdin")?);
        }
        let lines = texts.iter().flat_map(|text| text.expose().lines()).filter(|line| !line.is_empty());
        let passwords: Vec<Secret> = lines.map(|line| Secret::new(line.to_owned())).collect();
        match passwords.len() > MOST_PASSWORDS {
            true => Err(Failed(
                Exit::Usage,
                format!("more than {MOST_PASSWORDS} passwords were given; --only takes one account at a time"),
            )),
            false => Ok(passwords),
        }
    }
}

/// The key of a service account is read where the old program has it; its client's number makes the link known again at a second run.
fn resolve(client: &mut import::Client) {
    if let Proof::ServiceAccountFile(file) = &client.proof
        && let Ok(text) = seal::text_of(file)
    {
        client.proof = Proof::ServiceAccount(Secret::new(text.trim().to_owned()));
    }
    if let Proof::ServiceAccount(key) = &client.proof {
        client.client_id = oauth::ServiceAccount::from_json(key).ok().and_then(|account| account.client_id);
    }
}

/// A port of the old program that is still taken, and not by the running outlink.
fn old_program(finding: &Finding, settings: &Settings) -> Result<Option<SocketAddr>, Failed> {
    let doors = finding.doors.iter().map(|door| SocketAddr::new(door.address.unwrap_or([127, 0, 0, 1].into()), door.port));
    let answering: Vec<SocketAddr> = doors.filter(is_taken).collect();
    if answering.is_empty() {
        return Ok(None);
    }
    let own: Vec<SocketAddr> = match reach::connect(&settings.state_directory) {
        Ok(client) => {
            let status = runtime()?.block_on(client.status()).map_err(reach::failed)?;
            status.listeners.iter().filter_map(|listener| listener.address.parse().ok()).collect()
        }
        Err(Failed(Exit::Unavailable, _)) => Vec::new(),
        Err(failed) => return Err(failed),
    };
    let is_own = |address: &SocketAddr| own.iter().any(|it| it.port() == address.port());
    Ok(answering.into_iter().find(|address| !is_own(address)))
}

/// Whether something listens there. An address that is not loopback may be another machine's, which is not to be called.
fn is_taken(address: &SocketAddr) -> bool {
    match address.ip().to_canonical().is_loopback() {
        true => TcpStream::connect_timeout(address, NEAR).is_ok(),
        false => TcpListener::bind(address).is_err_and(|why| why.kind() == std::io::ErrorKind::AddrInUse),
    }
}

fn program(text: &str) -> Result<Program, String> {
    let known = Program::ALL.into_iter().find(|program| text == program.name());
    known.ok_or_else(|| format!("there are: {}", Program::ALL.map(Program::name).join(", ")))
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|error| error.to_string())
}
