//! Refuses an OpenSSL that lacks raw public keys (RFC 7250), with what to do instead.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let version = std::env::var("DEP_OPENSSL_VERSION_NUMBER").unwrap_or_default();
    let number = u64::from_str_radix(&version, 16).unwrap_or_default();
    assert!(
        number >= 0x3020_0000,
        "lpwad-dtls needs OpenSSL 3.2 or newer, but found version number {version:?}: install a newer libssl-dev, or \
         build with the feature `vendored`"
    );
}
