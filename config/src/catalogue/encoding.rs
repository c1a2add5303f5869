//! Encodings of catalogue files: UTF-8, with or without a byte-order mark.

use crate::{Code, Fault};

/// The text of a file, without its byte-order mark.
///
/// # Errors
/// A text in another encoding, with the place of the first byte that is none of UTF-8.
pub fn text_of(bytes: &[u8]) -> Result<&str, Fault> {
    let refused = |message: String, place: (u32, u32)| {
        let mut fault = Fault::new(Code::InvalidSyntax, "", message);
        (fault.line, fault.column) = (Some(place.0), Some(place.1));
        fault
    };
    let has_mark = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    if has_mark || bytes.iter().take(4).filter(|byte| **byte == 0).count() > 1 {
        let message = "the file is text in UTF-16 or UTF-32: save it in UTF-8".to_owned();
        return Err(refused(message, (1, 1)));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let byte = bytes.get(before.len()).copied().unwrap_or_default();
        let message = format!("the byte {byte:#04x} is not UTF-8: save the file in UTF-8");
        refused(message, place_at(before))
    })
}

/// Line and column behind some bytes of UTF-8.
fn place_at(before: &[u8]) -> (u32, u32) {
    let lines = before.iter().filter(|byte| **byte == b'\n').count();
    let last = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let characters = last.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    let narrow = |count: usize| u32::try_from(count + 1).unwrap_or(u32::MAX);
    (narrow(lines), narrow(characters))
}
