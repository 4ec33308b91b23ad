//! stub: being written

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// How many Received fields the message had (RFC 5321 §6.3).
    pub received: usize,
    /// The From field, unfolded, at most 1,000 octets.
    pub from: Option<String>,
    /// The Subject field, likewise.
    pub subject: Option<String>,
    /// The Message-ID that the message has now.
    pub message_id: String,
}

/// Stub.
#[derive(Debug)]
pub struct Preparation(String);

impl Preparation {
    /// Stub.
    pub fn new(received: String, _date: String, _message_id: String) -> Self {
        Self(received)
    }
    /// Stub.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.append(&mut std::mem::take(&mut self.0).into_bytes());
        out.extend_from_slice(bytes);
    }
    /// Stub.
    pub fn finish(self, _out: &mut Vec<u8>) -> Findings {
        Findings::default()
    }
}
