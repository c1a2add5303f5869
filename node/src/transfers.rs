//! Files on their way between an operator and this node, piece by piece.
//!
//! A call of the admin actor carries at most a megabyte. So what is longer (a model's folder, a
//! backup) lies in a file of this node while its pieces come or go: in order, each again as often as
//! it takes. The file has no name, so that nothing is left behind when the node ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value as Json;
use verdict_config::Code;

/// Transfers at one time.
const TRANSFERS_MAX: usize = 4;
/// How long nobody may ask for a transfer until its place is given to another.
const IDLE_MAX: Duration = Duration::from_secs(300);

/// What a transfer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A model's folder, which comes here.
    Model,
    /// A backup, which is fetched.
    Backup,
}

/// How far a transfer is.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    /// Pieces come in.
    Receiving,
    /// This node works on it.
    Working,
    /// It came to this; a backup can be read.
    Done(Json),
    /// It came to nothing: the code and a sentence.
    Failed(Code, String),
}

/// A transfer.
#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    pub owner: String,
    pub purpose: Purpose,
    pub file: Arc<File>,
    /// Bytes that it will have; of a backup, once it is done.
    pub bytes: u64,
    /// Bytes that are there.
    pub received: u64,
    pub stage: Stage,
    touched: Instant,
}

/// Why a transfer cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    #[error("this node knows no such transfer of yours: it was ended, or idle for {} s, or begun at another node", IDLE_MAX.as_secs())]
    Unknown,
    #[error("{TRANSFERS_MAX} transfers are under way here")]
    TooMany,
    #[error("{0}")]
    Invalid(String),
    #[error("the node's disk: {0}")]
    Io(#[from] io::Error),
}

impl TransferError {
    /// The stable code.
    pub(crate) const fn code(&self) -> Code {
        match self {
            Self::Unknown => Code::ObjectNotFound,
            Self::TooMany => Code::Overloaded,
            Self::Invalid(_) => Code::RequestInvalid,
            Self::Io(_) => Code::StorageFailed,
        }
    }
}

/// The transfers of a node.
#[derive(Debug)]
pub(crate) struct Transfers {
    folder: PathBuf,
    open: Mutex<BTreeMap<String, Transfer>>,
}

impl Transfers {
    /// Whose files lie in a folder, which is made when it is needed.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, open: Mutex::default() }
    }

    /// Begins a transfer of so many bytes; its id.
    ///
    /// # Errors
    /// There are too many, or the disk.
    pub(crate) fn begin(
        &self,
        owner: &str,
        purpose: Purpose,
        bytes: u64,
    ) -> Result<String, TransferError> {
        let id = ulid::Ulid::generate().to_string().to_lowercase();
        let mut open = self.open.lock();
        open.retain(|_, transfer| {
            matches!(transfer.stage, Stage::Working) || transfer.touched.elapsed() < IDLE_MAX
        });
        if open.len() >= TRANSFERS_MAX {
            return Err(TransferError::TooMany);
        }
        let stage = match purpose {
            Purpose::Model => Stage::Receiving,
            Purpose::Backup => Stage::Working,
        };
        let transfer = Transfer {
            owner: owner.to_owned(),
            purpose,
            file: Arc::new(nameless(&self.folder, &id)?),
            bytes,
            received: 0,
            stage,
            touched: Instant::now(),
        };
        open.insert(id.clone(), transfer);
        Ok(id)
    }

    /// A transfer of an owner.
    ///
    /// # Errors
    /// It is not known, or another's.
    pub(crate) fn get(&self, owner: &str, id: &str) -> Result<Transfer, TransferError> {
        let mut open = self.open.lock();
        let transfer = open.get_mut(id).filter(|transfer| transfer.owner == owner);
        let transfer = transfer.ok_or(TransferError::Unknown)?;
        transfer.touched = Instant::now();
        Ok(transfer.clone())
    }

    /// Writes a piece; how many bytes are there. A piece that came before changes nothing.
    ///
    /// # Errors
    /// A gap, more than was announced, a transfer that takes none, or the disk.
    pub(crate) fn write(
        &self,
        (owner, id): (&str, &str),
        offset: u64,
        piece: &[u8],
    ) -> Result<u64, TransferError> {
        let transfer = self.get(owner, id)?;
        if !matches!(transfer.stage, Stage::Receiving) {
            return Err(TransferError::Invalid("the transfer takes no more pieces".to_owned()));
        }
        let end = offset.saturating_add(piece.len() as u64);
        if offset > transfer.received {
            let received = transfer.received;
            return Err(TransferError::Invalid(format!("send the bytes from {received} on first")));
        }
        if end > transfer.bytes {
            let bytes = transfer.bytes;
            return Err(TransferError::Invalid(format!("{bytes} bytes were announced")));
        }
        transfer.file.write_all_at(piece, offset)?;
        let mut open = self.open.lock();
        let transfer = open.get_mut(id).ok_or(TransferError::Unknown)?;
        transfer.received = transfer.received.max(end);
        Ok(transfer.received)
    }

    /// Reads a piece, which is shorter at the end of the file.
    ///
    /// # Errors
    /// There is nothing to read yet, or the disk.
    pub(crate) fn read(
        &self,
        (owner, id): (&str, &str),
        offset: u64,
        bytes: usize,
    ) -> Result<Vec<u8>, TransferError> {
        let transfer = self.get(owner, id)?;
        if transfer.purpose != Purpose::Backup || !matches!(transfer.stage, Stage::Done(_)) {
            return Err(TransferError::Invalid("there is nothing to read yet".to_owned()));
        }
        let left = usize::try_from(transfer.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut piece = vec![0; bytes.min(left)];
        transfer.file.read_exact_at(&mut piece, offset)?;
        Ok(piece)
    }

    /// Says that this node now works on a transfer whose pieces are all there; the transfer. Of two who
    /// ask at once, one is told so.
    ///
    /// # Errors
    /// Pieces are missing, or it is worked on already.
    pub(crate) fn work(&self, owner: &str, id: &str) -> Result<Transfer, TransferError> {
        let mut open = self.open.lock();
        let transfer = open.get_mut(id).filter(|transfer| transfer.owner == owner);
        let transfer = transfer.ok_or(TransferError::Unknown)?;
        if !matches!(transfer.stage, Stage::Receiving) {
            return Err(TransferError::Invalid("the transfer is not receiving".to_owned()));
        }
        if transfer.received < transfer.bytes {
            let text = format!("{} of {} bytes are here", transfer.received, transfer.bytes);
            return Err(TransferError::Invalid(text));
        }
        transfer.stage = Stage::Working;
        Ok(transfer.clone())
    }

    /// Says what came of a transfer, which has so many bytes.
    pub(crate) fn settle(&self, id: &str, bytes: u64, stage: Stage) {
        if let Some(transfer) = self.open.lock().get_mut(id) {
            (transfer.stage, transfer.bytes, transfer.touched) = (stage, bytes, Instant::now());
        }
    }

    /// Lets go of a transfer and its file.
    ///
    /// # Errors
    /// It is not known, or another's.
    pub(crate) fn end(&self, owner: &str, id: &str) -> Result<(), TransferError> {
        self.get(owner, id)?;
        self.open.lock().remove(id);
        Ok(())
    }
}

/// A file without a name.
fn nameless(folder: &Path, id: &str) -> io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{id}.part"));
    let file =
        File::options().read(true).write(true).create_new(true).truncate(false).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_in_order_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let transfers = Transfers::new(folder.path().join("transfers"));
        let id = transfers.begin("alice", Purpose::Model, 6).unwrap();
        let place = ("alice", id.as_str());
        assert!(matches!(transfers.write(place, 3, b"def"), Err(TransferError::Invalid(_))));
        assert_eq!(transfers.write(place, 0, b"abc").unwrap(), 3);
        assert_eq!(transfers.write(place, 0, b"abc").unwrap(), 3);
        assert!(matches!(transfers.work("alice", &id), Err(TransferError::Invalid(_))));
        assert!(matches!(transfers.write(place, 3, b"defg"), Err(TransferError::Invalid(_))));
        assert_eq!(transfers.write(place, 3, b"def").unwrap(), 6);
        // Nobody else sees it.
        assert!(matches!(transfers.get("bob", &id), Err(TransferError::Unknown)));
        let transfer = transfers.work("alice", &id).unwrap();
        assert!(matches!(transfers.work("alice", &id), Err(TransferError::Invalid(_))));
        let mut whole = vec![0; 6];
        transfer.file.read_exact_at(&mut whole, 0).unwrap();
        assert_eq!(whole, b"abcdef");
        assert!(matches!(transfers.write(place, 0, b"abc"), Err(TransferError::Invalid(_))));
        transfers.end("alice", &id).unwrap();
        assert!(matches!(transfers.get("alice", &id), Err(TransferError::Unknown)));
        // The folder holds nothing.
        assert_eq!(std::fs::read_dir(folder.path().join("transfers")).unwrap().count(), 0);
    }

    #[test]
    fn there_is_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let transfers = Transfers::new(folder.path().to_owned());
        let begin = || transfers.begin("alice", Purpose::Backup, 0);
        let ids: Vec<String> = (0..TRANSFERS_MAX).map(|_| begin().unwrap()).collect();
        assert!(matches!(begin(), Err(TransferError::TooMany)));
        transfers.end("alice", &ids[0]).unwrap();
        assert!(begin().is_ok());
    }
}
