//! Reads one command line (RFC 5321 §4.1.1, with the parameters of RFC 1870, 3461, 4954, 6152 and 6531).
//!
//! Tolerated, because devices send it: a space after `FROM:` and `TO:`, paths without brackets, local names without domain, any
//! EHLO and HELO argument or none, source routes. Not tolerated: what could be read in two ways. Parameters keep their spelling;
//! nothing is decoded, so nothing decoded can become a command upstream.

use crate::{
    mail::{Address, BodyType, Envelope, Notify, Recipient, Ret, Xtext},
    secret::Secret,
    smtp::Reply,
};

/// Longest ENVID (RFC 3461 §4.4).
const LONGEST_ENVID: usize = 100;

/// Longest ORCPT (RFC 3461 §4.2).
const LONGEST_ORCPT: usize = 500;

/// One command. `Debug` shows no password: the initial response is a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Ehlo(String),
    Helo(String),
    Mail {
        envelope: Envelope,
        size: Option<u64>,
    },
    Rcpt(Recipient),
    Data,
    Bdat {
        octets: u64,
        last: bool,
    },
    Auth {
        mechanism: String,
        initial: Option<Secret>,
    },
    Starttls,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
    /// Known, and not offered: answered with 502, all others with 500.
    NotOffered,
}

/// Why a line is no command, as the reply that says so.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Answer and go on.
    Reply(Reply),
    /// A BDAT whose size is unknown: what follows cannot be told from commands, so the session ends (RFC 3030 gives no other way).
    Unframed(Reply),
}

impl From<Reply> for Refused {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

/// Reads a line without its end.
pub(super) fn parse(line: &[u8]) -> Result<Command, Refused> {
    let text = String::from_utf8_lossy(line);
    let (verb, arguments) = text.split_once([' ', '\t']).unwrap_or((&text, ""));
    let (verb, arguments) = (verb.to_ascii_uppercase(), arguments.trim_matches([' ', '\t']));
    let is_hello = matches!(verb.as_str(), "EHLO" | "HELO");
    let is_text = std::str::from_utf8(line).is_ok();
    if line.contains(&0) || !(is_hello || is_text) {
        let reply = syntax("the command holds octets that may not stand there");
        return Err(if verb == "BDAT" { Refused::Unframed(reply) } else { reply.into() });
    }
    Ok(match verb.as_str() {
        "EHLO" => Command::Ehlo(arguments.to_owned()),
        "HELO" => Command::Helo(arguments.to_owned()),
        "MAIL" => mail(arguments)?,
        "RCPT" => Command::Rcpt(rcpt(arguments)?),
        "DATA" if arguments.is_empty() => Command::Data,
        "DATA" => return Err(syntax("DATA takes no argument").into()),
        "BDAT" => bdat(arguments).ok_or_else(|| Refused::Unframed(syntax("use BDAT size [LAST]")))?,
        "AUTH" => auth(arguments)?,
        "RSET" => Command::Rset,
        "NOOP" => Command::Noop,
        "QUIT" => Command::Quit,
        "VRFY" => Command::Vrfy,
        "HELP" => Command::Help,
        "STARTTLS" if arguments.is_empty() => Command::Starttls,
        "STARTTLS" => return Err(syntax("STARTTLS takes no argument").into()),
        "EXPN" | "ETRN" | "ATRN" | "TURN" | "SEND" | "SOML" | "SAML" | "BURL" => Command::NotOffered,
        _ => return Err(Reply::new(500, Some((5, 1)), "command not recognized").into()),
    })
}

fn syntax(text: &str) -> Reply {
    Reply::new(501, Some((5, 2)), text)
}

fn parameter(name: &str) -> Reply {
    Reply::new(501, Some((5, 4)), format!("the {name} parameter cannot be read or stands twice"))
}

fn auth(arguments: &str) -> Result<Command, Reply> {
    let mut words = arguments.split_ascii_whitespace();
    let mechanism = words.next().ok_or_else(|| syntax("use AUTH mechanism"))?.to_ascii_uppercase();
    let initial = words.next().map(|word| Secret::new(word.to_owned()));
    match words.next() {
        None => Ok(Command::Auth { mechanism, initial }),
        Some(_) => Err(syntax("AUTH takes a mechanism and one response")),
    }
}

fn bdat(arguments: &str) -> Option<Command> {
    let mut words = arguments.split_ascii_whitespace();
    let octets = digits(words.next()?)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return None,
    };
    words.next().is_none().then_some(Command::Bdat { octets, last })
}

/// A decimal number without sign; `None` when it does not fit.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn mail(arguments: &str) -> Result<Command, Reply> {
    let (path, parameters) = path(arguments, "FROM").ok_or_else(|| syntax("use MAIL FROM:<address>"))?;
    if has_bracket(parameters) {
        return Err(syntax("use MAIL FROM:<address>, without a display name"));
    }
    let sender = match path {
        "" => None,
        text => Some(Address::parse(text).map_err(|why| Reply::new(501, Some((1, 7)), format!("sender: {why}")))?),
    };
    let (mut envelope, mut size, mut body) = (Envelope::from(sender), None, None);
    for word in parameters.split_ascii_whitespace() {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let name = name.to_ascii_uppercase();
        let taken = match (name.as_str(), value) {
            // A number too large for us is too large for any limit.
            ("SIZE", Some(value)) => number(value).is_some_and(|number| once(&mut size, Some(number))),
            ("BODY", Some(value)) => once(&mut body, body_type(value)),
            ("SMTPUTF8", None) => !std::mem::replace(&mut envelope.smtputf8, true),
            ("RET", Some(value)) => once(&mut envelope.ret, ret(value)),
            ("ENVID", Some(value)) => once(&mut envelope.envid, Xtext::parse(value, LONGEST_ENVID).ok()),
            // RFC 4954 §5: from an app that is not trusted with it, `AUTH=` is accepted and forgotten.
            ("AUTH", Some(_)) => true,
            ("SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID" | "AUTH", _) => false,
            _ => return Err(unknown_parameter()),
        };
        taken.then_some(()).ok_or_else(|| parameter(&name))?;
    }
    envelope.body = body.unwrap_or_default();
    match envelope.sender.as_ref().is_some_and(|sender| !sender.is_ascii()) && !envelope.smtputf8 {
        true => Err(needs_smtputf8()),
        false => Ok(Command::Mail { envelope, size }),
    }
}

fn rcpt(arguments: &str) -> Result<Recipient, Reply> {
    let (path, parameters) = path(arguments, "TO").ok_or_else(|| syntax("use RCPT TO:<address>"))?;
    if has_bracket(parameters) || is_list(path) {
        return Err(syntax("use RCPT TO:<address>, one address and no display name"));
    }
    let address = Address::parse(path).map_err(|why| Reply::new(501, Some((1, 3)), format!("recipient: {why}")))?;
    let mut recipient = Recipient::to(address);
    for word in parameters.split_ascii_whitespace() {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let name = name.to_ascii_uppercase();
        let taken = match name.as_str() {
            "NOTIFY" => once(&mut recipient.notify, Notify::parse(value).ok()),
            "ORCPT" => once(&mut recipient.orcpt, orcpt(value)),
            _ => return Err(unknown_parameter()),
        };
        taken.then_some(()).ok_or_else(|| parameter(&name))?;
    }
    Ok(recipient)
}

fn unknown_parameter() -> Reply {
    Reply::new(555, Some((5, 4)), "a parameter is not known here")
}

/// RFC 6531 §3.5: a non-ASCII address needs the parameter.
pub(super) fn needs_smtputf8() -> Reply {
    Reply::new(553, Some((6, 7)), "a non-ASCII address needs the SMTPUTF8 parameter of MAIL")
}

/// Sets `slot`; false when the value could not be read or the slot was set before.
fn once<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    value.is_some() && std::mem::replace(slot, value).is_none()
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

fn body_type(text: &str) -> Option<BodyType> {
    match text.to_ascii_uppercase().as_str() {
        "7BIT" => Some(BodyType::SevenBit),
        "8BITMIME" => Some(BodyType::EightBitMime),
        _ => None,
    }
}

fn ret(text: &str) -> Option<Ret> {
    match text.to_ascii_uppercase().as_str() {
        "FULL" => Some(Ret::Full),
        "HDRS" => Some(Ret::Hdrs),
        _ => None,
    }
}

/// `type;xtext` (RFC 3461 §4.2).
fn orcpt(text: &str) -> Option<Xtext> {
    let (kind, address) = text.split_once(';')?;
    let is_typed = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (is_typed && !address.is_empty()).then(|| Xtext::parse(text, LONGEST_ORCPT).ok())?
}

/// Splits `FROM:<path> parameters` into path and parameters; the path without brackets and source route. An empty path needs
/// its brackets, or `MAIL FROM:` of a broken app would make a bounce.
fn path<'a>(arguments: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let start = arguments.get(..keyword.len()).filter(|start| start.eq_ignore_ascii_case(keyword))?;
    let rest = arguments[start.len()..].trim_start().strip_prefix(':')?.trim_start();
    let Some(inside) = rest.strip_prefix('<') else {
        let end = outside_quotes(rest, |b| b == b' ' || b == b'\t').unwrap_or(rest.len());
        return (end > 0).then(|| (without_route(&rest[..end]), &rest[end..]));
    };
    let end = outside_quotes(inside, |b| b == b'>')?;
    let parameters = &inside[end + 1..];
    let is_framed = parameters.is_empty() || parameters.starts_with([' ', '\t']);
    is_framed.then(|| (without_route(inside[..end].trim()), parameters))
}

/// Whether an address stands where a parameter is due: what came before it was a name.
fn has_bracket(parameters: &str) -> bool {
    parameters.split_ascii_whitespace().any(|word| word.starts_with('<'))
}

/// Whether several addresses stand where one is due. Without quotes `a@b,c@d` could also be the local part `a@b,c`.
fn is_list(path: &str) -> bool {
    let is_two = |mark| path.split_once(mark).is_some_and(|(first, rest)| first.contains('@') && rest.contains('@'));
    !path.starts_with('"') && (is_two(',') || is_two(';'))
}

/// The index of the first octet that `ends` the path and stands outside a quoted string.
fn outside_quotes(text: &str, ends: impl Fn(u8) -> bool) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ if !is_quoted && ends(byte) => return Some(index),
            _ => {}
        }
    }
    None
}

/// RFC 5321 appendix F.2: source routes are accepted and ignored.
fn without_route(path: &str) -> &str {
    match path.starts_with('@') {
        true => path.split_once(':').map_or(path, |(_, mailbox)| mailbox),
        false => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(line: &str) -> Option<String> {
        match parse(line.as_bytes()) {
            Ok(Command::Mail { envelope, .. }) => Some(envelope.sender.map_or("<>".into(), |sender| sender.to_string())),
            _ => None,
        }
    }

    fn code(line: &[u8]) -> String {
        match parse(line) {
            Ok(command) => format!("{command:?}"),
            Err(Refused::Reply(reply)) => reply.to_string(),
            Err(Refused::Unframed(reply)) => format!("{reply}, and close"),
        }
    }

    #[test]
    fn paths_of_old_devices_are_read() {
        for (line, expected) in [
            ("MAIL FROM:<a@example.com>", "a@example.com"),
            ("mail from:<a@example.com>", "a@example.com"),
            ("MAIL FROM: <a@example.com>", "a@example.com"),
            ("MAIL  FROM : < a@example.com >  SIZE=1  BODY=7bit", "a@example.com"),
            ("MAIL FROM:a@example.com", "a@example.com"),
            ("MAIL FROM: a@example.com SIZE=10", "a@example.com"),
            ("MAIL FROM:<root>", "root"),
            ("MAIL FROM:root", "root"),
            ("MAIL FROM:<>", "<>"),
            ("MAIL FROM: <> AUTH=<>", "<>"),
            ("MAIL FROM:<@a.example,@b.example:c@example.com>", "c@example.com"),
            ("MAIL FROM:<\"a>b c\"@example.com> RET=HDRS", "\"a>b c\"@example.com"),
            ("MAIL FROM:<\"a\\\">b\"@example.com>", "\"a\\\">b\"@example.com"),
            ("MAIL FROM:<j\u{f6}rg@example.com> SMTPUTF8", "j\u{f6}rg@example.com"),
        ] {
            assert_eq!(sender(line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (line, expected) in [
            (&b"MAIL"[..], "501 5.5.2"),
            (b"MAIL FROM", "501 5.5.2"),
            (b"MAIL FROM:", "501 5.5.2"),
            (b"MAIL FROM <a@example.com>", "501 5.5.2"),
            (b"MAIL FROM:<a@example.com", "501 5.5.2"),
            (b"MAIL FROM:<a@example.com>SIZE=1", "501 5.5.2"),
            (b"MAIL FROM:a@example.com>", "501 5.1.7"),
            (b"MAIL FROM:<a@example.com>> SIZE=1", "501 5.5.2"),
            (b"MAIL FROM:\"A Scanner\" <a@example.com>", "501 5.5.2"),
            (b"MAIL FROM: A Scanner <a@example.com>", "501 5.5.2"),
            (b"RCPT TO:<a@example.com> <b@example.com>", "501 5.5.2"),
            (b"RCPT TO:<a@example.com,b@example.com>", "501 5.5.2"),
            (b"RCPT TO: a@example.com;b@example.com", "501 5.5.2"),
            (b"MAIL FROM:<<a@example.com>", "501 5.1.7"),
            (b"MAIL FROM:<a\rb@example.com>", "501 5.1.7"),
            (b"MAIL FROM:<a@example.com>\0", "501 5.5.2"),
            (b"MAIL FROM:<j\xf6rg@example.com>", "501 5.5.2"),
            ("MAIL FROM:<j\u{f6}rg@example.com>".as_bytes(), "553 5.6.7"),
            (b"MAIL FROM:<a@example.com> SIZE=x", "501 5.5.4"),
            (b"MAIL FROM:<a@example.com> SIZE=+1", "501 5.5.4"),
            (b"MAIL FROM:<a@example.com> SIZE=", "501 5.5.4"),
            (b"MAIL FROM:<a@example.com> SIZE", "501 5.5.4"),
            (b"MAIL FROM:<a@example.com> SIZE=1 SIZE=1", "501 5.5.4"),
            (b"MAIL FROM:<a@example.com> BODY=BINARYMIME", "501 5.5.4"),
            (b"MAIL FROM:<a@example.com> SMTPUTF8=1", "501 5.5.4"),
            (b"MAIL FROM:<a@example.com> RET=ALL", "501 5.5.4"),
            (b"MAIL FROM:<a@example.com> ENVID=a=b", "501 5.5.4"),
            (b"MAIL FROM:<a@example.com> REQUIRETLS", "555 5.5.4"),
            (b"RCPT TO:<>", "501 5.1.3"),
            (b"RCPT FROM:<a@example.com>", "501 5.5.2"),
            (b"RCPT TO:<a@example.com> NOTIFY=ALWAYS", "501 5.5.4"),
            (b"RCPT TO:<a@example.com> ORCPT=a@example.com", "501 5.5.4"),
            (b"RCPT TO:<a@example.com> SIZE=1", "555 5.5.4"),
            (b"DATA now", "501 5.5.2"),
            (b"AUTH", "501 5.5.2"),
            (b"AUTH PLAIN a b", "501 5.5.2"),
            (b"", "500 5.5.1"),
            (b"MAILFROM:<a@example.com>", "500 5.5.1"),
            (b"\xff\xfe", "501 5.5.2"),
        ] {
            let found = code(line);
            assert!(found.starts_with(expected), "{}: {found}", line.escape_ascii());
        }
    }

    #[test]
    fn parameters_keep_their_spelling() {
        let Ok(Command::Mail { envelope, size }) =
            parse(b"MAIL FROM:<a@example.com> size=99999999999999999999 body=8bitmime ret=full ENVID=a+0D+0AQUIT AUTH=<>")
        else {
            panic!("not a MAIL command")
        };
        assert_eq!((size, envelope.body, envelope.ret), (Some(u64::MAX), BodyType::EightBitMime, Some(Ret::Full)));
        assert_eq!(envelope.envid.unwrap().as_str(), "a+0D+0AQUIT");
        let Ok(Command::Rcpt(recipient)) = parse(b"RCPT TO: root NOTIFY=success,FAILURE ORCPT=rfc822;r+2Bt@example.com") else {
            panic!("not a RCPT command")
        };
        assert_eq!(recipient.orcpt.unwrap().as_str(), "rfc822;r+2Bt@example.com");
        assert_eq!(recipient.notify.unwrap().to_string(), "SUCCESS,FAILURE");
    }

    #[test]
    fn other_commands() {
        for (line, expected) in [
            (&b"EHLO"[..], "Ehlo(\"\")"),
            (b"EHLO MY_PC", "Ehlo(\"MY_PC\")"),
            (b"helo  ", "Helo(\"\")"),
            (b"EHLO \xff", "Ehlo(\"\u{fffd}\")"),
            (b"data ", "Data"),
            (b"BDAT 10", "Bdat { octets: 10, last: false }"),
            (b"bdat 0 last", "Bdat { octets: 0, last: true }"),
            (b"BDAT", "501 5.5.2 use BDAT size [LAST], and close"),
            (b"BDAT -1", "501 5.5.2 use BDAT size [LAST], and close"),
            (b"BDAT 200000000000000000000", "501 5.5.2 use BDAT size [LAST], and close"),
            (b"BDAT 1 LAST now", "501 5.5.2 use BDAT size [LAST], and close"),
            (b"auth plain AGEAYg==", "Auth { mechanism: \"PLAIN\", initial: Some([secret]) }"),
            (b"NOOP a b", "Noop"),
            (b"STARTTLS", "Starttls"),
            (b"STARTTLS x", "501 5.5.2 STARTTLS takes no argument"),
            (b"ETRN x", "NotOffered"),
        ] {
            assert_eq!(code(line), expected);
        }
    }
}
