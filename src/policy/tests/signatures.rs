//! Signatures that the real `ssh-keygen` makes.

use super::super::signature::{NAMESPACE, Signers, beside};
use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

/// Keys and files in a directory of their own.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Desk {
        let desk = Desk(tempfile::tempdir().unwrap());
        for (name, kind) in [("jane", "ed25519"), ("mallory", "ed25519"), ("old", "rsa")] {
            desk.keygen(&["-q", "-t", kind, "-N", "", "-C", name, "-f", name]);
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn keygen(&self, arguments: &[&str]) {
        let done = Command::new("ssh-keygen").args(arguments).current_dir(self.0.path()).output();
        let done = done.expect("ssh-keygen, of the package openssh-client");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        self.close(name);
    }

    /// Whatever the umask of these tests is: nobody else can write it.
    fn close(&self, name: &str) {
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// Signs `a.toml` anew.
    fn sign(&self, key: &str, namespace: &str) {
        drop(std::fs::remove_file(self.path("a.toml.sig")));
        self.keygen(&["-q", "-Y", "sign", "-n", namespace, "-f", key, "a.toml"]);
        self.close("a.toml.sig");
    }

    fn key(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap().trim().to_string()
    }

    /// Who signed, or why the file is invalid, with these lines of allowed signers.
    fn read(&self, signers: Option<&str>) -> Result<Option<String>, String> {
        if let Some(signers) = signers {
            self.write("signers", signers);
        }
        let path = self.path("signers");
        let read = Analyses::read(self.0.path(), signers.map(|_| path.as_path())).map_err(|error| error.to_string())?;
        match (read.valid.as_slice(), read.invalid.as_slice()) {
            ([analysis], []) => Ok(analysis.signed_by.clone()),
            ([], [invalid]) => Err(invalid.error.clone()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_good_signature_names_its_signer_and_any_other_makes_the_file_invalid() {
    let desk = Desk::new();
    let text = local("2027-05-02");
    desk.write("a.toml", &text);
    let jane = format!("jane@example.org {}", desk.key("jane"));
    let both = format!("# who may\n\n{jane}\nmallory@example.org {}\n", desk.key("mallory"));
    assert_eq!((desk.read(None), desk.read(Some(&jane))), (Ok(None), Ok(None)), "not signed");
    desk.sign("jane", NAMESPACE);
    assert_eq!(beside(&desk.path("a.toml")), desk.path("a.toml.sig"));
    assert_eq!(desk.read(Some(&jane)), Ok(Some("jane@example.org".into())));
    assert_eq!(desk.read(Some(&both)), Ok(Some("jane@example.org".into())));
    let only = |names: &str| format!("jane@example.org namespaces=\"{names}\" {}", desk.key("jane"));
    assert_eq!(desk.read(Some(&only("file,lpwad-threat-analysis"))), Ok(Some("jane@example.org".into())));
    let why = |signers: Option<&str>| desk.read(signers).unwrap_err();
    assert!(why(Some(&only("file"))).contains("by a key that is no allowed signer"));
    assert!(why(None).contains("a.toml.sig: is a signature, and nobody may sign"), "{}", why(None));
    desk.sign("mallory", NAMESPACE);
    assert!(why(Some(&jane)).contains("by a key that is no allowed signer"));
    desk.sign("jane", "file");
    assert!(why(Some(&jane)).contains("is for another purpose"));
    desk.sign("jane", NAMESPACE);
    desk.write("a.toml", &text.replace("2027-05-02", "2027-05-01"));
    assert!(why(Some(&jane)).contains("is not one over this file"));
    desk.write("a.toml", &text);
    let good = std::fs::read_to_string(desk.path("a.toml.sig")).unwrap();
    for bad in ["", "-----BEGIN SSH SIGNATURE-----\n", &good[..good.len() / 2], &good.repeat(20)] {
        desk.write("a.toml.sig", bad);
        assert!(why(Some(&jane)).contains("a.toml.sig: is"), "{}", why(Some(&jane)));
    }
    // What is invalid forbids NoSec.
    desk.write("signers", &jane);
    let read = Analyses::read(desk.0.path(), Some(&desk.path("signers"))).unwrap();
    let Site { server, credential, facts, today, latched } = Site::local();
    let case = Case { endpoint: ENDPOINT, server: &server, credential, facts: &facts, today, latched };
    assert_eq!(decide(&case, &read).rules, [Rule::Ta01, Rule::Ta12]);
    std::fs::remove_file(desk.path("a.toml.sig")).unwrap();
    std::os::unix::fs::symlink("elsewhere", desk.path("a.toml.sig")).unwrap();
    assert!(why(Some(&jane)).contains("not a regular file"), "a link that leads nowhere is no missing signature");
}

#[test]
fn ta01_allowed_signers_that_cannot_be_used_forbid_nosec_and_nothing_else() {
    let desk = Desk::new();
    desk.write("a.toml", &local("2027-05-02"));
    let jane = format!("jane@example.org {}", desk.key("jane"));
    let path = desk.path("signers");
    let read = || Analyses::read(desk.0.path(), Some(&path)).expect("an unusable file of signers stops nobody");
    let rules_of = |read: &Analyses| {
        let Site { server, credential, facts, today, latched } = Site::local();
        let case = Case { endpoint: ENDPOINT, server: &server, credential, facts: &facts, today, latched };
        decide(&case, read).rules
    };
    desk.write("signers", &jane);
    assert_eq!(rules_of(&read()), [Rule::Ta10]);
    desk.write("signers", &format!("{jane}\njane cert-authority {}", desk.key("jane")));
    let bad_line = read();
    assert!(bad_line.invalid[0].error.contains("signers:2: options cert-authority"), "{:?}", bad_line.invalid);
    desk.write("signers", &jane);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let writable = read();
    assert!(writable.invalid[0].error.contains("0666"), "{:?}", writable.invalid);
    std::fs::remove_file(&path).unwrap();
    let missing = read();
    for read in [&bad_line, &writable, &missing] {
        assert_eq!((read.valid.len(), read.invalid.len(), &read.invalid[0].path), (1, 1, &path));
        assert_eq!(rules_of(read), [Rule::Ta01, Rule::Ta12]);
    }
    // A signature is not passed over.
    desk.sign("jane", NAMESPACE);
    let signed = read();
    assert_eq!((signed.valid.len(), signed.invalid.len()), (0, 2));
    assert!(signed.invalid[1].error.contains("a.toml.sig: is a signature that cannot be verified"), "{signed:?}");
    desk.write("signers", &jane);
    assert_eq!(desk.read(Some(&jane)), Ok(Some("jane@example.org".into())));
}

#[test]
fn a_line_of_allowed_signers_that_is_not_supported_is_named() {
    let desk = Desk::new();
    let key = desk.key("jane");
    for (line, want) in [
        ("jane".to_string(), "is not principals, options, type and key"),
        (format!("jane cert-authority {key}"), "options cert-authority are not supported"),
        (format!("jane valid-before=\"20300101\" {key}"), "are not supported"),
        (format!("jane namespaces=\"file*\" {key}"), "are not supported"),
        (format!("jane namespaces=\"file\",valid-after=\"2020\" {key}"), "are not supported"),
        (format!("\"jane doe\" {key}"), "quotes"),
        (format!("jane {}", &key[..40]), "the key cannot be read"),
        (format!("jane {}", desk.key("old")), "supported"),
    ] {
        let error = Signers::parse(Path::new("signers"), &format!("# x\n{line}\n")).unwrap_err().to_string();
        assert!(error.starts_with("signers:2: ") && error.contains(want), "{error}");
    }
    let many = format!("jane {key}\n").repeat(257);
    assert!(Signers::parse(Path::new("signers"), &many).unwrap_err().to_string().contains("more than 256"));
}
