//! The hello on a fresh connection: version, cluster and both nodes, before anything else is said.
//!
//! ```text
//!  client: VDPH [lowest u16][highest u16][channel u8][from u64][to u64][length u8][cluster]
//!  server: VDPW [version u16][why u8]            version 0: refused
//! ```

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::tls;
use crate::raft::PeerChannel;

const HELLO: [u8; 4] = *b"VDPH";
const WELCOME: [u8; 4] = *b"VDPW";
/// Versions of frames and messages that this program speaks.
pub const VERSIONS: (u16, u16) = (1, 1);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// One channel between members.
    Channel(PeerChannel),
    /// A node without a certificate asks to join.
    Join,
}

impl Purpose {
    const fn byte(self) -> u8 {
        match self {
            Self::Channel(PeerChannel::Raft) => 1,
            Self::Channel(PeerChannel::Snapshot) => 2,
            Self::Channel(PeerChannel::Forward) => 3,
            Self::Channel(PeerChannel::Blob) => 4,
            Self::Join => 255,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Channel(PeerChannel::Raft)),
            2 => Some(Self::Channel(PeerChannel::Snapshot)),
            3 => Some(Self::Channel(PeerChannel::Forward)),
            4 => Some(Self::Channel(PeerChannel::Blob)),
            255 => Some(Self::Join),
            _ => None,
        }
    }
}

/// What a client says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// What the connection is for.
    pub purpose: Purpose,
    /// Who calls; 0 for one that asks to join.
    pub from: u64,
    /// Who is called; 0 for whoever is there.
    pub to: u64,
    /// The cluster.
    pub cluster_id: String,
}

/// Why a hello is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No version is spoken by both.
    #[error("the programs have no version of the protocol in common")]
    Version,
    /// Another cluster.
    #[error("it belongs to another cluster")]
    Cluster,
    /// Another node.
    #[error("it is another node")]
    Node,
    /// The certificate is not that of the node that calls.
    #[error("the certificate is not that of the node that calls")]
    Certificate,
    /// The node that calls was removed from the cluster.
    #[error("the node that calls was removed from the cluster")]
    Removed,
}

impl Refusal {
    const ALL: [Self; 5] =
        [Self::Version, Self::Cluster, Self::Node, Self::Certificate, Self::Removed];

    fn byte(self) -> u8 {
        Self::ALL.iter().zip(1u8..).find(|(other, _)| **other == self).map_or(0, |(_, byte)| byte)
    }

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }
}

fn invalid(detail: impl Into<String>) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, detail.into())
}

/// Says hello and hears whether it is welcome.
///
/// # Errors
/// A refusal; the connection's.
pub async fn greet(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    hello: &Hello,
) -> std::io::Result<()> {
    let cluster = hello.cluster_id.as_bytes();
    let length = u8::try_from(cluster.len()).map_err(|_| invalid("the cluster id is too long"))?;
    let mut bytes = HELLO.to_vec();
    bytes.extend_from_slice(&VERSIONS.0.to_be_bytes());
    bytes.extend_from_slice(&VERSIONS.1.to_be_bytes());
    bytes.push(hello.purpose.byte());
    bytes.extend_from_slice(&hello.from.to_be_bytes());
    bytes.extend_from_slice(&hello.to.to_be_bytes());
    bytes.push(length);
    bytes.extend_from_slice(cluster);
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await?;
    if answer[..4] != WELCOME {
        return Err(invalid("the other end speaks another protocol"));
    }
    match (u16::from_be_bytes([answer[4], answer[5]]), answer[6]) {
        (version, 0) if (VERSIONS.0..=VERSIONS.1).contains(&version) => Ok(()),
        (_, why) if Refusal::of(why) == Some(Refusal::Removed) => {
            let kind = std::io::ErrorKind::PermissionDenied;
            Err(std::io::Error::new(kind, Refusal::Removed.to_string()))
        }
        (_, why) => Err(invalid(Refusal::of(why).map_or_else(
            || "refused for a reason that this program does not know".to_owned(),
            |refusal| refusal.to_string(),
        ))),
    }
}

/// Who the receiving end is.
pub struct Host<'a> {
    /// The node.
    pub node_id: u64,
    /// The cluster.
    pub cluster_id: &'a str,
    /// The caller's certificate, DER, if it showed one.
    pub certificate: Option<&'a [u8]>,
    /// Whether a node was removed from the cluster.
    pub is_removed: &'a (dyn Fn(u64) -> bool + Sync),
}

/// Hears a hello and says whether it is welcome.
///
/// # Errors
/// A hello that is refused, or none; the connection's.
pub async fn welcome(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &Host<'_>,
) -> std::io::Result<Hello> {
    let mut head = [0; 26];
    stream.read_exact(&mut head).await?;
    let [a, b, c, d, low @ .., length] = head;
    if [a, b, c, d] != HELLO {
        return Err(invalid("the other end speaks another protocol"));
    }
    let number = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let (lowest, highest) = (number(&low[..2]), number(&low[2..4]));
    let purpose = Purpose::of(low[4]).ok_or_else(|| invalid("an unknown channel"))?;
    let (from, to) = (number(&low[5..13]), number(&low[13..21]));
    let mut cluster = vec![0; usize::from(length)];
    stream.read_exact(&mut cluster).await?;
    let cluster_id = String::from_utf8(cluster).map_err(|_| invalid("no cluster id"))?;
    let hello = Hello { purpose, from, to, cluster_id };
    let common = u64::from(VERSIONS.1).min(highest);
    let refusal = if common < lowest || common < u64::from(VERSIONS.0) {
        Some(Refusal::Version)
    } else {
        refusal(&hello, host)
    };
    let version = if refusal.is_some() { 0 } else { u16::try_from(common).unwrap_or(0) };
    let mut answer = WELCOME.to_vec();
    answer.extend_from_slice(&version.to_be_bytes());
    answer.push(refusal.map_or(0, Refusal::byte));
    stream.write_all(&answer).await?;
    stream.flush().await?;
    refusal.map_or(Ok(hello), |refusal| Err(invalid(refusal.to_string())))
}

fn refusal(hello: &Hello, host: &Host<'_>) -> Option<Refusal> {
    if hello.cluster_id != host.cluster_id {
        return Some(Refusal::Cluster);
    }
    if hello.to != host.node_id && !(hello.to == 0 && hello.purpose == Purpose::Join) {
        return Some(Refusal::Node);
    }
    let proven = host
        .certificate
        .is_some_and(|certificate| tls::is_for(certificate, host.cluster_id, hello.from));
    if hello.purpose != Purpose::Join && !proven {
        return Some(Refusal::Certificate);
    }
    // Whoever asks to join is known by the certificate alone, if it shows one.
    let caller = match (hello.purpose, host.certificate) {
        (Purpose::Join, Some(shown)) => tls::node_of_certificate(shown, host.cluster_id),
        (Purpose::Join, None) => None,
        _ => Some(hello.from),
    };
    caller.is_some_and(host.is_removed).then_some(Refusal::Removed)
}
