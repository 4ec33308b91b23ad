//! `outlink sandbox fault`: switches a fault of a running sandbox, over its HTTP.

use super::super::{Exit, Failed, Outcome};
use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use std::{net::SocketAddr, time::Duration};

/// What is asked of a running sandbox.
#[derive(Debug, Subcommand)]
pub(super) enum SandboxCommand {
    /// Switch a fault of a running sandbox on or off
    Fault {
        /// Which fault; a wrong name lists all
        name: String,
        /// On or off
        switch: Switch,
        /// How often it strikes; until switched off when not given
        #[arg(long)]
        times: Option<u64>,
        /// For how many seconds
        #[arg(long)]
        seconds: Option<u64>,
        /// Only for this mailbox
        #[arg(long)]
        mailbox: Option<String>,
        /// Round trip or delay in milliseconds, for the faults round-trip, slow-replies and token-server-slow
        #[arg(long)]
        milliseconds: Option<u64>,
        /// Seconds that the fault token-server-throttled tells to wait
        #[arg(long, value_name = "SECONDS")]
        retry_after: Option<u64>,
        /// Most recipients of one message, for the fault too-many-recipients
        #[arg(long)]
        count: Option<u64>,
        /// Only for this OAuth client
        #[arg(long, value_name = "ID")]
        client: Option<String>,
        /// Where the fault smtp-reply strikes: greeting, ehlo, auth, mail, rcpt, data, end
        #[arg(long)]
        step: Option<String>,
        /// Its reply, such as "450 4.2.1 try later"; \n begins another line
        #[arg(long)]
        reply: Option<String>,
        /// Error for the faults token-refused, authorize-refused and device-refused
        #[arg(long)]
        error: Option<String>,
        /// Its description
        #[arg(long)]
        description: Option<String>,
        /// Its AADSTS number, at Microsoft
        #[arg(long, value_name = "NUMBER")]
        aadsts: Option<u64>,
        /// Its error_subtype (Google) or suberror (Microsoft)
        #[arg(long)]
        subtype: Option<String>,
        /// Its HTTP status
        #[arg(long)]
        status: Option<u64>,
        /// A page of HTML in its place
        #[arg(long)]
        html: Option<String>,
        /// How an error of authorize-refused arrives: redirect, or page (the provider shows it); else as the provider does
        #[arg(long)]
        via: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Switch {
    On,
    Off,
}

/// Asks the sandbox whose HTTP port this is.
pub(super) async fn switch(command: &SandboxCommand, port: u16) -> Outcome {
    let SandboxCommand::Fault {
        name,
        switch,
        times,
        seconds,
        mailbox,
        milliseconds,
        retry_after,
        count,
        error,
        description,
        aadsts,
        client: only_client,
        step,
        reply,
        subtype,
        status,
        html,
        via,
    } = command;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let client =
        reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().context("cannot make a request")?;
    let url = format!("http://{address}/faults/{name}");
    let request = match switch {
        Switch::On => {
            let mut wanted = serde_json::Map::new();
            let numbers = [
                ("times", times),
                ("seconds", seconds),
                ("milliseconds", milliseconds),
                ("retry_after", retry_after),
                ("count", count),
                ("aadsts", aadsts),
                ("status", status),
            ];
            let texts = [
                ("mailbox", mailbox),
                ("client", only_client),
                ("error", error),
                ("description", description),
                ("subtype", subtype),
                ("html", html),
                ("via", via),
                ("step", step),
                ("reply", reply),
            ];
            wanted.extend(numbers.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!((*value)?)))));
            wanted.extend(texts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!(value.as_ref()?)))));
            client.put(url).json(&wanted)
        }
        Switch::Off => client.delete(url),
    };
    let response = request.send().await.map_err(|_| {
        Failed(Exit::Unavailable, format!("no sandbox answers at http://{address}: start one, or give its --port-http"))
    })?;
    let good = response.status().is_success();
    let answer: serde_json::Value = response.json().await.unwrap_or_default();
    match good {
        true => Ok(Exit::Good),
        false => Err(Failed(Exit::Findings, complaint(&answer))),
    }
}

/// What the sandbox answered, in a sentence.
fn complaint(answer: &serde_json::Value) -> String {
    let error = answer.get("error").and_then(|error| error.as_str()).unwrap_or("the sandbox refused without a reason");
    let faults = answer.get("faults").and_then(|faults| faults.as_array()).into_iter().flatten();
    let known: Vec<&str> = faults.filter_map(|fault| fault.as_str()).collect();
    match known.is_empty() {
        true => error.to_owned(),
        false => format!("{error}; there are: {}", known.join(", ")),
    }
}
