//! Recognition of files that are not CSV in UTF-8 separated by commas.
//!
//! Spreadsheet programs save "CSV" in many ways. A message that names the format and the way to save
//! it helps more than the first fault that a reader meets in it.

use super::CsvFault;

/// The byte-order mark of UTF-8.
pub(super) const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// First bytes of other formats. The longer mark stands before the shorter one it begins with.
const FORMATS: &[(&[u8], &str)] = &[
    (b"\xff\xfe\0\0", "text in UTF-32"),
    (b"\0\0\xfe\xff", "text in UTF-32"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
    (b"PK\x03\x04", "a spreadsheet (.xlsx, .ods) or another ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet (.xls)"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"PAR1", "a Parquet file"),
    (b"%PDF", "a PDF"),
    (b"SQLite format 3", "a SQLite database"),
];

const SAVE: &str = "save it as CSV in UTF-8, separated by commas";

/// Refuses a text whose first bytes show another format, encoding or separator.
pub(super) fn refuse_other_formats(head: &[u8]) -> Result<(), CsvFault> {
    let refused = |message: String| Err(CsvFault::at((1, 1), message).last());
    if let Some((_, name)) = FORMATS.iter().find(|(mark, _)| head.starts_with(mark)) {
        return refused(format!("the file is {name}: {SAVE}"));
    }
    let start = &head[..head.len().min(64)];
    let zeros = start.iter().filter(|byte| **byte == 0).count();
    if zeros > 0 && zeros * 3 >= start.len() {
        return refused(format!("the file is text in UTF-16: {SAVE}"));
    }
    let text = head.strip_prefix(UTF8_MARK).unwrap_or(head);
    let line = first_line(text);
    let lower = line.to_ascii_lowercase();
    if lower.starts_with(b"<!doctype") || lower.starts_with(b"<html") || lower.starts_with(b"<?xml")
    {
        return refused(format!("the file is a page of HTML or XML: {SAVE}"));
    }
    if line.starts_with(b"{\"") || line == b"{" || line == b"[" || line.starts_with(b"[{") {
        return refused(format!("the file is JSON: {SAVE}"));
    }
    if lower.starts_with(b"sep=") {
        let message = "the first line is the `sep=` of a spreadsheet program: remove the line; \
                       cells are separated by commas";
        return refused(message.to_owned());
    }
    match other_separator(line) {
        Some(name) => refused(format!("the file is separated by {name}: {SAVE}")),
        None => Ok(()),
    }
}

/// The first line that is not empty, up to a line end outside quotes, without blanks around it.
fn first_line(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_start();
    let mut is_quoted = false;
    let end = text.iter().position(|byte| {
        is_quoted ^= *byte == b'"';
        !is_quoted && matches!(byte, b'\n' | b'\r')
    });
    // Tabs at the end are separators of empty cells: only other blanks are no text.
    let line = &text[..end.unwrap_or(text.len())];
    line.strip_suffix(b" ").unwrap_or(line)
}

/// The separator of a header that holds no comma.
fn other_separator(line: &[u8]) -> Option<&'static str> {
    let (mut semicolons, mut tabs, mut bars) = (0, 0, 0);
    let mut is_quoted = false;
    for byte in line {
        match byte {
            b'"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            b',' => return None,
            b';' => semicolons += 1,
            b'\t' => tabs += 1,
            b'|' => bars += 1,
            _ => {}
        }
    }
    let counts = [(semicolons, "semicolons"), (tabs, "tabs"), (bars, "vertical bars (`|`)")];
    let most = counts.into_iter().max_by_key(|(count, _)| *count);
    most.filter(|(count, _)| *count > 0).map(|(_, name)| name)
}
