//! Synthetic license messages, built from the notation of `tests/vectors/drm/README.md`.
//!
//! [`vectors`] rebuilds every vector file. The builders below make messages of the same shapes with chosen identifiers,
//! for tests with many devices, contents or key sessions. No data comes from a real device: the filler is a hash of a
//! counter.

#![allow(dead_code, reason = "each test uses its own part")]

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

pub(crate) const RID: &[u8] = b"00112233445566778899AABBCCDDEEFF";
pub(crate) const RID16: &[u8] = &0xa0a1_a2a3_a4a5_a6a7_a8a9_aaab_acad_aeaf_u128.to_be_bytes();
pub(crate) const SID8: &[u8] = &0x5e55_105e_5510_5e55_u64.to_be_bytes();
pub(crate) const SID16: &[u8] = &0x5e55_1000_5e55_1000_5e55_1000_5e55_1000_u128.to_be_bytes();
pub(crate) const KID: [u8; 16] = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes();
pub(crate) const KID2: [u8; 16] = 0xfbef_befb_efbe_fbef_befb_efbe_fbef_befb_u128.to_be_bytes();
/// Unix seconds at which all vectors were made.
pub(crate) const T: u64 = 1_700_000_000;

// === The notation ===

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A protobuf field with a number in it.
pub(crate) fn v(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

/// A protobuf field with bytes in it.
pub(crate) fn l(field: u64, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&varint(field << 3 | 2), &varint(bytes.len() as u64), bytes].concat()
}

pub(crate) fn fill(length: usize, seed: &str) -> Vec<u8> {
    let blocks = (0u32..).flat_map(|counter| {
        let input = [b"synthetic:", seed.as_bytes(), &counter.to_be_bytes()].concat();
        digest(&SHA256, &input).as_ref().to_vec()
    });
    blocks.take(length).collect()
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn b64u(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn utf16le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn le(kid: [u8; 16]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q] = kid;
    [d, c, b, a, f, e, h, g, i, j, k, m, n, o, p, q]
}

// === Widevine ===

/// The license that a renewal or a release is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WidevineId<'a> {
    pub(crate) offline: bool,
    pub(crate) request_id: &'a [u8],
    pub(crate) session_id: &'a [u8],
    pub(crate) version: u64,
}

impl WidevineId<'_> {
    fn encode(&self, extra: &[u8]) -> Vec<u8> {
        let kind = if self.offline { 2 } else { 1 };
        [
            l(1, self.request_id),
            l(2, self.session_id),
            extra.to_vec(),
            v(4, kind),
            v(5, self.version),
            v(7, 0),
            v(8, 0),
            v(9, T),
        ]
        .concat()
    }
}

/// `License.policy`, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WidevinePolicy {
    pub(crate) can_renew: bool,
    pub(crate) duration: u64,
    pub(crate) recovery: u64,
    pub(crate) renewal_delay: u64,
    pub(crate) renewal_url: &'static str,
    pub(crate) retry: u64,
}

pub(crate) const POLICY: WidevinePolicy =
    WidevinePolicy { can_renew: true, duration: 120, recovery: 60, renewal_delay: 60, renewal_url: "", retry: 10 };

impl WidevinePolicy {
    fn encode(&self) -> Vec<u8> {
        [
            v(1, 1),
            v(2, 0),
            v(3, self.can_renew.into()),
            v(6, self.duration),
            v(7, self.recovery),
            l(8, self.renewal_url),
            v(9, self.renewal_delay),
            v(10, self.retry),
        ]
        .concat()
    }
}

fn client_id() -> Vec<u8> {
    let info = |key: &str, value: &str| l(3, [l(1, key), l(2, value)].concat());
    [
        v(1, 1),
        l(2, fill(1200, "token")),
        info("company_name", "Example"),
        info("model_name", "SyntheticTV"),
        info("architecture_name", "none"),
        info("widevine_cdm_version", "0.0.0-test"),
        l(6, v(5, 16)),
    ]
    .concat()
}

fn encrypted_client_id() -> Vec<u8> {
    [l(1, "example.test"), l(2, fill(16, "sn")), l(3, fill(2048, "encid")), l(4, fill(16, "iv")), l(5, fill(256, "pk"))]
        .concat()
}

fn mac() -> Vec<u8> {
    l(3, fill(32, "mac"))
}

/// WidevinePsshData
pub(crate) fn widevine_pssh(content_id: &[u8], kids: &[[u8; 16]]) -> Vec<u8> {
    let kids: Vec<u8> = kids.iter().flat_map(|kid| l(2, kid)).collect();
    [kids, l(4, content_id), v(9, 0x6365_6E63)].concat()
}

/// LicenseRequest.content_id, pssh variant; license type 1 streaming, 2 offline.
pub(crate) fn widevine_content(pssh: &[u8], license_type: u64, request_id: &[u8]) -> Vec<u8> {
    l(1, [l(1, pssh), v(2, license_type), l(3, request_id)].concat())
}

/// A new license request with a clear client id, 1.7 KB.
pub(crate) fn widevine_new(request_id: &[u8], content_id: &[u8], kids: &[[u8; 16]]) -> Vec<u8> {
    widevine_new_of(&widevine_content(&widevine_pssh(content_id, kids), 1, request_id))
}

/// A new license request for any content id.
pub(crate) fn widevine_new_of(content: &[u8]) -> Vec<u8> {
    let request = [l(1, client_id()), l(2, content), v(3, 1), v(4, T), v(6, 21), v(7, 0x0102_0304)].concat();
    [v(1, 1), l(2, request), l(3, fill(256, "rsa"))].concat()
}

/// A renewal as desktop CDMs write it, without a type; `elapsed` seconds after the license began.
pub(crate) fn widevine_renewal(id: &WidevineId<'_>, elapsed: u64) -> Vec<u8> {
    let existing = [l(1, id.encode(b"")), v(2, elapsed), v(3, 0)].concat();
    let request = [l(2, l(3, existing)), v(3, 2), v(4, T + elapsed), v(6, 21)].concat();
    [l(2, request), mac()].concat()
}

pub(crate) fn widevine_release(id: &WidevineId<'_>, elapsed: u64) -> Vec<u8> {
    let existing = [l(1, id.encode(b"")), v(2, elapsed), v(3, 0)].concat();
    let request = [l(2, l(3, existing)), v(3, 3), v(4, T + elapsed), v(6, 21)].concat();
    [v(1, 1), l(2, request), mac()].concat()
}

/// A license, first or renewed by its id's version, with one key.
pub(crate) fn widevine_license(id: &WidevineId<'_>, policy: &WidevinePolicy, kid: [u8; 16]) -> Vec<u8> {
    let sign = [l(2, fill(16, "siv")), l(3, fill(80, "senc")), v(4, 1)].concat();
    let key = [l(1, kid), l(2, fill(16, "kiv")), l(3, fill(32, "kenc")), v(4, 2), v(5, 1)].concat();
    let license = [l(1, id.encode(b"")), l(2, policy.encode()), l(3, sign), l(3, key), v(4, T)].concat();
    [v(1, 2), l(2, license), mac(), l(4, fill(256, "sk"))].concat()
}

pub(crate) fn widevine_error(code: u64) -> Vec<u8> {
    [v(1, 3), l(2, v(1, code))].concat()
}

fn renewal_typed(nonce: u64, extra: &[u8]) -> Vec<u8> {
    let id = WidevineId { offline: false, request_id: RID, session_id: SID8, version: 0 };
    let existing = [l(1, id.encode(b"")), v(2, 30), v(3, 0)].concat();
    let request = [l(2, l(3, existing)), v(3, 2), v(4, T + 30), v(6, 21), v(7, nonce), extra.to_vec()].concat();
    [v(1, 1), l(2, request), mac()].concat()
}

// === PlayReady ===

pub(crate) const PROTOCOLS: &str = "http://schemas.microsoft.com/DRM/2007/03/protocols";
const HEADER: &str = "http://schemas.microsoft.com/DRM/2007/03/PlayReadyHeader";

/// Any operation in its SOAP envelope.
pub(crate) fn soap(body: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>{body}</soap:Body></soap:Envelope>"#
    )
}

fn signature() -> String {
    let value = b64(fill(64, "pr-sig"));
    format!(
        r#"<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"><SignatureValue>{value}</SignatureValue></Signature>"#
    )
}

/// WRMHEADER 4.0: one KID.
pub(crate) fn playready_header_40(kid: [u8; 16]) -> String {
    let kid = b64(le(kid));
    format!(
        r#"<WRMHEADER xmlns="{HEADER}" version="4.0.0.0"><DATA><PROTECTINFO><KEYLEN>16</KEYLEN><ALGID>AESCTR</ALGID></PROTECTINFO><KID>{kid}</KID></DATA></WRMHEADER>"#
    )
}

/// WRMHEADER 4.3: any number of KIDs.
pub(crate) fn playready_header_43(kids: &[[u8; 16]]) -> String {
    let kids: String =
        kids.iter().map(|kid| format!(r#"<KID ALGID="AESCBC" VALUE="{}"></KID>"#, b64(le(*kid)))).collect();
    format!(
        r#"<WRMHEADER xmlns="{HEADER}" version="4.3.0.0"><DATA><PROTECTINFO><KIDS>{kids}</KIDS></PROTECTINFO><LA_URL>https://license.example.test/pr</LA_URL></DATA></WRMHEADER>"#
    )
}

/// AcquireLicense; `custom` is CustomData already escaped.
pub(crate) fn playready_challenge(header: &str, custom: Option<&str>, nonce: &[u8]) -> String {
    let list = b64(fill(16, "pr-list"));
    let custom = custom.map(|custom| format!("<CustomData>{custom}</CustomData>")).unwrap_or_default();
    let (nonce, encrypted, signature) = (b64(nonce), b64(fill(960, "pr-enc")), signature());
    soap(&format!(
        r#"<AcquireLicense xmlns="{PROTOCOLS}"><challenge><Challenge xmlns="{PROTOCOLS}/messages"><LA xmlns="{PROTOCOLS}" Id="SignedData" xml:space="preserve"><Version>1</Version><ContentHeader>{header}</ContentHeader><CLIENTINFO><CLIENTVERSION>0.0.0.1</CLIENTVERSION></CLIENTINFO><RevocationLists><RevListInfo><ListID>{list}</ListID><Version>0</Version></RevListInfo></RevocationLists>{custom}<LicenseNonce>{nonce}</LicenseNonce><ClientTime>1700000000</ClientTime><EncryptedData xmlns="http://www.w3.org/2001/04/xmlenc#" Type="http://www.w3.org/2001/04/xmlenc#Element"><CipherData><CipherValue>{encrypted}</CipherValue></CipherData></EncryptedData></LA>{signature}</Challenge></challenge></AcquireLicense>"#
    ))
}

/// An XMR license; 0 and `u32::MAX` mean no limit.
pub(crate) fn playready_xmr(kid: [u8; 16], begin: u32, end: u32, issued: u32) -> Vec<u8> {
    let object = |flags: u16, kind: u16, body: Vec<u8>| {
        let length = 8 + body.len() as u32;
        [&flags.to_be_bytes()[..], &kind.to_be_bytes(), &length.to_be_bytes(), &body].concat()
    };
    let expiration = object(1, 0x12, [begin.to_be_bytes(), end.to_be_bytes()].concat());
    let dates = object(3, 0x02, [expiration, object(0, 0x13, issued.to_be_bytes().to_vec())].concat());
    let key = object(3, 0x09, object(1, 0x0a, [&le(kid)[..], &fill(32, "xmr-key")].concat()));
    let whole = object(3, 0x01, [dates, key, object(1, 0x0b, fill(20, "xmr-sig"))].concat());
    [b"XMR\0", &3u32.to_be_bytes()[..], &fill(16, "xmr-rid"), &whole].concat()
}

/// AcquireLicenseResponse with one XMR license.
pub(crate) fn playready_response(xmr: &[u8], transaction: Option<&str>, nonce: &[u8]) -> String {
    let acknowledgement = transaction
        .map(|id| format!("<Acknowledgement><TransactionID>{id}</TransactionID></Acknowledgement>"))
        .unwrap_or_default();
    let (license, nonce, response, signature) = (b64(xmr), b64(nonce), b64(fill(32, "pr-rsp")), signature());
    soap(&format!(
        r#"<AcquireLicenseResponse xmlns="{PROTOCOLS}"><AcquireLicenseResult><Response xmlns="{PROTOCOLS}/messages"><LicenseResponse xmlns="{PROTOCOLS}" Id="SignedData"><Version>1</Version><Licenses><License>{license}</License></Licenses>{acknowledgement}<LicenseNonce>{nonce}</LicenseNonce><ResponseID>{response}</ResponseID></LicenseResponse>{signature}</Response></AcquireLicenseResult></AcquireLicenseResponse>"#
    ))
}

pub(crate) fn playready_acknowledge(transaction: &str) -> String {
    soap(&format!(
        r#"<AcknowledgeLicense xmlns="{PROTOCOLS}"><challenge><Challenge xmlns="{PROTOCOLS}/messages"><LicenseAck><TransactionID>{transaction}</TransactionID></LicenseAck></Challenge></challenge></AcknowledgeLicense>"#
    ))
}

pub(crate) fn playready_fault() -> &'static str {
    r#"<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"><soap:Body><soap:Fault><faultcode>soap:Server</faultcode><faultstring>Service Specific Error</faultstring><faultactor></faultactor><detail><Exception><StatusCode>0x8004c604</StatusCode><CustomData>E_SESSION_LIMIT</CustomData><Message>[session limit]</Message></Exception></detail></soap:Fault></soap:Body></soap:Envelope>"#
}

/// The CDM's envelope around a challenge, as text.
pub(crate) fn playready_key_message(challenge: &str) -> String {
    let challenge = b64(challenge);
    format!(
        r#"<PlayReadyKeyMessage type="LicenseAcquisition"><LicenseAcquisition Version="1"><Challenge encoding="base64encoded">{challenge}</Challenge><HttpHeaders><HttpHeader><name>Content-Type</name><value>text/xml; charset=utf-8</value></HttpHeader><HttpHeader><name>SOAPAction</name><value>"{PROTOCOLS}/AcquireLicense"</value></HttpHeader></HttpHeaders></LicenseAcquisition></PlayReadyKeyMessage>"#
    )
}

// === FairPlay ===

/// An SPC of version 1; `seed` varies what a real one would encrypt.
pub(crate) fn fairplay_spc(seed: &str) -> Vec<u8> {
    let head = [&[0, 0, 0, 1, 0, 0, 0, 0][..], &fill(16, "iv"), &fill(128, "wk"), &fill(20, "ch")].concat();
    [head, 2688u32.to_be_bytes().to_vec(), fill(2688, seed)].concat()
}

pub(crate) fn fairplay_ckc(seed: &str) -> Vec<u8> {
    [&[0, 0, 0, 1, 0, 0, 0, 0][..], &fill(16, "iv"), &512u32.to_be_bytes(), &fill(512, seed)].concat()
}

// === ClearKey ===

/// `kind` is `temporary` or `persistent-license`; without one it is a release.
pub(crate) fn clearkey_request(kids: &[[u8; 16]], kind: Option<&str>) -> String {
    let kids: Vec<String> = kids.iter().map(|kid| format!("\"{}\"", b64u(kid))).collect();
    let kind = kind.map(|kind| format!(",\"type\":\"{kind}\"")).unwrap_or_default();
    format!("{{\"kids\":[{}]{kind}}}", kids.join(","))
}

/// A license with a filler key.
pub(crate) fn clearkey_license(kid: [u8; 16], key: &[u8]) -> String {
    let (key, kid) = (b64u(key), b64u(kid));
    format!(r#"{{"keys":[{{"kty":"oct","k":"{key}","kid":"{kid}"}}],"type":"temporary"}}"#)
}

// === The vectors ===

/// Every vector whose recipe is public, by file name.
pub(crate) fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    let nonce = fill(16, "pr-nonce");
    let v40 = playready_challenge(&playready_header_40(KID), Some("token=synthetic"), &nonce);
    let xmr = |end| playready_xmr(KID, 0, end, T as u32);
    let widevine = widevine_vectors().into_iter();
    widevine
        .chain([
            ("pr_challenge_v40_utf16le.bin", [&[0xff, 0xfe], &utf16le(&v40)[..]].concat()),
            ("pr_keymessage_utf16le.bin", utf16le(&playready_key_message(&v40))),
            ("pr_challenge_v40.xml", v40.into_bytes()),
            (
                "pr_challenge_v43.xml",
                playready_challenge(&playready_header_43(&[KID, KID2]), None, &nonce).into_bytes(),
            ),
            ("pr_fault_session_limit.xml", playready_fault().into()),
            (
                "pr_response_lease60.xml",
                playready_response(&xmr(T as u32 + 60), Some("00112233-4455-6677-8899-aabbccddeeff"), &nonce).into(),
            ),
            ("pr_response_unlimited.xml", playready_response(&xmr(u32::MAX), None, &nonce).into()),
            ("pr_xmr_lease60.bin", xmr(T as u32 + 60)),
            ("fps_spc_v1.bin", fairplay_spc("pl")),
            (
                "fps_spc_other.bin",
                [&[0, 0, 0, 2, 0, 0, 0, 0][..], &fill(232, "other"), &1024u32.to_be_bytes(), &fill(1024, "pl")]
                    .concat(),
            ),
            ("fps_ckc_v1.bin", fairplay_ckc("ckc")),
            ("fps_release_plist.bin", [b"bplist00", &fill(120, "plist")[..]].concat()),
            ("ck_request.json", clearkey_request(&[KID, KID2], Some("temporary")).into()),
            ("ck_license.json", clearkey_license(KID, &fill(16, "ck-key")).into()),
            ("ck_release.json", clearkey_request(&[KID], None).into()),
            (
                "ck_request_std_alphabet.json",
                format!(r#"{{"kids":["{}w=="],"type":"temporary"}}"#, "+".repeat(21)).into(),
            ),
        ])
        .collect()
}

fn widevine_vectors() -> Vec<(&'static str, Vec<u8>)> {
    let id = |version| WidevineId { offline: false, request_id: RID, session_id: SID8, version };
    // The token stands after the version on the wire, so it cannot be the encoder's `extra`.
    let id_p = |version: u64| {
        let head = [l(1, RID), l(2, SID8), v(4, 1), v(5, version), l(6, "pst-0001")].concat();
        [head, v(7, 0), v(8, 0), v(9, T)].concat()
    };
    let id16 = WidevineId { offline: false, request_id: RID16, session_id: SID16, version: 0 }.encode(&l(3, ""));
    let content = |rid| widevine_content(&widevine_pssh(b"content-42", &[KID]), 1, rid);
    let privacy =
        [l(2, content(RID16)), v(3, 1), v(4, T), v(6, 22), v(7, 0x0102_0304), l(8, encrypted_client_id())].concat();
    let untyped = [l(2, l(3, [l(1, id16), v(2, 59), v(3, 0)].concat())), v(3, 2), v(4, T + 60), v(6, 21)].concat();
    let released = [l(1, id_p(1)), v(2, 90), v(3, 0), l(4, fill(96, "usage"))].concat();
    let release = [l(2, l(3, released)), v(3, 3), v(4, T + 90), v(6, 21), v(7, 0x090a_0b0c)].concat();
    let box_key = l(3, [v(4, 3), l(8, l(1, fill(16, "kcb")))].concat());
    let renewed = [l(1, id(1).encode(b"")), l(2, POLICY.encode()), box_key, v(4, T)].concat();
    let done = [l(1, id_p(2)), l(2, [v(1, 0), v(2, 0), v(3, 0)].concat()), v(4, T)].concat();
    let certificate = [v(1, 3), l(2, fill(16, "sn")), v(3, T), l(4, fill(270, "pub")), l(7, "example.test")].concat();
    vec![
        ("wv_service_cert_request.bin", v(1, 4)),
        ("wv_new_clientid.bin", widevine_new(RID, b"content-42", &[KID])),
        ("wv_new_privacy.bin", [v(1, 1), l(2, privacy), l(3, fill(256, "rsa"))].concat()),
        ("wv_renewal_typed.bin", renewal_typed(0x0506_0708, b"")),
        ("wv_renewal_untyped.bin", [l(2, untyped), mac()].concat()),
        ("wv_renewal_with_encid.bin", renewal_typed(5, &l(8, encrypted_client_id()))),
        ("wv_release.bin", [v(1, 1), l(2, release), mac()].concat()),
        ("wv_license.bin", widevine_license(&id(0), &POLICY, KID)),
        ("wv_license_renewed.bin", [v(1, 2), l(2, renewed), mac()].concat()),
        ("wv_license_released.bin", [v(1, 2), l(2, done), mac()].concat()),
        ("wv_service_cert.bin", [v(1, 5), l(2, [l(1, certificate), l(2, fill(384, "root"))].concat())].concat()),
        (
            "wv_provisioning_request.bin",
            [l(1, [l(1, client_id()), l(2, fill(4, "nonce"))].concat()), l(2, fill(32, "mac"))].concat(),
        ),
        ("wv_error_invalid.bin", widevine_error(1)),
        ("wv_error_revoked.bin", widevine_error(2)),
        ("wv_error_unavailable.bin", widevine_error(3)),
        ("wv_error_expired.bin", widevine_error(4)),
    ]
}

// === Wrapped requests ===

/// Requests as apps and players wrap them, by the name of their vector file.
pub(crate) fn wrapped_vectors() -> Vec<(&'static str, Vec<u8>)> {
    let challenge = widevine_new(RID, b"content-42", &[KID]);
    let text = b64(&challenge);
    let numbers = |separator: &str| challenge.iter().map(u8::to_string).collect::<Vec<_>>().join(separator);
    let signed = challenge.iter().map(|byte| byte.cast_signed().to_string()).collect::<Vec<_>>().join(",");
    let hex: String = challenge.iter().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = challenge.iter().map(|byte| format!("%{byte:02X}")).collect();
    let counted: Vec<_> = challenge.iter().enumerate().map(|(index, byte)| format!("\"{index}\":{byte}")).collect();
    let narrow: String = challenge.iter().map(|byte| char::from(*byte)).collect();
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let part = |head: &str, value: &[u8]| {
        let head = format!("--frontier\r\nContent-Disposition: form-data; name=\"challenge\"\r\n{head}\r\n");
        [head.as_bytes(), value, b"\r\n--frontier--\r\n"].concat()
    };
    let soap_text =
        soap(&format!("<m:GetLicense xmlns:m=\"urn:drm\"><m:challenge>{text}</m:challenge></m:GetLicense>"));
    let playready = playready_challenge(&playready_header_40(KID), None, &fill(16, "pr-nonce"));
    let clearkey = clearkey_request(&[KID], Some("temporary"));
    let deep = json(&format!("{{\"inner\":{}}}", json(&format!("{{\"challenge\":\"{text}\"}}"))));
    let escaped = playready.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let form: String =
        playready.bytes().map(|byte| if byte == b' ' { "+".into() } else { format!("%{byte:02X}") }).collect();
    let lines: Vec<u8> = text.as_bytes().chunks(76).map(|line| [line, b"\r\n"].concat()).collect::<Vec<_>>().concat();
    vec![
        ("wrap_decimal.txt", numbers(",").into()),
        ("wrap_decimal_spaces.txt", numbers(" ").into()),
        ("wrap_decimal_form.txt", format!("token=t&challenge={}", numbers(",")).into()),
        ("wrap_json_array.json", format!("[{}]", numbers(",")).into()),
        ("wrap_json_array_signed.json", format!("{{\"challenge\":[{signed}]}}").into()),
        ("wrap_json_array_of_strings.json", format!("[\"{}\"]", numbers("\",\"")).into()),
        ("wrap_json_buffer.json", format!("{{\"type\":\"Buffer\",\"data\":[{}]}}", numbers(",")).into()),
        ("wrap_json_counted.json", format!("{{{}}}", counted.join(",")).into()),
        ("wrap_json_string.json", format!("\"{text}\"").into()),
        ("wrap_json_in_json.json", deep.clone().into()),
        (
            "wrap_json_in_json_in_form.txt",
            format!("q={}", deep.bytes().map(|b| format!("%{b:02x}")).collect::<String>()).into(),
        ),
        ("wrap_json_narrow.json", format!("{{\"c\":{}}}", json(&narrow)).into()),
        ("wrap_json_hex.json", format!("{{\"challenge\":\"{hex}\"}}").into()),
        ("wrap_json_url.json", format!("{{\"challenge\":\"{}\"}}", b64u(&challenge)).into()),
        ("wrap_json_data_url.json", format!("{{\"uri\":\"data:application/octet-stream;base64,{text}\"}}").into()),
        ("wrap_json_playready.json", format!("{{\"challenge\":{}}}", json(&playready)).into()),
        ("wrap_json_clearkey.json", format!("{{\"drm\":\"clearkey\",\"request\":{clearkey}}}").into()),
        ("wrap_json_clearkey_string.json", format!("{{\"request\":{}}}", json(&clearkey)).into()),
        ("wrap_json_unclosed.json", format!("{{\"challenge\":\"{text}").into()),
        ("wrap_hex.txt", hex.clone().into()),
        ("wrap_hex_upper.txt", hex.to_uppercase().into()),
        ("wrap_hex_escaped.txt", challenge.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>().into()),
        ("wrap_hex_list.txt", challenge.iter().map(|byte| format!("0x{byte:02x}, ")).collect::<String>().into()),
        ("wrap_hex_form.txt", format!("challenge={hex}&device=tv").into()),
        ("wrap_multipart.bin", part("Content-Type: application/octet-stream\r\n", &challenge)),
        ("wrap_multipart_base64.txt", part("Content-Transfer-Encoding: base64\r\n", &lines)),
        ("wrap_data_url.txt", format!("data:application/octet-stream;base64,{text}").into()),
        ("wrap_data_url_percent.txt", format!("data:application/octet-stream,{percent}").into()),
        ("wrap_percent.txt", percent.clone().into()),
        ("wrap_form_raw.txt", format!("a=1&challenge={percent}&b=2").into()),
        ("wrap_form_url.txt", format!("challenge={}", b64u(&challenge)).into()),
        ("wrap_form_playready.txt", format!("challenge={form}").into()),
        ("wrap_xml.xml", format!("<?xml version=\"1.0\"?><request><challenge>{text}</challenge></request>").into()),
        ("wrap_xml_attribute.xml", format!("<request challenge='{text}'/>").into()),
        ("wrap_xml_cdata.xml", format!("<request><![CDATA[{playready}]]></request>").into()),
        ("wrap_xml_escaped.xml", format!("<request><c>{escaped}</c></request>").into()),
        (
            "wrap_xml_playready.xml",
            format!("<request>{}</request>", playready.split("?>").nth(1).unwrap_or_default()).into(),
        ),
        ("wrap_soap.xml", soap_text.into()),
        ("wrap_base64_lines.txt", lines),
        ("wrap_base64_twice.txt", b64(&text).into()),
        ("wrap_base64_json.txt", b64(format!("{{\"challenge\":\"{text}\"}}")).into()),
        (
            "wrap_base64_junk.txt",
            text.as_bytes().chunks(64).map(|line| [line, b"* "].concat()).collect::<Vec<_>>().concat(),
        ),
        (
            "wrap_jws.txt",
            format!("{}.{}.c2ln", b64u("{\"alg\":\"none\"}"), b64u(format!("{{\"challenge\":\"{text}\"}}"))).into(),
        ),
    ]
}
