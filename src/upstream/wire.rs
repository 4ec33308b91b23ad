//! A byte stream on which replies are read while something is written: a server that answers early, or that stops reading until
//! its answer is read, must not bring both sides to a halt.

use crate::smtp::{
    Reply,
    client::{Malformed, Replies},
};
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at once; most replies fit many times.
const READ: usize = 2 * 1024;

/// Why a connection is of no use any more.
#[derive(Debug)]
pub(super) enum Broken {
    /// The peer closed it.
    Closed,
    /// Nothing came in time.
    TimedOut,
    /// It broke.
    Io(io::Error),
    /// What came is no reply, or answers nothing.
    Malformed(Malformed),
}

impl From<Malformed> for Broken {
    fn from(why: Malformed) -> Self {
        Self::Malformed(why)
    }
}

/// Takes replies as they come; says whether it has heard enough.
pub(super) trait Listen {
    /// One reply.
    fn hear(&mut self, reply: Reply) -> Result<(), Malformed>;
    /// Whether nothing more is awaited.
    fn is_content(&self) -> bool;
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// All of it went out.
    Whole,
    /// The listener had heard enough before all was written.
    Cut,
}

/// The stream with its reply reader.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    replies: Replies,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, replies: Replies::default() }
    }

    /// Gives the stream back; `None` if bytes were read from it that nobody has asked for.
    pub(super) fn into_stream(self) -> Option<S> {
        self.replies.is_empty().then_some(self.stream)
    }

    /// Writes `bytes`; replies that come meanwhile are heard.
    pub(super) async fn write(&mut self, bytes: &[u8], listener: &mut impl Listen, within: Duration) -> Result<Written, Broken> {
        let mut rest = bytes;
        bounded(within, poll_fn(|cx| self.poll_write(cx, &mut rest, listener))).await
    }

    /// Hears at least one more reply.
    pub(super) async fn hear(&mut self, listener: &mut impl Listen, within: Duration) -> Result<(), Broken> {
        bounded(within, poll_fn(|cx| self.poll_hear(cx, listener))).await
    }

    /// One reply to what was written before.
    pub(super) async fn reply(&mut self, within: Duration) -> Result<Reply, Broken> {
        let mut one = One(None);
        self.hear(&mut one, within).await?;
        one.0.ok_or(Broken::Malformed(Malformed::Unasked))
    }

    /// Writes one command and hears its reply.
    pub(super) async fn ask(&mut self, line: &[u8], within: Duration) -> Result<Reply, Broken> {
        let mut one = One(None);
        self.write(line, &mut one, within).await?;
        match one.0 {
            Some(reply) => Ok(reply),
            None => self.reply(within).await,
        }
    }

    /// Whether an idle connection looks alive: nothing came, and it was not closed. Never waits.
    pub(super) fn is_silent(&mut self) -> bool {
        let mut space = [0; 1];
        let mut read = ReadBuf::new(&mut space);
        let mut cx = Context::from_waker(Waker::noop());
        self.replies.is_empty() && Pin::new(&mut self.stream).poll_read(&mut cx, &mut read).is_pending()
    }

    /// Says QUIT and closes, as far as that goes without waiting.
    pub(super) fn leave(mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let stream = Pin::new(&mut self.stream);
        if let Poll::Ready(Ok(_)) = stream.poll_write(&mut cx, b"QUIT\r\n") {
            // A goodbye: whether it arrives changes nothing.
            let _ = Pin::new(&mut self.stream).poll_shutdown(&mut cx);
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        rest: &mut &[u8],
        listener: &mut impl Listen,
    ) -> Poll<Result<Written, Broken>> {
        // Reading comes first, until it would block: so this task is woken by either side.
        while let Poll::Ready(heard) = self.poll_hear(cx, listener) {
            heard?;
        }
        // Bytes are left, here or in the TLS buffer, or this would not be polled: the verdict came before the peer had them.
        if listener.is_content() {
            return Poll::Ready(Ok(Written::Cut));
        }
        while !rest.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Err(Broken::Closed)),
                Ok(taken) => *rest = &rest[taken..],
                Err(why) => return Poll::Ready(Err(Broken::Io(why))),
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(Broken::Io)?;
        Poll::Ready(Ok(Written::Whole))
    }

    /// Ready once at least one reply was heard.
    fn poll_hear(&mut self, cx: &mut Context<'_>, listener: &mut impl Listen) -> Poll<Result<(), Broken>> {
        loop {
            let mut space = [0; READ];
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)).map_err(Broken::Io)?;
            if read.filled().is_empty() {
                return Poll::Ready(Err(Broken::Closed));
            }
            self.replies.push(read.filled());
            let mut heard = false;
            while let Some(reply) = self.replies.next()? {
                listener.hear(reply)?;
                heard = true;
            }
            if heard {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// A listener for a single reply.
struct One(Option<Reply>);

impl Listen for One {
    fn hear(&mut self, reply: Reply) -> Result<(), Malformed> {
        match self.0.replace(reply) {
            None => Ok(()),
            Some(_) => Err(Malformed::Unasked),
        }
    }

    fn is_content(&self) -> bool {
        self.0.is_some()
    }
}

async fn bounded<T>(within: Duration, what: impl Future<Output = Result<T, Broken>>) -> Result<T, Broken> {
    tokio::time::timeout(within, what).await.unwrap_or(Err(Broken::TimedOut))
}
