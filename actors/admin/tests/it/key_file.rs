//! Key files: their modes, passphrases and versions.

use std::os::unix::fs::PermissionsExt;

use verdict_admin::KeyFile;
use verdict_config::Code;

#[test]
fn a_key_comes_back_as_it_was_and_belongs_to_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("operator.key");
    let key = KeyFile::generate("alice", None).unwrap();
    key.file.save(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let read = KeyFile::load(&path).unwrap();
    assert_eq!(read, key.file);
    assert!(!read.is_sealed());
    assert_eq!(read.open(None).unwrap().pkcs8(), key.pkcs8());

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = KeyFile::load(&path).unwrap_err();
    assert!(refused.detail.contains("chmod 600"), "{refused}");
}

#[test]
fn a_passphrase_seals_the_private_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("operator.key");
    let key = KeyFile::generate("alice", Some("correct horse")).unwrap();
    key.file.save(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&hex::encode(key.pkcs8())), "the private key is readable");
    let read = KeyFile::load(&path).unwrap();
    assert!(read.is_sealed());
    for wrong in [None, Some(""), Some("Correct horse")] {
        assert_eq!(read.clone().open(wrong).unwrap_err().code, Code::OperatorUnknown);
    }
    assert_eq!(read.open(Some("correct horse")).unwrap().pkcs8(), key.pkcs8());
}

#[test]
fn what_is_no_key_or_a_newer_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("operator.key");
    assert!(KeyFile::load(&path).is_err());
    let mut file = KeyFile::generate("alice", None).unwrap().file;
    file.format = 2;
    file.save(&path).unwrap();
    assert!(KeyFile::load(&path).unwrap_err().detail.contains("newer"));
    std::fs::write(&path, "{}").unwrap();
    assert!(KeyFile::load(&path).unwrap_err().detail.contains("no operator's key"));
}

#[test]
fn nothing_of_the_private_key_is_shown() {
    let key = KeyFile::generate("alice", None).unwrap();
    let shown = format!("{key:?} {:?}", key.file);
    assert!(!shown.contains(&hex::encode(key.pkcs8())), "{shown}");
}
