//! What a stranger may send before ractor_cluster sees it.
//!
//! The library trusts whoever connects: a peer may have it spawn actors, join process groups, list
//! sessions, message every remotable actor, and queue without a bound. Here every frame is read
//! first, within limits of size, rate and time; what an admin client has no business with ends the
//! connection; and what passes is encoded anew, so that the library sees nothing but what was
//! understood here.
//!
//! ```text
//! TLS ──frames──> guard ──known frames──> duplex ──> ractor_cluster session
//!      <──────────  counts replies  <────────
//! ```

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::envelope::{ANSWER_BYTES_MAX, REQUEST_BYTES_MAX};

/// A frame beyond the payload of a request: names, tags, metadata.
const FRAME_SLACK_BYTES: usize = 4 << 10;
/// The longest frame of a peer that has not called yet.
const GREETING_BYTES_MAX: u64 = 4 << 10;

/// Bounds of one guarded connection.
#[derive(Debug, Clone)]
pub struct GuardLimits {
    /// How long the library's greeting may take, until the peer says that it is ready.
    pub greeting_within: Duration,
    /// A connection that calls nothing for so long ends.
    pub idle: Duration,
    /// How long a frame that began may take, in either direction.
    pub frame_within: Duration,
    /// Calls that wait for their answer at once.
    pub calls_max: usize,
    /// Frames a second, on average over a burst of as many.
    pub frames_a_second: u32,
    /// The longest time that a call may give itself.
    pub call_timeout_max: Duration,
}

impl Default for GuardLimits {
    fn default() -> Self {
        Self {
            greeting_within: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            frame_within: Duration::from_secs(10),
            calls_max: 8,
            frames_a_second: 100,
            call_timeout_max: Duration::from_secs(60),
        }
    }
}

/// Why a guarded connection ended.
#[derive(Debug, thiserror::Error)]
pub enum GuardEnd {
    /// The peer, or the session behind the guard, closed it.
    #[error("closed")]
    Closed,
    /// Nothing came in time.
    #[error("{0}")]
    Late(&'static str),
    /// The peer sent what it may not.
    #[error("{0}")]
    Refused(&'static str),
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Failed(#[from] std::io::Error),
}

/// Mirrors of ractor_cluster 0.16's protocol, of what a client of the admin actor sends and gets.
mod mirror {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Network {
        #[prost(bytes = "vec", optional, tag = "1")]
        pub auth: Option<Vec<u8>>,
        #[prost(message, optional, tag = "2")]
        pub node: Option<Node>,
        #[prost(message, optional, tag = "3")]
        pub control: Option<Control>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Node {
        #[prost(bytes = "vec", optional, tag = "1")]
        pub cast: Option<Vec<u8>>,
        #[prost(message, optional, tag = "2")]
        pub call: Option<Call>,
        #[prost(message, optional, tag = "3")]
        pub reply: Option<Reply>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Call {
        #[prost(uint64, tag = "1")]
        pub to: u64,
        #[prost(bytes = "vec", tag = "2")]
        pub what: Vec<u8>,
        #[prost(uint64, tag = "3")]
        pub tag: u64,
        #[prost(uint64, optional, tag = "4")]
        pub timeout_ms: Option<u64>,
        #[prost(string, tag = "5")]
        pub variant: String,
        #[prost(bytes = "vec", optional, tag = "6")]
        pub metadata: Option<Vec<u8>>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Reply {
        #[prost(uint64, tag = "1")]
        pub to: u64,
        #[prost(uint64, tag = "2")]
        pub tag: u64,
        #[prost(bytes = "vec", tag = "3")]
        pub what: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Control {
        #[prost(bytes = "vec", optional, tag = "3")]
        pub ping: Option<Vec<u8>>,
        #[prost(bytes = "vec", optional, tag = "4")]
        pub pong: Option<Vec<u8>>,
        #[prost(bytes = "vec", optional, tag = "9")]
        pub ready: Option<Vec<u8>>,
    }
}

/// What a guard knows of its connection. Pure.
#[derive(Debug)]
struct Watch {
    limits: GuardLimits,
    /// Where the peer connected from: what calls carry inside, whatever they said of themselves.
    from: Option<IpAddr>,
    ready: bool,
    calls: HashMap<u64, Instant>,
    allowance: f64,
    refilled: Instant,
}

impl Watch {
    fn new(limits: GuardLimits, now: Instant) -> Self {
        let allowance = f64::from(limits.frames_a_second);
        Self { limits, from: None, ready: false, calls: HashMap::new(), allowance, refilled: now }
    }

    fn frame_bytes_max(&self) -> u64 {
        match self.ready {
            true => (REQUEST_BYTES_MAX + FRAME_SLACK_BYTES) as u64,
            false => GREETING_BYTES_MAX,
        }
    }

    /// Takes one frame from the allowance.
    fn spend(&mut self, now: Instant) -> Result<(), GuardEnd> {
        let most = f64::from(self.limits.frames_a_second);
        let earned = now.duration_since(self.refilled).as_secs_f64() * most;
        self.allowance = (self.allowance + earned).min(most);
        self.refilled = now;
        if self.allowance < 1.0 {
            return Err(GuardEnd::Refused("too many frames a second"));
        }
        self.allowance -= 1.0;
        Ok(())
    }

    /// Looks at a frame from outside; gives the frame as it may pass.
    fn inbound(&mut self, bytes: &[u8], now: Instant) -> Result<Vec<u8>, GuardEnd> {
        self.spend(now)?;
        let mut frame = mirror::Network::decode(bytes)
            .map_err(|_| GuardEnd::Refused("bytes that are no frame"))?;
        match &frame {
            mirror::Network { auth: Some(_), node: None, control: None } if !self.ready => {}
            mirror::Network { auth: None, node: None, control: Some(control) } => {
                self.control(control)?;
            }
            mirror::Network { auth: None, node: Some(node), control: None } if self.ready => {
                self.call(node, now)?;
            }
            _ => return Err(GuardEnd::Refused("a frame that has no business here")),
        }
        if let Some(call) = frame.node.as_mut().and_then(|node| node.call.as_mut()) {
            call.metadata = self.from.map(|from| from.to_string().into_bytes());
        }
        Ok(frame.encode_to_vec())
    }

    fn control(&mut self, control: &mirror::Control) -> Result<(), GuardEnd> {
        match control {
            mirror::Control { ping: Some(_), pong: None, ready: None }
            | mirror::Control { ping: None, pong: Some(_), ready: None } => Ok(()),
            mirror::Control { ping: None, pong: None, ready: Some(_) } => {
                self.ready = true;
                Ok(())
            }
            _ => Err(GuardEnd::Refused("a control message that has no business here")),
        }
    }

    fn call(&mut self, node: &mirror::Node, now: Instant) -> Result<(), GuardEnd> {
        let mirror::Node { cast: None, call: Some(call), reply: None } = node else {
            return Err(GuardEnd::Refused("a message that is no call"));
        };
        let within = call.timeout_ms.map(Duration::from_millis);
        let within = within.filter(|within| *within <= self.limits.call_timeout_max);
        let within = within.ok_or(GuardEnd::Refused("a call without a bounded time"))?;
        if call.metadata.as_ref().is_some_and(|metadata| metadata.len() > FRAME_SLACK_BYTES) {
            return Err(GuardEnd::Refused("a call with oversized metadata"));
        }
        self.calls.retain(|_, ends| *ends > now);
        if self.calls.len() >= self.limits.calls_max {
            return Err(GuardEnd::Refused("too many calls at once"));
        }
        self.calls.insert(call.tag, now + within);
        Ok(())
    }

    /// Looks at a frame from inside.
    fn outbound(&mut self, bytes: &[u8]) {
        if let Ok(mirror::Network { node: Some(mirror::Node { reply: Some(reply), .. }), .. }) =
            mirror::Network::decode(bytes)
        {
            self.calls.remove(&reply.tag);
        }
    }
}

/// Carries frames between a client's stream and the session behind the guard until either ends.
/// Calls are told where the client connected `from`.
///
/// # Errors
/// Always: why it ended.
pub async fn pump<Outside, Inside>(
    outside: Outside,
    inside: Inside,
    from: Option<IpAddr>,
    limits: GuardLimits,
) -> GuardEnd
where
    Outside: AsyncRead + AsyncWrite + Unpin,
    Inside: AsyncRead + AsyncWrite + Unpin,
{
    let watch = Watch { from, ..Watch::new(limits.clone(), Instant::now()) };
    let watch = parking_lot::Mutex::new(watch);
    let (from_outside, to_outside) = tokio::io::split(outside);
    let (from_inside, to_inside) = tokio::io::split(inside);
    let inbound = pump_in(from_outside, to_inside, &watch, &limits);
    let outbound = pump_out(from_inside, to_outside, &watch, &limits);
    let end = tokio::select! {
        end = inbound => end,
        end = outbound => end,
    };
    end.err().unwrap_or(GuardEnd::Closed)
}

async fn pump_in(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    watch: &parking_lot::Mutex<Watch>,
    limits: &GuardLimits,
) -> Result<(), GuardEnd> {
    let greeted_by = Instant::now() + limits.greeting_within;
    let mut idle_from = Instant::now();
    loop {
        let (ready, most) = {
            let watch = watch.lock();
            (watch.ready, watch.frame_bytes_max())
        };
        let (deadline, late) = match ready {
            true => (idle_from + limits.idle, "nothing was asked for too long"),
            false => (greeted_by, "the greeting took too long"),
        };
        let length = timeout_at(deadline, from.read_u64());
        let length = length.await.map_err(|_| GuardEnd::Late(late))??;
        if length > most {
            return Err(GuardEnd::Refused("a frame that is too long"));
        }
        let length = usize::try_from(length).map_err(|_| GuardEnd::Refused("a frame too long"))?;
        let mut bytes = Vec::new();
        // Grows with what arrives, not with what was announced.
        let mut body = (&mut from).take(length as u64);
        let read = timeout(limits.frame_within, body.read_to_end(&mut bytes));
        read.await.map_err(|_| GuardEnd::Late("a frame took too long"))??;
        if bytes.len() < length {
            return Err(GuardEnd::Closed);
        }
        let now = Instant::now();
        let passed = watch.lock().inbound(&bytes, now)?;
        if passed_is_call(&bytes, ready) {
            idle_from = now;
        }
        let write = async {
            to.write_u64(passed.len() as u64).await?;
            to.write_all(&passed).await?;
            to.flush().await
        };
        let write = timeout(limits.frame_within, write);
        write.await.map_err(|_| GuardEnd::Late("the session took too long"))??;
    }
}

/// Whether a frame was a call: only calls keep a connection from being idle, pings do not.
fn passed_is_call(bytes: &[u8], ready: bool) -> bool {
    // Field 2 of the frame, a message.
    ready && bytes.first() == Some(&0x12)
}

async fn pump_out(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    watch: &parking_lot::Mutex<Watch>,
    limits: &GuardLimits,
) -> Result<(), GuardEnd> {
    loop {
        let length = from.read_u64().await?;
        if length > (ANSWER_BYTES_MAX + FRAME_SLACK_BYTES) as u64 {
            return Err(GuardEnd::Refused("an answer that is too long"));
        }
        let mut bytes = Vec::new();
        (&mut from).take(length).read_to_end(&mut bytes).await?;
        if bytes.len() as u64 != length {
            return Err(GuardEnd::Closed);
        }
        watch.lock().outbound(&bytes);
        let write = async {
            to.write_u64(length).await?;
            to.write_all(&bytes).await?;
            to.flush().await
        };
        let write = timeout(limits.frame_within, write);
        write.await.map_err(|_| GuardEnd::Late("the client does not read"))??;
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
