//! Tells by its first bytes whether a reply is a manifest or media, whatever its path and type say.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};

use super::fetch::{self, OriginFailure};
use super::replies::is_segment;
use crate::manifest::{self, MAX_SNIFFED_BYTES, ManifestFormat, SniffedBody};
use crate::upstream::{Streamed, Transfer, UpstreamFault};

/// Length and name of an ISO box. A reply of so many bytes that does not begin like media is none.
const BOX_HEAD_BYTES: usize = 8;

/// Kinds of replies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ReplyContent {
    /// The reply has an encoding that cannot be undone here, so it may be anything.
    Encoded,
    Manifest,
    Media,
    /// A plain manifest, labelled with an encoding that it does not have. Some players read it, others do not.
    MisencodedManifest,
    /// Neither a manifest nor media, by its path, its type and its first bytes.
    Unknown,
}

/// Reads the first bytes of a success and keeps them for the transfer. Path and type alone are not believed,
/// because a manifest that passes as a segment would lead its player past us. A segment is recognised by its
/// first chunk and waits for no more.
pub(super) async fn look(method: &Method, path: &str, reply: &mut MediaReply) -> Result<ReplyContent, OriginFailure> {
    if ManifestFormat::of_media_type(fetch::media_type(&reply.headers)).is_some() {
        return Ok(ReplyContent::Manifest);
    }
    let (by_path, by_type) = (is_segment(path), is_media_type(fetch::media_type(&reply.headers)));
    let unsure = if by_path || by_type || is_key(&reply.headers) { ReplyContent::Media } else { ReplyContent::Unknown };
    // A part that does not begin at zero tells nothing.
    let begins = reply.status != StatusCode::PARTIAL_CONTENT || begins_at_zero(&reply.headers);
    if *method == Method::HEAD || !begins {
        return Ok(unsure);
    }
    let values: Vec<String> = encoding_values(&reply.headers).map(str::to_owned).collect();
    let names = manifest::encodings_that_exist(values.iter().map(String::as_str));
    if !manifest::are_decodable(&names) {
        return look_at_undecoded(&names, reply).await;
    }
    let tell = |bytes: &[u8], whole: bool| {
        let found = if names.is_empty() {
            manifest::sniff(bytes, whole)
        } else if begins_like_a_manifest(bytes, whole) {
            return Some(ReplyContent::MisencodedManifest);
        } else {
            let start = manifest::decoded_start(&names, bytes, MAX_SNIFFED_BYTES);
            let whole = whole || bytes.len() >= MAX_SNIFFED_BYTES;
            if start.is_empty() && whole && !bytes.is_empty() {
                return Some(ReplyContent::Encoded);
            }
            manifest::sniff(&start, whole)
        };
        match found {
            SniffedBody::Manifest(_) | SniffedBody::Part => Some(ReplyContent::Manifest),
            SniffedBody::Other if names.is_empty() && begins_like_media(bytes) => Some(ReplyContent::Media),
            SniffedBody::Other => Some(unsure),
            SniffedBody::More => None,
        }
    };
    let told = reply.body.look(tell).await.map_err(OriginFailure::Fault)?;
    Ok(told.unwrap_or(unsure))
}

/// A reply that begins like media is media, whatever its encoding is called. In any other, a player that can undo
/// the encoding may find a manifest.
async fn look_at_undecoded(names: &[&str], reply: &mut MediaReply) -> Result<ReplyContent, OriginFailure> {
    // Bytes in a known encoding may look like anything.
    let may_be_media = !names.iter().any(|name| manifest::are_decodable(&[name]));
    let untold = ReplyContent::Encoded;
    let tell = |bytes: &[u8], whole: bool| match manifest::sniff(bytes, whole) {
        SniffedBody::Manifest(_) | SniffedBody::Part => Some(ReplyContent::MisencodedManifest),
        SniffedBody::Other if may_be_media && begins_like_media(bytes) => Some(ReplyContent::Media),
        SniffedBody::Other if whole || bytes.len() >= BOX_HEAD_BYTES => Some(untold),
        SniffedBody::More | SniffedBody::Other => None,
    };
    let told = reply.body.look(tell).await.map_err(OriginFailure::Fault)?;
    Ok(told.unwrap_or(untold))
}

fn begins_like_a_manifest(bytes: &[u8], whole: bool) -> bool {
    matches!(manifest::sniff(bytes, whole), SniffedBody::Manifest(_) | SniffedBody::Part)
}

pub(super) fn encoding_values(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    // A name that is no text is an unknown encoding.
    headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?"))
}

fn begins_at_zero(headers: &HeaderMap) -> bool {
    let range = headers.get(http::header::CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
    range.trim_start_matches("bytes").trim_start().starts_with("0-")
}

/// True for the length of an AES-128 key (RFC 8216 section 4.3.2.4).
fn is_key(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_LENGTH).is_some_and(|length| length == "16")
}

fn is_media_type(media_type: &str) -> bool {
    let kind = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let family = kind.split('/').next().unwrap_or_default();
    // Some playlists have audio types, too; they were recognised before.
    matches!(family, "audio" | "font" | "image" | "video")
        || matches!(kind.as_str(), "application/mp4" | "application/ttml+xml" | "text/vtt")
}

/// True for ISO boxes, MPEG-2 transport streams, packed audio, WebM, subtitles and images.
fn begins_like_media(bytes: &[u8]) -> bool {
    const BOXES: [&[u8]; 13] = [
        b"emsg", b"free", b"ftyp", b"mdat", b"moof", b"moov", b"pdin", b"prft", b"sidx", b"skip", b"ssix", b"styp",
        b"uuid",
    ];
    const MEDIA_MAGIC: [&[u8]; 9] =
        [b"\x1a\x45\xdf\xa3", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"ID3", b"OggS", b"RIFF", b"WEBVTT", b"\x0b\x77"];
    let boxed = bytes.get(4..8).is_some_and(|kind| BOXES.contains(&kind));
    let packets = matches!(bytes, [0x47, ..]) && bytes.get(188).is_none_or(|sync| *sync == 0x47);
    let adts = matches!(bytes, [0xff, second, ..] if second & 0xe0 == 0xe0);
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    boxed || packets || adts || MEDIA_MAGIC.iter().any(|magic| text.starts_with(magic))
}

/// A reply of the origin that is passed on.
pub(super) struct MediaReply {
    pub(super) body: PeekedBody,
    pub(super) headers: HeaderMap,
    pub(super) status: StatusCode,
}

pub(super) struct PeekedBody {
    first: Bytes,
    rest: Transfer,
}

impl From<Streamed> for MediaReply {
    fn from(Streamed { body, headers, status }: Streamed) -> Self {
        Self { body: PeekedBody { first: Bytes::new(), rest: body }, headers, status }
    }
}

impl PeekedBody {
    /// Reads until `tell` recognises the bytes. At their end it is asked once more, with true, and must decide.
    pub(super) async fn look<T>(
        &mut self,
        mut tell: impl FnMut(&[u8], bool) -> Option<T>,
    ) -> Result<Option<T>, UpstreamFault> {
        let (mut seen, mut enough) = (BytesMut::new(), 0);
        let told = loop {
            let Some(frame) = self.rest.frame().await else { break tell(&seen, true) };
            let Ok(data) = frame?.into_data() else { continue };
            // Mostly the first frame is enough and need not be copied.
            if seen.is_empty()
                && let Some(told) = tell(&data, false)
            {
                self.first = data;
                return Ok(Some(told));
            }
            seen.extend_from_slice(&data);
            // Looks again only when the bytes have doubled, because they may come one by one.
            if seen.len() < enough {
                continue;
            }
            enough = seen.len() * 2;
            if let Some(told) = tell(&seen, false) {
                break Some(told);
            }
        };
        self.first = seen.freeze();
        Ok(told)
    }
}

impl Body for PeekedBody {
    type Data = Bytes;
    type Error = UpstreamFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamFault>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.first)))));
        }
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, first) = (self.rest.size_hint(), self.first.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(first));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(first));
        }
        hint
    }
}
