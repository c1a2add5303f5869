//! Connections: accepting, TLS, limits of time and number, and the drain.
//!
//! ```text
//! accept (permit) -> TLS handshake (bounded) -> head timeout -> hyper (idle timeout) -> Gateway::handle
//! stop: keep accepting for the grace -> take what waits in the backlog -> close the listener
//!       -> every connection ends after its request -> bounded wait
//! ```
//!
//! While the grace lasts every answer says `Connection: close`, so that clients with a pool leave by
//! themselves and no request meets a socket that was just closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use verdict_config::Code;

use crate::http::{Gateway, PeerAddress};

use heads::{HeadTimeout, Requests};

mod heads;
pub mod tls;

/// Bounds of the server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where to listen; port 0 takes any.
    pub address: SocketAddr,
    /// How many connections are open at once; more wait in the backlog.
    pub connections_max: usize,
    /// How long a client may take to send a request's headers, or its TLS handshake.
    pub header_read: Duration,
    /// How long an HTTP/1 connection is kept open between two requests.
    pub idle: Duration,
    /// How long connections are still taken after the stop was asked for.
    pub drain_grace: Duration,
    /// How long accepted requests may take after that.
    pub drain_wait: Duration,
}

/// Why the server does not start.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("{}", crate::reasons::listen(*.address, .setting, .source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        /// The reason.
        source: std::io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
}

impl ServerError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        Code::SettingsInvalid
    }
}

/// A bound listener that is not served yet.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    options: ServerOptions,
}

impl Server {
    /// Listens on the address.
    ///
    /// # Errors
    /// [`ServerError::Bind`].
    pub async fn bind(
        options: ServerOptions,
        tls: Option<TlsAcceptor>,
    ) -> Result<Self, ServerError> {
        let address = options.address;
        let listener = TcpListener::bind(address).await.map_err(|source| ServerError::Bind {
            address,
            setting: "http.address",
            source,
        })?;
        Ok(Self { listener, tls, options })
    }

    /// The address that is listened on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap_or(self.options.address)
    }

    /// Serves until `stop` is cancelled, then drains. Answers whether every connection ended in time.
    pub async fn run(self, gateway: Arc<Gateway>, stop: CancellationToken) -> bool {
        let tasks = TaskTracker::new();
        let graceful = GracefulShutdown::new();
        let slots = Arc::new(Semaphore::new(self.options.connections_max));
        let connection = Connection {
            gateway: Arc::clone(&gateway),
            tls: self.tls.clone(),
            builder: builder(self.options.idle),
            header_read: self.options.header_read,
        };
        let connection = Arc::new(connection);
        let end = drain_end(&gateway, &stop, self.options.drain_grace);
        tokio::pin!(end);
        loop {
            let slot = tokio::select! {
                biased;
                () = &mut end => break,
                slot = Arc::clone(&slots).acquire_owned() => slot,
            };
            let Ok(slot) = slot else { break };
            tokio::select! {
                biased;
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => connection.start(&tasks, &graceful, accepted, slot),
                    Err(error) => pause_after(&error).await,
                },
                () = &mut end => break,
            }
        }
        self.take_backlog(&slots, |accepted, slot| {
            connection.start(&tasks, &graceful, accepted, slot);
        });
        drop(self.listener);
        tasks.close();
        let ended = async {
            graceful.shutdown().await;
            tasks.wait().await;
        };
        tokio::time::timeout(self.options.drain_wait, ended).await.is_ok()
    }

    /// Clients in the backlog believe that they are connected: they are served as well.
    fn take_backlog(
        &self,
        slots: &Arc<Semaphore>,
        mut start: impl FnMut((TcpStream, SocketAddr), OwnedSemaphorePermit),
    ) {
        use futures::FutureExt;
        while let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            match self.listener.accept().now_or_never() {
                Some(Ok(accepted)) => start(accepted, slot),
                Some(Err(_)) | None => break,
            }
        }
    }
}

/// Ends one grace after the stop.
async fn drain_end(gateway: &Gateway, stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    gateway.start_draining();
    tokio::time::sleep(grace).await;
}

/// Out of file descriptors: accepting again at once would spin.
async fn pause_after(error: &std::io::Error) {
    tracing::warn!(%error, "a connection was not accepted");
    tokio::time::sleep(Duration::from_millis(20)).await;
}

fn builder(idle: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_headers(64)
        .max_buf_size(64 * 1024)
        .pipeline_flush(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_header_list_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

struct Connection {
    gateway: Arc<Gateway>,
    tls: Option<TlsAcceptor>,
    builder: Builder<TokioExecutor>,
    header_read: Duration,
}

impl Connection {
    fn start(
        self: &Arc<Self>,
        tasks: &TaskTracker,
        graceful: &GracefulShutdown,
        (stream, from): (TcpStream, SocketAddr),
        slot: OwnedSemaphorePermit,
    ) {
        let watcher = graceful.watcher();
        let this = Arc::clone(self);
        tasks.spawn(async move {
            // Small answers must not wait for the client's acknowledgement of the last one.
            let _ = stream.set_nodelay(true);
            let from = PeerAddress(from.ip().to_canonical());
            match &this.tls {
                None => this.serve(stream, from, watcher).await,
                Some(tls) => match tokio::time::timeout(this.header_read, tls.accept(stream)).await
                {
                    Ok(Ok(stream)) => this.serve(stream, from, watcher).await,
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                    Err(_) => tracing::debug!("TLS handshake timed out"),
                },
            }
            drop(slot);
        });
    }

    async fn serve<S>(
        &self,
        stream: S,
        from: PeerAddress,
        watcher: hyper_util::server::graceful::Watcher,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let gateway = Arc::clone(&self.gateway);
        let requests = Arc::new(Requests::default());
        let stream = HeadTimeout::new(stream, Arc::clone(&requests), self.header_read);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(from);
            let gateway = Arc::clone(&gateway);
            let running = requests.begin();
            async move {
                let _running = running;
                Ok::<_, std::convert::Infallible>(gateway.handle(request.map(Body::new)).await)
            }
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection.into_owned()).await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
