//! Ports for nodes, which have to find theirs again after a restart.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports in a block, the first of which holds the block.
const BLOCK: u16 = 100;

/// Below the ports that systems give to connections that ask for any: one of those could take the
/// port of a node between two of its runs.
const LOWEST: u16 = 10_000;
const BLOCKS: u16 = 220;

/// A hundred ports that are nobody else's while this value lives.
///
/// Its first port is listened on, which keeps every other claimer away, in this process or another;
/// the rest were free when it was claimed.
#[derive(Debug)]
pub struct PortBlock {
    _held: TcpListener,
    first: u16,
}

impl PortBlock {
    /// Claims a block.
    ///
    /// # Errors
    /// Every block is taken.
    pub fn claim() -> std::io::Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Processes begin at different blocks, so that they seldom meet.
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap_or(0);
        for _ in 0..BLOCKS {
            let index = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % BLOCKS;
            let first = LOWEST + index * BLOCK;
            let listen = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
            let Ok(held) = listen(first) else { continue };
            if (first + 1..first + BLOCK).all(|port| listen(port).is_ok()) {
                return Ok(Self { _held: held, first });
            }
        }
        Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, "no block of free ports"))
    }

    /// The first port, which the claim itself listens on: those behind it are for use.
    #[must_use]
    pub const fn first(&self) -> u16 {
        self.first
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_claims_share_a_port() {
        let blocks: Vec<PortBlock> = (0..20).filter_map(|_| PortBlock::claim().ok()).collect();
        let firsts: BTreeSet<u16> = blocks.iter().map(PortBlock::first).collect();
        assert!(!blocks.is_empty());
        assert_eq!(firsts.len(), blocks.len());
        for block in &blocks {
            assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, block.first())).is_err());
        }
    }
}
