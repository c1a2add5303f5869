//! API keys: who sends a request, and what their role may do.
//!
//! Only digests of keys are kept. A presented key is hashed and compared with every digest without
//! an early exit, so that the time taken says nothing about the keys.

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use verdict_config::Code;
use verdict_config::settings::Role;

use super::problem::{Answer, Problem};

/// SHA-256 of a key.
pub type KeyDigest = [u8; 32];

/// The digest under which a key is kept.
#[must_use]
pub fn digest(key: &str) -> KeyDigest {
    Sha256::digest(key.as_bytes()).into()
}

/// One key that is accepted.
#[derive(Clone)]
pub struct KeyEntry {
    /// A name for logs and histories.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The key's SHA-256.
    pub digest: KeyDigest,
}

impl std::fmt::Debug for KeyEntry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("KeyEntry")
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The key's name; `anonymous` where the node asks for no keys.
    pub name: String,
    /// The role.
    pub role: Role,
}

impl Caller {
    /// Refuses callers below a role.
    ///
    /// # Errors
    /// [`Code::Forbidden`] that names the role.
    pub fn require(&self, role: Role) -> Answer<()> {
        if self.role >= role {
            return Ok(());
        }
        let detail = format!(
            "This needs the role {role}; the key {} has the role {}.",
            self.name, self.role
        );
        Err(Problem::new(Code::Forbidden, detail))
    }
}

/// Every key that is accepted.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    entries: Vec<KeyEntry>,
}

impl KeyRing {
    /// A ring of keys. An empty ring lets nobody in.
    #[must_use]
    pub const fn new(entries: Vec<KeyEntry>) -> Self {
        Self { entries }
    }

    /// How many keys there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Finds the caller of a request by `Authorization: Bearer` or `X-API-Key`. Where both are sent,
    /// both must be right: a wrong credential is never overlooked because of a right one.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`].
    pub fn authenticate(&self, headers: &HeaderMap) -> Answer<Caller> {
        let mut found: Option<&KeyEntry> = None;
        for credential in presented(headers) {
            let unknown = || Problem::new(Code::Unauthenticated, "The API key is not known here.");
            let entry = credential.and_then(|key| self.find(key)).ok_or_else(unknown)?;
            found = Some(
                found.map_or(entry, |first| if first.role < entry.role { first } else { entry }),
            );
        }
        found
            .map(|entry| Caller { name: entry.name.clone(), role: entry.role })
            .ok_or_else(|| Problem::of(Code::Unauthenticated))
    }

    fn find(&self, key: &str) -> Option<&KeyEntry> {
        let presented = digest(key);
        let mut found = None;
        for entry in &self.entries {
            if equal(&entry.digest, &presented) {
                found = Some(entry);
            }
        }
        found
    }
}

/// The keys of a request, one a header; `None` for a header that holds none.
fn presented(headers: &HeaderMap) -> impl Iterator<Item = Option<&str>> {
    let plain = headers.get_all("x-api-key").iter().map(|value| value.to_str().ok());
    let bearer = headers.get_all(header::AUTHORIZATION).iter().map(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    plain.chain(bearer)
}

/// Compares every byte, whatever differs first.
fn equal(left: &KeyDigest, right: &KeyDigest) -> bool {
    let mut difference = 0u8;
    for (a, b) in left.iter().zip(right) {
        difference |= a ^ b;
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> KeyRing {
        let entry =
            |name: &str, role, key| KeyEntry { name: name.into(), role, digest: digest(key) };
        KeyRing::new(vec![
            entry("shop", Role::Decider, "vk_shop"),
            entry("desk", Role::Editor, "vk_desk"),
        ])
    }

    fn check(name: &'static str, value: &str, expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        let caller = ring().authenticate(&headers).ok().map(|caller| caller.name);
        assert_eq!(caller.as_deref(), expected, "{name}: {value}");
    }

    #[test]
    fn keys_are_found_in_either_header() {
        check("x-api-key", "vk_shop", Some("shop"));
        check("authorization", "Bearer vk_desk", Some("desk"));
        check("authorization", "bearer vk_desk", Some("desk"));
        check("authorization", "Basic vk_desk", None);
        check("authorization", "vk_desk", None);
        check("x-api-key", "vk_sho", None);
        check("x-api-key", "", None);
        check("accept", "vk_shop", None);
    }

    #[test]
    fn a_wrong_key_beside_a_right_one_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", "vk_shop".parse().unwrap());
        headers.insert("authorization", "Bearer wrong".parse().unwrap());
        assert!(ring().authenticate(&headers).is_err());
        headers.insert("authorization", "Bearer vk_desk".parse().unwrap());
        assert_eq!(ring().authenticate(&headers).unwrap().name, "shop");
    }

    #[test]
    fn roles_are_ordered() {
        let caller = Caller { name: "desk".into(), role: Role::Editor };
        assert!(caller.require(Role::Decider).is_ok());
        assert!(caller.require(Role::Editor).is_ok());
        let problem = caller.require(Role::Releaser).unwrap_err();
        assert_eq!(problem.code(), Code::Forbidden);
        assert!(problem.detail().contains("releaser"), "{}", problem.detail());
    }

    #[test]
    fn an_entry_does_not_show_its_digest() {
        let shown = format!("{:?}", ring());
        assert!(!shown.contains("digest:"), "{shown}");
    }
}
