//! Certificates against `openssl s_server`: what is accepted, and the reason for each refusal.

use std::path::PathBuf;

use lpwad_dtls::{
    CertificateProblem, ClientContext, Credential, CredentialError, ExportedSession, Failure, Settings, SettingsError,
    Trust, X509Identity, X509Trust,
};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use tempfile::TempDir;

use crate::ca::{Issued, NOW, Wish, ec, key_pem, now_ms, p256, pem, root, rsa};
use crate::hello::{Hello, messages};
use crate::peer::Server;
use crate::shell::{Patient, Shell};

const HOST: &str = "lwm2m.example.org";
const DAY: i64 = 86_400;

fn server_wish() -> Wish<'static> {
    Wish { common_name: "server", domains: &[HOST], ..Wish::default() }
}

/// A server that presents `chain`, leaf first, and asks for the client's certificate under `client_root`.
struct Site {
    server: Server,
    _files: TempDir,
}

fn serve(chain: &[&Issued], client_root: &Issued) -> Site {
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = files.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let cert = write("leaf.pem", &pem(&chain[..1]));
    let more = write("chain.pem", &pem(&chain[1..]));
    let key = write("key.pem", &key_pem(&chain[0].key));
    let ca = write("ca.pem", &pem(&[client_root]));
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let mut arguments = vec!["-cert".to_owned(), text(&cert), "-key".into(), text(&key), "-CAfile".into(), text(&ca)];
    arguments.extend(["-Verify", "5", "-verify_return_error", "-no_check_time", "-no_ticket"].map(str::to_owned));
    arguments.extend(["-cipher", "ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0"].map(str::to_owned));
    if chain.len() > 1 {
        arguments.extend(["-cert_chain".to_owned(), text(&more)]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Site { server: Server::openssl(&arguments), _files: files }
}

fn node(client_root: &Issued) -> Credential {
    let issued = Wish { common_name: "0011223344556677", ..Wish::default() }.issue(p256(), Some(client_root));
    Credential::X509(X509Identity::new(&pem(&[&issued]), &key_pem(&issued.key)).unwrap())
}

fn context(trust: X509Trust, host: &str) -> ClientContext {
    let mut settings = Settings::new(Trust::X509(trust));
    settings.server_name = Some(host.to_owned());
    ClientContext::new(settings).unwrap()
}

fn anchors(issued: &Issued) -> X509Trust {
    X509Trust::anchors(&pem(&[issued])).unwrap()
}

/// Connects to a server with `chain`, trusting `anchor`, at [`NOW`]. The reason if it is refused.
fn outcome(chain: &[&Issued], anchor: &Issued, host: &str) -> Result<(), CertificateProblem> {
    outcome_at(chain, anchors(anchor), host, now_ms())
}

fn outcome_at(chain: &[&Issued], trust: X509Trust, host: &str, unix_ms: Option<u64>) -> Result<(), CertificateProblem> {
    let client_root = root();
    let site = serve(chain, &client_root);
    let mut shell = Shell::new(site.server.address);
    shell.unix_ms = unix_ms;
    match shell.connect(&context(trust, host), &node(&client_root), None, Patient) {
        Ok(session) => {
            assert!(session.is_open());
            Ok(())
        }
        Err(Failure::Certificate(problem)) => Err(problem),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn s12_s41_p10_p36_both_sides_prove_themselves_by_certificates_and_the_session_is_resumed() {
    let (root, client_root) = (root(), root());
    let leaf = server_wish().issue(p256(), Some(&root));
    let mut site = serve(&[&leaf], &client_root);
    let mut shell = Shell::new(site.server.address);
    shell.unix_ms = now_ms();
    let (context, node) = (context(anchors(&root), HOST), node(&client_root));
    let mut session = shell.connect(&context, &node, None, Patient).unwrap();
    assert_eq!(session.negotiated_suite().code, 0xC0AE);
    shell.send_data(&mut session, b"signed\n");
    site.server.wait_for("signed");

    let hello = Hello::parse(&shell.sent[0].1);
    assert_eq!(hello.extension_codes(), [0, 1, 10, 11, 13, 23, 65281]);
    let sni = &hello.extensions.iter().find(|(code, _)| *code == 0).unwrap().1;
    assert_eq!(&sni[5..], HOST.as_bytes());
    let body = |wanted: u16| hello.extensions.iter().find(|(code, _)| *code == wanted).unwrap().1.clone();
    assert_eq!(body(10), [0, 2, 0, 23], "secp256r1 only");
    // OpenSSL 3.5 names the compressed forms too, which nobody has to use.
    assert_eq!(body(11)[1], 0, "uncompressed points first (P-10)");
    assert_eq!(body(13), [0, 2, 4, 3], "ECDSA with SHA-256 (P-14)");

    let bytes = session.export(&[1; 32]).unwrap();
    assert!(bytes.len() < 1500, "{}", bytes.len());
    shell.send(&session.close().unwrap());
    site.server.wait_for("DONE");
    shell.sent.clear();
    let resume = ExportedSession::import(&bytes, &[1; 32]).unwrap();
    let mut session = shell.connect(&context, &node, Some(&resume), Patient).unwrap();
    assert!(session.resumed());
    let kinds: Vec<u8> =
        shell.sent.iter().flat_map(|(_, datagram)| messages(datagram)).map(|message| message.0).collect();
    assert!(kinds.iter().all(|kind| *kind == 1), "no certificate and no key exchange: {kinds:?}");

    // The dates of the certificate hold for what is resumed as well: once it has expired, the session is not offered.
    let end = session.ends_unix_ms().unwrap();
    assert_eq!(i64::try_from(end), Ok((NOW + 30 * DAY) * 1000));
    shell.send(&session.close().unwrap());
    shell.unix_ms = Some(end);
    let refused = shell.connect(&context, &node, Some(&resume), Patient).unwrap_err();
    assert_eq!(refused, Failure::Certificate(CertificateProblem::Expired));
    shell.unix_ms = Some(end - 1);
    assert!(shell.connect(&context, &node, Some(&resume), Patient).unwrap().resumed());
}

#[test]
fn p10_chains_of_up_to_four_certificates_pass_and_five_are_too_many() {
    let root = root();
    let mut issuers = vec![root.clone()];
    for depth in 0..5 {
        let leaf = server_wish().issue(p256(), issuers.last());
        let mut chain: Vec<&Issued> = vec![&leaf];
        chain.extend(issuers[1..].iter().rev());
        let expected = if depth < 4 { Ok(()) } else { Err(CertificateProblem::TooLong) };
        assert_eq!(outcome(&chain, &root, HOST), expected, "{} certificates", chain.len());
        let name = format!("intermediate {depth}");
        issuers.push(Wish { common_name: &name, ca: true, ..Wish::default() }.issue(p256(), issuers.last()));
    }
}

#[test]
fn s41_an_intermediate_may_be_the_anchor_and_another_root_is_not() {
    let root = root();
    let middle = Wish { common_name: "middle", ca: true, ..Wish::default() }.issue(p256(), Some(&root));
    let leaf = server_wish().issue(p256(), Some(&middle));
    assert_eq!(outcome(&[&leaf], &middle, HOST), Ok(()));
    let other = Wish { common_name: "other root", ca: true, ..Wish::default() }.issue(p256(), None);
    assert_eq!(outcome(&[&leaf, &middle], &other, HOST), Err(CertificateProblem::UnknownIssuer));
    let namesake = crate::ca::root();
    assert_eq!(outcome(&[&leaf, &middle], &namesake, HOST), Err(CertificateProblem::Invalid), "same name, other key");
    assert_eq!(
        outcome(&[&leaf], &root, HOST),
        Err(CertificateProblem::UnknownIssuer),
        "the server sends no intermediate"
    );
    let alone = server_wish().issue(p256(), None);
    assert_eq!(outcome(&[&alone], &root, HOST), Err(CertificateProblem::UnknownIssuer), "self-signed");
    let under_leaf = server_wish().issue(p256(), Some(&leaf));
    assert_eq!(
        outcome(&[&under_leaf, &leaf], &middle, HOST),
        Err(CertificateProblem::UnknownIssuer),
        "a leaf issues nothing"
    );
}

#[test]
fn p11_names_are_looked_for_in_the_san_and_nowhere_else() {
    let root = root();
    let with = |wish: Wish<'_>, host: &str| outcome(&[&wish.issue(p256(), Some(&root))], &root, host);
    let wish = server_wish;
    assert_eq!(with(wish(), "other.example.org"), Err(CertificateProblem::NameMismatch));
    assert_eq!(with(wish(), "LWM2M.example.ORG"), Ok(()), "names know no case");
    assert_eq!(with(Wish { domains: &[], ..wish() }, HOST), Err(CertificateProblem::NoName));
    assert_eq!(
        with(Wish { domains: &[], common_name: HOST, ..wish() }, HOST),
        Err(CertificateProblem::NameInCommonName)
    );
    assert_eq!(with(Wish { common_name: HOST, ..wish() }, HOST), Err(CertificateProblem::NameInCommonName));
    assert_eq!(with(Wish { domains: &["*.example.org"], ..wish() }, HOST), Err(CertificateProblem::Wildcard));
    let two = ["other.example.org", HOST];
    assert_eq!(with(Wish { domains: &two, ..wish() }, HOST), Err(CertificateProblem::SeveralNames));
    // An address in the URI is compared with an address.
    assert_eq!(with(wish(), "192.0.2.7"), Err(CertificateProblem::NameMismatch));
    assert_eq!(with(Wish { domains: &[], address: Some("192.0.2.7"), ..wish() }, "192.0.2.7"), Ok(()));
    assert_eq!(with(Wish { domains: &["192.0.2.7"], ..wish() }, "192.0.2.7"), Err(CertificateProblem::NameMismatch));
}

#[test]
fn s41_dates_are_checked_if_the_clock_is_trusted() {
    let root = root();
    let old = Wish { until: NOW - DAY, from: NOW - 9 * DAY, ..server_wish() }.issue(p256(), Some(&root));
    let early = Wish { from: NOW + DAY, ..server_wish() }.issue(p256(), Some(&root));
    assert_eq!(outcome(&[&old], &root, HOST), Err(CertificateProblem::Expired));
    assert_eq!(outcome(&[&early], &root, HOST), Err(CertificateProblem::NotYetValid));
    for chain in [&old, &early] {
        assert_eq!(outcome_at(&[chain], anchors(&root), HOST, None), Ok(()), "no trusted clock");
    }
    let old_root = Wish { common_name: "old", ca: true, until: NOW - DAY, ..Wish::default() }.issue(p256(), None);
    let leaf = server_wish().issue(p256(), Some(&old_root));
    assert_eq!(outcome(&[&leaf], &old_root, HOST), Err(CertificateProblem::Expired), "the anchor too");
}

#[test]
fn p11_p42_weak_hashes_keys_and_rsa_are_refused_anywhere_in_the_chain() {
    let root = root();
    let sha1 = Wish { hash: MessageDigest::sha1(), ..server_wish() }.issue(p256(), Some(&root));
    assert_eq!(outcome(&[&sha1], &root, HOST), Err(CertificateProblem::WeakSignature));
    let sha224 = Wish { hash: MessageDigest::sha224(), ..server_wish() }.issue(p256(), Some(&root));
    assert_eq!(outcome(&[&sha224], &root, HOST), Err(CertificateProblem::WeakSignature));

    let ca = Wish { common_name: "middle", ca: true, ..Wish::default() };
    let middles = [
        (Wish { hash: MessageDigest::sha1(), ..ca }.issue(p256(), Some(&root)), CertificateProblem::WeakSignature),
        (Wish { ca: true, ..Wish::default() }.issue(ec(Nid::SECP224R1), Some(&root)), CertificateProblem::WeakKey),
        (Wish { ca: true, ..Wish::default() }.issue(ec(Nid::SECP192K1), Some(&root)), CertificateProblem::WeakKey),
        (Wish { ca: true, ..Wish::default() }.issue(rsa(1024), Some(&root)), CertificateProblem::Rsa),
        (Wish { ca: true, ..Wish::default() }.issue(rsa(2048), Some(&root)), CertificateProblem::Rsa),
    ];
    for (middle, problem) in &middles {
        let leaf = server_wish().issue(p256(), Some(middle));
        assert_eq!(outcome(&[&leaf, middle], &root, HOST), Err(*problem), "in the middle");
    }
    // As a trust anchor they are refused at load.
    for (anchor, problem) in &middles[1..] {
        let error = X509Trust::anchors(&pem(&[anchor])).unwrap_err();
        assert_eq!(error, CredentialError::Certificate(*problem));
        assert_eq!(X509Trust::pinned(&pem(&[anchor])).unwrap_err(), error);
    }
}

#[test]
fn s41_a_pinned_certificate_must_be_exactly_that_one() {
    let root = root();
    let leaf = server_wish().issue(p256(), Some(&root));
    let again = server_wish().issue(leaf.key.clone(), Some(&root));
    let alone = Wish { until: NOW - DAY, ..Wish::default() }.issue(p256(), None);
    let pinned = |issued: &Issued| X509Trust::pinned(&pem(&[issued])).unwrap();
    assert_eq!(outcome_at(&[&leaf], pinned(&leaf), "other.example.org", now_ms()), Ok(()));
    assert_eq!(outcome_at(&[&alone], pinned(&alone), HOST, now_ms()), Ok(()), "self-signed, old, without a name");
    assert_eq!(
        outcome_at(&[&again], pinned(&leaf), HOST, now_ms()),
        Err(CertificateProblem::NotPinned),
        "the same key"
    );
    assert_eq!(
        outcome_at(&[&leaf, &root], pinned(&root), HOST, now_ms()),
        Err(CertificateProblem::NotPinned),
        "its issuer"
    );
}

#[test]
fn s12_what_is_wrong_with_a_nodes_own_files_is_said_at_load() {
    let root = root();
    let issued = Wish::default().issue(p256(), Some(&root));
    let new = |chain: &[u8], key: &[u8]| X509Identity::new(chain, key).unwrap_err();
    let (cert, key) = (pem(&[&issued]), key_pem(&issued.key));
    X509Identity::new(&issued.certificate.to_der().unwrap(), &issued.key.private_key_to_pkcs8().unwrap()).unwrap();
    assert_eq!(new(&cert, &key_pem(&p256())), CredentialError::KeyOfAnother);
    assert_eq!(new(b"", &key), CredentialError::CertificateForm);
    assert_eq!(new(b"-----BEGIN CERTIFICATE-----\n", &key), CredentialError::CertificateForm);
    assert_eq!(new(&cert, b"no key"), CredentialError::PrivateKeyForm);
    let weak = Wish { hash: MessageDigest::sha1(), ..Wish::default() }.issue(p256(), Some(&root));
    let refused = CredentialError::Certificate(CertificateProblem::WeakSignature);
    assert_eq!(new(&pem(&[&weak]), &key_pem(&weak.key)), refused);
    assert_eq!(
        new(&pem(&[&issued, &root, &root, &root, &root]), &key),
        CredentialError::ChainLength { certificates: 5 }
    );
    let two = pem(&[&issued, &root]);
    assert_eq!(X509Trust::pinned(&two).unwrap_err(), CredentialError::NotOneCertificate { certificates: 2 });
    let error = ClientContext::new(Settings::new(Trust::X509(anchors(&root)))).unwrap_err();
    assert_eq!(error, SettingsError::NameNeeded);
}
