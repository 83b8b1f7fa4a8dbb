//! An issuer whose certificate is signed by an authority of its own (`issuers.NAME.ca_file`).

use super::{issuer, provider::Provider, stage::Stage};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use std::path::{Path, PathBuf};

/// An authority, and a server's certificate with its key that it signed.
fn authority(folder: &Path, name: &str) -> [PathBuf; 3] {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let server_key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let server = server.signed_by(&server_key, &Issuer::new(params, key)).unwrap();
    let files = [("ca", authority.pem()), ("cert", server.pem()), ("key", server_key.serialize_pem())];
    files.map(|(kind, pem)| {
        let path = folder.join(format!("{name}-{kind}.pem"));
        std::fs::write(&path, pem).unwrap();
        path
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_is_believed_by_its_own_authority_and_by_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, cert, key] = authority(folder.path(), "own");
    let [other, ..] = authority(folder.path(), "other");
    let provider = Provider::encrypted(&cert, &key);
    assert!(provider.issuer.starts_with("https://"));
    let read = || json!({"path": "reports/q1.txt"});

    let stage = Stage::new(&issuer(&provider, &format!("ca_file = {ca:?}"))).await;
    let token = provider.token("es256", &stage.url()).await;
    let (status, answer) = stage.call(&token, "read_file", read()).await;
    assert_eq!(status, 200, "{answer}");

    // The usual authorities did not sign it, and another one did not either: no keys, so nobody is believed.
    for more in [String::new(), format!("ca_file = {other:?}")] {
        let stage = Stage::new(&issuer(&provider, &more)).await;
        let token = provider.token("es256", &stage.url()).await;
        assert_eq!(stage.call(&token, "read_file", read()).await.0, 503, "{more}");
    }
}

#[test]
fn a_file_without_authorities_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("empty.pem"), "").unwrap();
    std::fs::write(folder.path().join("broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    for (file, why) in [
        ("empty.pem", "has no certificate in PEM form"),
        ("broken.pem", "has a certificate that cannot be used"),
        ("missing.pem", "cannot be read"),
    ] {
        let text = format!("[issuers.idp]\nissuer = \"https://login.example\"\nca_file = \"{file}\"\n");
        let refused = custody::config::Config::parse(&text, "custody.toml", folder.path(), &|_| None).unwrap_err();
        let shown = format!("{:?}", miette::Report::new(refused));
        assert!(shown.contains(why), "{file}: {shown}");
    }
}
