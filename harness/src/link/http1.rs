//! Where HTTP/1 messages begin and end in a stream of bytes, without holding or changing any of it (RFC 9112, section 6).
//! Pure: bytes come in, and what was seen in them goes out. What is no HTTP/1 is said once and never looked at again.

use httparse::{EMPTY_HEADER, Error, Header, Request, Response, Status};

/// Longest head that is looked at; hyper's own limit is in the same order.
const HEAD_LIMIT: usize = 64 * 1024;
const HEADERS: usize = 100;

/// Follows one direction of a connection.
#[derive(Debug)]
pub(super) struct Framer {
    state: State,
    /// The part of a head that came in earlier pieces.
    partial: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two messages, or within a head.
    Head,
    Body(Body),
    /// Not HTTP/1, or no longer.
    Opaque,
}

/// What is left of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// There is none.
    None,
    /// So many bytes.
    Fixed(u64),
    /// Chunks that say their own length.
    Chunked(Chunk),
    /// Whatever comes until the connection ends.
    UntilEnd,
}

/// Where in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    /// In the line with the size of the next one.
    Size {
        value: u64,
        digits: u8,
        /// Past the size, up to the end of the line.
        past: bool,
    },
    /// So many bytes of data and line end are left.
    Data(u64),
    /// In the lines after the last one; so many characters of the present line.
    Trailer(usize),
}

const FIRST_CHUNK: Chunk = Chunk::Size {
    value: 0,
    digits: 0,
    past: false,
};

/// What a stretch of bytes ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen<H> {
    /// Nothing of note: more belongs to the same message.
    Nothing,
    /// A whole head; `ends` when the message is over with it.
    Head { head: H, ends: bool },
    /// The last byte of a body.
    End,
    /// This is no HTTP/1. From here on everything is passed as it is.
    Opaque,
}

/// What matters of a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestHead {
    /// The answer will have no body, whatever its head says.
    pub(crate) head_only: bool,
    /// The caller wants no further answer on this connection.
    pub(crate) close: bool,
    /// The caller may wait for a word before it sends the body.
    pub(crate) expects: bool,
}

/// What matters of an answer's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AnswerHead {
    /// Whether another answer to the same request follows (1xx).
    pub(super) interim: bool,
}

/// The bytes are no HTTP/1 message, or one that ends HTTP/1 on this connection.
pub(super) struct NoHttp;

/// A head with its length, and the body that follows.
type Parsed<H> = Result<Option<(usize, H, Body)>, NoHttp>;

impl Framer {
    pub(super) fn new() -> Self {
        Self {
            state: State::Head,
            partial: Vec::new(),
        }
    }

    /// Whether the next byte begins a message.
    pub(super) fn between_messages(&self) -> bool {
        self.state == State::Head && self.partial.is_empty()
    }

    /// Whether a part of a head has come.
    pub(super) fn within_head(&self) -> bool {
        self.state == State::Head && !self.partial.is_empty()
    }

    /// Takes bytes up to the next thing of note, all of them if there is none; how many those were. `parse` reads heads.
    pub(super) fn step<H>(
        &mut self,
        bytes: &[u8],
        parse: impl FnOnce(&[u8]) -> Parsed<H>,
    ) -> (usize, Seen<H>) {
        match self.state {
            State::Head => self.head(bytes, parse),
            State::Body(body) => {
                let (taken, left) = body.take(bytes);
                match left {
                    Some(Body::None) => {
                        self.state = State::Head;
                        (taken, Seen::End)
                    }
                    Some(left) => {
                        self.state = State::Body(left);
                        (taken, Seen::Nothing)
                    }
                    None => self.opaque(bytes),
                }
            }
            State::Opaque => (bytes.len(), Seen::Nothing),
        }
    }

    fn opaque<H>(&mut self, bytes: &[u8]) -> (usize, Seen<H>) {
        self.state = State::Opaque;
        self.partial = Vec::new();
        (bytes.len(), Seen::Opaque)
    }

    fn head<H>(
        &mut self,
        bytes: &[u8],
        parse: impl FnOnce(&[u8]) -> Parsed<H>,
    ) -> (usize, Seen<H>) {
        let before = self.partial.len();
        let parsed = if before == 0 {
            parse(bytes)
        } else {
            self.partial.extend_from_slice(bytes);
            // A head ends with the end of a line, so anything else needs no second look.
            match bytes.contains(&b'\n') {
                true => parse(&self.partial),
                false => Ok(None),
            }
        };
        match parsed {
            // However it came in pieces, a head is too long at the same length.
            Ok(Some((length, ..))) if length > HEAD_LIMIT => self.opaque(bytes),
            Ok(Some((length, head, body))) => {
                self.partial.clear();
                self.state = match body {
                    Body::None => State::Head,
                    body => State::Body(body),
                };
                let ends = body == Body::None;
                (length - before, Seen::Head { head, ends })
            }
            Ok(None) => {
                if before == 0 {
                    self.partial.extend_from_slice(bytes);
                }
                match self.partial.len() > HEAD_LIMIT {
                    true => self.opaque(bytes),
                    false => (bytes.len(), Seen::Nothing),
                }
            }
            Err(NoHttp) => self.opaque(bytes),
        }
    }
}

impl Body {
    /// Takes bytes up to its end; how many, and what is left of it. `None` when they cannot be of such a body.
    fn take(self, bytes: &[u8]) -> (usize, Option<Self>) {
        match self {
            Self::None => (0, Some(Self::None)),
            Self::UntilEnd => (bytes.len(), Some(self)),
            Self::Fixed(left) => {
                let (taken, left) = skip(left, bytes.len());
                let left = match left {
                    0 => Self::None,
                    left => Self::Fixed(left),
                };
                (taken, Some(left))
            }
            Self::Chunked(chunk) => take_chunks(chunk, bytes),
        }
    }
}

/// Skips up to `left` of `available` bytes; how many, and how many are left to skip.
fn skip(left: u64, available: usize) -> (usize, u64) {
    let taken = usize::try_from(left).map_or(available, |left| left.min(available));
    (taken, left - taken as u64)
}

fn take_chunks(mut chunk: Chunk, bytes: &[u8]) -> (usize, Option<Body>) {
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        at += 1;
        chunk = match chunk {
            Chunk::Size {
                value,
                digits,
                past,
            } => match (byte, (byte as char).to_digit(16)) {
                (b'\n', _) if digits == 0 => return (at, None),
                (b'\n', _) if value == 0 => Chunk::Trailer(0),
                // The data is followed by the end of a line.
                (b'\n', _) => Chunk::Data(value + 2),
                (_, Some(digit)) if !past && digits < 15 => Chunk::Size {
                    value: value * 16 + u64::from(digit),
                    digits: digits + 1,
                    past,
                },
                (b'\r' | b' ' | b'\t' | b';', _) => Chunk::Size {
                    value,
                    digits,
                    past: true,
                },
                _ if past => chunk,
                _ => return (at, None),
            },
            Chunk::Data(left) => {
                let (taken, left) = skip(left, bytes.len() - (at - 1));
                at += taken - 1;
                match left {
                    0 => FIRST_CHUNK,
                    left => Chunk::Data(left),
                }
            }
            Chunk::Trailer(length) => match byte {
                b'\n' if length == 0 => return (at, Some(Body::None)),
                b'\n' => Chunk::Trailer(0),
                b'\r' => chunk,
                _ => Chunk::Trailer(length + 1),
            },
        };
    }
    (at, Some(Body::Chunked(chunk)))
}

/// Reads the head of a request.
pub(super) fn request(bytes: &[u8]) -> Parsed<RequestHead> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut request = Request::new(&mut headers);
    let Some(length) = complete(request.parse(bytes))? else {
        return Ok(None);
    };
    let method = request.method.unwrap_or_default();
    // What follows is a tunnel.
    if method == "CONNECT" {
        return Err(NoHttp);
    }
    let keeps = match request.version {
        Some(0) => has(request.headers, "connection", "keep-alive"),
        _ => !has(request.headers, "connection", "close"),
    };
    let head = RequestHead {
        head_only: method == "HEAD",
        close: !keeps,
        expects: has(request.headers, "expect", "100-continue"),
    };
    let body = framed(request.headers)?.unwrap_or(Body::None);
    Ok(Some((length, head, body)))
}

/// Reads the head of an answer. `head_only` when the request was for a head.
pub(super) fn answer(bytes: &[u8], head_only: bool) -> Parsed<AnswerHead> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut answer = Response::new(&mut headers);
    let Some(length) = complete(answer.parse(bytes))? else {
        return Ok(None);
    };
    let status = answer.code.unwrap_or_default();
    // The other protocol begins after this.
    if status == 101 {
        return Err(NoHttp);
    }
    let interim = (100..200).contains(&status);
    let body = if interim || head_only || status == 204 || status == 304 {
        Body::None
    } else {
        framed(answer.headers)?.unwrap_or(Body::UntilEnd)
    };
    Ok(Some((length, AnswerHead { interim }, body)))
}

fn complete(parsed: Result<Status<usize>, Error>) -> Result<Option<usize>, NoHttp> {
    match parsed {
        Ok(Status::Complete(length)) => Ok(Some(length)),
        Ok(Status::Partial) => Ok(None),
        Err(_) => Err(NoHttp),
    }
}

/// The body as the headers frame it; `None` when they say nothing.
fn framed(headers: &[Header<'_>]) -> Result<Option<Body>, NoHttp> {
    let encoded =
        values(headers, "transfer-encoding").flat_map(|value| value.split(|byte| *byte == b','));
    if let Some(last) = encoded.last() {
        // Any other last encoding leaves the end of the body open (RFC 9112, section 6.3).
        return match last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            true => Ok(Some(Body::Chunked(FIRST_CHUNK))),
            false => Err(NoHttp),
        };
    }
    let mut lengths = values(headers, "content-length");
    let Some(length) = lengths.next() else {
        return Ok(None);
    };
    if lengths.any(|other| other != length) {
        return Err(NoHttp);
    }
    match digits(length) {
        Some(0) => Ok(Some(Body::None)),
        Some(length) => Ok(Some(Body::Fixed(length))),
        None => Err(NoHttp),
    }
}

/// A number in digits and nothing else; the standard library takes a sign too.
fn digits(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let all = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| all)?;
    text.parse().ok()
}

fn values<'h>(headers: &'h [Header<'h>], name: &'static str) -> impl Iterator<Item = &'h [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value)
}

/// Whether a header that is a list has this word in it.
fn has(headers: &[Header<'_>], name: &'static str, word: &str) -> bool {
    values(headers, name)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is seen in `text`, cut into pieces of `size`, with the number of bytes up to each.
    fn seen<H: Copy>(
        text: &[u8],
        size: usize,
        parse: impl Fn(&[u8]) -> Parsed<H>,
    ) -> Vec<(usize, Seen<H>)> {
        let mut framer = Framer::new();
        let (mut found, mut total) = (Vec::new(), 0);
        for mut piece in text.chunks(size) {
            while !piece.is_empty() {
                let (taken, what) = framer.step(piece, &parse);
                total += taken;
                piece = &piece[taken..];
                if !matches!(what, Seen::Nothing) {
                    found.push((total, what));
                }
            }
        }
        found
    }

    fn request_head(ends: bool) -> Seen<RequestHead> {
        let head = RequestHead {
            head_only: false,
            close: false,
            expects: false,
        };
        Seen::Head { head, ends }
    }

    #[test]
    fn requests_end_where_their_framing_says_however_they_are_cut() {
        let first = "GET /a HTTP/1.1\r\nhost: x\r\n\r\n";
        let second_head = "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
        let third_head = "PUT /c HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n";
        let third_body = "4;x=y\r\nWiki\r\nA\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\n";
        let text = format!("{first}{second_head}hello{third_head}{third_body}{first}");
        let one = first.len();
        let two = one + second_head.len();
        let three = two + 5 + third_head.len();
        let four = three + third_body.len();
        let wanted = [
            (one, request_head(true)),
            (two, request_head(false)),
            (two + 5, Seen::End),
            (three, request_head(false)),
            (four, Seen::End),
            (four + one, request_head(true)),
        ];
        for size in [1, 2, 3, 7, 16, 1024] {
            assert_eq!(
                seen(text.as_bytes(), size, request),
                wanted,
                "pieces of {size}"
            );
        }
    }

    #[test]
    fn answers_end_by_length_by_status_by_method_or_with_the_connection() {
        let parse = |head_only| move |bytes: &[u8]| answer(bytes, head_only);
        let head = |interim, ends| Seen::Head {
            head: AnswerHead { interim },
            ends,
        };
        let interim = "HTTP/1.1 100 Continue\r\n\r\n";
        let none = "HTTP/1.1 204 No Content\r\n\r\n";
        let fixed = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n";
        let open = "HTTP/1.1 200 OK\r\n\r\n";
        let text = format!("{interim}{none}{fixed}abc{open}whatever comes");
        let one = interim.len();
        let two = one + none.len();
        let three = two + fixed.len();
        for size in [1, 5, 1024] {
            let found = seen(text.as_bytes(), size, parse(false));
            let wanted = [
                (one, head(true, true)),
                (two, head(false, true)),
                (three, head(false, false)),
                (three + 3, Seen::End),
                (three + 3 + open.len(), head(false, false)),
            ];
            assert_eq!(found, wanted, "pieces of {size}");
        }
        assert_eq!(
            seen(fixed.as_bytes(), 1024, parse(true)),
            [(fixed.len(), head(false, true))],
            "an answer to HEAD has no body"
        );
    }

    #[test]
    fn what_is_no_http_is_said_once() {
        for text in [
            "\u{1}binary",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: many\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: +5\r\n\r\nhello",
            "POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nnot a size\r\n",
        ] {
            let found = seen(text.as_bytes(), 1024, request);
            assert_eq!(
                found.last().map(|last| last.1),
                Some(Seen::Opaque),
                "{text}"
            );
        }
        let long = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(HEAD_LIMIT));
        let whole = format!("{long}\r\n\r\n");
        for (text, size) in [(&long, 4096), (&whole, 4096), (&whole, whole.len())] {
            let found = seen(text.as_bytes(), size, request);
            assert_eq!(found.len(), 1, "pieces of {size}");
            assert_eq!(found[0].1, Seen::Opaque);
        }
        let upgraded = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n";
        let found = seen(upgraded.as_bytes(), 1024, |bytes| answer(bytes, false));
        assert_eq!(found, [(upgraded.len(), Seen::Opaque)]);
    }

    #[test]
    fn what_a_head_says_of_the_connection_is_understood() {
        let of = |text: &str| match request(text.as_bytes()) {
            Ok(Some((_, head, _))) => (head.head_only, head.close, head.expects),
            Ok(None) | Err(NoHttp) => panic!("{text}"),
        };
        assert_eq!(of("HEAD / HTTP/1.1\r\n\r\n"), (true, false, false));
        assert_eq!(of("GET / HTTP/1.0\r\n\r\n"), (false, true, false));
        assert_eq!(
            of("GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n"),
            (false, false, false)
        );
        assert_eq!(
            of("PUT / HTTP/1.1\r\nConnection: close\r\nexpect: 100-continue\r\n\r\n"),
            (false, true, true)
        );
    }

    /// Everything that a framer said of `text` when it came in these pieces, with the number of bytes up to each; fails
    /// when a piece is not taken whole.
    fn followed<H: Copy>(
        text: &[u8],
        cuts: &[usize],
        parse: impl Fn(&[u8]) -> Parsed<H>,
    ) -> Result<Vec<(usize, Seen<H>)>, TestCaseError> {
        let mut framer = Framer::new();
        let (mut found, mut total) = (Vec::new(), 0);
        for mut piece in pieces(text, cuts) {
            while !piece.is_empty() {
                let (taken, what) = framer.step(piece, &parse);
                prop_assert!(
                    (1..=piece.len()).contains(&taken),
                    "{taken} of {}",
                    piece.len()
                );
                total += taken;
                piece = &piece[taken..];
                if !matches!(what, Seen::Nothing) {
                    found.push((total, what));
                }
            }
        }
        prop_assert_eq!(total, text.len());
        Ok(found)
    }

    /// `text` cut at these places, those beyond its end left aside.
    fn pieces<'t>(text: &'t [u8], cuts: &[usize]) -> Vec<&'t [u8]> {
        let mut cuts: Vec<_> = cuts.iter().copied().filter(|at| *at < text.len()).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|two| &text[two[0]..two[1]]).collect()
    }

    /// What was seen up to the end of HTTP/1. Where that end is noticed depends on the pieces: a head that no line ends
    /// in yet is not looked at.
    fn messages<H: Copy>(found: Vec<(usize, Seen<H>)>) -> Vec<(usize, Seen<H>)> {
        found
            .into_iter()
            .take_while(|(_, what)| !matches!(what, Seen::Opaque))
            .collect()
    }

    /// Messages as they are on the wire, sound ones and some that are not.
    fn message() -> impl Strategy<Value = String> {
        let body = "[a-z0-9 ]{0,40}";
        let head = prop::sample::select(vec![
            "GET /a HTTP/1.1\r\n",
            "HEAD /a HTTP/1.1\r\n",
            "POST /b HTTP/1.0\r\n",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 100 Continue\r\n",
            "HTTP/1.1 304 Not Modified\r\n",
            "HTTP/1.1 101 Switching\r\n",
            "\r\nGET / HTTP/1.1\r\n",
            "GET / HTTP/1.1\n",
        ]);
        let headers = prop::collection::vec(
            prop::sample::select(vec![
                "host: x\r\n",
                "connection: close\r\n",
                "expect: 100-continue\r\n",
                "x: \n",
            ]),
            0..3,
        );
        (head, headers, body, 0..3_u8, 1..9_usize).prop_map(|(head, headers, body, framing, size)| {
            let headers = headers.concat();
            match framing {
                0 => format!("{head}{headers}\r\n"),
                1 => format!("{head}{headers}content-length: {}\r\n\r\n{body}", body.len()),
                _ => {
                    let chunks: String = body
                        .as_bytes()
                        .chunks(size)
                        .map(|chunk| {
                            let text = String::from_utf8_lossy(chunk);
                            format!("{:x};ext=1\r\n{text}\r\n", chunk.len())
                        })
                        .collect();
                    format!("{head}{headers}transfer-encoding: chunked\r\n\r\n{chunks}0\r\nx-sum: 1\r\n\r\n")
                }
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_bytes_pass_whole(
            text in prop::collection::vec(any::<u8>(), 0..400),
            cuts in prop::collection::vec(0..400_usize, 0..12),
            head_only in any::<bool>(),
        ) {
            followed(&text, &cuts, request)?;
            followed(&text, &cuts, |bytes| answer(bytes, head_only))?;
        }

        #[test]
        fn messages_are_the_same_however_they_are_cut_and_broken(
            sent in prop::collection::vec(message(), 1..5),
            broken in prop::collection::vec((0..600_usize, any::<u8>()), 0..3),
            cuts in prop::collection::vec(0..600_usize, 0..12),
            head_only in any::<bool>(),
        ) {
            let mut text = sent.concat().into_bytes();
            for (at, byte) in broken {
                if let Some(place) = text.get_mut(at) {
                    *place = byte;
                }
            }
            let whole = messages(followed(&text, &[], request)?);
            prop_assert_eq!(messages(followed(&text, &cuts, request)?), whole);
            let parse = |bytes: &[u8]| answer(bytes, head_only);
            let whole = messages(followed(&text, &[], parse)?);
            prop_assert_eq!(messages(followed(&text, &cuts, parse)?), whole);
        }
    }
}
