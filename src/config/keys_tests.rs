//! Key files: what is read, what is refused, and that no value is ever in an error.

use super::*;
use std::os::unix::fs::PermissionsExt;

const EUI: &str = "[\"70b3d57ed0001234\"]\n";
const KEY: &str = "2b7e151628aed2a6abf7158809cf4f3c";
const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n";

fn write(mode: u32, text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    dir
}

fn parsed(fields: &str) -> Result<NodeKeys, ConfigError> {
    let keys = parse_text(Path::new("keys.toml"), &format!("{EUI}{fields}\n"))?;
    Ok(keys[&"70b3d57ed0001234".parse().unwrap()].clone())
}

#[test]
fn good_file_is_read() {
    let dir = write(0o600, &format!("{EUI}app_key = \"{KEY}\"\n"));
    let keys = read(&dir.path().join("keys.toml"), Origin::File { user: None }).unwrap();
    let node = &keys[&"70b3d57ed0001234".parse().unwrap()];
    assert_eq!(node.app_key.as_ref().unwrap().expose()[0], 0x2b);
    assert_eq!(node.line("app_key"), Some(2));
}

#[test]
fn s_39_keys_of_16_32_64_bytes_and_identities_of_1_and_128_bytes_are_read_to_the_byte() {
    let long = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
    for psk in [KEY.to_string(), long.into(), format!("{long}{KEY}{KEY}")] {
        for identity in ["i".to_string(), "é".repeat(64)] {
            let keys = parsed(&format!("psk_identity = \"{identity}\"\npsk = \"{psk}\"")).unwrap();
            let credential =
                keys.dtls.unwrap().credential(Path::new("keys.toml"), Origin::File { user: None }, "ep").unwrap();
            let Credential::Psk { identity: read, key } = credential else { panic!("a PSK") };
            assert_eq!((read, lpwad_link::hex::encode(key.expose())), (identity.into_bytes(), psk.clone()));
        }
    }
}

#[test]
fn p_05_an_identity_that_is_no_text_stands_in_hex_and_one_that_is_missing_is_the_endpoint() {
    for (fields, wanted) in [("psk_identity_hex = \"ff80fe\"", &[0xff, 0x80, 0xfe][..]), ("", b"ep")] {
        let keys = parsed(&format!("psk = \"{KEY}\"\n{fields}")).unwrap();
        let credential =
            keys.dtls.unwrap().credential(Path::new("keys.toml"), Origin::File { user: None }, "ep").unwrap();
        let Credential::Psk { identity, .. } = credential else { panic!("a PSK") };
        assert_eq!(identity, wanted);
    }
}

#[test]
fn readable_by_others_or_behind_a_link_is_refused_with_a_hint() {
    let dir = write(0o640, &format!("{EUI}app_key = \"{KEY}\"\n"));
    let error = read(&dir.path().join("keys.toml"), Origin::File { user: None }).unwrap_err();
    assert!(error.problem.contains("0640") && error.hint.unwrap().starts_with("chmod 600"));
    assert!(read(&dir.path().join("keys.toml"), Origin::Credential).is_ok());
    let link = dir.path().join("link.toml");
    std::os::unix::fs::symlink(dir.path().join("keys.toml"), &link).unwrap();
    assert!(read(&link, Origin::File { user: None }).unwrap_err().problem.contains("link"));
}

#[test]
fn a_key_file_that_is_not_there_or_no_text_says_what_to_do() {
    let dir = write(0o600, "");
    let said = text(&dir.path().join("none.toml"), Origin::Credential).unwrap_err().to_string();
    assert!(said.contains("none.toml: key file is not there") && said.contains("lpwad key import"), "{said}");
    std::fs::write(dir.path().join("keys.toml"), b"[\"70b3\"]\napp_key = \"2b7e\xff\"\n").unwrap();
    let said = text(&dir.path().join("keys.toml"), Origin::Credential).unwrap_err().to_string();
    assert!(said.contains("keys.toml:2: ") && said.contains("UTF-8") && !said.contains("2b7e"), "{said}");
}

#[test]
fn bad_keys_are_named_by_field_and_never_shown() {
    for (text, word) in [
        (
            "[\"70b3d57ed0001234\"]\napp_key = \"2b7e151628aed2a6abf7158809cf4f\"\n",
            "toml:2: [\"70b3d57ed0001234\"] app_key: not 32",
        ),
        ("[\"70b3d57ed0001234\"]\napp_key = \"11111111111111111111111111111111\"\n", "weak key"),
        ("[\"70b3\"]\napp_key = \"2b7e151628aed2a6abf7158809cf4f3c\"\n", "DevEUI"),
        ("\n[\"2b7e151628aed2a6abf7158809cf4f3c\"]\napp_key = \"70b3\"\n", "toml:2: a table name of 32 bytes"),
        ("[\"70b3d57ed0001234\"]\nappkey = \"2b7e151628aed2a6abf7158809cf4f3c\"\n", "did you mean `app_key`?"),
        (
            "[\"70b3d57ed0001234\"]\n2b7e = \"2b7e151628aed2a6abf7158809cf4f3c\"\n",
            "toml:2: a field that key files do not have",
        ),
        ("[\"70b3d57ed0001234\"]\napp_key = 2b7e151628aed2a6\n", "toml:2: a value that is not text in quotes"),
        ("[\"70b3d57ed0001234\"]\napp_key = 21111\n", "toml:2: a value that is not text in quotes"),
        (
            "app_key = \"2b7e151628aed2a6abf7158809cf4f3c\"\n",
            "toml:1: a value that is not text in quotes, or a field outside",
        ),
        (
            "[\"70b3d57ed0001234\"]\n[\"70b3d57ed0001235\"]\n[\"70b3d57ed0001234\"]\n",
            "toml:3: a node or a field that stands twice",
        ),
        ("[\"70b3d57ed0001234\"]\npsk = \"2b7e\"\npsk = \"2b7e\"\n", "toml:3: a node or a field that stands twice"),
        (
            "[\"70b3d57ed0001234\"]\n[\"70B3D57ED0001234\"]\n",
            "toml:2: [\"70b3d57ed0001234\"]: this DevEUI stands twice in the file, first in line 1",
        ),
        ("[\"70b3d57ed0001234\n", "toml:1: not a valid entry"),
    ] {
        let error = parse_text(Path::new("keys.toml"), text).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert!(!error.contains("2b7e") && !error.contains("1111"), "{error}");
    }
}

#[test]
fn s_39_what_is_no_credential_is_refused_with_line_and_field_and_without_its_value() {
    let psk = |hex: &str| format!("\npsk_identity = \"an id\"\npsk = \"{hex}\"");
    let long = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
    for (fields, line, field, word) in [
        (psk(""), 4, "psk", "has 0 bytes"),
        (psk("5a"), 4, "psk", "has 1 bytes"),
        (psk("603deb1015ca71be"), 4, "psk", "has 8 bytes"),
        (psk("603deb1015ca71be2b73aef0857d77"), 4, "psk", "has 15 bytes"),
        (psk(&format!("{long}{long}5a")), 4, "psk", "has 65 bytes"),
        (psk("603deb1015ca71be2b73aef0857d778"), 4, "psk", "not hex"),
        (psk("70617373776f726470617373776f726431"), 4, "psk", "weak key"),
        (psk("603deb1070b3d57ed0001234857d7781"), 4, "psk", "identifier"),
        (format!("psk = \"{KEY}\"\npsk_identity = \"\""), 3, "psk_identity", "empty"),
        (format!("psk = \"{KEY}\"\npsk_identity = \"{}\"", "x".repeat(129)), 3, "psk_identity", "128"),
        (format!("psk = \"{KEY}\"\npsk_identity = \"a\\u0000b\""), 3, "psk_identity", "NUL"),
        (format!("psk = \"{KEY}\"\npsk_identity_hex = \"6100\""), 3, "psk_identity_hex", "NUL"),
        (format!("psk = \"{KEY}\"\npsk_identity = \"a\"\npsk_identity_hex = \"61\""), 3, "psk_identity", "keep one"),
        ("psk_identity = \"a\"".into(), 2, "psk_identity", "without psk"),
        (format!("psk = \"{KEY}\"\nrpk_key = \"a.pem\""), 1, "", "more than one kind"),
        ("x509_key = \"a.pem\"".into(), 2, "x509_key", "without x509_certificate"),
        ("x509_certificate = \"a.pem\"".into(), 2, "x509_certificate", "without x509_key"),
        (format!("rpk_key = '''{}'''", PEM.replace(" PRIVATE", " ENCRYPTED PRIVATE")), 2, "rpk_key", "passphrase"),
        (format!("rpk_key = '''{}'''", PEM.replace("PRIVATE", "PUBLIC")), 2, "rpk_key", "no PEM of a private key"),
        (format!("rpk_key = \"{}\"", "603deb10".repeat(8)), 2, "rpk_key", "neither PEM"),
    ] {
        let error = parsed(&fields).unwrap_err();
        let said = error.to_string();
        assert_eq!(error.line, Some(line), "{fields}: {said}");
        assert!(said.contains(format!("[\"70b3d57ed0001234\"] {field}").trim_end()) && said.contains(word), "{said}");
        assert!(
            !said.contains("603deb10") && !said.contains("7061") && !said.contains("MIGH") && !said.contains(KEY),
            "{said}"
        );
    }
}

#[test]
fn private_keys_are_read_from_private_files_beside_the_key_file_or_stand_in_it() {
    let dir = write(0o600, "");
    let file = dir.path().join("keys.toml");
    let pem = dir.path().join("node.pem");
    std::fs::write(&pem, PEM).unwrap();
    let credential = |fields: &str| parsed(fields)?.dtls.unwrap().credential(&file, Origin::File { user: None }, "ep");
    std::fs::set_permissions(&pem, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(
        credential("rpk_key = \"node.pem\"").unwrap_err().to_string().contains("node.pem: private key has mode 0644")
    );
    std::fs::set_permissions(&pem, std::fs::Permissions::from_mode(0o600)).unwrap();
    let by_name = credential("rpk_key = \"node.pem\"").unwrap();
    assert_eq!(by_name, credential(&format!("rpk_key = '''{PEM}'''")).unwrap());
    std::fs::write(dir.path().join("node.crt"), "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
        .unwrap();
    let x509 = credential("x509_certificate = \"node.crt\"\nx509_key = \"node.pem\"").unwrap();
    assert_eq!(x509.kind(), "x509");
    let wrong = credential("x509_certificate = \"node.pem\"\nx509_key = \"node.pem\"").unwrap_err().to_string();
    assert!(wrong.contains("private key") && !wrong.contains("MIGH"), "{wrong}");
}
