//! `outlink doctor`: every check of the configuration, the network, the token and the login, with the cause and the fix of what fails.
//!
//! The running daemon is asked, whose mail goes the same way; while none runs, everything is done in this process. Where the
//! configuration has faults or the store cannot be opened, what can still be said is said.

use super::{Config, Exit, Failed, Outcome, check, out::say, reach, run::not_started, runtime};
use crate::{
    config::{self, Fault, Settings},
    daemon::{self, StartError},
    doctor::{Doctor, Finding, Report, Status, Wish, state},
    mail::Address,
    store::Starting,
};
use anyhow::Context;
use clap::Args;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The check of the files.
const CONFIGURATION: &str = "configuration";

/// How often it is looked whether a daemon starts.
const LOOK: Duration = Duration::from_millis(100);

/// `outlink doctor`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Links or mailboxes; all unless given
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// This link with its mailboxes
    #[arg(long = "link", value_name = "LINK")]
    links: Vec<String>,
    /// This mailbox
    #[arg(long = "mailbox", value_name = "MAILBOX")]
    mailboxes: Vec<String>,
    /// Send a small message to this address, and tell the provider's verdict
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    send: Option<String>,
    /// Send it from this address instead of the mailbox's own
    #[arg(long, value_name = "ADDRESS", value_parser = address, requires = "send")]
    from: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
}

fn address(text: &str) -> Result<String, String> {
    Address::parse(text).map(|_| text.to_owned()).map_err(|why| why.to_string())
}

/// Examines what is asked for.
pub(super) fn doctor(arguments: &Arguments) -> Outcome {
    let Arguments { names, links, mailboxes, send, from, .. } = arguments;
    let wish =
        Wish { names: names.clone(), links: links.clone(), mailboxes: mailboxes.clone(), send: send.clone(), from: from.clone() };
    examine(&arguments.config, &wish, arguments.json)
}

/// Tells what was found; the exit status is `exit`, unless a check failed.
fn tell(files: Vec<Finding>, report: Report, (json, exit): (bool, Exit)) -> Outcome {
    let report = Report { findings: files.into_iter().chain(report.findings).collect() };
    match json {
        true => print_json(&report)?,
        false => print(&report),
    }
    Ok(if exit == Exit::Good && report.count(Status::Failed) > 0 { Exit::Findings } else { exit })
}

fn examine(config: &Config, wish: &Wish, json: bool) -> Outcome {
    let loaded = config::load(config.file());
    let files = of_files(config, &loaded);
    let Ok(state_directory) = config::state_directory(config.file()) else {
        return tell(files, nothing_else("the configuration cannot be read"), (json, Exit::Configuration));
    };
    // Before anything is told: by root it starts again as the owner of the directory.
    let client = reach::running(&state_directory)?;
    let runtime = runtime()?;
    let outcome = match (client, loaded) {
        (Some(client), loaded) => {
            let exit = if loaded.is_ok() { Exit::Good } else { Exit::Configuration };
            let report = runtime.block_on(client.examine(wish)).map_err(reach::failed);
            report.and_then(|report| tell(files, report, (json, exit)))
        }
        (None, Ok((settings, _))) => runtime.block_on(alone(settings, wish, (files, json))),
        (None, Err(_)) => {
            let minimum_free = config::Queue::default().minimum_free;
            let mut report = nothing_else("the configuration has faults");
            report.findings.insert(0, runtime.block_on(state::directory(&state_directory, minimum_free)));
            tell(files, report, (json, Exit::Configuration))
        }
    };
    // A name server that does not answer must not keep the command.
    runtime.shutdown_background();
    outcome
}

/// What `outlink check` says.
fn of_files(config: &Config, loaded: &Result<(Settings, Vec<Fault>), Vec<Fault>>) -> Vec<Finding> {
    let of = |fault: &Fault| {
        let status = if fault.is_fatal() { Status::Failed } else { Status::Warning };
        let place: Vec<String> = [fault.line, fault.column].into_iter().flatten().map(|number| format!(":{number}")).collect();
        let key = if fault.key.is_empty() { String::new() } else { format!(" {}:", fault.key) };
        let finding = Finding::general(
            CONFIGURATION,
            status,
            format!("{}{}:{key} {}", fault.file.display(), place.concat(), fault.message),
        );
        // Some messages say it all.
        finding.fix(if fault.hint.is_empty() { "correct that line as the message says" } else { &fault.hint })
    };
    match loaded {
        Err(faults) => faults.iter().map(of).collect(),
        Ok((settings, notes)) => {
            let what = format!("{}: {}", config.file().display(), check::summary(settings));
            [Finding::general(CONFIGURATION, Status::Ok, what)].into_iter().chain(notes.iter().map(of)).collect()
        }
    }
}

/// That nothing else could be found out.
fn nothing_else(why: &str) -> Report {
    let left = Finding::general("everything-else", Status::NotChecked, why).fix("mend that, and run `outlink doctor` again");
    Report { findings: vec![left] }
}

/// Examines in this process.
async fn alone(mut settings: Settings, wish: &Wish, (files, json): (Vec<Finding>, bool)) -> Outcome {
    let hostname = daemon::own_name(&settings).map_err(not_started)?;
    let directory = settings.state_directory.clone();
    // Nothing is made for an examination: with what owner and mode is not its business.
    let instead: Option<tempfile::TempDir> = match directory.exists() {
        true => None,
        false => {
            let instead = tempfile::tempdir().context("cannot make a temporary directory in place of the state directory")?;
            settings.state_directory = instead.path().join("state");
            Some(instead)
        }
    };
    let (doctor, first, exit) = match daemon::open(settings.clone()).await {
        Ok(relay) => (Doctor::new(relay), None, Exit::Good),
        Err(StartError::Store(why)) => {
            let (mut first, exit) = unusable(&why, &settings).await;
            first.check = state::CHECK.to_owned();
            (Doctor::without_store(settings, hostname, "the state directory cannot be used".to_owned()), Some(first), exit)
        }
        Err(error) => return Err(reach::not_opened(error)),
    };
    let doctor = Arc::new(doctor);
    let examined = tokio::select! {
        report = doctor.examine(wish) => Ok(report),
        () = daemon_starts(directory.clone()) => {
            Err("a daemon starts, which needs the state directory; run `outlink doctor` again to ask it")
        }
        _ = tokio::signal::ctrl_c() => Err("interrupted"),
    };
    let told = examined.map_err(|why| Failed(Exit::Temporary, why.to_owned())).and_then(|report| {
        let report = report.map_err(|refused| reach::refused(refused.into()))?;
        let report = if instead.is_some() { with_missing(report, &directory) } else { report };
        let findings = first.into_iter().chain(report.findings).collect();
        tell(files, Report { findings }, (json, exit))
    });
    if doctor.has_to_stay() {
        eprintln!("outlink: waiting for the token endpoint, whose late answer may hold a refresh token that has to be kept");
        doctor.leave().await;
    }
    told
}

/// The same report about a state directory that is not there.
fn with_missing(mut report: Report, directory: &Path) -> Report {
    for finding in report.findings.iter_mut().filter(|finding| finding.check == state::CHECK) {
        let what = format!("{} does not exist yet; `outlink run` makes it", directory.display());
        *finding = Finding::general(state::CHECK, Status::Ok, what);
    }
    report
}

/// Why the store does not open: what the directory itself says, or else the store.
async fn unusable(why: &crate::store::Error, settings: &Settings) -> (Finding, Exit) {
    let exit = match (why.is_of_permission(), why.is_of_the_key()) {
        (true, _) => Exit::Permission,
        (false, true) => Exit::Configuration,
        (false, false) => Exit::Good,
    };
    let looked = state::directory(&settings.state_directory, settings.queue.minimum_free).await;
    let finding = match looked.status {
        Status::Failed => looked,
        _ => Finding::general(state::CHECK, Status::Failed, "the state directory cannot be used").why(why.to_string()).fix(
            if exit == Exit::Permission { "run this as root or as the service's user" } else { "mend what the reason names" },
        ),
    };
    (finding, exit)
}

async fn daemon_starts(directory: PathBuf) {
    while !Starting::is_told(&directory) {
        tokio::time::sleep(LOOK).await;
    }
}

fn print_json(report: &Report) -> Result<(), Failed> {
    let count = |status| report.count(status);
    let summary = json!({"ok": count(Status::Ok), "warning": count(Status::Warning), "failed": count(Status::Failed),
        "not-checked": count(Status::NotChecked)});
    let text = serde_json::to_string_pretty(&json!({"findings": report.findings, "summary": summary}));
    say(text.map_err(|error| Failed(Exit::InputOutput, error.to_string()))?);
    Ok(())
}

/// One line a check; below what is not as it should be, why and what to do.
fn print(report: &Report) {
    let mut about = None;
    for finding in &report.findings {
        let now = (&finding.link, &finding.mailbox);
        if about.is_some_and(|about| about != now) || about.is_none() && now != (&None, &None) {
            match now {
                (Some(link), Some(mailbox)) => say(format_args!("\nmailbox {mailbox} (link {link})")),
                (Some(link), None) => say(format_args!("\nlink {link}")),
                (None, _) => {}
            }
        }
        about = Some(now);
        let took = finding.ms.map(|ms| format!(" ({ms} ms)")).unwrap_or_default();
        say(format_args!("{:<11}  {:<17}  {}{took}", finding.status, finding.check, finding.what));
        let of_interest = [("why", &finding.why), ("fix", &finding.fix)];
        for (word, text) in of_interest.into_iter().filter_map(|(word, text)| Some((word, text.as_ref()?))) {
            say(format_args!("{:<11}  {word}: {text}", ""));
        }
    }
    let counts = [Status::Ok, Status::Warning, Status::Failed, Status::NotChecked].map(|status| (status, report.count(status)));
    let counts: Vec<String> =
        counts.into_iter().filter(|(_, count)| *count > 0).map(|(status, count)| format!("{count} {status}")).collect();
    say(format_args!("\n{}", counts.join(", ")));
}
