//! Damage to one way of one connection: bytes that are dropped, and a TLS record with a wrong length.

use tokio::sync::broadcast;

use super::Damage;

/// Bytes of a TLS record before its content: the kind, two of the version, two of the length.
const HEADER_BYTES: usize = 5;
/// What is added to the length of a record. The sum stays below what TLS allows.
const LONGER_BY: u16 = 0x0800;

/// The damage of one way of one connection.
pub struct Damaging {
    asked: broadcast::Receiver<Damage>,
    swallows: bool,
    /// Whether the next record gets a longer length.
    lengthens: bool,
    records: Records,
}

/// Where the records of a stream begin.
#[derive(Default)]
struct Records {
    /// The header of the record that began, as far as it arrived.
    header: Vec<u8>,
    /// Bytes of its content that are still to come.
    left: usize,
}

impl Damaging {
    /// A connection that is sound until damage is asked for.
    pub fn new(asked: broadcast::Receiver<Damage>) -> Self {
        Self { asked, swallows: false, lengthens: false, records: Records::default() }
    }

    /// Damages a piece. Returns whether it is dropped.
    pub fn swallows(&mut self, piece: &mut [u8]) -> bool {
        loop {
            match self.asked.try_recv() {
                Ok(Damage::Swallow) => self.swallows = true,
                Ok(Damage::LongerRecord) => self.lengthens = true,
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => break,
            }
        }
        for byte in piece {
            if self.records.next(*byte) && self.lengthens && *byte & LONGER_HIGH == 0 {
                *byte |= LONGER_HIGH;
                self.lengthens = false;
            }
        }
        self.swallows
    }
}

/// The bit of the upper byte of a length that makes it longer.
const LONGER_HIGH: u8 = (LONGER_BY >> 8) as u8;

impl Records {
    /// Takes the next byte of the stream. Returns whether it is the upper byte of a record's length.
    fn next(&mut self, byte: u8) -> bool {
        if self.left > 0 {
            self.left -= 1;
            return false;
        }
        self.header.push(byte);
        if self.header.len() == HEADER_BYTES {
            let length = u16::from_be_bytes([self.header[3], self.header[4]]);
            self.left = usize::from(length);
            self.header.clear();
        }
        self.header.len() == HEADER_BYTES - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(length: u16) -> Vec<u8> {
        let [high, low] = length.to_be_bytes();
        let mut bytes = vec![23, 3, 3, high, low];
        bytes.resize(HEADER_BYTES + usize::from(length), 0);
        bytes
    }

    #[test]
    fn one_record_gets_a_longer_length_and_the_others_stay() {
        let (sender, asked) = broadcast::channel(1);
        let mut damaging = Damaging::new(asked);
        let stream = [record(300), record(20), record(0), record(17)].concat();
        let mut first = stream.clone();
        assert!(!damaging.swallows(&mut first[..7]) && !damaging.swallows(&mut first[7..]));
        assert_eq!(first, stream);
        sender.send(Damage::LongerRecord).unwrap();
        let mut second = stream.clone();
        assert!(!damaging.swallows(&mut second[..4]) && !damaging.swallows(&mut second[4..]));
        let changed: Vec<usize> =
            (0..stream.len()).filter(|at| stream[*at] != second[*at]).collect();
        assert_eq!(changed, [3]);
        assert_eq!(second[3], 1 | 8);
        sender.send(Damage::Swallow).unwrap();
        assert!(damaging.swallows(&mut second));
    }
}
