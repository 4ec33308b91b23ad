//! A delay line in front of a socket: what arrives is seen one round trip later, however much is on its way.
//!
//! So a reply leaves one round trip after its command arrived, commands sent together cost one round trip together, and a TLS
//! handshake pays for each of its flights. The first bytes pay for the TCP connection too.

use super::faults::Faults;
use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// Most that is on its way at once, per connection: then the sender waits, as with a full TCP window.
const WINDOW: usize = 1 << 20;

/// Taken from the socket at once.
const CHUNK: usize = 16 << 10;

/// A stream whose input comes late.
pub(super) struct Delayed<S> {
    inner: S,
    faults: Arc<Faults>,
    /// When the connection stands for the client: one round trip after it was accepted here.
    stands: Instant,
    /// What has arrived and when it may be seen; an empty chunk is the end.
    held: VecDeque<(Instant, Vec<u8>)>,
    /// How much of the first chunk has been seen.
    seen: usize,
    size: usize,
    ended: bool,
    timer: Pin<Box<Sleep>>,
}

impl<S> Delayed<S> {
    pub(super) fn new(inner: S, faults: Arc<Faults>) -> Self {
        let stands = Instant::now() + faults.round_trip();
        let timer = Box::pin(sleep_until(stands));
        Self { inner, faults, stands, held: VecDeque::new(), seen: 0, size: 0, ended: false, timer }
    }
}

impl<S: AsyncRead + Unpin> Delayed<S> {
    /// Takes in what has arrived; `Pending` has left the waker with the socket.
    fn take_in(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.size < WINDOW && !self.ended {
            let mut chunk = vec![0; CHUNK];
            let mut space = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut space))?;
            let length = space.filled().len();
            chunk.truncate(length);
            chunk.shrink_to_fit();
            let trip = self.faults.round_trip();
            let arrived = Instant::now().max(self.stands);
            self.held.push_back((arrived + trip, chunk));
            self.size += length;
            self.ended = length == 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Delayed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.held.is_empty() && this.faults.round_trip().is_zero() {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        if let Poll::Ready(Err(why)) = this.take_in(cx) {
            return Poll::Ready(Err(why));
        }
        let Some((due, chunk)) = this.held.front() else { return Poll::Pending };
        if *due > Instant::now() {
            this.timer.as_mut().reset(*due);
            ready!(this.timer.as_mut().poll(cx));
        }
        let part = &chunk[this.seen..];
        let part = &part[..part.len().min(buf.remaining())];
        buf.put_slice(part);
        this.seen += part.len();
        // The end stays, to be seen again.
        if this.seen == chunk.len() && !chunk.is_empty() {
            this.size -= chunk.len();
            this.seen = 0;
            this.held.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Delayed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const TRIP: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn what_is_sent_together_arrives_together_one_round_trip_later() {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        let mut far = Delayed::new(far, Arc::new(Faults::new(TRIP)));
        let mut buf = [0; 3];
        let start = Instant::now();
        near.write_all(b"one").await.unwrap();
        far.read_exact(&mut buf).await.unwrap();
        assert!(start.elapsed() >= 2 * TRIP, "the connection pays too");
        let start = Instant::now();
        near.write_all(b"twothr").await.unwrap();
        far.read_exact(&mut buf).await.unwrap();
        far.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"thr");
        assert!((TRIP..2 * TRIP).contains(&start.elapsed()), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn the_end_arrives_after_the_last_byte() {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        let mut far = Delayed::new(far, Arc::new(Faults::new(TRIP)));
        near.write_all(b"bye").await.unwrap();
        drop(near);
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!((all.as_slice(), far.read(&mut [0]).await.unwrap()), (&b"bye"[..], 0));
    }
}
