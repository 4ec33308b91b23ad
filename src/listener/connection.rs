//! One connection: reads, lets the session decide, carries out its actions, writes.

use super::{
    entry::not_encrypted,
    handshake::{self, Failure},
    host::{Host, Submission},
    incoming::Incoming,
    pace::Pace,
    peer::Peer,
    presented::Presented,
    serve::until_true,
    stream::Stream,
};
use crate::{
    config::{App, Auth, Listener, ListenerTls},
    mail::Envelope,
    secret::{PasswordHash, Secret},
    smtp::{
        Reply,
        server::{Action, Closing, Encryption, Rules, Session},
    },
    store::Spool,
};
use std::{fmt, future::Future, io, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

/// What an idle connection reads into: a pipelined group of commands fits.
const SMALL: usize = 2 * 1024;

/// What a message is read into.
const LARGE: usize = 32 * 1024;

/// Unsent replies that are not held back any longer.
const MOST_UNSENT: usize = 8 * 1024;

/// How long replies to earlier commands of a pipelined group wait for the answer to a slow one, to leave in one packet.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a closed connection is listened to, so that the peer can read our last reply before a reset destroys it.
const LINGER: Duration = Duration::from_secs(1);

/// What all connections of a listener share.
#[derive(Debug)]
pub(super) struct Surroundings<H> {
    pub(super) listener: Arc<Listener>,
    pub(super) host: Arc<H>,
    pub(super) spool: Spool,
    pub(super) hostname: Arc<str>,
    pub(super) presented: Option<Arc<Presented>>,
}

/// A connection whose session can begin.
pub(super) struct Opened {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    /// The version of TLS, where it is encrypted.
    pub(super) tls: Option<&'static str>,
    /// The load balancer in between.
    pub(super) proxy: Option<String>,
}

/// A connection and its session.
pub(super) struct Connection<H> {
    around: Arc<Surroundings<H>>,
    stream: Stream,
    peer: Arc<Peer>,
    tls: Option<&'static str>,
    proxy: Option<String>,
    stop: watch::Receiver<bool>,
    session: Session,
    app: Option<Arc<App>>,
    /// What proved it, if a password did.
    hash: Option<PasswordHash>,
    /// Nothing came since the TLS handshake.
    is_mute: bool,
    /// By when the next command must be complete; a trickle of octets does not move it.
    deadline: Instant,
    incoming: Option<Incoming>,
    /// Of the message that arrives.
    pace: Option<Pace>,
    accepted: u32,
    /// What is read into; its length is its size.
    input: Vec<u8>,
    body: Vec<u8>,
    scratch: Vec<u8>,
    unsent: Vec<u8>,
    /// The app can hear nothing any more. What it wrote before may still lie here.
    is_deaf: bool,
}

/// Why a connection ended.
enum Ending {
    Closed(Closing),
    ByPeer,
    /// By the peer, which said nothing once it was encrypted.
    Mute,
    TimedOut,
    /// A message that came too slowly.
    Slow,
    /// The app seems to have said all, and ended its message in this way.
    Unended(&'static str),
    Stopped,
    Broken(io::Error),
    /// No TLS after STARTTLS.
    Unencrypted(Failure),
}

impl<H: Host> Surroundings<H> {
    /// The app that `peer` proves by what it is.
    fn known(&self, peer: &Peer) -> Option<Arc<App>> {
        match self.listener.auth {
            Auth::Required => None,
            Auth::Optional | Auth::None => self.host.known(&self.listener, peer),
        }
    }
}

impl<H: Host> Connection<H> {
    pub(super) fn new(around: Arc<Surroundings<H>>, opened: Opened, stop: watch::Receiver<bool>) -> Self {
        let Opened { stream, peer, tls, proxy } = opened;
        let listener = &around.listener;
        let app = around.known(&peer);
        let rules = Rules {
            hostname: Arc::clone(&around.hostname),
            offers_auth: listener.auth != Auth::None,
            clear_auth: listener.allow_plaintext_auth || peer.is_near(),
            encryption: match (&listener.tls, &around.presented) {
                _ if peer.encrypted => Encryption::On,
                (ListenerTls::Starttls(_), Some(_)) => Encryption::Offered,
                _ => Encryption::None,
            },
            message_size: listener.limits.message_size,
            recipients: listener.limits.recipients,
            errors: listener.limits.errors,
        };
        let deadline = Instant::now() + listener.limits.idle;
        let mut session = Session::new(rules, app.is_some());
        session.limit_size(own_size(app.as_deref()));
        Self {
            session,
            around,
            stream,
            is_mute: peer.encrypted,
            peer: Arc::new(peer),
            tls,
            proxy,
            stop,
            app,
            hash: None,
            deadline,
            incoming: None,
            pace: None,
            accepted: 0,
            input: vec![0; SMALL],
            body: Vec::new(),
            scratch: Vec::new(),
            unsent: Vec::new(),
            is_deaf: false,
        }
    }

    /// Serves the app to the end.
    pub(super) async fn run(mut self) {
        let listener = Arc::clone(&self.around.listener);
        tracing::info!(event = "session.opened", listener = %listener.name, client = %self.peer, proxy = self.proxy, tls = self.tls,
            "connection opened");
        let ending = match self.converse().await {
            Ok(never) => match never {},
            Err(Ending::ByPeer | Ending::Broken(_)) if self.is_mute => Ending::Mute,
            Err(ending) => ending,
        };
        self.incoming = None;
        self.part(&ending).await;
        let (name, client, app) = (&listener.name, &self.peer, self.app.as_ref().map(|app| app.name.as_str()));
        match ending {
            Ending::Closed(Closing::Http | Closing::Tls) => {
                let advice = match ending {
                    Ending::Closed(Closing::Tls) => Some(misplaced_tls(&listener.tls)),
                    _ => None,
                };
                tracing::warn!(event = "session.refused", listener = %name, %client, reason = ending.to_string(), advice,
                    "connection refused");
            }
            Ending::Unencrypted(failure) => not_encrypted(&listener, client, &failure),
            Ending::Unended(_) => {
                tracing::warn!(event = "session.closed", listener = %name, %client, app, messages = self.accepted,
                    reason = ending.to_string(), advice = "the application has to write CRLF line ends; its vendor has to mend it",
                    "a message without an end was dropped");
            }
            _ => tracing::info!(
                event = "session.closed",
                listener = %name,
                %client,
                app,
                tls = self.tls,
                messages = self.accepted,
                reason = ending.to_string(),
                advice = matches!(ending, Ending::Mute).then_some(handshake::SILENT),
                "connection closed"
            ),
        }
    }

    async fn converse(&mut self) -> Result<std::convert::Infallible, Ending> {
        self.work(0).await?;
        loop {
            self.flush().await?;
            let count = self.read().await?;
            self.work(count).await?;
            // Grown where more seems to come, so that idle connections stay small.
            if count == self.input.len() && count < LARGE || self.session.is_in_body() && self.input.len() < LARGE {
                self.input.resize(LARGE, 0);
            }
        }
    }

    /// Waits for octets: for the rest of a command until its deadline, for those of a message each time anew.
    async fn read(&mut self) -> Result<usize, Ending> {
        let (mut deadline, mut ending) = (self.deadline, Ending::TimedOut);
        if self.session.is_in_body() {
            deadline = Instant::now() + self.around.listener.limits.idle;
            if let Some(last) = self.pace.map(|pace| pace.deadline()).filter(|last| *last < deadline) {
                (deadline, ending) = (last, Ending::Slow);
            }
        }
        let may_stop = !self.session.is_in_message();
        let read = timeout_at(deadline, self.stream.read(&mut self.input));
        let count = tokio::select! {
            biased;
            () = until_true(&mut self.stop), if may_stop => return Err(Ending::Stopped),
            count = read => match count {
                Ok(count) => count.map_err(Ending::Broken)?,
                Err(_) => return Err(self.session.seeming_end().map_or(ending, Ending::Unended)),
            },
        };
        if count == 0 {
            return Err(self.session.seeming_end().map_or(Ending::ByPeer, Ending::Unended));
        }
        self.is_mute = false;
        if let Some(pace) = &mut self.pace {
            pace.add(count);
        }
        Ok(count)
    }

    /// Lets the session work off the first `count` octets of the input.
    async fn work(&mut self, count: usize) -> Result<(), Ending> {
        let mut input = std::mem::take(&mut self.input);
        let worked = self.work_off(&input[..count]).await;
        if matches!(worked, Ok(true)) {
            // A password was in there.
            input[..count].fill(0);
        }
        self.input = input;
        worked.map(|_| ())
    }

    /// True when the octets held a password.
    async fn work_off(&mut self, mut rest: &[u8]) -> Result<bool, Ending> {
        let mut has_password = false;
        while let Some(action) = self.session.next(&mut rest, &mut self.body) {
            self.deadline = Instant::now() + self.around.listener.limits.idle;
            has_password |= matches!(action, Action::Authenticate { .. });
            if action == Action::StartTls {
                Box::pin(self.encrypt(&mut rest)).await?;
            } else {
                self.carry_out(action).await?;
            }
        }
        Ok(has_password)
    }

    async fn carry_out(&mut self, action: Action) -> Result<(), Ending> {
        match action {
            Action::Reply(reply) => return self.say(&reply).await,
            // Done before it comes here.
            Action::StartTls => {}
            // Boxed, as they are rare and large: their memory is not that of every idle connection.
            Action::Authenticate { user, password } => Box::pin(self.authenticate(user, password)).await?,
            Action::Mail(sender) => {
                self.pace = None;
                let (host, listener) = (&self.around.host, &self.around.listener);
                let verdict = self.app().and_then(|app| {
                    host.still(listener, &self.peer, app, self.hash.as_ref())?;
                    host.mail(listener, app, sender.as_ref())
                });
                self.session.decide(verdict);
            }
            Action::Recipient(recipient) => {
                let accepted = self.session.envelope().map_or(0, |envelope| envelope.recipients.len());
                let verdict =
                    self.app().and_then(|app| self.around.host.recipient(&self.around.listener, app, accepted, &recipient));
                self.session.decide(verdict);
            }
            Action::Begin => {
                self.pace = Some(Pace::new(Instant::now()));
                let around = &self.around;
                if let (Some(envelope), Some(app)) = (self.session.envelope(), &self.app) {
                    let case = around.host.case(&around.listener, app, envelope);
                    let place = (&*around.hostname, &around.spool);
                    self.incoming = Some(Incoming::begin(&self.session, (envelope, case), (&self.peer, self.tls), place));
                }
            }
            Action::Body => {
                if let Some(incoming) = &mut self.incoming {
                    incoming.push(&self.body, &mut self.scratch).await;
                }
                self.body.clear();
            }
            Action::Discard => self.incoming = None,
            Action::Message(envelope) => Box::pin(self.message(envelope)).await?,
            Action::Close(why) => return Err(Ending::Closed(why)),
        }
        Ok(())
    }

    /// Shakes hands after STARTTLS. `rest` is what came behind it in clear: anybody on the way could have written it (RFC 3207 §4.2).
    async fn encrypt(&mut self, rest: &mut &[u8]) -> Result<(), Ending> {
        self.flush().await?;
        if !rest.is_empty() {
            tracing::warn!(event = "session.injected", listener = %self.around.listener.name, client = %self.peer, octets = rest.len(),
                "octets behind STARTTLS in clear text were discarded: a faulty app, or somebody on the way who adds commands");
        }
        let (Some(wire), Some(presented)) = (self.stream.take_wire(), &self.around.presented) else {
            return Err(Ending::Unencrypted(Failure::Closed));
        };
        let config = presented.config();
        let encrypted = tokio::select! {
            biased;
            () = until_true(&mut self.stop) => return Err(Ending::Stopped),
            encrypted = Box::pin(handshake::shake(wire, config)) => encrypted,
        };
        let encrypted = encrypted.map_err(|(failure, _)| Ending::Unencrypted(failure))?;
        self.stream = Stream::Tls(encrypted.stream);
        self.tls = Some(encrypted.version);
        self.is_mute = true;
        let peer = Peer { encrypted: true, certificate: encrypted.certificate, ..Peer::clone(&self.peer) };
        (self.app, self.hash) = (self.around.known(&peer), None);
        self.peer = Arc::new(peer);
        self.session.restart(rest, self.app.is_some());
        self.session.limit_size(own_size(self.app.as_deref()));
        Ok(())
    }

    /// The session asks only about a proven app; should that fail, nobody may send.
    fn app(&self) -> Result<&App, Reply> {
        self.app.as_deref().ok_or_else(|| Reply::new(530, Some((7, 0)), "authentication required"))
    }

    async fn authenticate(&mut self, user: String, password: Secret) -> Result<(), Ending> {
        let around = Arc::clone(&self.around);
        let peer = self.peer.clone();
        let login = self.patiently(around.host.authenticate(&around.listener, &peer, &user, password)).await?;
        let (verdict, login) = match login {
            Ok(login) => (Ok(()), Some(login)),
            Err(reply) => (Err(reply), None),
        };
        (self.app, self.hash) = login.map(|login| (login.app, login.hash)).unzip();
        self.session.authenticated(verdict);
        self.session.limit_size(own_size(self.app.as_deref()));
        Ok(())
    }

    async fn message(&mut self, envelope: Envelope) -> Result<(), Ending> {
        let around = Arc::clone(&self.around);
        let (Some(incoming), Some(app)) = (self.incoming.take(), self.app.clone()) else {
            self.session.settle(Reply::new(451, Some((3, 0)), "message lost, try again"));
            return Ok(());
        };
        let id = incoming.id;
        let reply = match incoming.finish(&mut self.scratch).await {
            Ok((body, findings)) => {
                let (listener, peer) = (Arc::clone(&around.listener), self.peer.clone());
                let by_password = self.session.is_authenticated();
                let submission =
                    Submission { id, app, listener, peer, by_password, envelope, aliased: Vec::new(), body, findings };
                self.patiently(Arc::clone(&around.host).message(submission)).await?
            }
            Err(error) => {
                tracing::error!(
                    %id,
                    app = %app.name,
                    listener = %around.listener.name,
                    client = %self.peer,
                    %error,
                    "cannot keep a message in the state directory; see to its space and permissions"
                );
                match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        Reply::new(452, Some((3, 1)), "no room for the message, try again later")
                    }
                    _ => Reply::new(451, Some((3, 0)), "the message could not be kept, try again later"),
                }
            }
        };
        self.accepted += u32::from(reply.is_positive());
        self.session.settle(reply);
        Ok(())
    }

    /// Waits for the host; replies that are ready leave when it takes long.
    async fn patiently<T>(&mut self, answer: impl Future<Output = T>) -> Result<T, Ending> {
        let mut answer = pin!(answer);
        if self.unsent.is_empty() {
            return Ok(answer.await);
        }
        if let Ok(answer) = timeout(PATIENCE, &mut answer).await {
            return Ok(answer);
        }
        self.flush().await?;
        Ok(answer.await)
    }

    async fn say(&mut self, reply: &Reply) -> Result<(), Ending> {
        reply.write_to(&mut self.unsent);
        if self.unsent.len() >= MOST_UNSENT { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Ending> {
        if self.unsent.is_empty() || self.is_deaf {
            self.unsent.clear();
            return Ok(());
        }
        let write = async {
            self.stream.write_all(&self.unsent).await?;
            self.stream.flush().await
        };
        let written = timeout(self.around.listener.limits.idle, write).await;
        self.unsent.clear();
        // Some devices write a whole message and are gone: what came of it is read, which ends at once where nothing did.
        self.is_deaf = written.map_err(|_| Ending::TimedOut)?.is_err();
        Ok(())
    }

    /// Says the last words and closes.
    async fn part(&mut self, ending: &Ending) {
        match ending {
            Ending::Closed(_) => {}
            Ending::Stopped => Reply::new(421, Some((3, 2)), "this listener stops, try again later").write_to(&mut self.unsent),
            Ending::TimedOut => Reply::new(421, Some((4, 2)), "nothing came for too long").write_to(&mut self.unsent),
            Ending::Slow => Reply::new(421, Some((4, 2)), "the message came too slowly").write_to(&mut self.unsent),
            Ending::Unended(end) => {
                let text = format!("the message has no end: it came with {end} instead of CRLF.CRLF");
                Reply::new(421, Some((4, 2)), text).write_to(&mut self.unsent);
            }
            Ending::ByPeer | Ending::Mute | Ending::Broken(_) | Ending::Unencrypted(_) => return,
        }
        let farewell = async {
            self.stream.write_all(&self.unsent).await?;
            self.stream.shutdown().await?;
            while self.stream.read(&mut self.input).await? > 0 {}
            Ok::<(), io::Error>(())
        };
        _ = timeout(LINGER, farewell).await;
    }
}

/// What an app may send at once, where that is said.
fn own_size(app: Option<&App>) -> Option<u64> {
    app.and_then(|app| app.limits.message_size)
}

/// What to do about an app that begins with TLS.
fn misplaced_tls(tls: &ListenerTls) -> &'static str {
    match tls {
        ListenerTls::Starttls(_) => {
            "set the app to STARTTLS (often called \"explicit TLS\", port 587), or point it to a listener with tls = \"implicit\""
        }
        ListenerTls::Off | ListenerTls::Implicit(_) => {
            "set the app to no encryption, or point it to a listener with tls = \"implicit\""
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed(Closing::Quit) => "the app said QUIT",
            Self::Closed(Closing::Errors) => "too many commands in error",
            Self::Closed(Closing::Http) => "an HTTP request came instead of SMTP",
            Self::Closed(Closing::Tls) => "a TLS handshake came where plain SMTP was due",
            Self::Closed(Closing::Flood) => "a line or refused message did not end",
            Self::Closed(Closing::Unframed) => "a BDAT had no readable size",
            Self::Closed(Closing::Unproven) => "what proved the app is no longer in the configuration",
            Self::ByPeer => "the app closed the connection",
            Self::Mute => "the app closed the connection right after the TLS handshake",
            Self::TimedOut => "nothing came, or nothing was read, for too long",
            Self::Slow => "the message came too slowly",
            Self::Unended(end) => return write!(f, "the app ends its message with {end} instead of CRLF.CRLF"),
            Self::Unencrypted(failure) => return failure.fmt(f),
            Self::Stopped => "the listener stops",
            Self::Broken(error) => return write!(f, "the connection broke: {error}"),
        })
    }
}
