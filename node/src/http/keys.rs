//! API keys: who sends a request, and what their role may do.
//!
//! Keys come from the settings and from the catalogue (objects of the kind `key`), where a change
//! adds, moves or revokes them on every node. Only digests of keys are kept. A presented key is
//! hashed and compared with every digest without an early exit, so that the time taken says nothing
//! about the keys.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use verdict_admin::OperatorKey;
use verdict_config::settings::Role;
use verdict_config::{Code, TimestampMs};
use verdict_consensus::authority::{Action, Scope, allowed};
use verdict_consensus::{Author, Catalogue, ChangeSet, Proof};

use super::problem::{Answer, Problem};

mod catalogue;
mod stream_token;

pub(crate) use catalogue::CatalogueKeys;

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

/// A key with its bounds.
#[derive(Debug, Clone)]
pub(crate) struct KnownKey {
    entry: KeyEntry,
    /// The flows that it may ask; all, if absent.
    flows: Option<Vec<String>>,
    /// The regions whose objects it may change; all, if absent.
    regions: Option<Vec<String>>,
    /// From when on it is unknown.
    expires: Option<TimestampMs>,
}

impl KnownKey {
    fn holds_at(&self, at: TimestampMs) -> bool {
        self.expires.is_none_or(|expires| at < expires)
    }
}

/// Who sent a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key's name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The key.
    known: Arc<KnownKey>,
    /// Where the request came from: the other end of its connection, which may be a proxy.
    from: Option<IpAddr>,
    /// What the caller sent, for a leader elsewhere.
    proof: Option<Proof>,
}

impl Caller {
    /// An operator who signed a request; `sealed` is the request, where it may have to go on.
    #[must_use]
    pub(crate) fn operator(key: OperatorKey, sealed: Option<Arc<[u8]>>) -> Self {
        let OperatorKey { name, role, flows, regions, expires, .. } = key;
        // Nobody presents it over HTTP: no digest is of all zeros that a key was hashed to.
        let entry = KeyEntry { name, role, digest: [0; 32] };
        let caller = Self::of(&Arc::new(KnownKey { entry, flows, regions, expires }));
        Self { proof: sealed.map(Proof::Envelope), ..caller }
    }

    fn of(key: &Arc<KnownKey>) -> Self {
        let KeyEntry { name, role, .. } = &key.entry;
        Self { name: name.clone(), role: *role, known: Arc::clone(key), from: None, proof: None }
    }

    /// The same caller, who is at an address.
    #[must_use]
    pub(crate) fn at(self, from: Option<IpAddr>) -> Self {
        Self { from, ..self }
    }

    /// Who the history says made a change, and from where.
    #[must_use]
    pub(crate) fn author(&self) -> Author {
        let address = self.from.map(|from| from.to_string());
        Author { name: self.name.clone(), address, proof: self.proof.clone() }
    }

    /// What the caller sent, for another node that checks it.
    #[must_use]
    pub(crate) const fn proof(&self) -> Option<&Proof> {
        self.proof.as_ref()
    }

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

    /// Refuses what the caller's role is not enough for.
    ///
    /// # Errors
    /// [`Code::Forbidden`] that names the role and what needs it.
    pub fn may(&self, action: Action<'_>) -> Answer<()> {
        allowed(self.role, action).map_err(|denied| {
            let detail = format!("{denied}; the key {} has the role {}.", self.name, self.role);
            Problem::new(Code::Forbidden, detail)
        })
    }

    /// Refuses changes of objects that the key is not for.
    ///
    /// # Errors
    /// [`Code::OutOfScope`] that names the first of them.
    pub fn covers(&self, set: &ChangeSet, catalogue: &Catalogue) -> Answer<()> {
        let covered = self.scope().covers(set, catalogue);
        covered.map_err(|outside| Problem::new(Code::OutOfScope, format!("{outside}.")))
    }

    /// What the key is limited to.
    #[must_use]
    pub fn scope(&self) -> Scope<'_> {
        Scope { flows: self.known.flows.as_deref(), regions: self.known.regions.as_deref() }
    }

    /// Refuses keys of a limited scope: what is asked for concerns the whole cluster.
    ///
    /// # Errors
    /// [`Code::OutOfScope`].
    pub fn require_whole_scope(&self) -> Answer<()> {
        if self.scope().is_everything() {
            return Ok(());
        }
        let detail = "This concerns the whole cluster; the key is limited to flows or regions.";
        Err(Problem::new(Code::OutOfScope, detail))
    }

    /// Whether the key is for some flows only.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.known.flows.is_some()
    }

    /// Refuses a flow that the key is not for.
    ///
    /// # Errors
    /// [`Code::Forbidden`] that names the flow.
    pub fn may_ask(&self, flow: &str) -> Answer<()> {
        let flows = self.known.flows.as_ref();
        if flows.is_none_or(|flows| flows.iter().any(|other| other == flow)) {
            return Ok(());
        }
        let detail = format!("The key {} is not for the flow {flow}.", self.name);
        Err(Problem::new(Code::Forbidden, detail))
    }
}

/// Every key that is accepted.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    settings: Vec<Arc<KnownKey>>,
    catalogue: Option<Arc<CatalogueKeys>>,
}

impl KeyRing {
    /// A ring of keys. An empty ring lets nobody in.
    #[must_use]
    pub fn new(entries: Vec<KeyEntry>) -> Self {
        let known = |entry| Arc::new(KnownKey { entry, flows: None, regions: None, expires: None });
        Self { settings: entries.into_iter().map(known).collect(), catalogue: None }
    }

    /// The same ring, with the keys that the catalogue holds at any time.
    #[must_use]
    pub(crate) fn with_catalogue(self, keys: CatalogueKeys) -> Self {
        Self { catalogue: Some(Arc::new(keys)), ..self }
    }

    /// Whether there is no key in the settings.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    /// Finds the caller of a request by `Authorization: Bearer` or `X-API-Key`. Where both are sent,
    /// both must be right: a wrong credential is never overlooked because of a right one.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`].
    pub fn authenticate(&self, headers: &HeaderMap) -> Answer<Caller> {
        let mut found: Option<Caller> = None;
        for credential in presented(headers) {
            let caller = credential.and_then(|key| self.caller(key)).ok_or_else(unknown)?;
            found = Some(match found {
                Some(first) if first.role < caller.role => first,
                _ => caller,
            });
        }
        found.ok_or_else(|| Problem::of(Code::Unauthenticated))
    }

    /// The caller whose key this is, as the settings and the newest catalogue have it.
    #[must_use]
    pub(crate) fn caller(&self, key: &str) -> Option<Caller> {
        let known = self.find(key)?;
        Some(Caller { proof: Some(Proof::ApiKey(key.into())), ..Caller::of(&known) })
    }

    /// Whether a caller would still be let in as it was: streams ask, which outlive their requests.
    #[must_use]
    pub(crate) fn still_accepts(&self, caller: &Caller) -> bool {
        let known = &caller.known;
        let found = self.select(|other| equal(&other.entry.digest, &known.entry.digest));
        found.is_some_and(|key| key.entry.role == caller.role)
    }

    fn find(&self, key: &str) -> Option<Arc<KnownKey>> {
        let presented = digest(key);
        self.select(|known| equal(&known.entry.digest, &presented))
    }

    /// The first key that is accepted; every one is looked at, whichever it is.
    fn select(&self, accepted: impl Fn(&KnownKey) -> bool) -> Option<Arc<KnownKey>> {
        let catalogue = self.catalogue.as_ref().map(|keys| keys.current());
        let catalogue = catalogue.iter().flat_map(|keys| keys.iter());
        let mut found = None;
        for key in self.settings.iter().chain(catalogue) {
            if accepted(key) && found.is_none() {
                found = Some(Arc::clone(key));
            }
        }
        found.filter(|key| key.expires.is_none() || key.holds_at(super::now()))
    }
}

fn unknown() -> Problem {
    Problem::new(Code::Unauthenticated, "The API key is not known here.")
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
fn equal(left: &[u8], right: &[u8]) -> bool {
    let mut difference = u8::from(left.len() != right.len());
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
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", "vk_desk".parse().unwrap());
        let caller = ring().authenticate(&headers).unwrap();
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
