//! Which authorities the cluster trusts, and which of them signs: the object `authority` of the kind
//! `member`. Only certificates are in it; private keys stay on the voters.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::sha256_hex;
use crate::{Code, Fault, Faults, ObjectId, ObjectKind};

/// The name of the object that holds the [`ClusterAuthority`].
pub const AUTHORITY_NAME: &str = "authority";
/// Authorities that are trusted at once: the one that signs, and one that comes or goes.
pub const AUTHORITIES_MAX: usize = 2;

/// The cluster's authorities, from one revision on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterAuthority {
    /// The cluster. A catalogue that was restored elsewhere still names the one that it came from,
    /// and means nothing for the new one.
    pub cluster_id: String,
    /// SHA-256 of the certificate of the authority that signs, in hexadecimal digits.
    pub issues: String,
    /// Authorities that are trusted, in the order in which they were installed; 1 to 2.
    pub trusted: Vec<TrustedAuthority>,
}

/// An authority that is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedAuthority {
    /// SHA-256 of its certificate, in hexadecimal digits.
    pub sha256: String,
    /// Its certificate, DER in hexadecimal digits.
    pub certificate: String,
    /// What the authority before it says of it; none of the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsed: Option<Endorsement>,
}

/// An authority's signature over the certificate of the one that follows it, so that whoever trusts
/// the one can trust the other without believing the node that tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endorsement {
    /// SHA-256 of the certificate of the authority that signed, in hexadecimal digits.
    pub by: String,
    /// The signature, in hexadecimal digits.
    pub signature: String,
}

impl TrustedAuthority {
    /// An authority by its certificate, DER.
    #[must_use]
    pub fn new(certificate: &[u8], endorsed: Option<Endorsement>) -> Self {
        let sha256 = sha256_hex(certificate);
        Self { sha256, certificate: hex::encode(certificate), endorsed }
    }

    /// Its certificate, DER; empty for what is no object that was checked.
    #[must_use]
    pub fn der(&self) -> Vec<u8> {
        hex::decode(&self.certificate).unwrap_or_default()
    }
}

impl ClusterAuthority {
    /// Whether an object is the one that this is the body of. It is changed by a rotation alone.
    #[must_use]
    pub fn is_object(object: &ObjectId) -> bool {
        object.kind == ObjectKind::Member && object.name.as_str() == AUTHORITY_NAME
    }

    /// The certificates, DER: that of the authority that signs is the first.
    #[must_use]
    pub fn certificates(&self) -> Vec<Vec<u8>> {
        let signs = |authority: &&TrustedAuthority| authority.sha256 == self.issues;
        let others = self.trusted.iter().filter(|authority| !signs(authority));
        self.trusted.iter().filter(signs).chain(others).map(TrustedAuthority::der).collect()
    }

    /// What is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::new();
        let mut fault = |path: String, message: String| {
            faults.push(Fault::new(Code::InvalidValue, path, message));
        };
        if self.trusted.is_empty() || self.trusted.len() > AUTHORITIES_MAX {
            fault("trusted".to_owned(), format!("1 to {AUTHORITIES_MAX} authorities"));
        }
        let mut seen = BTreeSet::new();
        for (position, authority) in self.trusted.iter().enumerate() {
            let der = hex::decode(&authority.certificate).unwrap_or_default();
            if der.is_empty() || sha256_hex(&der) != authority.sha256 {
                let message = "it is not the SHA-256 of the certificate".to_owned();
                fault(format!("trusted[{position}].sha256"), message);
            }
            if !seen.insert(&authority.sha256) {
                fault(format!("trusted[{position}]"), "it stands twice".to_owned());
            }
        }
        if !seen.contains(&self.issues) {
            fault("issues".to_owned(), "an authority that signs is trusted".to_owned());
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_signs_is_the_first_and_faults_are_told() {
        let (one, two) = (TrustedAuthority::new(b"one", None), TrustedAuthority::new(b"two", None));
        let both = ClusterAuthority {
            cluster_id: "c".to_owned(),
            issues: two.sha256.clone(),
            trusted: vec![one.clone(), two.clone()],
        };
        assert_eq!(both.faults(), []);
        assert_eq!(both.certificates(), [b"two".to_vec(), b"one".to_vec()]);
        let check = |trusted: Vec<TrustedAuthority>, paths: &[&str]| {
            let found = ClusterAuthority { trusted, ..both.clone() }.faults();
            let found: Vec<String> = found.into_iter().map(|fault| fault.path).collect();
            assert_eq!(found, paths);
        };
        check(vec![one.clone()], &["issues"]);
        check(vec![], &["trusted", "issues"]);
        check(vec![two.clone(), two.clone()], &["trusted[1]"]);
        let forged = TrustedAuthority { certificate: "00".to_owned(), ..two.clone() };
        check(vec![one, forged], &["trusted[1].sha256"]);
    }
}
