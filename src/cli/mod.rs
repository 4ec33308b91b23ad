//! What a person can ask for. Data goes to standard output, logs and complaints to standard error; exit statuses are those of
//! sysexits.h where it has one.
//!
//! Layer 9.

mod app;
mod authorize;
mod caller;
mod change;
mod check;
mod control;
mod doctor;
mod explain;
mod grant;
mod health;
mod import;
mod key;
mod link;
mod listing;
mod logging;
mod mailbox;
mod notify;
mod out;
mod question;
mod queue;
mod reach;
mod remove;
mod run;
mod sandbox;
mod seal;
mod sendmail;
mod status;
mod store;

use clap::{Args, Parser, Subcommand};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Where the configuration lies unless `--config` says otherwise.
const CONFIG: &str = "/etc/outlink/outlink.toml";

/// How a command ended, as exit statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    Good = 0,
    /// Findings, or what was asked for does not exist.
    Findings = 1,
    Usage = 64,
    /// The message cannot be used.
    Data = 65,
    /// There is no such recipient.
    NoUser = 67,
    /// The daemon or a port is unavailable.
    Unavailable = 69,
    InputOutput = 74,
    /// In time it may end otherwise: nobody finished the login.
    Temporary = 75,
    Permission = 77,
    Configuration = 78,
}

impl Exit {
    /// The exit that a process of this program ended with.
    fn of(code: i32) -> Option<Self> {
        let all = [Self::Findings, Self::Usage, Self::Unavailable, Self::InputOutput, Self::Permission, Self::Configuration];
        all.into_iter().find(|exit| i32::from(*exit as u8) == code)
    }
}

/// A command that failed: the status and the sentence for standard error.
#[derive(Debug)]
struct Failed(Exit, String);

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self(Exit::InputOutput, format!("{error:#}"))
    }
}

type Outcome = Result<Exit, Failed>;

/// Local SMTP submission relay: applications that know only SMTP with a password keep sending through Gmail and Exchange Online.
#[derive(Debug, Parser)]
#[command(name = "outlink", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try everything for real, and name the cause and the fix of what fails
    Doctor(doctor::Arguments),
    /// Run the relay
    Run(Config),
    /// Report every fault of the configuration
    Check {
        #[command(flatten)]
        config: Config,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Try everything on this machine: a relay, and a simulated provider behind it
    Sandbox(Box<sandbox::Arguments>),
    /// Outgoing links: OAuth 2.0 clients at a provider
    #[command(subcommand)]
    Link(link::LinkCommand),
    /// Sending identities, each authorised through a link
    #[command(subcommand)]
    Mailbox(mailbox::MailboxCommand),
    /// Applications that send
    #[command(subcommand)]
    App(app::AppCommand),
    /// Let a person sign in at the provider, so that a mailbox may send
    Authorize(authorize::Arguments),
    /// What the provider granted to a mailbox
    #[command(subcommand)]
    Grant(GrantCommand),
    /// Take links, mailboxes and grants over from email-oauth2-proxy, sasl-xoauth2 (Postfix) or mutt_oauth2.py
    Import(Box<import::Arguments>),
    /// The key under which secrets are sealed
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Hooks: who is told when a link or mailbox changes its state
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// Kept messages: list, look at, retry, hold, release, discard, move, export
    Queue(queue::Arguments),
    /// Tell what became of a message, or of all messages from or to an address
    Trace(queue::Trace),
    /// Say what a reply, an error or an advice's name means, and what to do
    Explain(explain::Arguments),
    /// The database and the message bodies
    #[command(subcommand)]
    Store(StoreCommand),
    /// What the running daemon is doing
    Status {
        #[command(flatten)]
        config: Config,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Tell what is not ready and what to do, with exit status 1 where somebody has to look: for monitoring
    Health(health::Arguments),
    /// Send the message on standard input, as /usr/sbin/sendmail does
    #[command(disable_help_flag = true)]
    Sendmail {
        /// Options of sendmail(8), and recipients
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Make the running daemon read its configuration again
    Reload(Config),
    /// Stop the running daemon; messages under way are finished
    Stop(Config),
}

#[derive(Debug, Subcommand)]
enum GrantCommand {
    /// Take over a refresh token, from standard input or a file
    Import {
        /// The mailbox that it is for
        mailbox: String,
        /// Read the refresh token from this file instead of standard input
        #[arg(long = "file", value_name = "FILE")]
        token: Option<PathBuf>,
        #[command(flatten)]
        config: Config,
    },
    /// Revoke a mailbox's grant at the provider and forget it; its mail waits for a new consent
    Revoke {
        /// The mailbox
        mailbox: String,
        /// Ask nothing
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        config: Config,
    },
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Copy all that is kept into a new directory, while the daemon runs or not
    Backup {
        /// The directory; it must not exist, and the daemon's user must be able to make it
        directory: PathBuf,
        #[command(flatten)]
        config: Config,
    },
}

/// Which configuration a command works on.
#[derive(Debug, Args)]
struct Config {
    /// The configuration file; conf.d/*.toml beside it is read too
    #[arg(long = "config", value_name = "FILE", default_value = CONFIG)]
    file: PathBuf,
}

impl Config {
    fn file(&self) -> &Path {
        &self.file
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    crate::tls::choose_provider();
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(arguments) = sendmail::called(&arguments) {
        return told(sendmail::sendmail(arguments));
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked_for = !error.use_stderr();
            // Nowhere to complain about a closed terminal.
            let _ = error.print();
            return ExitCode::from(if asked_for { Exit::Good as u8 } else { Exit::Usage as u8 });
        }
    };
    told(run(cli.command))
}

/// Does what was asked for.
fn run(command: Command) -> Outcome {
    match command {
        Command::Doctor(arguments) => doctor::doctor(&arguments),
        Command::Run(config) => run::run(&config),
        Command::Check { config, json } => check::check(&config, json),
        Command::Sandbox(arguments) => sandbox::sandbox(&arguments),
        Command::Link(command) => link::link(command),
        Command::Mailbox(command) => mailbox::mailbox(command),
        Command::App(command) => app::app(command),
        Command::Authorize(arguments) => authorize::authorize(&arguments),
        Command::Grant(GrantCommand::Import { mailbox, token, config }) => grant::import(&mailbox, token.as_deref(), &config),
        Command::Grant(GrantCommand::Revoke { mailbox, yes, config }) => grant::revoke(&mailbox, yes, &config),
        Command::Import(arguments) => import::import(&arguments),
        Command::Key(command) => key::key(command),
        Command::Notify(command) => notify::notify(command),
        Command::Queue(arguments) => queue::queue(arguments),
        Command::Trace(trace) => queue::trace(trace),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Store(StoreCommand::Backup { directory, config }) => store::backup(&directory, &config),
        Command::Sendmail { arguments } => sendmail::sendmail(arguments),
        Command::Status { config, json } => control::status(&config, json),
        Command::Health(arguments) => health::health(&arguments),
        Command::Reload(config) => control::reload(&config),
        Command::Stop(config) => control::stop(&config),
    }
}

/// The exit status, and the complaint.
fn told(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(exit) => ExitCode::from(exit as u8),
        // Whoever read standard output has seen enough.
        Err(Failed(Exit::Good, _)) => ExitCode::SUCCESS,
        Err(Failed(exit, sentence)) => {
            eprintln!("outlink: {sentence}");
            ExitCode::from(exit as u8)
        }
    }
}

/// A runtime for a command; `workers` for the daemon is one a core.
fn runtime() -> Result<tokio::runtime::Runtime, Failed> {
    let built = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(64).enable_all().build();
    built.map_err(|error| Failed(Exit::InputOutput, format!("cannot start threads: {error}")))
}
