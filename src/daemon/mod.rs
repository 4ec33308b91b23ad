//! The life of the process: start, reload, drain, stop; what systemd is told.
//!
//! Layer 8. Stops in the direction of the mail: no new connections, sessions finish their message, deliveries settle, then
//! tokens and connections go.

mod browsers;
mod certificates;
mod hostname;
mod listeners;
mod start;
mod summary;
mod tasks;

pub use start::{StartError, open, own_name, start};

use crate::{
    admin::{self, KeyRotated, KeysDropped, Listening, NotTakenUp, Refused, Request},
    config::{self, Fault, Settings},
    relay::Relay,
    store::Store,
    tokens::Tokens,
};
use listeners::{Kit, Listeners, Unready};
use sd_notify::NotifyState;
use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};
use tasks::Tasks;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{broadcast::error::RecvError, mpsc, watch},
    time::{Instant, interval, timeout, timeout_at},
};

/// Longest stop: `direct-wait` (60 s) and some. Below TimeoutStopSec (90 s) of the unit.
const LONGEST_STOP: Duration = Duration::from_secs(80);

/// Longest wait for the files of a reload, which may lie on a disk that hangs; signals wait as long, so with a stop it has to stay below
/// TimeoutStopSec.
const LONGEST_READING: Duration = Duration::from_secs(5);

/// How often a stop that takes long says what it waits for.
const SAY: Duration = Duration::from_secs(5);

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    file: PathBuf,
    settings: Arc<Settings>,
    store: Store,
    tokens: Arc<Tokens>,
    relay: Arc<Relay>,
    listeners: Listeners,
    kit: Kit,
    requests: mpsc::Receiver<Request>,
    /// Tells the listener for logins and the hooks that the settings are others.
    configured: watch::Sender<()>,
    /// Says to those who accept work that they shall end; `end` then to those who serve them.
    stop: watch::Sender<bool>,
    end: watch::Sender<bool>,
    accepting: Tasks,
    serving: Tasks,
}

impl Daemon {
    /// Each listener with the address that it really has.
    pub fn listeners(&self) -> Vec<Listening> {
        self.listeners.shown().borrow().clone()
    }

    /// The grants, for a caller in the same process.
    pub fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }

    /// Runs until SIGTERM, SIGINT, a stop over the control socket, or until `until` ends.
    pub async fn run(mut self, until: impl Future<Output = ()>) -> std::io::Result<()> {
        let mut signals = Signals::new()?;
        let mut changes = self.relay.changes();
        tell_systemd(&[NotifyState::Ready, NotifyState::Status(&self.summary())]);
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => break,
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.hangup.recv() => drop(self.reload().await),
                // One that was missed is in the line all the same.
                Ok(_) | Err(RecvError::Lagged(_)) = changes.recv() => tell_systemd(&[NotifyState::Status(&self.summary())]),
                request = self.requests.recv() => match request {
                    Some(Request::Reload(tell)) => drop(tell.send(self.reload().await)),
                    Some(Request::RotateKey(tell)) => drop(tell.send(self.rotate_key().await)),
                    Some(Request::DropKeys(tell)) => drop(tell.send(self.drop_keys().await)),
                    Some(Request::Stop) | None => break,
                },
            }
        }
        tokio::select! {
            () = self.stop() => {}
            _ = signals.interrupt.recv() => tracing::warn!("interrupted again: stopping without waiting"),
        }
        Ok(())
    }

    /// Takes up the configuration as it is now; with faults everything stays as it was.
    async fn reload(&mut self) -> Result<Vec<String>, NotTakenUp> {
        // Whatever the configuration says now: certificates are renewed by programs that know nothing of it.
        certificates::refresh(&self.listeners.shown()).await;
        let file = self.file.clone();
        let loading = tokio::task::spawn_blocking(move || config::load(&file));
        let said = |faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>();
        let result = match timeout(LONGEST_READING, loading).await {
            Err(_) => Err(faulty(format!(
                "{} or a file that it names was not read within {} seconds; is its disk or network share gone?",
                self.file.display(),
                LONGEST_READING.as_secs()
            ))),
            Ok(Err(error)) => Err(faulty(error.to_string())),
            Ok(Ok(Err(faults))) => Err(NotTakenUp::Faulty(said(faults))),
            Ok(Ok(Ok((settings, notes)))) => {
                self.take_up(settings).await.map(|more| said(notes).into_iter().chain(more).collect())
            }
        };
        match &result {
            Ok(_) => tracing::info!(event = "config.reloaded", file = %self.file.display(), "the configuration was taken up"),
            Err(why) => tracing::error!(event = "config.reloaded", file = %self.file.display(), faults = why.texts().join("; "),
                "the configuration has faults and was not taken up: the old settings stay"),
        }
        result
    }

    /// Changes the key; what was sealed anew in files is taken up, so that the old key is needed no more.
    async fn rotate_key(&mut self) -> Result<KeyRotated, Refused> {
        let rotated = admin::rotate_key(&self.store, &self.file).await?;
        if !rotated.files.changed.is_empty() {
            // With faults the old settings stay, whose values open as before; the log says so.
            let _ = self.reload().await;
        }
        Ok(rotated)
    }

    /// Drops old keys, but none that the settings need which are in use.
    async fn drop_keys(&mut self) -> Result<KeysDropped, Refused> {
        let current = self.store.ring().current();
        if self.settings.keys_needed().iter().any(|key| *key != current) {
            let _ = self.reload().await;
        }
        admin::drop_keys(&self.store, &self.file, &self.settings.keys_needed()).await
    }

    async fn take_up(&mut self, settings: Settings) -> Result<Vec<String>, NotTakenUp> {
        let unopened = settings.unopened(&self.store.ring());
        if !unopened.is_empty() {
            return Err(NotTakenUp::Faulty(unopened));
        }
        let prepared = self.listeners.prepare(&settings).await.map_err(unready)?;
        let settings = self.relay.configure(settings).map_err(|error| faulty(error.to_string()))?;
        self.configured.send_replace(());
        if settings.listeners != self.settings.listeners {
            start::allow_files(&settings);
        }
        let mut notes = self.listeners.take_up(prepared, &self.kit, &mut self.accepting).await;
        if settings.state_directory != self.settings.state_directory || settings.hostname != self.settings.hostname {
            notes.push("a changed state-directory or hostname is taken up at the next start".to_owned());
        }
        if settings.log != self.settings.log || settings.control_group != self.settings.control_group {
            notes.push("a changed log or control-group is taken up at the next start".to_owned());
        }
        self.settings = settings;
        // Mailboxes may have come and gone.
        tell_systemd(&[NotifyState::Status(&self.summary())]);
        Ok(notes)
    }

    /// Stops accepting, then waits for what is under way, at most [`LONGEST_STOP`].
    async fn stop(&mut self) {
        tell_systemd(&[NotifyState::Stopping]);
        tracing::info!("stopping: no new connections; messages under way are finished");
        let deadline = Instant::now() + LONGEST_STOP;
        self.stop.send_replace(true);
        if timeout_at(deadline, self.settle()).await.is_err() {
            tracing::warn!(
                waiting_for = self.accepting.names(),
                messages = self.relay.under_way(),
                "stopping although not all is finished: what is under way is tried again after the next start, and may arrive twice"
            );
        }
        self.end.send_replace(true);
        if timeout_at(deadline + SAY, async { while self.serving.ended().await {} }).await.is_err() {
            tracing::warn!(waiting_for = self.serving.names(), "stopping although not all has ended");
        }
        tracing::info!("stopped");
    }

    /// Waits for sessions and deliveries, and says so now and then.
    async fn settle(&mut self) {
        let mut say = interval(SAY);
        say.tick().await;
        loop {
            tokio::select! {
                goes_on = self.accepting.ended() => if !goes_on { break },
                _ = say.tick() => tracing::info!(waiting_for = self.accepting.names(), messages = self.relay.under_way(),
                    "stopping: waiting for sessions to finish their message"),
            }
        }
        let relay = self.relay.clone();
        let drained = relay.drained();
        tokio::pin!(drained);
        loop {
            tokio::select! {
                () = &mut drained => return,
                _ = say.tick() => tracing::info!(messages = self.relay.under_way(), "stopping: waiting for the provider's verdict"),
            }
        }
    }

    /// One line for `systemctl status`.
    fn summary(&self) -> String {
        summary::summary(&self.relay.standings(), &self.listeners())
    }
}

fn faulty(fault: String) -> NotTakenUp {
    NotTakenUp::Faulty(vec![fault])
}

/// Why a configuration is not taken up whose listeners cannot be had.
fn unready(why: Unready) -> NotTakenUp {
    match why {
        Unready::Certificate(why) => faulty(format!("cannot use the certificate: {why}")),
        Unready::Socket(error) if error.is_for_a_start() => NotTakenUp::NoSocket(format!(
            "{error}; sockets are passed at the start alone, so that needs systemctl restart outlink"
        )),
        Unready::Socket(error) => NotTakenUp::NoSocket(error.to_string()),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

fn tell_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify systemd through NOTIFY_SOCKET");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Bind, listener::BindError, mail::Name};
    use std::io::ErrorKind;

    #[test]
    fn what_only_systemd_can_open_needs_a_restart() {
        let said = |bind: Bind, why: ErrorKind| {
            let (listener, step) = (Name::parse("office").unwrap(), "let systemd open it".to_owned());
            match unready(Unready::Socket(BindError { listener, bind, why: why.into(), step })) {
                NotTakenUp::NoSocket(text) => text,
                NotTakenUp::Faulty(faults) => panic!("{faults:?}"),
            }
        };
        let tcp = |text: &str| Bind::Tcp(text.parse().unwrap());
        for (bind, why, is_for_a_start) in [
            (tcp("0.0.0.0:25"), ErrorKind::PermissionDenied, true),
            (tcp("0.0.0.0:25"), ErrorKind::AddrInUse, false),
            (tcp("0.0.0.0:2525"), ErrorKind::PermissionDenied, false),
            (Bind::Passed("smtp".to_owned()), ErrorKind::NotFound, true),
            (Bind::Unix("/run/smtp.sock".into()), ErrorKind::PermissionDenied, false),
        ] {
            let text = said(bind.clone(), why);
            assert!(text.contains(&format!("cannot listen on {bind} for listener.office")), "{text}");
            assert_eq!(text.contains("systemctl restart outlink"), is_for_a_start, "{text}");
        }
    }
}
