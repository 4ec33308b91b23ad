//! A reply of an SMTP server (RFC 5321 §4.2) with its enhanced status code (RFC 2034, 3463): written by our server, read from
//! the provider's.

use std::fmt;

/// An enhanced status code such as `5.7.708`. Details above 255 occur (Exchange).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Enhanced {
    /// 2, 4 or 5.
    pub class: u8,
    /// 0 to 999.
    pub subject: u16,
    /// 0 to 999.
    pub detail: u16,
}

impl Enhanced {
    /// Reads `class.subject.detail`; anything else is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let class = parts.next()?.parse().ok().filter(|c| matches!(c, 2 | 4 | 5))?;
        let mut part =
            || parts.next().filter(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))?.parse().ok();
        let (subject, detail) = (part()?, part()?);
        parts.next().is_none().then_some(Self { class, subject, detail })
    }
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl fmt::Debug for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One reply: a code and one or more lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// The enhanced code of the first line that has one.
    pub enhanced: Option<Enhanced>,
    /// What stands after the code (and after the enhanced code where `enhanced` is set), line by line; never empty.
    pub lines: Vec<String>,
}

impl Reply {
    /// A one-line reply. `enhanced` is `class.subject.detail` in three numbers whose class follows from the code, or `None` where RFC 2034
    /// wants none (greeting, EHLO, 3xx).
    pub fn new(code: u16, enhanced: Option<(u16, u16)>, text: impl Into<String>) -> Self {
        let enhanced = enhanced.map(|(subject, detail)| Enhanced { class: (code / 100) as u8, subject, detail });
        Self { code, enhanced, lines: vec![text.into()] }
    }

    /// `2xx`.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// `4xx`.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// `5xx`.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// All lines joined by spaces, without codes.
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// Appends the reply as it goes over the wire, every line with its code and CRLF. Control characters in a text become
    /// spaces: a line of a reply can hold no line end.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let last = self.lines.len().saturating_sub(1);
        for (index, line) in self.lines.iter().enumerate() {
            let separator = if index == last { ' ' } else { '-' };
            out.extend_from_slice(format!("{}{separator}", self.code).as_bytes());
            if let Some(enhanced) = self.enhanced {
                out.extend_from_slice(format!("{enhanced} ").as_bytes());
            }
            out.extend(line.bytes().map(|b| if b.is_ascii_control() { b' ' } else { b }));
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The reply in one line, as logs and other messages quote it: `550 5.1.1 no such user`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        write!(f, " {}", self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_codes_keep_their_size() {
        assert_eq!(Enhanced::parse("5.7.708").unwrap().to_string(), "5.7.708");
        for text in ["", "5.7", "5.7.", "5.7.1.1", "3.0.0", "5.7.1000", "5.7.x", "5.+7.1"] {
            assert_eq!(Enhanced::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_reply_cannot_hold_a_line_end() {
        let mut out = Vec::new();
        Reply::new(550, Some((7, 1)), "no\r\n250 yes").write_to(&mut out);
        assert_eq!(out, b"550 5.7.1 no  250 yes\r\n");
    }

    #[test]
    fn every_line_carries_the_code() {
        let mut out = Vec::new();
        Reply { code: 250, enhanced: None, lines: vec!["relay".into(), "PIPELINING".into(), "SIZE 10".into()] }
            .write_to(&mut out);
        assert_eq!(out, b"250-relay\r\n250-PIPELINING\r\n250 SIZE 10\r\n");
    }
}
