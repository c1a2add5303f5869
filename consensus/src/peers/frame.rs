//! Frames: `[length u32][id u64][kind u8][bytes]`, big-endian; the length counts what follows it.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest request or answer.
pub const PEER_FRAME_BYTES_MAX: usize = 16 << 20;

const HEAD_BYTES: usize = 9;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A request.
    Request,
    /// The answer to the request with the same id.
    Answer,
    /// The request with the same id was not looked at: too much is under way.
    Busy,
}

impl FrameKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Answer => 2,
            Self::Busy => 3,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Request),
            2 => Some(Self::Answer),
            3 => Some(Self::Busy),
            _ => None,
        }
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Pairs answers with requests.
    pub id: u64,
    /// What it is.
    pub kind: FrameKind,
    /// What is carried.
    pub bytes: Vec<u8>,
}

fn invalid(detail: &'static str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, detail)
}

/// Writes a frame, without flushing.
///
/// # Errors
/// One that is too long; the connection's.
pub async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> std::io::Result<()> {
    if frame.bytes.len() > PEER_FRAME_BYTES_MAX {
        return Err(invalid("a frame is too long"));
    }
    let length = u32::try_from(HEAD_BYTES + frame.bytes.len())
        .map_err(|_| invalid("a frame is too long"))?;
    let mut head = [0; 4 + HEAD_BYTES];
    head[..4].copy_from_slice(&length.to_be_bytes());
    head[4..12].copy_from_slice(&frame.id.to_be_bytes());
    head[12] = frame.kind.byte();
    stream.write_all(&head).await?;
    stream.write_all(&frame.bytes).await
}

/// Reads a frame; `None` where the other end closed between two frames. Memory grows with what
/// arrives, not with what was announced.
///
/// # Errors
/// One that is too long or of no known kind; the connection's.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<Frame>> {
    let mut head = [0; 4 + HEAD_BYTES];
    match stream.read_exact(&mut head[..1]).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    stream.read_exact(&mut head[1..]).await?;
    let [a, b, c, d, id @ .., kind] = head;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let bytes = length
        .checked_sub(HEAD_BYTES)
        .filter(|bytes| *bytes <= PEER_FRAME_BYTES_MAX)
        .ok_or_else(|| invalid("a frame's length is out of range"))?;
    let kind = FrameKind::of(kind).ok_or_else(|| invalid("a frame is of no known kind"))?;
    let mut content = Vec::with_capacity(bytes.min(64 << 10));
    let read = (&mut *stream).take(bytes as u64).read_to_end(&mut content).await?;
    if read != bytes {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(Frame { id: u64::from_be_bytes(id), kind, bytes: content }))
}
