//! The SMTP server's sockets: accepts, speaks TLS, moves bytes between the socket and the session.

use super::{
    Shared,
    round_trip::Delayed,
    session::{Session, Turn, Way},
    usage::OneMore,
};
use bytes::BytesMut;
use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// Most connections at once; more than any test of the relay opens, so that nobody runs out of file descriptors here.
const CONNECTIONS: usize = 2000;

/// A client that says nothing for so long is gone.
const IDLE: Duration = Duration::from_secs(600);

/// Longest wait for a handshake, or for a client to take its replies.
const STUCK: Duration = Duration::from_secs(60);

/// Read at once; a TLS record holds as much.
const READ: usize = 16 << 10;

/// Taken in while silent, so that the client's end is noticed; a client that has sent more waits, and may end unnoticed.
const WAITING: usize = 1 << 20;

/// How often a silent connection looks whether it may speak.
const LOOK: Duration = Duration::from_millis(10);

/// Replies gathered before they are sent in the middle of a group.
const GATHERED: usize = 16 << 10;

/// Accepts until stopped, then cuts all connections.
pub(super) async fn serve(
    listener: TcpListener,
    way: Way,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let (acceptor, shared) = (acceptor.clone(), shared.clone());
                    connections.spawn(async move {
                        shared.usage.connections.fetch_add(1, Relaxed);
                        let _open = OneMore::of(&shared.usage.open);
                        // A connection that breaks is the client's business; the stories are told by what was received.
                        let _ = converse(stream, way, acceptor, shared.clone()).await;
                    });
                }
                // Out of file descriptors, or the client was gone already.
                Err(_) => sleep(Duration::from_millis(50)).await,
            },
        }
    }
    connections.shutdown().await;
}

/// Ends when the owner says stop, or is gone.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

async fn converse(stream: TcpStream, way: Way, acceptor: TlsAcceptor, shared: Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut session = Session::new(shared.clone(), way);
    let mut stream = Delayed::new(stream, shared.faults.clone());
    if way != Way::Implicit {
        // The greeting answers no byte: the connection takes one round trip, the greeting's own way back the other.
        sleep(shared.faults.round_trip() * 2).await;
        if talk(&mut stream, &mut session, true).await? != Turn::Starttls {
            return Ok(());
        }
    }
    let mut stream = timeout(STUCK, acceptor.accept(stream)).await??;
    session.secured();
    talk(&mut stream, &mut session, way == Way::Implicit).await?;
    Ok(())
}

/// Talks until STARTTLS or the end.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, session: &mut Session, greet: bool) -> io::Result<Turn> {
    let (mut buf, mut out) = (BytesMut::with_capacity(2 * READ), Vec::new());
    if greet && session.greet(&mut out) == Turn::Close {
        send(stream, &mut out).await?;
        return Ok(Turn::Close);
    }
    loop {
        loop {
            let mut turn = session.step(&mut buf, &mut out);
            if turn == Turn::Silent {
                send(stream, &mut out).await?;
                timeout(IDLE, keep_silent(stream, session, &mut buf)).await??;
                turn = session.resume(&mut out);
            }
            if !out.is_empty()
                && let Some(lateness) = session.lateness()
            {
                sleep(lateness).await;
                send(stream, &mut out).await?;
            }
            match turn {
                Turn::Again if out.len() > GATHERED => send(stream, &mut out).await?,
                Turn::Again => {}
                Turn::Wait | Turn::Silent => break,
                // What is left in the buffer was sent before TLS and is dropped with it (RFC 3207 §4.2).
                Turn::Starttls => {
                    send(stream, &mut out).await?;
                    return Ok(turn);
                }
                Turn::Close => {
                    send(stream, &mut out).await?;
                    timeout(STUCK, stream.shutdown()).await??;
                    return Ok(turn);
                }
                Turn::Drop => return Ok(turn),
            }
        }
        send(stream, &mut out).await?;
        buf.reserve(READ);
        if timeout(IDLE, stream.read_buf(&mut buf)).await?? == 0 {
            return Ok(Turn::Close);
        }
    }
}

/// Returns when the session may speak again; fails when the client is gone. What it sends meanwhile waits in `buf`.
async fn keep_silent<S: AsyncRead + Unpin>(stream: &mut S, session: &Session, buf: &mut BytesMut) -> io::Result<()> {
    let _silent = OneMore::of(&session.shared.usage.silent);
    while session.is_silent() {
        buf.reserve(READ);
        tokio::select! {
            () = sleep(LOOK) => {}
            read = stream.read_buf(buf), if buf.len() < WAITING => if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            },
        }
    }
    Ok(())
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, out: &mut Vec<u8>) -> io::Result<()> {
    if !out.is_empty() {
        timeout(STUCK, async {
            stream.write_all(out).await?;
            stream.flush().await
        })
        .await??;
        out.clear();
    }
    Ok(())
}
