//! Finds the end of an HTTP/1.1 reply's body (RFC 9112, sections 6.3 and 7.1), as strictly as hyper does.
//!
//! Pure: takes the bytes as they come, in pieces of any size, and appends those of the body.

use http::{HeaderMap, StatusCode};

use super::UpstreamFault;
use super::connection::{MAX_REPLY_HEAD_BYTES, MAX_REPLY_HEADERS};
use super::framing;
use super::http1_reply_head::Http1Version;

/// All extensions of a body's chunks together.
const MAX_EXTENSION_BYTES: usize = 16 * 1024;

/// The rest of a body that is still to come.
#[derive(Debug)]
pub(super) enum Http1Body {
    Chunked(ChunkReader),
    /// Ends with its connection.
    Close,
    Length(u64),
}

#[derive(Debug, Default)]
pub(super) struct ChunkReader {
    extension_bytes: usize,
    /// Bytes of the current chunk that are still to come.
    left: u64,
    place: ChunkPlace,
    trailers: Vec<u8>,
}

/// The next byte's place in a chunked body.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum ChunkPlace {
    Data,
    DataCr,
    DataLf,
    End,
    EndLf,
    Extension,
    Size,
    SizeLf,
    SizeSpace,
    #[default]
    SizeStart,
    Trailer,
    TrailerLf,
    /// At the start of a trailer line, or of the empty line that ends the body.
    TrailerStart,
}

impl Http1Body {
    /// How the body of a reply with this head ends.
    ///
    /// # Errors
    /// Two readers could find two ends.
    pub(super) fn of(
        is_head_request: bool,
        version: Http1Version,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Self, UpstreamFault> {
        let (length, is_chunked) = (framing::length(headers)?, framing::is_chunked(headers)?);
        let has_none = is_head_request || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(match (has_none, is_chunked, length) {
            (true, _, _) => Self::Length(0),
            (false, true, _) if version == Http1Version::Http10 => return Err(UpstreamFault::Malformed),
            (false, true, _) => Self::Chunked(ChunkReader::default()),
            (false, false, Some(length)) => Self::Length(length),
            (false, false, None) => Self::Close,
        })
    }

    /// Length of a body that names it, as far as it fits into memory.
    pub(super) fn length(&self) -> Option<usize> {
        match self {
            Self::Length(length) => Some(usize::try_from(*length).unwrap_or(usize::MAX)),
            Self::Chunked(_) | Self::Close => None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Chunked(chunks) => chunks.place == ChunkPlace::End,
            Self::Close => false,
            Self::Length(left) => *left == 0,
        }
    }

    /// Takes what of `input` belongs to the body, and returns how much that is.
    ///
    /// # Errors
    /// The body is malformed or larger than `max`.
    pub(super) fn take(&mut self, input: &[u8], body: &mut Vec<u8>, max: usize) -> Result<usize, UpstreamFault> {
        match self {
            Self::Chunked(chunks) => chunks.take(input, body, max),
            Self::Close => append(body, input, max),
            Self::Length(left) => take_data(left, input, body, max),
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// The body has not.
    pub(super) fn end(&self) -> Result<(), UpstreamFault> {
        match self {
            Self::Close => Ok(()),
            Self::Chunked(_) | Self::Length(_) => Err(UpstreamFault::Reset),
        }
    }
}

impl ChunkReader {
    fn take(&mut self, input: &[u8], body: &mut Vec<u8>, max: usize) -> Result<usize, UpstreamFault> {
        let mut taken = 0;
        while self.place != ChunkPlace::End {
            let Some(rest) = input.get(taken..).filter(|rest| !rest.is_empty()) else { break };
            if self.place == ChunkPlace::Data {
                taken += take_data(&mut self.left, rest, body, max)?;
                if self.left == 0 {
                    self.place = ChunkPlace::DataCr;
                }
            } else if let Some(byte) = rest.first() {
                self.place = self.step(*byte)?;
                taken += 1;
            }
        }
        if self.place == ChunkPlace::End {
            self.check_trailers()?;
        }
        Ok(taken)
    }

    /// The place behind this byte.
    fn step(&mut self, byte: u8) -> Result<ChunkPlace, UpstreamFault> {
        use ChunkPlace::{
            Data, DataCr, DataLf, End, EndLf, Extension, Size, SizeLf, SizeSpace, SizeStart, Trailer, TrailerLf,
            TrailerStart,
        };
        let next = match (self.place, byte) {
            (SizeStart | Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.add_digit(byte)?,
            (Size | SizeSpace, b' ' | b'\t') => SizeSpace,
            (Size | SizeSpace, b';') => Extension,
            (Size | SizeSpace | Extension, b'\r') => SizeLf,
            (Extension, byte) if byte != b'\n' => self.add_extension()?,
            (SizeLf, b'\n') if self.left > 0 => Data,
            (SizeLf, b'\n') => TrailerStart,
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => SizeStart,
            (TrailerStart, b'\r') => EndLf,
            (EndLf, b'\n') => End,
            (Trailer, b'\r') => TrailerLf,
            (TrailerStart | Trailer, _) => Trailer,
            (TrailerLf, b'\n') => TrailerStart,
            (
                Data | DataCr | DataLf | End | EndLf | Extension | Size | SizeLf | SizeSpace | SizeStart | TrailerLf,
                _,
            ) => return Err(UpstreamFault::Malformed),
        };
        if matches!(self.place, TrailerStart | Trailer | TrailerLf | EndLf) {
            self.add_trailer(byte)?;
        }
        Ok(next)
    }

    fn add_digit(&mut self, digit: u8) -> Result<ChunkPlace, UpstreamFault> {
        let value = char::from(digit).to_digit(16).ok_or(UpstreamFault::Malformed)?;
        let size = self.left.checked_mul(16).and_then(|size| size.checked_add(value.into()));
        self.left = size.ok_or(UpstreamFault::Malformed)?;
        Ok(ChunkPlace::Size)
    }

    fn add_extension(&mut self) -> Result<ChunkPlace, UpstreamFault> {
        self.extension_bytes += 1;
        if self.extension_bytes >= MAX_EXTENSION_BYTES {
            return Err(UpstreamFault::Malformed);
        }
        Ok(ChunkPlace::Extension)
    }

    fn add_trailer(&mut self, byte: u8) -> Result<(), UpstreamFault> {
        self.trailers.push(byte);
        if self.trailers.len() >= MAX_REPLY_HEAD_BYTES as usize { Err(UpstreamFault::Malformed) } else { Ok(()) }
    }

    /// Trailers are ignored, but they must be ones.
    fn check_trailers(&self) -> Result<(), UpstreamFault> {
        if self.trailers == b"\r\n" {
            return Ok(());
        }
        let mut lines = [httparse::EMPTY_HEADER; MAX_REPLY_HEADERS];
        match httparse::parse_headers(&self.trailers, &mut lines) {
            Ok(httparse::Status::Complete(_)) => Ok(()),
            Ok(httparse::Status::Partial) | Err(_) => Err(UpstreamFault::Malformed),
        }
    }
}

fn take_data(left: &mut u64, input: &[u8], body: &mut Vec<u8>, max: usize) -> Result<usize, UpstreamFault> {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    append(body, input.get(..count).unwrap_or_default(), max)?;
    *left = left.saturating_sub(count as u64);
    Ok(count)
}

fn append(body: &mut Vec<u8>, more: &[u8], max: usize) -> Result<usize, UpstreamFault> {
    if more.len() > max.saturating_sub(body.len()) {
        return Err(UpstreamFault::TooLarge);
    }
    body.extend_from_slice(more);
    Ok(more.len())
}
