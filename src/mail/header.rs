//! A message's header as fields, read tolerantly (RFC 5322 §2.2): no octets make it fail, and what it does not change it keeps as it is.

/// Where a changed field is folded (RFC 5322 §2.1.1).
pub(super) const FOLDED: usize = 78;

/// A header: its fields in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// The fields.
    pub fields: Vec<Field>,
}

/// One field with the lines that continue it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// All its octets, each line with its end.
    raw: Vec<u8>,
    /// How many of them are the name; 0 for a line that is no field, such as an mbox separator.
    name: usize,
}

/// What a line of a header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// It begins a field whose name has so many octets; 0: it stands in a header, but is no field.
    Field(usize),
    /// It goes on with the field before.
    Goes,
    /// It is none: the header ended before it.
    Ends,
}

/// Reads one line.
pub(super) fn line(line: &[u8]) -> Line {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Line::Goes;
    }
    // An mbox separator in front of the header is no field, but does not end the header either.
    if line.starts_with(b"From ") || line.starts_with(b">From ") {
        return Line::Field(0);
    }
    let Some(colon) = line.iter().position(|octet| *octet == b':') else { return Line::Ends };
    let name = line[..colon].trim_ascii_end();
    // RFC 5322 §3.6.8: printable ASCII without colon. Non-ASCII names pass, as they do no harm.
    match name.is_empty() || name.iter().any(|octet| *octet <= b' ' || *octet == 127) {
        true => Line::Ends,
        false => Line::Field(name.len()),
    }
}

impl Field {
    /// A field of one line.
    pub fn new(name: &str, value: &str) -> Self {
        Self { raw: format!("{name}: {value}\r\n").into_bytes(), name: name.len() }
    }

    /// A field that begins with this line, whose name has so many octets.
    pub(super) fn begun(line: &[u8], name: usize) -> Self {
        Self { raw: line.to_owned(), name }
    }

    /// Takes a line that continues it.
    pub(super) fn go_on(&mut self, line: &[u8]) {
        self.raw.extend_from_slice(line);
    }

    /// All its octets.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Its name, as it is written; empty for a line that is no field.
    pub fn name(&self) -> &[u8] {
        &self.raw[..self.name]
    }

    /// Whether it has this name, whatever the case.
    pub fn is(&self, name: &str) -> bool {
        self.name() == name.as_bytes() || self.name().eq_ignore_ascii_case(name.as_bytes())
    }

    /// Its value in one line, without the white space around it (RFC 5322 §2.2.3).
    pub fn value(&self) -> Vec<u8> {
        let start = self.raw.iter().position(|octet| *octet == b':').map_or(0, |colon| colon + 1);
        let value: Vec<u8> = self.raw[start..].iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n')).collect();
        value.trim_ascii().to_owned()
    }

    /// The same field with these octets, in which its name stands as before.
    pub(super) fn with_raw(&self, raw: Vec<u8>) -> Self {
        Self { raw, name: self.name }
    }

    /// The same field with another value, folded at its white space (RFC 5322 §2.2.3).
    pub fn with_value(&self, value: &[u8]) -> Self {
        let (mut lines, mut column) = (Vec::with_capacity(value.len()), self.name + 2);
        let mut space = None;
        for word in value.split_inclusive(|octet| matches!(octet, b' ' | b'\t')) {
            let (word, next) = match word.split_last() {
                Some((end @ (b' ' | b'\t'), word)) => (word, Some(*end)),
                _ => (word, None),
            };
            // Before a word, and never into a line of spaces alone.
            if let Some(space) = space {
                if column + word.len() >= FOLDED && !word.is_empty() {
                    lines.extend_from_slice(b"\r\n");
                    column = 0;
                }
                lines.push(space);
            }
            lines.extend_from_slice(word);
            (column, space) = (column + word.len() + 1, next);
        }
        let raw = [self.name(), b": ", &lines, b"\r\n"].concat();
        Self { raw, name: self.name }
    }
}

impl Header {
    /// Reads the header of a whole message; gives it with the number of octets that it has, the blank line not among them.
    pub fn of(message: &[u8]) -> (Self, usize) {
        let (mut header, mut at) = (Self::default(), 0);
        while at < message.len() {
            let end = message[at..].iter().position(|octet| *octet == b'\n').map_or(message.len(), |end| at + end + 1);
            if !header.push(&message[at..end]) {
                break;
            }
            at = end;
        }
        (header, at)
    }

    /// Takes the next line; false when it ends the header.
    pub(super) fn push(&mut self, octets: &[u8]) -> bool {
        match (line(octets), self.fields.last_mut()) {
            (Line::Field(name), _) => self.fields.push(Field::begun(octets, name)),
            (Line::Goes, Some(field)) => field.go_on(octets),
            // A continuation of nothing is text. In the header it would go on with the field that is put in front of it.
            (Line::Goes, None) | (Line::Ends, _) => return false,
        }
        true
    }

    /// The fields of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Field> {
        self.fields.iter().filter(move |field| field.is(name))
    }

    /// The first field of this name.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.is(name))
    }

    /// Whether there is a field of this name.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The value of the first field of this name, in lower case, as far as it is text.
    pub(super) fn lower(&self, name: &str) -> Option<String> {
        self.get(name).map(|field| String::from_utf8_lossy(&field.value()).to_ascii_lowercase())
    }

    /// Adds a field behind the others.
    pub fn add(&mut self, name: &str, value: &str) {
        self.fields.push(Field::new(name, value));
    }

    /// All its octets.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.fields.iter().for_each(|field| out.extend_from_slice(field.raw()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_found_whatever_their_form() {
        let message = b"From x Mon\r\nsubject : a\r\n b\r\nX:\r\nReceived: by us\r\n\tid 1\r\n\r\nSubject: body\r\n";
        let (header, octets) = Header::of(message);
        assert_eq!(&message[octets..octets + 2], b"\r\n");
        assert_eq!(header.fields.len(), 4);
        assert_eq!(header.get("Subject").unwrap().value(), b"a b");
        assert_eq!(header.get("x").unwrap().value(), b"");
        assert_eq!(header.get("received").unwrap().value(), b"by us\tid 1");
        assert!(header.fields[0].name().is_empty() && !header.has("From"));
        assert_eq!(header.get("subject").unwrap().with_value(b"new").raw(), b"subject: new\r\n");
    }

    #[test]
    fn what_is_no_field_ends_the_header() {
        for (message, fields) in
            [("\r\nbody", 0), ("Hello you\r\n", 0), ("A: b\r\nHello: ", 2), ("A: b\r\nnothing\r\n", 1), (" x", 0)]
        {
            assert_eq!(Header::of(message.as_bytes()).0.fields.len(), fields, "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_again(message in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (header, octets) = Header::of(&message);
            let mut written = Vec::new();
            header.write(&mut written);
            prop_assert_eq!(&written[..], &message[..octets]);
            header.fields.iter().for_each(|field| drop(field.value()));
        }
    }
}
