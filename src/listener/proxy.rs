//! The PROXY protocol (HAProxy's proxy-protocol.txt), versions 1 and 2: what a load balancer says of its client before the first octet
//! of SMTP or TLS.
//!
//! Pure. It tells how many octets may be read next, so that none behind the header is ever taken. Checksums and other TLVs of
//! version 2 are passed over.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// How version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// How version 1 begins.
const WORD: &[u8; 6] = b"PROXY ";
/// The shortest header, `PROXY UNKNOWN` with its line end; those of version 2 have an octet more.
const SHORTEST: usize = 15;
/// Longest header of version 1 (§2.1).
const LONGEST_LINE: usize = 107;
/// Fixed octets of version 2.
const FIXED: usize = 16;
/// Most octets of addresses and TLVs: certificates of the proxy's client are in there, too.
const LONGEST_REST: usize = 4096;

/// How reading a header goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// This many octets more belong to it at least.
    Read(usize),
    /// It is whole.
    Done(Source),
    /// It is none.
    Wrong(&'static str),
}

/// Whom a header names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Client(SocketAddr),
    /// Nobody: the proxy's own health check, or a client that it knows nothing of.
    Unknown,
}

/// Looks at the first octets of a connection.
pub(super) fn look(header: &[u8]) -> Step {
    let begins = |with: &[u8]| header.iter().zip(with).all(|(octet, wanted)| octet == wanted);
    if !begins(WORD) && !begins(SIGNATURE) {
        return Step::Wrong("the connection does not begin with a PROXY header");
    }
    if header.len() < SHORTEST {
        return Step::Read(SHORTEST - header.len());
    }
    if begins(WORD) { line(header) } else { binary(header) }
}

/// Version 1: one line. Octet by octet, because its length is not announced.
fn line(header: &[u8]) -> Step {
    let Some(line) = header.strip_suffix(b"\r\n") else {
        let is_endless = header.len() >= LONGEST_LINE || header.contains(&b'\n');
        return if is_endless { Step::Wrong("the PROXY line does not end with CRLF within 107 octets") } else { Step::Read(1) };
    };
    let text = std::str::from_utf8(&line[WORD.len()..]).unwrap_or_default();
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Step::Done(Source::Unknown);
    }
    let fields: Vec<&str> = text.split(' ').collect();
    let source = match fields[..] {
        ["TCP4", from, to, from_port, to_port] => pair::<Ipv4Addr>([from, to], [from_port, to_port]),
        ["TCP6", from, to, from_port, to_port] => pair::<Ipv6Addr>([from, to], [from_port, to_port]),
        _ => None,
    };
    source.map_or(Step::Wrong("the PROXY line cannot be read"), Step::Done)
}

fn pair<A: FromStr + Into<IpAddr>>([from, to]: [&str; 2], [from_port, to_port]: [&str; 2]) -> Option<Source> {
    to.parse::<A>().ok()?;
    port(to_port)?;
    Some(client(from.parse::<A>().ok()?.into(), port(from_port)?))
}

/// A port without sign or leading zero.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok())?
}

/// Version 2: binary, its length announced.
fn binary(header: &[u8]) -> Step {
    let Some((fixed, rest)) = header.split_at_checked(FIXED) else { return Step::Read(FIXED - header.len()) };
    let [.., command, family, high, low] = fixed else { return Step::Wrong("the PROXY header cannot be read") };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if command >> 4 != 2 || command & 15 > 1 {
        return Step::Wrong("the PROXY header is of no known version or command");
    }
    if length > LONGEST_REST {
        return Step::Wrong("the PROXY header has more than 4,096 octets");
    }
    if rest.len() < length {
        return Step::Read(length - rest.len());
    }
    let is_local = command & 15 == 0;
    match (is_local, family) {
        (false, 0x11) => addresses::<4>(rest, |octets| Ipv4Addr::from(octets).into()),
        (false, 0x21) => addresses::<16>(rest, |octets| Ipv6Addr::from(octets).into()),
        // LOCAL (§2.2), and families that name no address of a TCP connection.
        _ => Step::Done(Source::Unknown),
    }
}

/// Source, destination and their ports.
fn addresses<const N: usize>(rest: &[u8], address: impl Fn([u8; N]) -> IpAddr) -> Step {
    let source = rest.first_chunk::<N>().zip(rest.get(2 * N..2 * N + 2)).filter(|_| rest.len() >= 2 * N + 4);
    match source {
        Some((octets, [high, low])) => Step::Done(client(address(*octets), u16::from_be_bytes([*high, *low]))),
        _ => Step::Wrong("the PROXY header is too short for its addresses"),
    }
}

/// IPv4 in IPv6 clothes is IPv4, or rules for its network would not see it.
fn client(address: IpAddr, port: u16) -> Source {
    Source::Client(SocketAddr::new(address.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a header as a connection does, which may give less than asked for; gives what it says, and how many octets of `stream` were taken.
    fn read(stream: &[u8]) -> (Step, usize) {
        let mut taken = 0;
        loop {
            match look(&stream[..taken]) {
                Step::Read(more) if taken < stream.len() => taken += more.min(stream.len() - taken),
                step => return (step, taken),
            }
        }
    }

    fn second(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        [&SIGNATURE[..], &[command, family], &(rest.len() as u16).to_be_bytes(), rest].concat()
    }

    /// Addresses and ports of version 2.
    fn four(from: [u8; 4], port: u16) -> Vec<u8> {
        [&from[..], &[192, 0, 2, 1], &port.to_be_bytes(), &25_u16.to_be_bytes()].concat()
    }

    fn client(text: &str) -> Step {
        Step::Done(Source::Client(text.parse().unwrap()))
    }

    const LATER: &[u8] = b"EHLO x\r\n\x16\x03\x01";

    #[test]
    fn a_header_names_its_client_and_nothing_behind_it_is_taken() {
        let six = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0x30, 0x39, 0, 25]].concat();
        let mapped = [&[0; 10][..], &[0xff, 0xff, 10, 1, 2, 3], &[0; 16], &[0, 1, 0, 25]].concat();
        let tlv = [four([203, 0, 113, 9], 4711), vec![3, 0, 4, 1, 2, 3, 4], vec![0x20, 0, 3, 1, 0, 0]].concat();
        for (header, expected) in [
            (b"PROXY TCP4 203.0.113.9 192.0.2.1 56324 25\r\n".to_vec(), client("203.0.113.9:56324")),
            (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(), client("[2001:db8::7]:1")),
            (b"PROXY TCP6 ::ffff:10.1.2.3 ::1 1 2\r\n".to_vec(), client("10.1.2.3:1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Step::Done(Source::Unknown)),
            (b"PROXY UNKNOWN ff:ff:ff:ff:ff:ff 1 2 3\r\n".to_vec(), Step::Done(Source::Unknown)),
            (second(0x21, 0x11, &four([203, 0, 113, 9], 4711)), client("203.0.113.9:4711")),
            (second(0x21, 0x11, &tlv), client("203.0.113.9:4711")),
            (second(0x21, 0x21, &six), client("[2001:db8::7]:12345")),
            (second(0x21, 0x21, &mapped), client("10.1.2.3:1")),
            (second(0x20, 0x11, &four([203, 0, 113, 9], 4711)), Step::Done(Source::Unknown)),
            (second(0x20, 0, &[]), Step::Done(Source::Unknown)),
            (second(0x21, 0, b"anything"), Step::Done(Source::Unknown)),
            (second(0x21, 0x31, &[0; 216]), Step::Done(Source::Unknown)),
        ] {
            let stream = [&header[..], LATER].concat();
            assert_eq!(read(&stream), (expected, header.len()), "{}", header.escape_ascii());
            for length in 0..header.len() {
                assert!(matches!(look(&header[..length]), Step::Read(more) if length + more <= header.len()));
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for stream in [
            b"EHLO x\r\n".to_vec(),
            b"\x16\x03\x01\x02".to_vec(),
            b"PROXY TCP4 203.0.113.9 192.0.2.1 56324\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 192.0.2.1 56324 25 1\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 192.0.2.1 +56324 25\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 192.0.2.1 056324 25\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 192.0.2.1 65536 25\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP4  203.0.113.9 192.0.2.1 1 2\r\n".to_vec(),
            b"PROXY UDP4 203.0.113.9 192.0.2.1 1 2\r\n".to_vec(),
            b"PROXY UNKNOWNX\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 192.0.2.1 1 2\nEHLO".to_vec(),
            b"proxy TCP4 203.0.113.9 192.0.2.1 1 2\r\n".to_vec(),
            long.into_bytes(),
            second(0x11, 0x11, &four([1, 2, 3, 4], 5)),
            second(0x22, 0x11, &four([1, 2, 3, 4], 5)),
            second(0x21, 0x11, &[1, 2, 3, 4]),
            second(0x21, 0x21, &four([1, 2, 3, 4], 5)),
            second(0x21, 0x11, &[0; 5000]),
        ] {
            assert!(matches!(read(&stream).0, Step::Wrong(_)), "{}", stream.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_nothing_is_read_without_bound(octets in prop::collection::vec(any::<u8>(), 0..200), start in 0_usize..4) {
            let starts: [&[u8]; 4] = [b"", b"PROXY ", SIGNATURE, b"PROXY TCP4 "];
            let stream = [starts[start], &octets].concat();
            let (step, taken) = read(&stream);
            prop_assert!(taken <= stream.len());
            if let Step::Read(more) = step {
                prop_assert!((1..=FIXED + LONGEST_REST).contains(&(taken + more)));
            }
        }

        #[test]
        fn any_client_comes_through_both_versions(octets in any::<[u8; 4]>(), port in any::<u16>(), tlvs in prop::collection::vec(any::<u8>(), 0..50)) {
            let address = SocketAddr::from((octets, port));
            let first = format!("PROXY TCP4 {} 192.0.2.1 {port} 25\r\n", address.ip());
            let second = second(0x21, 0x11, &[four(octets, port), tlvs].concat());
            for header in [first.as_bytes(), &second] {
                let stream = [header, LATER].concat();
                prop_assert_eq!(read(&stream), (Step::Done(Source::Client(address)), header.len()));
            }
        }
    }
}
