//! What stands outside a message: who sends it to whom, and the parameters that go with it.
//!
//! Parameters of DSN (RFC 3461) keep their original spelling, so that they are forwarded as they came.

use super::Address;

/// The envelope of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `MAIL FROM`; `None` is the null sender `<>` of a bounce.
    pub sender: Option<Address>,
    /// `RCPT TO`, in the app's order; never empty once a message is accepted.
    pub recipients: Vec<Recipient>,
    /// `BODY=` of RFC 6152.
    pub body: BodyType,
    /// Whether the app asked for SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// `RET=` of RFC 3461 §4.3.
    pub ret: Option<Ret>,
    /// `ENVID=` of RFC 3461 §4.4.
    pub envid: Option<Xtext>,
}

impl Envelope {
    /// An envelope from `sender` without recipients or parameters.
    pub fn from(sender: Option<Address>) -> Self {
        Self { sender, recipients: Vec::new(), body: BodyType::SevenBit, smtputf8: false, ret: None, envid: None }
    }
}

/// One `RCPT TO` with its DSN parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Where to.
    pub address: Address,
    /// `NOTIFY=` of RFC 3461 §4.1.
    pub notify: Option<Notify>,
    /// `ORCPT=` of RFC 3461 §4.2, as `type;xtext`.
    pub orcpt: Option<Xtext>,
}

impl Recipient {
    /// A recipient without parameters.
    pub fn to(address: Address) -> Self {
        Self { address, notify: None, orcpt: None }
    }
}

/// `BODY=` of RFC 6152; BINARYMIME is not offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyType {
    /// The default.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
}

/// How much of a message a bounce returns (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Its header only.
    Hdrs,
}

/// When the sender wants to hear (RFC 3461 §4.1). All false is `NEVER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notify {
    /// On delivery.
    pub success: bool,
    /// On failure.
    pub failure: bool,
    /// On delay.
    pub delay: bool,
}

/// Why a DSN parameter is refused with `501`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid DSN parameter")]
pub struct InvalidParameter;

impl Notify {
    /// Reads `NEVER` or a comma-separated list of `SUCCESS`, `FAILURE`, `DELAY`.
    pub fn parse(text: &str) -> Result<Self, InvalidParameter> {
        let mut notify = Self { success: false, failure: false, delay: false };
        if text.eq_ignore_ascii_case("NEVER") {
            return Ok(notify);
        }
        for word in text.split(',') {
            match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => notify.success = true,
                "FAILURE" => notify.failure = true,
                "DELAY" => notify.delay = true,
                _ => return Err(InvalidParameter),
            }
        }
        Ok(notify)
    }
}

impl std::fmt::Display for Notify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let named: Vec<&str> = words.iter().filter(|(asked, _)| *asked).map(|(_, word)| *word).collect();
        f.write_str(if named.is_empty() { "NEVER".to_owned() } else { named.join(",") }.as_str())
    }
}

/// A parameter value in xtext (RFC 3461 §4), never decoded: `+0D+0A` stays seven harmless characters on its way upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Xtext(Box<str>);

impl Xtext {
    /// Takes a text of printable ASCII without space or `=`, at most `longest` octets.
    pub fn parse(text: &str, longest: usize) -> Result<Self, InvalidParameter> {
        let printable = text.bytes().all(|b| b.is_ascii_graphic() && b != b'=');
        if text.is_empty() || text.len() > longest || !printable {
            return Err(InvalidParameter);
        }
        Ok(Self(text.into()))
    }

    /// The text as it came.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_is_printed_as_it_is_read() {
        for text in ["NEVER", "SUCCESS", "FAILURE,DELAY", "SUCCESS,FAILURE,DELAY"] {
            assert_eq!(Notify::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Notify::parse("NEVER,SUCCESS"), Err(InvalidParameter));
        assert_eq!(Notify::parse(""), Err(InvalidParameter));
    }

    #[test]
    fn xtext_keeps_what_would_decode_to_a_line_end() {
        assert_eq!(Xtext::parse("a+0D+0AQUIT", 100).unwrap().as_str(), "a+0D+0AQUIT");
        for text in ["", "a b", "a=b", "a\r\nQUIT", "ä"] {
            assert_eq!(Xtext::parse(text, 100), Err(InvalidParameter), "{text:?}");
        }
        assert_eq!(Xtext::parse("aaaa", 3), Err(InvalidParameter));
    }
}
