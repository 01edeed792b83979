//! Follows the bytes of an HTTP/1.1 connection and knows at each byte where in which request it stands.
//!
//! It holds nothing back and keeps a handful of words whatever passes: the framing (`Content-Length`, chunks, none) is
//! followed to find the next head, the head is checked byte for byte against the grammar of RFC 9112 with every leniency
//! left out. What it lets pass has one reading; where two programs could disagree, the request is at fault.

/// The most bytes of an authority.
const AUTHORITY_BYTES: usize = 300;
/// The most bytes of all trailers of one request; they go no further than the gateway anyway.
const TRAILER_BYTES: usize = 8 * 1024;
/// The most digits of a chunk's size, leading zeros among them.
const SIZE_DIGITS: u8 = 15;

/// Why a request is refused while it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    BareLf,
    BareCr,
    Control,
    Fold,
    BlankLines,
    Method,
    Connect,
    Target,
    Fragment,
    NotAscii,
    UserInfo,
    Version,
    Name,
    NoHost,
    TwoHosts,
    HostSyntax,
    HostsDiffer,
    Length,
    TwoLengths,
    Coding,
    TwoCodings,
    LengthAndCoding,
    CodingInHttp10,
    ChunkSize,
    ChunkExtension,
    ChunkEnd,
    Trailer,
}

impl Fault {
    /// For the log; the client is told 400 and nothing else.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::BareLf => "a line ends without a carriage return",
            Self::BareCr => "a carriage return stands alone",
            Self::Control => "a control character stands in the head",
            Self::Fold => "a field goes on over two lines",
            Self::BlankLines => "empty lines stand before the request",
            Self::Method => "the method is no token",
            Self::Connect => "a tunnel was asked for",
            Self::Target => "the request target has no form that is served",
            Self::Fragment => "the request target holds a fragment",
            Self::NotAscii => "the request target holds a byte outside ASCII",
            Self::UserInfo => "the request target holds user information",
            Self::Version => "the version is not HTTP/1.0 or HTTP/1.1",
            Self::Name => "a field name is no token",
            Self::NoHost => "the request names no host",
            Self::TwoHosts => "the request names its host twice",
            Self::HostSyntax => "the host is not an authority",
            Self::HostsDiffer => "the request target and the host field differ",
            Self::Length => "the length of the body is no plain number",
            Self::TwoLengths => "the body has two lengths",
            Self::Coding => "the transfer coding is not `chunked`",
            Self::TwoCodings => "the body has two transfer codings",
            Self::LengthAndCoding => "the body has both a length and a transfer coding",
            Self::CodingInHttp10 => "HTTP/1.0 knows no transfer coding",
            Self::ChunkSize => "the size of a chunk is no plain number",
            Self::ChunkExtension => "a chunk has an extension",
            Self::ChunkEnd => "a chunk does not end where it says",
            Self::Trailer => "the trailers are too long or speak of framing",
        }
    }
}

/// What was found in some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All of them are in order.
    Order,
    /// The byte at this place must not pass; it stands in a head.
    Head(usize, Fault),
    /// The byte at this place must not pass; it stands in a body or behind it.
    Body(usize, Fault),
    /// A request that asks for another protocol ends before this place. What follows is read when it is answered: it is
    /// the other protocol's, or the next request.
    Upgrade(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before a request.
    Start,
    StartLf,
    Method,
    /// Before the target's first byte.
    Target,
    Path,
    Star,
    Scheme,
    /// Between scheme and authority: so many slashes have come.
    Slashes(u8),
    Authority,
    /// So many bytes of `HTTP/1.` have come.
    Version(usize),
    LineCr,
    LineLf,
    /// At the beginning of a field line.
    Line,
    Name,
    /// White space before a value that is read.
    Lead,
    /// In a value that is read.
    Value,
    /// White space behind it.
    Trail,
    /// In a value that is not read.
    Free,
    FieldLf,
    EndLf,
    Body,
    /// So many digits of a chunk's size have come.
    Size(u8),
    SizeLf,
    Chunk,
    ChunkCr,
    ChunkLf,
    /// An upgrade waits for its answer.
    Waiting,
    /// Another protocol is spoken.
    Through,
}

/// The fields whose values are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Other,
    Host,
    Length,
    Coding,
}

/// A short word as it arrives; a longer one is none that is looked for.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    bytes: [u8; 17],
    len: usize,
}

impl Word {
    fn clear(&mut self) {
        self.len = 0;
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    fn is(&self, word: &[u8]) -> bool {
        self.bytes.get(..self.len) == Some(word)
    }

    fn is_either_case(&self, word: &[u8]) -> bool {
        self.bytes
            .get(..self.len)
            .is_some_and(|bytes| bytes.eq_ignore_ascii_case(word))
    }
}

/// What is known of the request that is arriving.
#[derive(Debug, Default)]
struct Head {
    /// The authority of an absolute target.
    named: Vec<u8>,
    http10: bool,
    hosts: bool,
    /// How much of `named` the host field has repeated.
    repeated: usize,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

/// One connection's follower.
#[derive(Debug)]
pub(super) struct Follower {
    at: At,
    head: Head,
    word: Word,
    field: Field,
    /// Bytes of a body or chunk that are still to come.
    left: u64,
    /// Behind the last chunk.
    trailing: bool,
    trailer_bytes: usize,
    blank: bool,
    heads: u64,
}

impl Follower {
    pub(super) fn new() -> Self {
        Self {
            at: At::Start,
            head: Head::default(),
            word: Word::default(),
            field: Field::Other,
            left: 0,
            trailing: false,
            trailer_bytes: 0,
            blank: false,
            heads: 0,
        }
    }

    /// How many heads have ended.
    pub(super) const fn heads(&self) -> u64 {
        self.heads
    }

    /// The request that asked for another protocol was answered.
    pub(super) fn answered(&mut self, switched: bool) {
        if self.at == At::Waiting {
            self.at = if switched { At::Through } else { At::Start };
        }
    }

    /// Follows what has arrived. After a fault it must not be asked again.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Found {
        let mut rest = bytes;
        while let Some((byte, tail)) = rest.split_first() {
            let place = bytes.len().saturating_sub(rest.len());
            let many = self.pass_many(rest);
            if many > 0 {
                rest = rest.get(many..).unwrap_or_default();
            } else if let Err(fault) = self.step(*byte) {
                return if self.is_in_body() {
                    Found::Body(place, fault)
                } else {
                    Found::Head(place, fault)
                };
            } else {
                rest = tail;
            }
            if self.at == At::Waiting {
                return Found::Upgrade(bytes.len().saturating_sub(rest.len()));
            }
        }
        Found::Order
    }

    const fn is_in_body(&self) -> bool {
        self.trailing
            || matches!(
                self.at,
                At::Size(_) | At::SizeLf | At::Chunk | At::ChunkCr | At::ChunkLf
            )
    }

    /// Passes as many bytes at once as need no look each.
    fn pass_many(&mut self, rest: &[u8]) -> usize {
        if self.at == At::Through {
            return rest.len();
        }
        if self.at == At::Path {
            return leading(rest, is_target);
        }
        if self.at == At::Name && !self.trailing {
            let many = leading(rest, is_token);
            for byte in rest.iter().take(many) {
                self.word.push(byte.to_ascii_lowercase());
            }
            return many;
        }
        if self.at == At::Free {
            let many = leading(rest, is_value);
            self.trailer_bytes = self.trailer_bytes.saturating_add(many);
            return many;
        }
        if self.at != At::Body && self.at != At::Chunk {
            return 0;
        }
        let here = u64::try_from(rest.len()).unwrap_or(u64::MAX);
        let many = self.left.min(here);
        self.left = self.left.saturating_sub(many);
        if self.left == 0 {
            if self.at == At::Chunk {
                self.at = At::ChunkCr;
            } else {
                self.request_ends();
            }
        }
        usize::try_from(many).unwrap_or(rest.len())
    }

    fn step(&mut self, byte: u8) -> Result<(), Fault> {
        match self.at {
            At::Start => self.start(byte),
            At::StartLf => self.line_feed(byte, At::Start),
            At::Method => self.method(byte),
            At::Target => self.target(byte),
            At::Path => self.path(byte),
            At::Star => self.star(byte),
            At::Scheme => self.scheme(byte),
            At::Slashes(come) => self.slashes(byte, come),
            At::Authority => self.authority(byte),
            At::Version(come) => self.version(byte, come),
            At::LineCr => self.line_cr(byte),
            At::LineLf => self.line_feed(byte, At::Line),
            At::Line => self.line(byte),
            At::Name => self.name(byte),
            At::Lead | At::Value | At::Trail => self.value(byte),
            At::Free => self.free(byte),
            At::FieldLf => self.line_feed(byte, At::Line),
            At::EndLf => self.end(byte),
            At::Size(come) => self.size(byte, come),
            At::SizeLf => self.size_lf(byte),
            At::ChunkCr => self.chunk_cr(byte),
            At::ChunkLf => self.chunk_lf(byte),
            // Passed many at a time, or not at all.
            At::Body | At::Chunk | At::Waiting | At::Through => Ok(()),
        }
    }

    fn start(&mut self, byte: u8) -> Result<(), Fault> {
        match byte {
            // RFC 9112 2.2: one empty line, as some old clients leave behind a body.
            b'\r' if !self.blank => {
                self.blank = true;
                self.at = At::StartLf;
                Ok(())
            }
            b'\r' => Err(Fault::BlankLines),
            b'\n' => Err(Fault::BareLf),
            byte => {
                self.blank = false;
                self.head = Head::default();
                self.word.clear();
                self.at = At::Method;
                self.method(byte)
            }
        }
    }

    fn line_feed(&mut self, byte: u8, next: At) -> Result<(), Fault> {
        if byte != b'\n' {
            return Err(Fault::BareCr);
        }
        self.at = next;
        Ok(())
    }

    fn method(&mut self, byte: u8) -> Result<(), Fault> {
        if byte == b' ' && self.word.len > 0 {
            if self.word.is(b"CONNECT") {
                return Err(Fault::Connect);
            }
            self.at = At::Target;
            return Ok(());
        }
        if !is_token(byte) {
            return Err(line_fault(byte, Fault::Method));
        }
        self.word.push(byte);
        Ok(())
    }

    fn target(&mut self, byte: u8) -> Result<(), Fault> {
        self.at = match byte {
            b'/' => At::Path,
            b'*' if self.word.is(b"OPTIONS") => At::Star,
            byte if byte.is_ascii_alphabetic() => {
                self.word.clear();
                self.word.push(byte);
                At::Scheme
            }
            byte => return Err(line_fault(byte, Fault::Target)),
        };
        Ok(())
    }

    fn path(&mut self, byte: u8) -> Result<(), Fault> {
        match byte {
            b' ' => {
                self.at = At::Version(0);
                Ok(())
            }
            b'#' => Err(Fault::Fragment),
            byte if !byte.is_ascii() => Err(Fault::NotAscii),
            byte => Err(line_fault(byte, Fault::Target)),
        }
    }

    fn star(&mut self, byte: u8) -> Result<(), Fault> {
        if byte != b' ' {
            return Err(line_fault(byte, Fault::Target));
        }
        self.at = At::Version(0);
        Ok(())
    }

    fn scheme(&mut self, byte: u8) -> Result<(), Fault> {
        if byte != b':' {
            if !byte.is_ascii_alphabetic() {
                return Err(line_fault(byte, Fault::Target));
            }
            self.word.push(byte);
            return Ok(());
        }
        if !self.word.is_either_case(b"http") && !self.word.is_either_case(b"https") {
            return Err(Fault::Target);
        }
        self.at = At::Slashes(0);
        Ok(())
    }

    fn slashes(&mut self, byte: u8, come: u8) -> Result<(), Fault> {
        if byte != b'/' {
            return Err(line_fault(byte, Fault::Target));
        }
        self.at = if come == 0 {
            At::Slashes(1)
        } else {
            At::Authority
        };
        Ok(())
    }

    fn authority(&mut self, byte: u8) -> Result<(), Fault> {
        match byte {
            b'/' | b'?' | b' ' if self.head.named.is_empty() => Err(Fault::HostSyntax),
            b'/' | b'?' => {
                self.at = At::Path;
                Ok(())
            }
            b' ' => {
                self.at = At::Version(0);
                Ok(())
            }
            b'@' => Err(Fault::UserInfo),
            b'#' => Err(Fault::Fragment),
            byte if is_authority(byte) && self.head.named.len() < AUTHORITY_BYTES => {
                self.head.named.push(byte);
                Ok(())
            }
            byte => Err(line_fault(byte, Fault::HostSyntax)),
        }
    }

    fn version(&mut self, byte: u8, come: usize) -> Result<(), Fault> {
        const NAME: &[u8] = b"HTTP/1.";
        if let Some(expected) = NAME.get(come) {
            if byte != *expected {
                return Err(line_fault(byte, Fault::Version));
            }
            self.at = At::Version(come.saturating_add(1));
            return Ok(());
        }
        match byte {
            b'0' => self.head.http10 = true,
            b'1' => {}
            byte => return Err(line_fault(byte, Fault::Version)),
        }
        self.at = At::LineCr;
        Ok(())
    }

    fn line_cr(&mut self, byte: u8) -> Result<(), Fault> {
        if byte != b'\r' {
            return Err(line_fault(byte, Fault::Version));
        }
        self.at = At::LineLf;
        Ok(())
    }

    fn line(&mut self, byte: u8) -> Result<(), Fault> {
        match byte {
            b'\r' => {
                if !self.trailing {
                    self.is_whole()?;
                }
                self.at = At::EndLf;
                Ok(())
            }
            b' ' | b'\t' => Err(Fault::Fold),
            byte => {
                self.word.clear();
                self.at = At::Name;
                self.name(byte)
            }
        }
    }

    fn name(&mut self, byte: u8) -> Result<(), Fault> {
        self.count_trailer()?;
        if byte == b':' && self.word.len > 0 {
            return self.named();
        }
        if !is_token(byte) {
            return Err(line_fault(byte, Fault::Name));
        }
        self.word.push(byte.to_ascii_lowercase());
        Ok(())
    }

    /// A field's name has ended.
    fn named(&mut self) -> Result<(), Fault> {
        let word = &self.word;
        self.field = if word.is(b"host") {
            Field::Host
        } else if word.is(b"content-length") {
            Field::Length
        } else if word.is(b"transfer-encoding") {
            Field::Coding
        } else {
            Field::Other
        };
        if self.trailing && self.field != Field::Other {
            return Err(Fault::Trailer);
        }
        let head = &mut self.head;
        head.upgrade |= !self.trailing && word.is(b"upgrade");
        match self.field {
            Field::Other => {
                self.at = At::Free;
                return Ok(());
            }
            Field::Host if head.hosts => return Err(Fault::TwoHosts),
            Field::Host => head.hosts = true,
            Field::Length if head.chunked => return Err(Fault::LengthAndCoding),
            Field::Length if head.length.is_some() => return Err(Fault::TwoLengths),
            Field::Length => {}
            Field::Coding if head.http10 => return Err(Fault::CodingInHttp10),
            Field::Coding if head.length.is_some() => return Err(Fault::LengthAndCoding),
            Field::Coding if head.chunked => return Err(Fault::TwoCodings),
            Field::Coding => {}
        }
        self.word.clear();
        self.at = At::Lead;
        Ok(())
    }

    /// A value that is read: one word, white space around it.
    fn value(&mut self, byte: u8) -> Result<(), Fault> {
        match (byte, self.at) {
            (b'\r', _) => {
                self.value_ends()?;
                self.at = At::FieldLf;
                Ok(())
            }
            (b' ' | b'\t', At::Value) => {
                self.at = At::Trail;
                Ok(())
            }
            (b' ' | b'\t', _) => Ok(()),
            (byte, At::Trail) => Err(line_fault(byte, self.value_fault())),
            (byte, _) => {
                self.at = At::Value;
                self.value_byte(byte)
            }
        }
    }

    const fn value_fault(&self) -> Fault {
        match self.field {
            Field::Host | Field::Other => Fault::HostSyntax,
            Field::Length => Fault::Length,
            Field::Coding => Fault::Coding,
        }
    }

    fn value_byte(&mut self, byte: u8) -> Result<(), Fault> {
        let fault = line_fault(byte, self.value_fault());
        match self.field {
            Field::Length => {
                let digit = char::from(byte).to_digit(10).map(u64::from).ok_or(fault)?;
                let length = match self.head.length {
                    // A number that begins with nought is octal to somebody.
                    Some(0) => None,
                    Some(length) => length
                        .checked_mul(10)
                        .and_then(|length| length.checked_add(digit)),
                    None => Some(digit),
                };
                // Far below what any reader of 64 bits takes for something else.
                let length = length.filter(|length| *length < 1 << 62).ok_or(fault)?;
                self.head.length = Some(length);
            }
            Field::Coding if !is_token(byte) => return Err(fault),
            Field::Coding => self.word.push(byte),
            Field::Host | Field::Other => {
                if !is_authority(byte) || self.word.len >= AUTHORITY_BYTES {
                    return Err(fault);
                }
                if self.word.len == 0 && byte == b':' {
                    return Err(fault);
                }
                let head = &mut self.head;
                if !head.named.is_empty() {
                    let same = head
                        .named
                        .get(head.repeated)
                        .is_some_and(|named| named.eq_ignore_ascii_case(&byte));
                    if !same {
                        return Err(Fault::HostsDiffer);
                    }
                    head.repeated = head.repeated.saturating_add(1);
                }
                self.word.push(byte);
            }
        }
        Ok(())
    }

    fn value_ends(&mut self) -> Result<(), Fault> {
        match self.field {
            Field::Length if self.head.length.is_none() => Err(Fault::Length),
            Field::Length => Ok(()),
            Field::Coding if self.word.is_either_case(b"chunked") => {
                self.head.chunked = true;
                Ok(())
            }
            Field::Coding => Err(Fault::Coding),
            Field::Host | Field::Other if self.word.len == 0 => Err(Fault::HostSyntax),
            Field::Host | Field::Other => Ok(()),
        }
    }

    fn free(&mut self, byte: u8) -> Result<(), Fault> {
        self.count_trailer()?;
        if byte != b'\r' {
            return Err(line_fault(byte, Fault::Control));
        }
        self.at = At::FieldLf;
        Ok(())
    }

    fn count_trailer(&mut self) -> Result<(), Fault> {
        self.trailer_bytes = self.trailer_bytes.saturating_add(1);
        if self.trailing && self.trailer_bytes > TRAILER_BYTES {
            return Err(Fault::Trailer);
        }
        Ok(())
    }

    /// What only a whole head can lack.
    fn is_whole(&self) -> Result<(), Fault> {
        let head = &self.head;
        if !head.hosts && !head.http10 {
            return Err(Fault::NoHost);
        }
        if head.repeated < head.named.len() {
            return Err(if head.hosts {
                Fault::HostsDiffer
            } else {
                Fault::NoHost
            });
        }
        Ok(())
    }

    /// Behind the empty line of a head or of trailers.
    fn end(&mut self, byte: u8) -> Result<(), Fault> {
        if byte != b'\n' {
            return Err(Fault::BareCr);
        }
        if self.trailing {
            self.trailing = false;
            self.request_ends();
            return Ok(());
        }
        self.heads = self.heads.saturating_add(1);
        match (self.head.chunked, self.head.length) {
            (true, _) => self.chunk_begins(),
            (false, Some(length)) if length > 0 => {
                self.left = length;
                self.at = At::Body;
            }
            (false, _) => self.request_ends(),
        }
        Ok(())
    }

    fn request_ends(&mut self) {
        self.at = if self.head.upgrade {
            At::Waiting
        } else {
            At::Start
        };
    }

    fn chunk_begins(&mut self) {
        self.left = 0;
        self.at = At::Size(0);
    }

    fn size(&mut self, byte: u8, come: u8) -> Result<(), Fault> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if come >= SIZE_DIGITS {
                return Err(Fault::ChunkSize);
            }
            self.left = self
                .left
                .checked_mul(16)
                .and_then(|left| left.checked_add(u64::from(digit)))
                .ok_or(Fault::ChunkSize)?;
            self.at = At::Size(come.saturating_add(1));
            return Ok(());
        }
        match byte {
            b'\r' if come > 0 => {
                self.at = At::SizeLf;
                Ok(())
            }
            // RFC 9112 7.1.1: none is known here, and the bound on unknown ones is nought.
            b';' => Err(Fault::ChunkExtension),
            byte => Err(line_fault(byte, Fault::ChunkSize)),
        }
    }

    fn size_lf(&mut self, byte: u8) -> Result<(), Fault> {
        if byte != b'\n' {
            return Err(Fault::BareCr);
        }
        if self.left > 0 {
            self.at = At::Chunk;
        } else {
            self.trailing = true;
            self.trailer_bytes = 0;
            self.at = At::Line;
        }
        Ok(())
    }

    fn chunk_cr(&mut self, byte: u8) -> Result<(), Fault> {
        if byte != b'\r' {
            return Err(Fault::ChunkEnd);
        }
        self.at = At::ChunkLf;
        Ok(())
    }

    fn chunk_lf(&mut self, byte: u8) -> Result<(), Fault> {
        if byte != b'\n' {
            return Err(Fault::ChunkEnd);
        }
        self.chunk_begins();
        Ok(())
    }
}

/// What a byte that may stand nowhere in a line is called, or else `fault`.
const fn line_fault(byte: u8, fault: Fault) -> Fault {
    match byte {
        b'\n' => Fault::BareLf,
        b'\r' => Fault::BareCr,
        0..=8 | 11 | 12 | 14..=31 | 127 => Fault::Control,
        _ => fault,
    }
}

/// RFC 9110 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

const fn is_target(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// How many bytes at the front are plain.
fn leading(bytes: &[u8], is_plain: impl Fn(u8) -> bool) -> usize {
    bytes
        .iter()
        .position(|byte| !is_plain(*byte))
        .unwrap_or(bytes.len())
}

/// RFC 9110 5.5, with bytes outside ASCII: they are opaque.
const fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 127)
}

/// A host and a port; no user, no path, no escape.
const fn is_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']' | b'_')
}
