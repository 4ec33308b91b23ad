//! `outlink sandbox`: a relay and a simulated provider on loopback, to try, to test and to rehearse failures.

mod choices;
mod fault;

use super::{Exit, Failed, Outcome, logging, out::say, run::not_started, runtime};
use crate::{
    config::{self, Log, LogFormat},
    daemon::{self, Daemon, StartError},
    listener::Passed,
    mail::Name,
    provider,
    sandbox::{self, Options, Provider, Received},
};
use anyhow::Context;
use choices::{Delivery, Grant, Personality, Proof};
use clap::Args;
use fault::SandboxCommand;
use serde_json::json;
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a consent lasts while Google's consent screen is in Testing.
const TESTING: Duration = Duration::from_secs(7 * 24 * 3600);

/// The longest time that can be chosen: ten years, so that no date overflows.
const LONGEST: Duration = Duration::from_secs(3653 * 24 * 3600);

/// Options of `outlink sandbox`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<SandboxCommand>,
    /// Whom to simulate
    #[arg(long, value_enum, default_value_t = Personality::Google)]
    provider: Personality,
    /// Port on which apps connect; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 2525)]
    port_relay: u16,
    /// Port of the simulated provider's SMTP server; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8465)]
    port_smtp: u16,
    /// Port of the simulated provider's OAuth server, and of the list of received messages; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8026, global = true)]
    port_http: u16,
    /// Enforce the provider's limits instead of only counting them
    #[arg(long)]
    limits: bool,
    /// Take passwords too, so that a plain SMTP client can be measured against the provider
    #[arg(long)]
    accept_password: bool,
    /// Simulated round trip to the provider, such as 20ms
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "0ms")]
    round_trip: Duration,
    /// How the relay's link is authorised; by default as `authorization-code` at Google, `client-credentials` elsewhere
    #[arg(long, value_enum)]
    grant: Option<Grant>,
    /// How the relay's OAuth client proves who it is; by default by a secret, as device at Microsoft not at all
    #[arg(long, value_enum)]
    proof: Option<Proof>,
    /// Leave the consent to `outlink authorize sandbox`
    #[arg(long)]
    no_grant: bool,
    /// How often a device may ask for its token, such as 1s
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5s")]
    device_interval: Duration,
    /// Claims of Microsoft's access tokens as a JSON object, in place of the usual ones; null takes one out
    #[arg(long, value_name = "JSON", value_parser = claims, default_value = "{}")]
    claims: Claims,
    /// Google's consent screen is in Testing: each consent lasts 7 days
    #[arg(long, conflicts_with = "refresh_life")]
    testing: bool,
    /// How long refresh tokens live, such as 12h: Custom's after each use, those of the others after the consent
    #[arg(long, value_name = "TIME", value_parser = time)]
    refresh_life: Option<Duration>,
    /// How long the client secret lives, such as 45d; it ends with the day
    #[arg(long, value_name = "TIME", value_parser = time)]
    secret_life: Option<Duration>,
    /// How long the client's certificate lives that --proof certificate writes; it ends with the day
    #[arg(long, value_name = "TIME", value_parser = time)]
    certificate_life: Option<Duration>,
    /// The contract with the app: what a 250 promises
    #[arg(long, value_enum, default_value_t = Delivery::Queue)]
    delivery: Delivery,
    /// Run the provider alone; the relay is an `outlink run` beside it
    #[arg(long, requires = "write_config")]
    provider_only: bool,
    /// Write a ready outlink.toml, the CA and the grant into this directory
    #[arg(long, value_name = "DIR", requires = "provider_only")]
    write_config: Option<PathBuf>,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    /// Log level of the relay
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log: String,
}

/// A JSON object.
type Claims = serde_json::Map<String, serde_json::Value>;

fn claims(text: &str) -> Result<Claims, String> {
    serde_json::from_str(text).map_err(|why| format!("this is no JSON object: {why}"))
}

/// Runs the sandbox until Ctrl-C, or switches a fault of a running one.
pub(super) fn sandbox(arguments: &Arguments) -> Outcome {
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        match &arguments.command {
            Some(command) => fault::switch(command, arguments.port_http).await,
            None => simulate(arguments).await,
        }
    });
    runtime.shutdown_background();
    outcome
}

async fn simulate(arguments: &Arguments) -> Outcome {
    logging::start(&Log { format: LogFormat::Text, level: arguments.log.clone() })?;
    if arguments.testing && arguments.provider != Personality::Google {
        return Err(Failed(Exit::Usage, "only Google has a consent screen in Testing: leave out --testing or --provider".into()));
    }
    let options = Options {
        provider: arguments.provider.into(),
        smtp_port: arguments.port_smtp,
        http_port: arguments.port_http,
        limits: arguments.limits,
        accept_password: arguments.accept_password,
        round_trip: arguments.round_trip,
        delivery: arguments.delivery.into(),
        grant: arguments.grant.map(provider::Grant::from),
        proof: arguments.proof.map(sandbox::Proof::from),
        granted: !arguments.no_grant,
        device_interval: arguments.device_interval,
        claims: arguments.claims.clone(),
        refresh_life: arguments.refresh_life.or(arguments.testing.then_some(TESTING)),
        secret_life: arguments.secret_life,
        certificate_life: arguments.certificate_life,
        ..Options::default()
    };
    let mut provider = Provider::start(options).await.map_err(|error| {
        let exit = if matches!(error, sandbox::Error::Grant { .. } | sandbox::Error::Proof { .. }) {
            Exit::Usage
        } else {
            Exit::Unavailable
        };
        Failed(exit, error.to_string())
    })?;
    let outcome = match &arguments.write_config {
        Some(directory) => alone(arguments, &mut provider, directory).await,
        None => with_relay(arguments, &mut provider).await,
    };
    provider.stop().await;
    outcome
}

/// The provider without a relay.
async fn alone(arguments: &Arguments, provider: &mut Provider, directory: &Path) -> Outcome {
    let file = provider
        .write_config(directory, arguments.port_relay)
        .with_context(|| format!("cannot write a configuration into {}", directory.display()))?;
    if arguments.json {
        say(json!({"event": "ready", "provider": provider.smtp(), "http": provider.http(), "plain": provider.smtp_plain(),
            "config": file, "user": provider.user(), "password": provider.password().expose()}));
    } else {
        say(format_args!(
            "A simulated provider: SMTP on {}, OAuth and what it received on http://{}",
            provider.smtp(),
            provider.http()
        ));
        if let Some(plain) = provider.smtp_plain() {
            say(format_args!(
                "Plain SMTP with user {} and password {} on {plain}",
                provider.user(),
                provider.password().expose()
            ));
        }
        say(format_args!("\nThe relay beside it:"));
        if provider.is_granted() {
            let grant = file.with_file_name("grant");
            say(format_args!("  outlink grant import sandbox --config {} --file {}", file.display(), grant.display()));
        }
        say(format_args!("  outlink run --config {}", file.display()));
        invite(provider, &file);
        announce(provider);
    }
    let received = show(arguments.json, provider);
    tokio::select! {
        () = received => {}
        result = interrupted() => result.context("cannot take signals")?,
    }
    Ok(Exit::Good)
}

/// The provider with a relay in the same process, set up as an administrator would: by a configuration file.
async fn with_relay(arguments: &Arguments, provider: &mut Provider) -> Outcome {
    let directory = tempfile::Builder::new().prefix("outlink-sandbox-").tempdir().context("cannot make a temporary directory")?;
    let file =
        provider.write_config(directory.path(), arguments.port_relay).context("cannot write the sandbox's configuration")?;
    let (settings, _) = config::load(&file).map_err(|faults| {
        let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Failed(Exit::Configuration, format!("the sandbox's own configuration is faulty, please report it:\n{}", said.join("\n")))
    })?;
    let daemon = daemon::start(file.clone(), settings, Passed::default()).await.map_err(|error| match error {
        StartError::Listen(error) if error.why.kind() == io::ErrorKind::AddrInUse => Failed(
            Exit::Unavailable,
            format!("port {} is taken by another program: choose one with --port-relay PORT", arguments.port_relay),
        ),
        error => not_started(error),
    })?;
    if provider.is_granted() {
        let mailbox = Name::parse("sandbox").context("the sandbox's mailbox has no valid name")?;
        let token = provider.refresh_token(provider.address());
        daemon.tokens().import(&mailbox, token, None).await.context("cannot store the sandbox's grant")?;
    }
    ready(arguments.json, &daemon, provider, &file);
    let done = daemon.run(show(arguments.json, provider)).await;
    done.context("cannot take signals")?;
    Ok(Exit::Good)
}

/// Says how to send.
fn ready(json: bool, daemon: &Daemon, provider: &Provider, config: &Path) {
    let address = daemon.listeners().into_iter().next().map(|listener| listener.address).unwrap_or_default();
    let (user, password) = (provider.user(), provider.password());
    let password = password.expose();
    if json {
        return say(json!({"event": "ready", "smtp": address, "user": user, "password": password,
            "provider": provider.smtp(), "http": provider.http(), "plain": provider.smtp_plain(), "config": config}));
    }
    let (host, port) = address.rsplit_once(':').unwrap_or((&address, ""));
    say(format_args!("A relay with a simulated provider behind it, all on this machine. Ctrl-C stops it.\n"));
    say(format_args!("  server     {host} port {port}, no encryption\n  user name  {user}\n  password   {password}\n"));
    say(format_args!("Send with any mail program, or:\n"));
    say(format_args!(
        "  printf 'Subject: hello\\r\\n\\r\\nIt works.\\r\\n' | curl -sS smtp://{address} --user {user}:{password} \\\n    --mail-from sandbox@example.com --mail-rcpt you@example.com --upload-file -\n"
    ));
    say(format_args!(
        "  swaks --server {address} --auth PLAIN --auth-user {user} --auth-password {password} \\\n    --from sandbox@example.com --to you@example.com\n"
    ));
    say(format_args!("Rehearse a failure:  outlink sandbox fault quota on"));
    say(format_args!("See what waits:      outlink queue --config {}\n", config.display()));
    invite(provider, config);
    announce(provider);
}

/// Ends the page: what follows are messages.
fn announce(provider: &Provider) {
    say(format_args!("What the provider receives (bytes: http://{}/received):", provider.http()));
}

/// Says how the consent is given that is still missing.
fn invite(provider: &Provider, config: &Path) {
    if provider.needs_consent() && !provider.is_granted() {
        say(format_args!("Give the consent:    outlink authorize sandbox --config {}", config.display()));
        say(format_args!("                     then open the address that it prints and press Allow\n"));
    }
}

/// Prints each message that the provider receives; ends when the provider does.
async fn show(json: bool, provider: &mut Provider) {
    while let Some(message) = provider.received().await {
        let Received { from, to, subject, bytes, token, .. } = &message;
        if json {
            say(json!({"event": "received", "from": from, "to": to, "subject": subject, "bytes": bytes, "token": token}));
        } else {
            say(format_args!("  from {from} to {}, subject {subject:?}, {bytes} bytes, {token}", to.join(", ")));
        }
    }
}

/// Ends at SIGINT or SIGTERM.
async fn interrupted() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// `20ms`, `1s`, `5m`, `12h`, `45d`.
fn time(text: &str) -> Result<Duration, String> {
    let fault = || format!("{text:?} is no time such as 20ms, 1s, 12h or 45d, ten years at most");
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(fault)?);
    let number: u64 = number.parse().map_err(|_| fault())?;
    let seconds = |each| number.checked_mul(each).map(Duration::from_secs);
    let time = match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        "d" => seconds(24 * 3600),
        _ => None,
    };
    time.filter(|time| *time <= LONGEST).ok_or_else(fault)
}
