//! Bodies that are longer than memory allows, between async HTTP and blocking readers and writers.
//!
//! A few buffers are in memory at a time: whoever is faster waits.

use std::io::{self, Read, Write};

use axum::body::{Body, Bytes};
use tokio::sync::mpsc;

/// Buffers between the two sides.
const BUFFERS: usize = 4;
/// Bytes of a buffer that is sent.
const BUFFER_BYTES: usize = 64 << 10;

/// A channel from a body that comes in to a blocking reader.
pub(crate) fn reader() -> (mpsc::Sender<Bytes>, BodyReader) {
    let (sender, receiver) = mpsc::channel(BUFFERS);
    (sender, BodyReader { receiver, current: Bytes::new() })
}

/// Reads, on a blocking thread, what the sender is given; its end is the sender's.
pub(crate) struct BodyReader {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(bytes) => self.current = bytes,
                None => return Ok(0),
            }
        }
        let length = self.current.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}

/// A body that consists of what is written, on a blocking thread, to the writer. The body ends well
/// only once [`BodyWriter::end`] was called with `Ok`: a client never takes a part for the whole.
pub(crate) fn writer() -> (BodyWriter, Body) {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(BUFFERS);
    let next = |mut receiver: mpsc::Receiver<io::Result<Bytes>>| async move {
        receiver.recv().await.map(|item| (item, receiver))
    };
    let stream = futures::stream::unfold(receiver, next);
    let buffer = Vec::with_capacity(BUFFER_BYTES);
    (BodyWriter { sender, buffer, ended: false }, Body::from_stream(stream))
}

/// The writing side of a body.
pub(crate) struct BodyWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    ended: bool,
}

impl BodyWriter {
    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::replace(&mut self.buffer, Vec::with_capacity(BUFFER_BYTES));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone");
        self.sender.blocking_send(Ok(bytes.into())).map_err(gone)
    }

    /// Ends the body, well or not.
    pub(crate) fn end(mut self, result: io::Result<()>) {
        self.ended = true;
        if let Err(error) = result.and_then(|()| self.send()) {
            tracing::warn!(%error, "a body was cut off");
            // A client that has gone needs no end.
            drop(self.sender.blocking_send(Err(error)));
        }
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        if !self.ended {
            // Whoever wrote has panicked.
            let error = io::Error::other("the body was not finished");
            drop(self.sender.try_send(Err(error)));
        }
    }
}

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(BUFFER_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..length]);
        if self.buffer.len() == BUFFER_BYTES {
            self.send()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn what_is_written_comes_whole_and_an_end_that_is_none_is_an_error() {
        let content: Vec<u8> = (0..1_000_000u32).map(|number| (number % 251) as u8).collect();
        for whole in [true, false] {
            let (mut writer, body) = writer();
            let sent = content.clone();
            let writing = tokio::task::spawn_blocking(move || {
                writer.write_all(&sent).unwrap();
                if whole {
                    writer.end(Ok(()));
                } else {
                    writer.end(Err(io::Error::other("no more")));
                }
            });
            let collected = body.collect().await;
            writing.await.unwrap();
            match collected {
                Ok(collected) => assert!(whole && collected.to_bytes() == content),
                Err(_) => assert!(!whole),
            }
        }
    }

    #[tokio::test]
    async fn what_is_sent_is_read_in_order() {
        let (sender, mut reader) = reader();
        let reading = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        for part in ["ab", "", "c", "def"] {
            sender.send(Bytes::from_static(part.as_bytes())).await.unwrap();
        }
        drop(sender);
        assert_eq!(reading.await.unwrap().unwrap(), "abcdef");
    }
}
