//! Clusters whose nodes prove themselves by certificates that the operator gives.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::json;

use crate::cluster::harness::Cluster;
use crate::process::eventually;

/// An authority of the operator's.
struct Office {
    parameters: CertificateParams,
    key: KeyPair,
    bundle: PathBuf,
}

impl Office {
    fn new(folder: &Path, name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let bundle = folder.join(format!("{name}.pem"));
        std::fs::write(&bundle, parameters.self_signed(&key).unwrap().pem()).unwrap();
        Self { parameters, key, bundle }
    }

    /// Writes a certificate for a name, with its key, into a folder.
    fn certify(&self, folder: &Path, name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let issuer = Issuer::from_params(&self.parameters, &self.key);
        let certificate = parameters.signed_by(&key, &issuer).unwrap();
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("node.key"), key.serialize_pem()).unwrap();
        std::fs::write(folder.join("node.pem"), certificate.pem()).unwrap();
    }

    /// The settings of a node whose files are in a folder.
    fn settings(&self, folder: &Path, join: &str) -> String {
        format!(
            "join = {join:?}\ntls_certificate = {:?}\ntls_key = {:?}\ntls_authorities = {:?}\n",
            folder.join("node.pem"),
            folder.join("node.key"),
            self.bundle
        )
    }
}

fn name(node_id: u64) -> String {
    format!("node-{node_id}.pay-eu.verdict.internal")
}

/// A token, and the name that its node's certificate has to be for.
fn token(cluster: &Cluster) -> (String, u64, String) {
    let told = cluster.post(0, "/v1/admin/tokens", &json!({}), 0).expect("an answer");
    assert_eq!(told.status, 200, "{}", told.body);
    let text = |key: &str| told.body[key].as_str().expect("a text").to_owned();
    (text("token"), told.body["joins_as"].as_u64().expect("an id"), text("certificate_name"))
}

fn voters(cluster: &Cluster) -> usize {
    let members = cluster.get(0, "/v1/admin/members", 0).map(|told| told.body).unwrap_or_default();
    let peers = members["peers"].as_array().cloned().unwrap_or_default();
    peers.iter().filter(|peer| peer["member"]["voter"] == true).count()
}

#[test]
fn nodes_know_each_other_by_certificates_that_were_given() {
    let mut cluster = Cluster::bare();
    let folder = cluster.folder.path().to_owned();
    let files = |place: u16| folder.join(format!("tls-{place}"));
    let (office, other) = (Office::new(&folder, "office"), Office::new(&folder, "other"));

    // The certificate says which cluster begins, and as which node.
    office.certify(&files(1), &name(1));
    cluster.add(1, &office.settings(&files(1), ""));
    cluster.wait_ready(0);
    let members = cluster.get(0, "/v1/admin/members", 0).expect("an answer").body;
    assert_eq!((&members["cluster_id"], &members["node_id"]), (&json!("pay-eu"), &json!(1)));

    // A token says for which name the next certificate has to be.
    for place in 2..=3 {
        let (join, joins_as, wanted) = token(&cluster);
        assert_eq!((joins_as, wanted), (u64::from(place), name(u64::from(place))));
        office.certify(&files(place), &name(joins_as));
        cluster.add(place, &office.settings(&files(place), &join));
        cluster.wait_ready(usize::from(place) - 1);
        eventually(|| voters(&cluster), |voters| *voters == usize::from(place));
    }
    let follower = (cluster.leader(0) + 1) % 3;
    let revision = cluster.set_flag(follower, "first", "b");
    for node in 0..3 {
        assert_eq!(cluster.flag(node, revision), "b", "node {node}");
    }

    // Renewed files are taken into use while the node runs, and after a restart.
    office.certify(&files(2), &name(2));
    let renewed = |cluster: &Cluster| {
        let log = std::fs::read_to_string(cluster.nodes[1].dir.join("node.log")).expect("log");
        log.contains("the certificate between nodes was renewed")
    };
    eventually(|| renewed(&cluster), |renewed| *renewed);
    let revision = cluster.set_flag(1, "renewed", "c");
    assert_eq!(cluster.flag(0, revision), "c");
    cluster.signal(1, "-KILL");
    cluster.restart(1);
    let revision = cluster.set_flag(1, "restarted", "d");
    assert_eq!(cluster.flag(2, revision), "d");

    // What is no certificate for this is refused with its code, before a token is used up.
    let (join, joins_as, wanted) = token(&cluster);
    let strange = files(8);
    let refused = |certified: &str, settings: &str, why: &[&str]| {
        let told = cluster.run_node(9, settings);
        assert!(why.iter().all(|part| told.contains(part)), "{certified}: {told}");
    };
    other.certify(&strange, &wanted);
    refused("by another office", &other.settings(&strange, &join), &["VD0614", "trust each other"]);
    refused(
        "by none of the bundle",
        &office.settings(&strange, &join),
        &["VD0614", "node.pem", "no authority of"],
    );
    office.certify(&strange, &name(joins_as + 5));
    refused("for another node", &office.settings(&strange, &join), &["VD0608", "the token is for"]);
    office.certify(&strange, "node-4.pay-us.verdict.internal");
    refused("for another cluster", &office.settings(&strange, &join), &["VD0614", "pay-us"]);
    office.certify(&strange, "some.host.example");
    refused("for no node", &office.settings(&strange, &join), &["VD0614", "no DNS name is like"]);
    office.certify(&strange, &wanted);
    std::fs::copy(files(1).join("node.key"), strange.join("node.key")).unwrap();
    refused("of another key", &office.settings(&strange, &join), &["VD0614", "node.key"]);
    let none = format!("join = {join:?}\n");
    refused("with none", &none, &["VD0614", "trust each other"]);
    assert_eq!(voters(&cluster), 3);

    // The token is still good, for the node that it is for.
    office.certify(&files(4), &wanted);
    cluster.add(4, &office.settings(&files(4), &join));
    cluster.wait_ready(3);
    eventually(|| voters(&cluster), |voters| *voters == 4);
}
