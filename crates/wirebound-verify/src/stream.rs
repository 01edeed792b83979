//! A stream of events as text, cut into events: the rules of WHATWG HTML section 9.2.6, within bounds.
//!
//! Bytes come in pieces of any size. What is longer than anything that the feed has to say is an error, so that nobody
//! fills the memory of whoever listens. Whether an event means anything is not asked here.

/// Longest line in bytes. The longest of the feed has not half of it.
pub(crate) const LINE_MAX_BYTES: usize = 1024;
/// Most bytes that the fields of one event may have together.
pub(crate) const EVENT_MAX_BYTES: usize = 4096;

const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its name; `message` if it has none of its own.
    pub(crate) name: String,
    /// The id that it set itself. The last one of an earlier event is not repeated here.
    pub(crate) id: Option<String>,
    /// Its lines of data, joined.
    pub(crate) data: String,
}

/// A line or an event is longer than any of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// What has come of the stream and is no whole event yet.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    name: String,
    id: Option<String>,
    data: String,
    /// The last byte was CR: an LF that follows belongs to it.
    after_return: bool,
    /// The first line was seen, which may begin with a byte order mark.
    begun: bool,
}

impl Parser {
    /// Takes the next bytes and hands on each event that they complete.
    ///
    /// # Errors
    ///
    /// When something is too long, or what `each` says. The stream is worth nothing after that.
    pub(crate) fn push<E: From<TooLong>>(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        for byte in bytes {
            let after_return = core::mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => {
                    if let Some(event) = self.line_ends()? {
                        each(event)?;
                    }
                }
                _ if self.line.len() >= LINE_MAX_BYTES => return Err(TooLong.into()),
                other => self.line.push(*other),
            }
        }
        Ok(())
    }

    fn line_ends(&mut self) -> Result<Option<Event>, TooLong> {
        let line = core::mem::take(&mut self.line);
        let mut rest = line.as_slice();
        if !core::mem::replace(&mut self.begun, true) {
            rest = rest.strip_prefix(&BOM).unwrap_or(rest);
        }
        let dispatched = if rest.is_empty() {
            self.dispatch()
        } else {
            self.field(rest)?;
            None
        };
        // The next line goes into the same memory.
        self.line = line;
        self.line.clear();
        Ok(dispatched)
    }

    fn dispatch(&mut self) -> Option<Event> {
        let mut data = core::mem::take(&mut self.data);
        let name = core::mem::take(&mut self.name);
        let id = self.id.take();
        if data.is_empty() {
            return None;
        }
        data.pop();
        let name = if name.is_empty() {
            "message".to_owned()
        } else {
            name
        };
        Some(Event { name, id, data })
    }

    fn field(&mut self, line: &[u8]) -> Result<(), TooLong> {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = match colon.and_then(|at| line.split_at_checked(at)) {
            Some((name, rest)) => {
                let value = rest.strip_prefix(b":").unwrap_or(rest);
                (name, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, [].as_slice()),
        };
        let value = String::from_utf8_lossy(value);
        match name {
            b"event" => self.name = value.into_owned(),
            b"data" => {
                self.data.push_str(&value);
                self.data.push('\n');
            }
            b"id" if !value.contains('\0') => self.id = Some(value.into_owned()),
            // Comments (an empty name), `retry`, which is not the server's to say here, and what nobody knows.
            _ => {}
        }
        let id = self.id.as_ref().map_or(0, String::len);
        let held = [self.name.len(), self.data.len(), id]
            .into_iter()
            .fold(0, usize::saturating_add);
        (held <= EVENT_MAX_BYTES).then_some(()).ok_or(TooLong)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<Vec<Event>, TooLong> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for piece in pieces {
            parser.push::<TooLong>(piece, |event| {
                events.push(event);
                Ok(())
            })?;
        }
        Ok(events)
    }

    fn all(text: &str) -> Vec<Event> {
        parsed([text.as_bytes()]).unwrap()
    }

    fn event(name: &str, id: Option<&str>, data: &str) -> Event {
        Event {
            name: name.to_owned(),
            id: id.map(str::to_owned),
            data: data.to_owned(),
        }
    }

    #[test]
    fn the_examples_of_the_standard_are_read_as_it_says() {
        assert_eq!(
            all("data: YHOO\ndata: +2\ndata: 10\n\n"),
            [event("message", None, "YHOO\n+2\n10")]
        );
        assert_eq!(
            all(
                ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
            ),
            [
                event("message", Some("1"), "first event"),
                event("message", Some(""), "second event"),
                event("message", None, " third event"),
            ]
        );
        // "The first fires two events": one empty, one a newline; the last block is not ended.
        assert_eq!(
            all("data\n\ndata\ndata\n\ndata:"),
            [event("message", None, ""), event("message", None, "\n")]
        );
        assert_eq!(
            all("data:test\n\ndata: test\n\n"),
            [
                event("message", None, "test"),
                event("message", None, "test")
            ]
        );
    }

    #[test]
    fn lines_end_in_three_ways() {
        let expected = [event("a", Some("1"), "x\ny"), event("message", None, "z")];
        for end in ["\n", "\r", "\r\n"] {
            let text = "event: a\nid: 1\ndata: x\ndata: y\n\ndata: z\n\n".replace('\n', end);
            assert_eq!(all(&text), expected, "{end:?}");
        }
        assert_eq!(
            all("data: x\r\r\ndata: y\n\r"),
            [event("message", None, "x"), event("message", None, "y")]
        );
    }

    #[test]
    fn odd_fields_do_nothing() {
        let text = "\u{feff}event: a\nretry: 1\nfoo: bar\n:data: no\nDATA: no\n data: no\nid: a\0b\ndata: x\n\n";
        assert_eq!(all(text), [event("a", None, "x")]);
        // A mark that does not stand at the beginning belongs to the name of a field.
        assert_eq!(all("\n\u{feff}data: x\n\n"), []);
        // An event without data is none, and its name is not that of the next.
        assert_eq!(
            all("event: a\nid: 7\n\ndata: x\n\n"),
            [event("message", None, "x")]
        );
        assert_eq!(
            parsed([b"data: \xff\n\n".as_slice()]).unwrap(),
            [event("message", None, "\u{fffd}")]
        );
    }

    #[test]
    fn nothing_grows_beyond_its_bound() {
        let line = |length: usize| format!("data: {}\n\n", "x".repeat(length - 6));
        assert_eq!(all(&line(LINE_MAX_BYTES)).len(), 1);
        assert_eq!(parsed([line(LINE_MAX_BYTES + 1).as_bytes()]), Err(TooLong));
        assert_eq!(
            parsed([vec![b':'; LINE_MAX_BYTES + 1].as_slice()]),
            Err(TooLong)
        );
        let one = format!("data: {}\n", "x".repeat(1017));
        assert_eq!(parsed([one.repeat(4).as_bytes()]), Ok(Vec::new()));
        assert_eq!(parsed([one.repeat(5).as_bytes()]), Err(TooLong));
        // Comments are not kept, so a stream of nothing else costs nothing.
        let comment = format!(":{}\n", "x".repeat(1000));
        assert_eq!(parsed([comment.repeat(1000).as_bytes()]), Ok(Vec::new()));
    }

    fn lines() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            4 => "(data|event|id|retry|foo|):? ?[ -~]{0,12}",
            2 => Just(String::new()),
            1 => "\\PC{0,6}",
        ];
        let end = prop_oneof![Just("\n"), Just("\r"), Just("\r\n")];
        proptest::collection::vec((line, end), 0..24)
            .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect())
    }

    proptest! {
        #[test]
        fn where_the_pieces_are_cut_changes_nothing(
            text in lines(),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let bytes = text.as_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len().saturating_add(1))).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let whole = parsed([bytes]);
            prop_assert_eq!(&parsed(pieces), &whole);
            prop_assert_eq!(&parsed(bytes.chunks(1)), &whole);
        }

        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let _either = parsed([bytes.as_slice()]);
        }
    }
}
