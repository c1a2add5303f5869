//! How long a client may take to send the head of a request.
//!
//! hyper has one timeout for that and for the time between two requests. Those are two things: a
//! client that sends byte by byte is to go after seconds, and one with a pool of connections, or a
//! load balancer, is to find them open after a quiet minute. So hyper's timeout bounds idleness, and
//! this stream, below it, the time from the first byte of a head until its request begins.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How every HTTP/2 connection begins; between its requests other frames come, and it has pings.
const HTTP2_PREFACE: &[u8] = b"PRI ";

/// The requests of one connection.
#[derive(Debug, Default)]
pub struct Requests {
    begun: AtomicUsize,
    running: AtomicUsize,
}

/// A request that runs.
pub struct Running(Arc<Requests>);

impl Requests {
    /// A request begins: its head has come.
    pub fn begin(self: &Arc<Self>) -> Running {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that ends where a head is not whole in time.
pub struct HeadTimeout<S> {
    stream: S,
    requests: Arc<Requests>,
    within: Duration,
    /// When the head has to be whole, and how many requests had begun before it.
    deadline: Option<(usize, Pin<Box<Sleep>>)>,
    /// Whether anything was read yet.
    fresh: bool,
    http2: bool,
}

impl<S> HeadTimeout<S> {
    /// A stream whose first head has to come within the time from now.
    pub fn new(stream: S, requests: Arc<Requests>, within: Duration) -> Self {
        let deadline = Some((0, Box::pin(tokio::time::sleep(within))));
        Self { stream, requests, within, deadline, fresh: true, http2: false }
    }

    /// Notes what was read, and whether the head is late.
    fn is_late(&mut self, context: &mut Context<'_>, read: &[u8]) -> bool {
        let begun = self.requests.begun.load(Ordering::Relaxed);
        if self.deadline.as_ref().is_some_and(|(before, _)| *before != begun) {
            self.deadline = None;
        }
        if !read.is_empty() {
            if std::mem::take(&mut self.fresh) {
                self.http2 = read.starts_with(HTTP2_PREFACE);
            }
            let between = self.requests.running.load(Ordering::Relaxed) == 0;
            if between && self.deadline.is_none() && !self.http2 {
                self.deadline = Some((begun, Box::pin(tokio::time::sleep(self.within))));
            }
        }
        let deadline = self.deadline.as_mut();
        deadline.is_some_and(|(_, sleep)| sleep.as_mut().poll(context).is_ready())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadTimeout<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        let read = buffer.filled().get(before..).unwrap_or_default();
        if this.is_late(context, read) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadTimeout<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, buffer)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(5);
    const MINUTE: Duration = Duration::from_secs(60);

    fn connection() -> (DuplexStream, HeadTimeout<DuplexStream>, Arc<Requests>) {
        let (client, server) = duplex(64);
        let requests = Arc::new(Requests::default());
        (client, HeadTimeout::new(server, Arc::clone(&requests), WITHIN), requests)
    }

    /// Reads for at most a minute; the bytes, or that it was ended; none: it waits.
    async fn read(
        stream: &mut HeadTimeout<DuplexStream>,
    ) -> Option<Result<Vec<u8>, io::ErrorKind>> {
        let mut bytes = [0; 64];
        let read = tokio::time::timeout(MINUTE, stream.read(&mut bytes)).await.ok()?;
        Some(read.map(|count| bytes[..count].to_vec()).map_err(|error| error.kind()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_late_and_idleness_is_not() {
        let (_silent, mut stream, _) = connection();
        assert_eq!(read(&mut stream).await, Some(Err(io::ErrorKind::TimedOut)));

        let (mut client, mut stream, requests) = connection();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
        assert!(matches!(read(&mut stream).await, Some(Ok(_))));
        let running = requests.begin();
        assert_eq!(read(&mut stream).await, None, "while a request runs");
        client.write_all(b"its body").await.expect("sent");
        assert!(matches!(read(&mut stream).await, Some(Ok(_))));
        drop(running);
        assert_eq!(read(&mut stream).await, None, "between two requests");
        client.write_all(b"GET").await.expect("sent");
        assert!(matches!(read(&mut stream).await, Some(Ok(_))));
        client.write_all(b" /").await.expect("sent");
        assert!(matches!(read(&mut stream).await, Some(Ok(_))));
        assert_eq!(read(&mut stream).await, Some(Err(io::ErrorKind::TimedOut)), "a slow head");
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_is_watched_until_its_first_request() {
        let (mut client, mut stream, requests) = connection();
        client.write_all(b"PRI * HTTP/2.0\r\n").await.expect("sent");
        assert!(matches!(read(&mut stream).await, Some(Ok(_))));
        drop(requests.begin());
        client.write_all(b"a ping").await.expect("sent");
        assert!(matches!(read(&mut stream).await, Some(Ok(_))));
        assert_eq!(read(&mut stream).await, None);

        let (mut client, mut stream, _) = connection();
        client.write_all(b"PRI * HTTP/2.0\r\n").await.expect("sent");
        assert!(matches!(read(&mut stream).await, Some(Ok(_))));
        assert_eq!(read(&mut stream).await, Some(Err(io::ErrorKind::TimedOut)));
    }
}
