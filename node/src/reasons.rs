//! Reasons of failures in words, for people: errors of the operating system and of parsers, without
//! numbers and terms that only a programmer knows, and with what to do.

use std::net::SocketAddr;

/// What the operating system refused, with what to do about it.
#[must_use]
pub fn io(error: &std::io::Error) -> String {
    use std::io::ErrorKind as Kind;
    let known = match error.kind() {
        Kind::NotFound => "there is no such file or folder; check the path",
        Kind::PermissionDenied => "this user may not; check the owner and the permissions",
        Kind::IsADirectory => "it is a folder; name a file",
        Kind::NotADirectory => "a part of the path is a file; name a folder there",
        Kind::AlreadyExists => "it exists already; name another, or remove it",
        Kind::StorageFull | Kind::QuotaExceeded => "the disk is full; free space and try again",
        Kind::ReadOnlyFilesystem => "the file system is read-only; name a place on another one",
        Kind::DirectoryNotEmpty => "the folder is not empty; name another, or empty it",
        Kind::InvalidFilename => "the name is too long, or the file system does not allow it",
        Kind::InvalidData => "its text is not UTF-8; save it as UTF-8",
        Kind::AddrInUse => "another program listens on it already",
        Kind::AddrNotAvailable => "this machine has no such address",
        Kind::ConnectionRefused => "nothing listens there",
        _ => return without_numbers(error.to_string()),
    };
    known.to_owned()
}

/// A text without the numbers of the operating system's errors (`(os error 28)`), which say nothing that
/// the words before them do not.
#[must_use]
pub fn without_numbers(text: String) -> String {
    const LEAD: &str = " (os error ";
    let mut text = text;
    while let Some(start) = text.find(LEAD) {
        let Some(length) = text[start..].find(')') else { break };
        text.replace_range(start..=start + length, "");
    }
    text
}

/// What is wrong with a JSON text, and where.
#[must_use]
pub fn json(error: &serde_json::Error) -> String {
    let reason = verdict_config::plain::plain_json_error(error);
    match error.line() {
        // A value that was parsed already has no place.
        0 => reason,
        line => format!("at line {line}, column {}: {reason}", error.column()),
    }
}

/// Why an address cannot be listened on, and how to choose another. `setting` names the address.
#[must_use]
pub fn listen(address: SocketAddr, setting: &str, error: &std::io::Error) -> String {
    use std::io::ErrorKind as Kind;
    let other = SocketAddr::new(address.ip(), address.port().saturating_add(100));
    match error.kind() {
        Kind::AddrInUse => format!(
            "{address} cannot be listened on: another program listens there already, probably \
             another node (`verdict status` shows it; stop it with Ctrl-C or scripts/cluster-down). \
             Or choose another port: --set {setting}={other}"
        ),
        Kind::PermissionDenied => format!(
            "{address} cannot be listened on: this user may not use port {}. Choose one above 1023: \
             --set {setting}={}",
            address.port(),
            SocketAddr::new(address.ip(), 7700)
        ),
        Kind::AddrNotAvailable => format!(
            "{address} cannot be listened on: this machine has no address {}. Name one of its own, \
             for example --set {setting}=127.0.0.1:{}",
            address.ip(),
            address.port()
        ),
        _ => format!(
            "{address} cannot be listened on: {error}. Choose another with --set {setting}={other}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_comes_with_a_way_out() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = std::net::TcpListener::bind(address).unwrap_err();
        let text = listen(address, "http.address", &error);
        assert!(text.contains("another node") && text.contains("--set http.address=127.0.0.1:"));
        assert!(!text.contains("os error"), "{text}");
    }

    #[test]
    fn numbers_of_the_system_are_left_out() {
        let text = "a: No space left on device (os error 28). Then: x (os error 111)".to_owned();
        assert_eq!(without_numbers(text), "a: No space left on device. Then: x");
        assert_eq!(without_numbers("open (os error ".to_owned()), "open (os error ");
    }

    #[test]
    fn reasons_have_no_terms_of_libraries() {
        let check = |text: &str, part: &str| {
            let error = serde_json::from_str::<Vec<u8>>(text).unwrap_err();
            let found = json(&error);
            assert!(found.contains(part) && !found.contains("EOF"), "{found}");
        };
        check("[1,", "the text ends");
        check("[1 2]", "line 1, column");
        check("{}", "expected a list");
        let error = std::fs::read("/no/such/file").unwrap_err();
        assert!(!io(&error).contains("os error"));
    }
}
