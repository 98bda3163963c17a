//! Manifests, segments and pages: a folder below `/content/`, and files that the program carries.
//!
//! Byte ranges as in RFC 9110 section 14; several ranges in one request are answered whole.

use std::io::SeekFrom;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::fs::File;
use tokio::io::AsyncSeekExt;

use super::body::SimBody;
use super::options::Embed;

pub(super) struct Content {
    pub(super) embeds: &'static [Embed],
    pub(super) folder: Option<PathBuf>,
}

/// The bytes `first` to `last` of a whole, both included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Span {
    first: u64,
    last: u64,
}

#[derive(Debug, Eq, PartialEq)]
enum Wanted {
    Nothing,
    Part(Span),
    Whole,
}

impl Content {
    pub(super) async fn serve(&self, path: &str, range: Option<&HeaderValue>) -> Response<SimBody> {
        let range = range.and_then(|range| range.to_str().ok());
        if let Some(embed) = self.embeds.iter().find(|embed| embed.path == path) {
            let cut = |span: Span| async move { Some(SimBody::bytes(embedded(embed, span))) };
            return reply(embed.bytes.len() as u64, embed.media_type, range, cut).await;
        }
        let Some(file) = self.find(path).await else { return plain(StatusCode::NOT_FOUND) };
        let Ok(length) = file.metadata().await.map(|facts| facts.len()) else { return plain(StatusCode::NOT_FOUND) };
        let cut = |span: Span| part(file, span);
        reply(length, media_type(path), range, cut).await
    }

    /// A regular file inside the folder, links followed and checked.
    async fn find(&self, path: &str) -> Option<File> {
        let below = path.strip_prefix("/content/")?;
        let below = percent_decode_str(below).decode_utf8().ok()?;
        let names = Path::new(below.as_ref()).components();
        if names.clone().any(|name| !matches!(name, Component::Normal(_))) {
            return None;
        }
        let folder = tokio::fs::canonicalize(self.folder.as_ref()?).await.ok()?;
        let found = tokio::fs::canonicalize(folder.join(names.as_path())).await.ok()?;
        if !found.starts_with(&folder) || !tokio::fs::metadata(&found).await.ok()?.is_file() {
            return None;
        }
        File::open(found).await.ok()
    }
}

async fn reply<F>(length: u64, kind: &str, range: Option<&str>, cut: impl FnOnce(Span) -> F) -> Response<SimBody>
where
    F: Future<Output = Option<SimBody>>,
{
    let (status, span) = match wanted(range, length) {
        Wanted::Nothing => return unsatisfiable(length),
        Wanted::Part(span) => (StatusCode::PARTIAL_CONTENT, Some(span)),
        Wanted::Whole => (StatusCode::OK, length.checked_sub(1).map(|last| Span { first: 0, last })),
    };
    let body = match span {
        Some(span) => cut(span).await,
        None => Some(SimBody::bytes(Bytes::new())),
    };
    let Some(body) = body else { return plain(StatusCode::INTERNAL_SERVER_ERROR) };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(kind) = HeaderValue::from_str(kind) {
        headers.insert(CONTENT_TYPE, kind);
    }
    if let (StatusCode::PARTIAL_CONTENT, Some(Span { first, last })) = (status, span) {
        content_range(headers, &format!("bytes {first}-{last}/{length}"));
    }
    response
}

fn embedded(embed: &Embed, span: Span) -> Bytes {
    let (first, last) = (usize::try_from(span.first), usize::try_from(span.last));
    let part = first.ok().zip(last.ok()).and_then(|(first, last)| embed.bytes.get(first..=last));
    Bytes::from_static(part.unwrap_or_default())
}

async fn part(mut file: File, span: Span) -> Option<SimBody> {
    file.seek(SeekFrom::Start(span.first)).await.ok()?;
    Some(SimBody::file(file, span.last - span.first + 1))
}

/// What a `Range` header asks of so many bytes. One that cannot be read is as none.
fn wanted(range: Option<&str>, length: u64) -> Wanted {
    let Some(spec) = range.and_then(|range| range.strip_prefix("bytes=")) else { return Wanted::Whole };
    let Some((first, last)) = spec.trim().split_once('-').filter(|(_, last)| !last.contains(',')) else {
        return Wanted::Whole;
    };
    let number = |text: &str| text.parse::<u64>().ok();
    let (first, last) = match (first.is_empty(), last.is_empty()) {
        (true, _) => match number(last) {
            Some(suffix) => (length.saturating_sub(suffix), if suffix == 0 { None } else { length.checked_sub(1) }),
            None => return Wanted::Whole,
        },
        (false, true) => match number(first) {
            Some(first) => (first, length.checked_sub(1)),
            None => return Wanted::Whole,
        },
        (false, false) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, length.checked_sub(1).map(|end| end.min(last))),
            (_, _) => return Wanted::Whole,
        },
    };
    match last {
        Some(last) if first <= last => Wanted::Part(Span { first, last }),
        Some(_) | None => Wanted::Nothing,
    }
}

fn unsatisfiable(length: u64) -> Response<SimBody> {
    let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE);
    content_range(response.headers_mut(), &format!("bytes */{length}"));
    response
}

fn content_range(headers: &mut http::HeaderMap, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(CONTENT_RANGE, value);
    }
}

/// A bare status with its own name as text.
pub(super) fn plain(status: StatusCode) -> Response<SimBody> {
    let mut response = Response::new(SimBody::bytes(status.canonical_reason().unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("aac") => "audio/aac",
        Some("css") => "text/css; charset=utf-8",
        Some("htm" | "html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("m3u8") => "application/vnd.apple.mpegurl",
        Some("m4a") => "audio/mp4",
        Some("m4s") => "video/iso.segment",
        Some("mp4" | "m4v") => "video/mp4",
        Some("mpd") => "application/dash+xml",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        Some("ts") => "video/mp2t",
        Some("vtt") => "text/vtt; charset=utf-8",
        Some("webm") => "video/webm",
        Some(_) | None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_mean_what_the_rfc_says() {
        let part = |first, last| Wanted::Part(Span { first, last });
        for (range, length, expected) in [
            (None, 10, Wanted::Whole),
            (Some("bytes=0-3"), 10, part(0, 3)),
            (Some("bytes=2-"), 10, part(2, 9)),
            (Some("bytes=-3"), 10, part(7, 9)),
            (Some("bytes=-30"), 10, part(0, 9)),
            (Some("bytes=5-99"), 10, part(5, 9)),
            (Some("bytes=10-"), 10, Wanted::Nothing),
            (Some("bytes=-0"), 10, Wanted::Nothing),
            (Some("bytes=0-"), 0, Wanted::Nothing),
            (Some("bytes=3-2"), 10, Wanted::Whole),
            (Some("bytes=0-1,3-4"), 10, Wanted::Whole),
            (Some("bytes=a-b"), 10, Wanted::Whole),
            (Some("items=0-1"), 10, Wanted::Whole),
        ] {
            assert_eq!(wanted(range, length), expected, "{range:?} of {length}");
        }
    }

    #[tokio::test]
    async fn nothing_outside_the_folder_is_found() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(outer.path().join("secret"), "x").unwrap();
        std::fs::write(inner.join("a b.mpd"), "x").unwrap();
        std::os::unix::fs::symlink(outer.path().join("secret"), inner.join("link")).unwrap();
        let content = Content { embeds: &[], folder: Some(inner) };
        assert!(content.find("/content/a%20b.mpd").await.is_some());
        for path in [
            "/content/../secret",
            "/content/%2e%2e/secret",
            "/content//etc/passwd",
            "/content/",
            "/content/link",
            "/a b.mpd",
        ] {
            assert!(content.find(path).await.is_none(), "{path}");
        }
    }
}
