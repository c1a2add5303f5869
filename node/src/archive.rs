//! Folders as tar streams, file by file: never more than a buffer of one is in memory.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Appends bytes under a path, with the same header for the same length.
///
/// # Errors
/// The writer's.
pub(crate) fn append(
    tar: &mut tar::Builder<impl Write>,
    path: &str,
    size: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    // A file that became shorter meanwhile would shift everything behind it.
    let mut content = Counted { content: content.take(size), bytes: 0 };
    tar.append_data(&mut header, path, &mut content)?;
    if content.bytes != size {
        let text = format!("{path} has {} bytes where {size} were announced", content.bytes);
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    Ok(())
}

struct Counted<R> {
    content: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Appends a file of the disk.
///
/// # Errors
/// The disk's, or the writer's.
pub(crate) fn append_file(
    tar: &mut tar::Builder<impl Write>,
    path: &str,
    place: &Path,
) -> io::Result<()> {
    let file = File::open(place)?;
    let size = file.metadata()?.len();
    append(tar, path, size, file)
}

/// The files of an archive, one after the other, with their paths. What is no plain file is refused.
///
/// # Errors
/// A stream that is no tar stream, or what `each` says.
pub(crate) fn each_file<E: From<io::Error>>(
    archive: impl Read,
    mut each: impl FnMut(&str, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        if !kind.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "only plain files").into());
        }
        let path = entry.path()?.to_string_lossy().into_owned();
        each(path.trim_start_matches("./"), &mut entry)?;
    }
    Ok(())
}
