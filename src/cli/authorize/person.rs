//! The person at the terminal: what they are told, whether a browser opens for them, and what they paste.

use super::super::{
    Failed,
    out::{plain, say},
    reach::Reached,
};
use crate::relay::authorize::{Begun, Kind, Listens};
use chrono::Local;
use std::{
    convert::Infallible,
    future::pending,
    io::{BufRead, Read, stdin},
    os::unix::fs::MetadataExt,
    process::{Command, Stdio},
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};

/// Longest text that is taken from a person at once.
const LONGEST: u64 = 64 * 1024;

/// A pasted address that is cut into lines comes at once.
const SAME_PASTE: Duration = Duration::from_millis(300);

/// Says what to do.
pub(super) fn tell(begun: &Begun, only_pasted: bool) {
    let Begun { mailbox, account, .. } = begun;
    let until = begun.expires.with_timezone(&Local).format("%H:%M");
    if let Some(note) = &begun.note {
        say(format_args!("Note: {}\n", plain(note)));
    }
    if begun.kind == Kind::Device {
        let code = plain(begun.user_code.as_deref().unwrap_or_default());
        let address = plain(begun.verification_uri.as_deref().unwrap_or_default());
        say(format_args!(
            "To authorise mailbox {mailbox}, open {address} on any device before {until}, enter the code\n\n  {code}\n"
        ));
        say(format_args!("and sign in as {account}. This command waits."));
        return;
    }
    let url = begun.url.as_deref().unwrap_or_default();
    say(format_args!(
        "To authorise mailbox {mailbox}, open this address in any browser before {until}, and sign in as {account}:\n\n  {url}\n"
    ));
    let redirect = plain(begun.redirect_url.as_deref().unwrap_or_default());
    match begun.listens {
        Some(Listens::Command) if !only_pasted => say(format_args!(
            "The browser is sent back to {redirect}, where this command waits. A browser on another machine cannot reach it and shows\n\
             an error: then copy the whole address that it shows, and paste it here."
        )),
        Some(Listens::Daemon) if !only_pasted => say(format_args!(
            "The browser is sent back to {redirect}. If it shows an error there, copy the whole address that it shows, and paste it here."
        )),
        _ => say(format_args!(
            "The browser is sent back to {redirect}. Copy the whole address that it shows then, and paste it here."
        )),
    }
}

/// Opens a browser where a person sits at a screen. Root's session is nobody's browser.
pub(super) fn open_browser(begun: &Begun) {
    let Some(url) = begun.url.as_ref() else { return };
    let has_screen =
        ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    let is_root = std::fs::metadata("/proc/self").map_or(true, |own| own.uid() == 0);
    if has_screen && !is_root {
        let quiet = || Stdio::null();
        // Where it cannot be opened, the address stands above.
        let _ = Command::new("xdg-open").arg(url).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn();
    }
}

/// Hands in whatever is pasted; what is no answer is told, and waited on.
pub(super) async fn pasted(reached: &Reached, begun: &Begun) -> Infallible {
    if begun.kind == Kind::Device {
        return pending().await;
    }
    let mut lines = lines();
    while let Some(mut text) = lines.recv().await {
        while let Ok(Some(more)) = timeout(SAME_PASTE, lines.recv()).await {
            text.push_str(&more);
        }
        if text.trim().is_empty() {
            continue;
        }
        if let Err(Failed(_, why)) = reached.answer_authorization(&begun.id, text).await {
            eprintln!("outlink: {}", plain(&why));
        }
    }
    // Without standard input the browser is the only way.
    pending().await
}

/// Standard input, line by line. Its thread ends with the process: nothing else ends a read from a terminal.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(16);
    let read = move || {
        let mut input = stdin().lock().take(LONGEST);
        let mut line = String::new();
        while input.read_line(&mut line).is_ok_and(|octets| octets > 0) {
            input.set_limit(LONGEST);
            if sender.blocking_send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    };
    // Without a thread nothing can be pasted; the browser remains.
    let _ = std::thread::Builder::new().name("standard input".to_owned()).spawn(read);
    receiver
}
