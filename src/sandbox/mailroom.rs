//! What was received: the last messages, byte for byte, within a bound of number and octets; the rest is counted, by Message-ID.
//!
//! The bound holds for messages still arriving too. One that does not fit is no longer kept but counted and hashed, so that
//! twenty messages of 35 MB at once stay within it and can still be compared.

use super::{clock::rfc3339, ids::MessageIds};
use aws_lc_rs::digest::{Context, Digest, SHA256, digest};
use bytes::Bytes;
use memchr::{memchr_iter, memmem};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};
use tokio::sync::mpsc;

/// The bound is taken in steps, so that the lock is taken once a step.
const STEP: usize = 64 << 10;

/// Where From, Subject and Message-ID are looked for.
const HEADER: usize = 64 << 10;

/// Events waiting for their reader.
pub(super) const EVENTS: usize = 1024;

/// One message that the provider took.
#[derive(Debug, Clone, Serialize)]
pub struct Received {
    /// 1 for the first.
    pub number: u64,
    /// Envelope sender; empty for the null sender.
    pub from: String,
    /// Envelope recipients that were accepted.
    pub to: Vec<String>,
    /// The Subject field.
    pub subject: String,
    /// Octets of the message.
    pub bytes: u64,
    /// How the connection was authenticated: `access token #3` or `password`.
    pub token: String,
    /// The XOAUTH2 user or the user of the password.
    pub user: String,
    /// The Message-ID field.
    pub message_id: String,
    /// When, by the sandbox's clock, RFC 3339.
    pub at: String,
    /// Events that were lost before this one because nobody read them; the messages were not.
    #[serde(skip_serializing_if = "is_zero")]
    pub lost: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What the session knows of a message.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Envelope {
    pub(super) from: String,
    pub(super) mail_parameters: Vec<String>,
    pub(super) to: Vec<String>,
    pub(super) recipient_parameters: Vec<Vec<String>>,
    pub(super) by: &'static str,
    pub(super) token: String,
    pub(super) user: String,
    pub(super) helo: String,
    pub(super) tls: bool,
}

struct Kept {
    received: Received,
    envelope: Envelope,
    /// `Err` has the hash of a message that did not fit.
    body: Result<Bytes, Digest>,
}

impl Kept {
    fn weight(&self) -> usize {
        self.body.as_ref().map_or(0, Bytes::len)
    }
}

#[derive(Default)]
struct State {
    kept: VecDeque<Kept>,
    /// Octets kept or promised to arriving messages.
    held: usize,
    number: u64,
    ids: MessageIds,
    /// Messages whose final reply was lost.
    unanswered: u64,
    unanswered_ids: MessageIds,
    /// Events since the last one that was read.
    lost: u64,
}

/// The room.
pub(super) struct Mailroom {
    most_messages: usize,
    most_bytes: usize,
    state: Mutex<State>,
    events: mpsc::Sender<Received>,
    messages: AtomicU64,
    bytes: AtomicU64,
    duplicates: AtomicU64,
}

impl Mailroom {
    pub(super) fn new(most_messages: usize, most_bytes: usize) -> (Arc<Self>, mpsc::Receiver<Received>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let room = Self {
            most_messages,
            most_bytes,
            state: Mutex::default(),
            events,
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
        };
        (Arc::new(room), receiver)
    }

    /// Promises `more` octets, at the cost of the oldest messages; false when they do not fit.
    fn promise(&self, more: usize) -> bool {
        let mut state = self.lock();
        while state.held + more > self.most_bytes {
            let Some(oldest) = state.kept.pop_front() else { return false };
            state.held -= oldest.weight();
        }
        state.held += more;
        true
    }

    fn release(&self, octets: usize) {
        self.lock().held -= octets;
    }

    /// Takes a message whose end was read.
    pub(super) fn take(&self, mut draft: Draft, envelope: Envelope, at: SystemTime) -> Received {
        let [subject, message_id] = fields(&draft.bytes, ["subject", "message-id"]);
        let promised = std::mem::take(&mut draft.promised);
        let (size, digest) = (draft.size, draft.digest.take());
        let mut bytes = std::mem::take(&mut draft.bytes);
        bytes.shrink_to_fit();
        let body = digest.map_or_else(|| Ok(Bytes::from(bytes)), |context| Err(context.finish()));
        let mut received = Received {
            number: 0,
            from: envelope.from.clone(),
            to: envelope.to.clone(),
            subject,
            bytes: size,
            token: envelope.token.clone(),
            user: envelope.user.clone(),
            message_id,
            at: rfc3339(at),
            lost: 0,
        };
        let mut state = self.lock();
        if state.ids.count(&received.message_id) {
            self.duplicates.fetch_add(1, Relaxed);
        }
        state.number += 1;
        received.number = state.number;
        let kept = Kept { received: received.clone(), envelope, body };
        state.held = state.held - promised + kept.weight();
        state.kept.push_back(kept);
        if state.kept.len() > self.most_messages
            && let Some(oldest) = state.kept.pop_front()
        {
            state.held -= oldest.weight();
        }
        self.tell(&mut state, received.clone());
        drop(state);
        self.messages.fetch_add(1, Relaxed);
        self.bytes.fetch_add(size, Relaxed);
        received
    }

    /// Hands the event on; with a full channel it is lost, and the next one says so.
    fn tell(&self, state: &mut State, mut received: Received) {
        received.lost = state.lost;
        match self.events.try_send(received) {
            Ok(()) => state.lost = 0,
            Err(_) => state.lost += 1,
        }
    }

    /// Counts a message that was taken and whose reply a fault kept from the client.
    pub(super) fn lose_reply(&self, message_id: &str) {
        let mut state = self.lock();
        state.unanswered += 1;
        state.unanswered_ids.count(message_id);
    }

    /// JSON of every Message-ID received with how often, or of those whose final reply was lost.
    pub(super) fn message_ids(&self, unanswered: bool) -> Vec<u8> {
        let state = self.lock();
        if unanswered { state.unanswered_ids.json() } else { state.ids.json() }
    }

    /// Envelopes of all messages kept, oldest first.
    pub(super) fn list(&self) -> Vec<Received> {
        self.lock().kept.iter().map(|kept| kept.received.clone()).collect()
    }

    /// The message of that number: its envelope sender and recipients, and its bytes, or why there are none.
    pub(super) fn message(&self, number: u64) -> Option<(Received, Result<Bytes, String>)> {
        let state = self.lock();
        let kept = state.kept.iter().find(|kept| kept.received.number == number)?;
        Some((kept.received.clone(), kept.body.clone().map_err(|digest| hex(digest.as_ref()))))
    }

    /// Everything about it but its bytes.
    pub(super) fn envelope(&self, number: u64) -> Option<Value> {
        let (received, envelope, body) = {
            let state = self.lock();
            let kept = state.kept.iter().find(|kept| kept.received.number == number)?;
            (kept.received.clone(), kept.envelope.clone(), kept.body.clone())
        };
        let kept = body.is_ok();
        let hash = body.map_or_else(|hash| hash, |bytes| digest(&SHA256, &bytes));
        Some(json!({ "message": received, "envelope": envelope, "sha256": hex(hash.as_ref()), "kept": kept }))
    }

    /// Forgets all messages and Message-IDs; numbers go on.
    pub(super) fn clear(&self) {
        let mut state = self.lock();
        state.held -= state.kept.iter().map(Kept::weight).sum::<usize>();
        state.kept.clear();
        state.ids = MessageIds::default();
        state.unanswered = 0;
        state.unanswered_ids = MessageIds::default();
    }

    /// Adds the room's counters to `report`.
    pub(super) fn report(&self, report: &mut Value) {
        let state = self.lock();
        report["messages"] = self.messages.load(Relaxed).into();
        report["bytes"] = self.bytes.load(Relaxed).into();
        report["duplicates"] = self.duplicates.load(Relaxed).into();
        report["kept_messages"] = state.kept.len().into();
        report["kept_bytes"] = state.held.into();
        report["message_ids"] = state.ids.len().into();
        report["message_ids_missed"] = state.ids.missed().into();
        report["final_replies_lost"] = state.unanswered.into();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message that is arriving.
pub(super) struct Draft {
    room: Arc<Mailroom>,
    bytes: Vec<u8>,
    promised: usize,
    size: u64,
    /// Set when the message no longer fits.
    digest: Option<Context>,
}

impl Draft {
    pub(super) fn new(room: &Arc<Mailroom>) -> Self {
        Self { room: room.clone(), bytes: Vec::new(), promised: 0, size: 0, digest: None }
    }

    /// Octets so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn push(&mut self, part: &[u8]) {
        self.size += part.len() as u64;
        if let Some(digest) = &mut self.digest {
            return digest.update(part);
        }
        let needed = self.bytes.len() + part.len();
        if needed > self.promised {
            // A large message takes larger steps.
            let more = (needed - self.promised).max(STEP).max(self.promised / 4);
            if !self.room.promise(more) {
                return self.give_up(part);
            }
            self.promised += more;
        }
        self.bytes.extend_from_slice(part);
    }

    /// Keeps only a header's worth, and hashes from here on.
    fn give_up(&mut self, part: &[u8]) {
        let mut context = Context::new(&SHA256);
        context.update(&self.bytes);
        context.update(part);
        self.digest = Some(context);
        self.bytes.truncate(HEADER);
        self.bytes.shrink_to_fit();
        self.room.release(std::mem::take(&mut self.promised));
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.promised > 0 {
            self.room.release(self.promised);
        }
    }
}

/// The unfolded values of header fields, given in lower case; empty where missing.
fn fields<const N: usize>(message: &[u8], names: [&str; N]) -> [String; N] {
    let head = &message[..message.len().min(HEADER)];
    let head = memmem::find(head, b"\r\n\r\n").map_or(head, |end| &head[..end]);
    let mut found = [const { String::new() }; N];
    let mut at = 0;
    let ends = memchr_iter(b'\n', head).chain([head.len()]);
    let mut current = None;
    for end in ends {
        let line = &head[at..end.max(at)];
        at = end + 1;
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            if let Some(index) = current {
                append(&mut found, index, line);
            }
            continue;
        }
        current = line.iter().take(40).position(|b| *b == b':').and_then(|colon| {
            let name = &line[..colon];
            let index = names.iter().position(|n| name.trim_ascii().eq_ignore_ascii_case(n.as_bytes()))?;
            // The first of several counts.
            found[index].is_empty().then(|| append(&mut found, index, &line[colon + 1..]))?;
            Some(index)
        });
    }
    found
}

/// At most a thousand octets of a field are kept.
fn append(found: &mut [String], index: usize, line: &[u8]) {
    let value = &mut found[index];
    if value.len() < 1000 {
        let text = String::from_utf8_lossy(line.trim_ascii());
        let space = if value.is_empty() || text.is_empty() { "" } else { " " };
        value.push_str(space);
        value.extend(text.chars().filter(|c| !c.is_control()).take(1000));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(room: &Arc<Mailroom>, parts: &[&[u8]]) -> Received {
        let mut draft = Draft::new(room);
        parts.iter().for_each(|part| draft.push(part));
        room.take(draft, Envelope::default(), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn the_last_messages_are_kept_within_number_and_octets() {
        let (room, _events) = Mailroom::new(3, 4 * STEP);
        (0..5).for_each(|_| drop(take(&room, &[b"Subject: a\r\n\r\nb\r\n"])));
        assert_eq!(room.list().iter().map(|r| r.number).collect::<Vec<_>>(), [3, 4, 5]);
        let large = vec![b'x'; 4 * STEP];
        take(&room, &[&large]);
        assert_eq!(room.list().iter().map(|r| r.number).collect::<Vec<_>>(), [6], "it took the room of the others");
        room.clear();
        assert_eq!(room.lock().held, 0);
    }

    #[test]
    fn what_does_not_fit_is_counted_and_hashed() {
        let (room, _events) = Mailroom::new(3, 2 * STEP);
        let header = b"Subject: big\r\nMessage-ID: <1@x>\r\n\r\n".as_slice();
        let part = vec![b'x'; STEP];
        let received = take(&room, &[header, &part, &part, &part]);
        assert_eq!((received.bytes, received.subject.as_str()), ((header.len() + 3 * STEP) as u64, "big"));
        let whole = [header, &part, &part, &part].concat();
        assert_eq!(room.message(1).unwrap().1, Err(hex(digest(&SHA256, &whole).as_ref())));
        assert_eq!(room.lock().held, 0);
        let mut draft = Draft::new(&room);
        draft.push(&part);
        drop(draft);
        assert_eq!(room.lock().held, 0, "a message that was cut gives its room back");
    }

    #[test]
    fn events_are_lost_rather_than_messages_and_the_next_one_says_so() {
        let (room, mut events) = Mailroom::new(2, 1 << 20);
        (0..EVENTS + 3).for_each(|_| drop(take(&room, &[b"a\r\n"])));
        assert_eq!(events.try_recv().unwrap().lost, 0);
        take(&room, &[b"a\r\n"]);
        let last = std::iter::from_fn(|| events.try_recv().ok()).last().unwrap();
        assert_eq!(last.lost, 3);
    }

    #[test]
    fn fields_are_unfolded_and_the_first_counts() {
        let message = b"From: x\r\nSUBJECT: one\r\n two\r\nSubject: no\r\n no\r\nMessage-Id:\r\n\t<1@x>\r\n\r\nSubject: body\r\n";
        assert_eq!(fields(message, ["subject", "message-id", "date"]), ["one two", "<1@x>", ""]);
        assert_eq!(fields(b"Subject: only", ["subject"]), ["only"]);
        assert_eq!(fields(b"", ["subject"]), [""]);
    }

    #[test]
    fn a_message_id_seen_before_is_a_duplicate() {
        let (room, _events) = Mailroom::new(2, 1 << 20);
        for id in ["<1@x>", "<2@x>", "<1@x>"] {
            take(&room, &[format!("Message-ID: {id}\r\n\r\n").as_bytes()]);
        }
        assert_eq!(room.duplicates.load(Relaxed), 1);
    }
}
