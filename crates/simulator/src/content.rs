//! Serves manifests, segments and pages: a folder below `/content/`, embedded files, and the channel.

use std::io::SeekFrom;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::fs::File;
use tokio::io::AsyncSeekExt;

use super::body::SimBody;
use super::channel;
use super::options::EmbeddedFile;
use super::range::{ByteSpan, RangeWanted, wanted};
use sidebeat_system::clock::Clock;

pub(super) struct ContentFiles {
    pub(super) clock: Clock,
    pub(super) embeds: &'static [EmbeddedFile],
    pub(super) folder: Option<PathBuf>,
}

impl ContentFiles {
    pub(super) async fn serve(&self, path: &str, range: Option<&HeaderValue>) -> Response<SimBody> {
        let range = range.and_then(|range| range.to_str().ok());
        if let Some(embed) = self.embeds.iter().find(|embed| embed.path == path) {
            let cut = |span: ByteSpan| async move { Some(SimBody::bytes(embedded(embed, span))) };
            return reply(embed.bytes.len() as u64, embed.media_type, range, cut).await;
        }
        if let Some(channel::ChannelPage { body, media_type }) = channel::page(path, self.clock.wall()) {
            let length = body.len() as u64;
            let part = |span: ByteSpan| async move { Some(SimBody::bytes(cut(&body, span))) };
            return reply(length, media_type, range, part).await;
        }
        let Some(file) = self.find(path).await else { return plain(StatusCode::NOT_FOUND) };
        let Ok(length) = file.metadata().await.map(|facts| facts.len()) else { return plain(StatusCode::NOT_FOUND) };
        let cut = |span: ByteSpan| part(file, span);
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

async fn reply<F>(length: u64, kind: &str, range: Option<&str>, cut: impl FnOnce(ByteSpan) -> F) -> Response<SimBody>
where
    F: Future<Output = Option<SimBody>>,
{
    let (status, span) = match wanted(range, length) {
        RangeWanted::Nothing => return unsatisfiable(length),
        RangeWanted::Part(span) => (StatusCode::PARTIAL_CONTENT, Some(span)),
        RangeWanted::Whole => (StatusCode::OK, length.checked_sub(1).map(|last| ByteSpan { first: 0, last })),
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
    if let (StatusCode::PARTIAL_CONTENT, Some(ByteSpan { first, last })) = (status, span) {
        content_range(headers, &format!("bytes {first}-{last}/{length}"));
    }
    response
}

fn embedded(embed: &EmbeddedFile, span: ByteSpan) -> Bytes {
    let (first, last) = (usize::try_from(span.first), usize::try_from(span.last));
    let part = first.ok().zip(last.ok()).and_then(|(first, last)| embed.bytes.get(first..=last));
    Bytes::from_static(part.unwrap_or_default())
}

fn cut(bytes: &Bytes, span: ByteSpan) -> Bytes {
    let (first, last) = (usize::try_from(span.first), usize::try_from(span.last));
    let range = first.ok().zip(last.ok()).filter(|(first, last)| first <= last && *last < bytes.len());
    range.map_or_else(Bytes::new, |(first, last)| bytes.slice(first..=last))
}

async fn part(mut file: File, span: ByteSpan) -> Option<SimBody> {
    file.seek(SeekFrom::Start(span.first)).await.ok()?;
    Some(SimBody::file(file, span.last - span.first + 1))
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

    #[tokio::test]
    async fn no_file_outside_the_folder_is_found() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(outer.path().join("secret"), "x").unwrap();
        std::fs::write(inner.join("a b.mpd"), "x").unwrap();
        std::os::unix::fs::symlink(outer.path().join("secret"), inner.join("link")).unwrap();
        let content = ContentFiles { clock: Clock, embeds: &[], folder: Some(inner) };
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
