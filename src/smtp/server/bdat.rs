//! One chunk of a message after BDAT (RFC 3030 §2): the announced octets are always taken, refused or not, or they would be read
//! as commands.

use super::text::Text;
use crate::smtp::Reply;

/// A chunk that is arriving.
#[derive(Debug)]
pub(super) struct Chunk {
    /// As announced.
    pub(super) octets: u64,
    /// Whether it is the message's last.
    pub(super) is_last: bool,
    /// What is said when all was swallowed; `None` for a chunk that is wanted.
    pub(super) refusal: Option<Reply>,
    left: u64,
}

impl Chunk {
    pub(super) fn new(octets: u64, is_last: bool, refusal: Option<Reply>) -> Self {
        Self { octets, is_last, refusal, left: octets }
    }

    /// Takes octets of the chunk from `input`, and passes them to `text` if there is one.
    pub(super) fn push(&mut self, input: &mut &[u8], text: Option<&mut Text>, out: &mut Vec<u8>) {
        let count = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
        let (mine, rest) = input.split_at(count);
        *input = rest;
        self.left -= count as u64;
        if let Some(text) = text {
            text.push(mine, out);
        }
    }

    /// Whether all of it came.
    pub(super) fn is_complete(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_takes_what_was_announced_and_no_more() {
        let (mut chunk, mut text, mut out) = (Chunk::new(6, true, None), Text::new(100), Vec::new());
        let mut input = &b".\r\n"[..];
        chunk.push(&mut input, Some(&mut text), &mut out);
        assert!(input.is_empty() && !chunk.is_complete());
        let mut input = &b"a\nbQUIT"[..];
        chunk.push(&mut input, Some(&mut text), &mut out);
        assert!(chunk.is_complete());
        assert_eq!((input, out), (&b"QUIT"[..], b".\r\na\r\nb".to_vec()));
    }

    #[test]
    fn a_refused_chunk_is_swallowed() {
        let (mut chunk, mut out) = (Chunk::new(4, false, None), Vec::new());
        let mut input = &b"RSETQUIT"[..];
        chunk.push(&mut input, None, &mut out);
        assert_eq!((input, out.len(), chunk.is_complete()), (&b"QUIT"[..], 0, true));
    }
}
