//! Decodes the content encodings of a reply (RFC 9110 section 8.4), up to a size limit.
//!
//! Servers encode manifests even if asked not to. An unknown encoding is refused: sidebeat could not edit the manifest,
//! and it would lead a player past the route. The media route calls this module.

use std::io::{ErrorKind, Read};

use brotli_decompressor::Decompressor;
use bytes::Bytes;
use flate2::bufread::GzDecoder;
use flate2::read::{DeflateDecoder, ZlibDecoder};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::UnfitManifest;

/// Encodings on top of each other; real replies have one.
const MAX_ENCODINGS: usize = 3;
/// Limit of browsers (RFC 9659).
const MAX_ZSTD_WINDOW_BYTES: u64 = 8 * 1024 * 1024;
/// Parallel encoders write a member for each block.
const MAX_GZIP_MEMBERS: usize = 512;
/// Parallel encoders write a frame and a skippable frame for each part.
const MAX_ZSTD_FRAMES: usize = 512;
const BROTLI_BUFFER_BYTES: usize = 4096;

/// Encodings that exist and are not decoded here: those of the IANA registry, and earlier ones.
const NOT_UNDONE: [&str; 12] =
    ["aes128gcm", "bzip2", "compress", "dcb", "dcz", "exi", "lz4", "lzma", "pack200-gzip", "sdch", "snappy", "xz"];

/// The effective names in the values of `Content-Encoding`, in the order in which they were applied.
pub fn encodings<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let names = values.flat_map(|value| value.split(',')).map(str::trim);
    names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity")).take(MAX_ENCODINGS + 1).collect()
}

/// Filters the names that could hide a manifest: all encodings that exist, decodable or not. Stores also put other
/// words there (`aws-chunked`, `binary`, `utf-8`), which no player decodes.
pub fn encodings_that_exist<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let names = values.flat_map(|value| value.split(',')).map(str::trim);
    names.filter(|name| exists(name)).take(MAX_ENCODINGS + 1).collect()
}

fn exists(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    decoder(&name, &[]).is_some() || NOT_UNDONE.contains(&name.strip_prefix("x-").unwrap_or(&name))
}

/// Decodes `body`.
///
/// # Errors
/// [`UnfitManifest::Encoding`], or [`UnfitManifest::Large`] beyond `most` bytes at any step.
pub fn decoded(names: &[&str], body: Bytes, most: usize) -> Result<Bytes, UnfitManifest> {
    if names.len() > MAX_ENCODINGS {
        return Err(UnfitManifest::Encoding);
    }
    names.iter().rev().try_fold(body, |body, name| undone(name, &body, most).map(Bytes::from))
}

/// True if all of these encodings are known, and not too many.
pub fn are_decodable(names: &[&str]) -> bool {
    names.len() <= MAX_ENCODINGS && names.iter().all(|name| decoder(name, &[]).is_some())
}

/// Decodes the start of a body: up to `most` bytes, as many as can be decoded; none is no fault.
pub fn decoded_start(names: &[&str], body: &[u8], most: usize) -> Vec<u8> {
    names.iter().rev().fold(body.to_vec(), |body, name| {
        let mut start = Vec::new();
        if let Some(mut decoder) = decoder(name, &body) {
            // Decoding stops where the body ends.
            let _broken = (&mut decoder).take(most as u64).read_to_end(&mut start);
        }
        start
    })
}

fn undone(name: &str, body: &[u8], most: usize) -> Result<Vec<u8>, UnfitManifest> {
    let decoder = decoder(name, body).ok_or(UnfitManifest::Encoding)?;
    let mut whole = Vec::new();
    decoder.take(most as u64 + 1).read_to_end(&mut whole).map_err(|_| UnfitManifest::Encoding)?;
    if whole.len() > most { Err(UnfitManifest::Large) } else { Ok(whole) }
}

fn decoder<'a>(name: &str, body: &'a [u8]) -> Option<Box<dyn Read + 'a>> {
    Some(match name.to_ascii_lowercase().as_str() {
        "br" => Box::new(Decompressor::new(body, BROTLI_BUFFER_BYTES)),
        // Servers send it with or without the zlib header.
        "deflate" if has_zlib_header(body) => Box::new(ZlibDecoder::new(body)),
        "deflate" => Box::new(DeflateDecoder::new(body)),
        "gzip" | "x-gzip" => Box::new(Gzip { decoder: GzDecoder::new(body), members: 1 }),
        "zstd" => Box::new(Zstd::new(body)),
        _ => return None,
    })
}

fn has_zlib_header(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..] if method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0)
}

/// Reads one member after the other (RFC 1952 section 2.2). Zeros may follow the last one.
struct Gzip<'a> {
    decoder: GzDecoder<&'a [u8]>,
    members: usize,
}

impl Read for Gzip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let read = self.decoder.read(buffer)?;
            let rest = *self.decoder.get_ref();
            if read > 0 || buffer.is_empty() || rest.iter().all(|byte| *byte == 0) {
                return Ok(read);
            }
            if self.members == MAX_GZIP_MEMBERS {
                return Err(ErrorKind::InvalidData.into());
            }
            self.members += 1;
            self.decoder = GzDecoder::new(rest);
        }
    }
}

/// Reads one frame after the other.
struct Zstd<'a> {
    body: &'a [u8],
    decoder: FrameDecoder,
    frames: usize,
}

impl<'a> Zstd<'a> {
    fn new(body: &'a [u8]) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_ZSTD_WINDOW_BYTES);
        Self { body, decoder, frames: 0 }
    }

    /// Goes to the next frame with content. False if there is none.
    fn next_frame(&mut self) -> std::io::Result<bool> {
        while !self.body.is_empty() {
            self.frames += 1;
            if self.frames > MAX_ZSTD_FRAMES {
                return Err(ErrorKind::InvalidData.into());
            }
            let Some(skipped) = skippable(self.body) else {
                return self.decoder.init(&mut self.body).map(|()| true).map_err(std::io::Error::other);
            };
            self.body = self.body.get(skipped..).ok_or(ErrorKind::UnexpectedEof)?;
        }
        Ok(false)
    }
}

/// Length of a skippable frame (RFC 8878 section 3.1.2).
fn skippable(body: &[u8]) -> Option<usize> {
    let [magic, 0x2a, 0x4d, 0x18, a, b, c, d, ..] = *body else { return None };
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
    (magic & 0xf0 == 0x50).then(|| length.saturating_add(8))
}

impl Read for Zstd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.decoder.can_collect() == 0 {
            if !self.decoder.is_finished() {
                let block = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.body, block).map_err(std::io::Error::other)?;
            } else if !self.next_frame()? {
                return Ok(0);
            }
        }
        self.decoder.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const MAX_DECODED_BYTES: usize = 64 * 1024;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn raw(text: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn skipped(length: u32) -> Vec<u8> {
        [&[0x5e, 0x2a, 0x4d, 0x18][..], &length.to_le_bytes(), &vec![b'#'; length as usize]].concat()
    }

    /// A brotli stream of one uncompressed metablock and the empty last one (RFC 7932 section 9.2).
    fn brotli(text: &[u8]) -> Vec<u8> {
        let mut all = vec![0x0c];
        let length = text.len() as u32 - 1;
        // Window 16: one bit 0. Then ISLAST 0, MNIBBLES 4, MLEN - 1 in 16 bits, ISUNCOMPRESSED 1.
        let bits = u64::from(length) << 4 | 1 << 20;
        all.clear();
        all.extend_from_slice(&bits.to_le_bytes()[..3]);
        all.extend_from_slice(text);
        all.push(3);
        all
    }

    fn undo(header: &str, body: Vec<u8>, most: usize) -> Result<Bytes, UnfitManifest> {
        decoded(&encodings([header].into_iter()), body.into(), most)
    }

    #[test]
    fn every_encoding_that_servers_use_is_undone() {
        let text = "#EXTM3U\n#EXTINF:4,\n1.ts\n".repeat(100).into_bytes();
        for (name, body) in [
            ("gzip", gzip(&text)),
            ("X-GZip", gzip(&text)),
            ("deflate", zlib(&text)),
            ("deflate", raw(&text)),
            ("br", brotli(&text)),
            ("zstd", zstd(&text)),
            ("zstd", [zstd(&text[..100]), zstd(&text[100..])].concat()),
            ("zstd", [skipped(300), zstd(&text[..100]), skipped(0), zstd(&text[100..]), skipped(9)].concat()),
            ("gzip", [gzip(&text[..100]), gzip(&text[100..])].concat()),
            ("gzip", [gzip(&text[..100]), gzip(b""), gzip(&text[100..]), vec![0; 700]].concat()),
            ("deflate, gzip", gzip(&zlib(&text))),
            (" identity , Gzip,", gzip(&text)),
            ("Identity", text.clone()),
            ("", text.clone()),
        ] {
            assert_eq!(undo(name, body.clone(), MAX_DECODED_BYTES).unwrap(), text, "{name}");
            let names = encodings([name].into_iter());
            assert!(are_decodable(&names), "{name}");
            // The first bytes of the outermost encoding in a chain may decode to nothing yet.
            let end = if names.len() == 1 && name != "zstd" { body.len() - 1 } else { body.len() };
            assert!(
                names.is_empty() || decoded_start(&names, &body[..end], MAX_DECODED_BYTES).starts_with(b"#EXTM3U"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_broken_or_unknown_encoding_is_refused() {
        let text = b"#EXTM3U\n1.ts\n";
        for (name, body) in [
            ("gzip", text.to_vec()),
            ("br", text.to_vec()),
            ("zstd", text.to_vec()),
            ("zstd", [skipped(8), text.to_vec()].concat()),
            ("zstd", skipped(8)[..12].to_vec()),
            ("gzip", [gzip(text), vec![0, 0, 1]].concat()),
            ("compress", text.to_vec()),
            ("gzip", Vec::new()),
            ("gzip, gzip, gzip, gzip", gzip(&gzip(&gzip(&gzip(text))))),
        ] {
            assert_eq!(undo(name, body, MAX_DECODED_BYTES), Err(UnfitManifest::Encoding), "{name}");
        }
        for name in ["compress", "gzip, compress", "gzip, gzip, gzip, gzip"] {
            assert!(!are_decodable(&encodings([name].into_iter())), "{name}");
        }
        for (name, whole) in [("gzip", gzip(text)), ("deflate", zlib(text)), ("br", brotli(text)), ("zstd", zstd(text))]
        {
            for end in 1..whole.len() {
                let cut = undo(name, whole[..end].to_vec(), MAX_DECODED_BYTES);
                // Not every decoder verifies the checks at the end.
                assert!(
                    cut == Err(UnfitManifest::Encoding) || cut == Ok(Bytes::from_static(text)),
                    "{name} {end}: {cut:?}"
                );
            }
        }
    }

    #[test]
    fn the_decoded_size_is_bounded() {
        let bomb = vec![b'#'; 64 * 1024 * 1024];
        for (name, body) in [("gzip", gzip(&bomb)), ("deflate", zlib(&bomb)), ("zstd", zstd(&bomb))] {
            assert!(body.len() < 128 * 1024, "{name}: {}", body.len());
            assert_eq!(undo(name, body, MAX_DECODED_BYTES), Err(UnfitManifest::Large), "{name}");
        }
        assert_eq!(undo("gzip, gzip", gzip(&gzip(&bomb)), MAX_DECODED_BYTES), Err(UnfitManifest::Large));
        let fits = vec![b'#'; MAX_DECODED_BYTES];
        assert_eq!(undo("gzip", gzip(&fits), MAX_DECODED_BYTES).unwrap().len(), MAX_DECODED_BYTES);
        let empty = zstd(b"").repeat(513);
        assert_eq!(undo("zstd", empty, MAX_DECODED_BYTES), Err(UnfitManifest::Encoding), "frames without an end");
    }
}
