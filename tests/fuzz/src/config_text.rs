//! One text, read as `lpwad.toml` (all of `Config::read`, with a key file beside it), as a device profile and as the
//! address of a server. No error repeats what looks like a key.
use lpwad::config::{Config, Profile, ServerUri};
use std::fs::{Permissions, create_dir_all, set_permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

const KEYS: &str = "[\"70b3d57ed0001234\"]\napp_key = \"2b7e151628aed2a6abf7158809cf4f3c\"\n\
    [\"70b3d57ed0001235\"]\nnwk_s_key = \"8e73b0f7da0e6452c810f32b809079e5\"\napp_s_key = \"62f8ead2522c6b7b2b7e151628aed2a6\"\n";

/// `Config::read` takes a path: the text goes through a file in a directory of this process.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = std::env::temp_dir().join(format!("lpwad-fuzz-{}", std::process::id()));
    create_dir_all(&dir).expect("the temporary directory is writable");
    let keys = dir.join("keys.toml");
    write(&keys, KEYS).expect("the temporary directory is writable");
    set_permissions(&keys, Permissions::from_mode(0o600)).expect("the file is ours");
    dir.join("lpwad.toml")
});

/// Runs the target on an input.
pub fn run(text: &str) {
    if let Err(error) = Profile::parse(Path::new("profile.toml"), text) {
        assert!(!error.to_string().is_empty());
        shows_no_key(text, &error.to_string());
    }
    if let Ok(uri) = text.parse::<ServerUri>() {
        assert_eq!(uri.to_string().parse::<ServerUri>().as_ref(), Ok(&uri));
    }
    // Whoever writes the configuration may name any file; the fuzzer shall not read this machine's.
    let files =
        ["plugin_dirs", "profile_dirs", "analysis_dir", "keys", "server_public_key", "trust_anchors", "certificate"];
    if files.iter().any(|key| text.contains(key)) {
        return;
    }
    write(&*FILE, text).expect("the temporary directory is writable");
    match Config::read(&FILE) {
        Ok(config) => assert!(!config.radios.is_empty() && !config.servers.is_empty()),
        Err(errors) => {
            assert!(!errors.0.is_empty() && !errors.to_string().is_empty());
            shows_no_key(text, &errors.to_string());
        }
    }
}

/// Keys are often pasted into the wrong file: 32 hex digits in a row are in no error.
fn shows_no_key(text: &str, said: &str) {
    let rows = text.split(|c: char| !c.is_ascii_hexdigit()).filter(|row| row.len() >= 32);
    for row in rows {
        assert!(!said.contains(row), "a key of the text is in the error");
    }
}
