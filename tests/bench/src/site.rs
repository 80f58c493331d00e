//! A site of nodes with fixed addresses and session keys (activation by personalisation), each with a pre-shared key, and the
//! frames that they send. What is a node's follows from its number.

use crate::Failure;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Which key of a node.
#[derive(Clone, Copy)]
enum Use {
    Network,
    Application,
    Psk,
    Join,
}

/// Sixteen bytes that look random and are the same in each run.
fn key(n: usize, of: Use) -> [u8; 16] {
    let mut state = (n as u64) << 8 | of as u64;
    let mut next = || {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    };
    (u128::from(next()) << 64 | u128::from(next())).to_be_bytes()
}

/// DevEUI of a node.
#[must_use]
pub fn eui(n: usize) -> String {
    format!("70b3d57ed1{n:06x}")
}

/// DevAddr of a node, most significant byte first.
#[must_use]
pub fn dev_addr(n: usize) -> [u8; 4] {
    (0x0100_0000 | n as u32).to_be_bytes()
}

/// PSK identity of a node.
#[must_use]
pub fn identity(n: usize) -> String {
    format!("id-{n:05}")
}

/// The key that belongs to an identity.
#[must_use]
pub fn psk(identity: &[u8]) -> Option<[u8; 16]> {
    let n = std::str::from_utf8(identity).ok()?.strip_prefix("id-")?.parse().ok()?;
    Some(key(n, Use::Psk))
}

/// An unconfirmed uplink at port 1, made with foreign code.
pub fn frame(n: usize, counter: u32, payload: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut creator = lorawan::creator::DataPayloadCreator::<_, lorawan::default_crypto::DefaultFactory>::new();
    let mut address = dev_addr(n);
    address.reverse();
    creator.set_uplink(true).set_confirmed(false).set_f_port(1).set_dev_addr(address).set_fcnt(counter);
    let (network, application) = (key(n, Use::Network), key(n, Use::Application));
    let frame = creator.build(payload, &[], &network.into(), &application.into());
    Ok(frame.map_err(|error| format!("a frame cannot be made: {error:?}"))?.to_vec())
}

/// How a site is configured.
pub struct Setup<'a> {
    /// Nodes.
    pub nodes: usize,
    /// So many of them, the last ones, join over the air.
    pub joining: usize,
    /// Port of the DTLS server on loopback.
    pub port: u16,
    /// `settings` of the radio's plugin, as TOML.
    pub settings: &'a str,
    /// DTLS sessions that may be live.
    pub live: usize,
}

/// A directory with the configuration of a site.
pub struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    /// An empty directory.
    pub fn new() -> Result<Site, Failure> {
        Ok(Site { dir: tempfile::tempdir()? })
    }

    /// A file of it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes configuration and keys.
    pub fn configure(&self, setup: &Setup<'_>) -> Result<(), Failure> {
        let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins").canonicalize()?;
        let Setup { nodes, joining, port, settings, live } = setup;
        let mut config = format!(
            "[gateway]\nplugin_dirs = [\"{}\"]\ndtls_live_sessions = {live}\n[[radio]]\nname = \"roof\"\n\
             plugin = \"example-python\"\nsettings = {settings}\n[[server]]\nname = \"site\"\n\
             secure_uri = \"coaps://127.0.0.1:{port}\"\n",
            plugins.display()
        );
        let mut keys = String::new();
        let hex = lpwad_link::hex::encode;
        for n in 0..*nodes {
            let (eui, address) = (eui(n), hex(&dev_addr(n)));
            config += &format!("[[node]]\ndev_eui = \"{eui}\"\nprofile = \"cayenne-lpp\"\n");
            keys += &format!("[\"{eui}\"]\npsk_identity = \"{}\"\npsk = \"{}\"\n", identity(n), hex(&key(n, Use::Psk)));
            if n + joining >= *nodes {
                keys += &format!("app_key = \"{}\"\n", hex(&key(n, Use::Join)));
            } else {
                config += &format!("activation = \"abp\"\ndev_addr = \"{address}\"\n");
                let (network, application) = (hex(&key(n, Use::Network)), hex(&key(n, Use::Application)));
                keys += &format!("nwk_s_key = \"{network}\"\napp_s_key = \"{application}\"\n");
            }
        }
        self.write("lpwad.toml", &config)?;
        self.write("keys.toml", &keys)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(self.path(name))?;
        Ok(file.write_all(text.as_bytes())?)
    }
}
