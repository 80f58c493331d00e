//! `lpwad key`: keys of nodes. A key is shown where it must be, on standard output, and never taken from the command line.

mod change;
mod export;

use super::exit;
use crate::config::error::without_keys;
use crate::config::place::Sealed;
use crate::config::private_file::{Edit, user_of};
use crate::config::roster::{Listed, Roster};
use crate::config::{ConfigError, ConfigErrors, Outside, Place, keys};
use crate::io::run::state_dir;
use crate::io::sealed_keys;
use clap::Subcommand;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// What can be done with keys.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a random pre-shared key for DTLS and write it to where the node's keys are; print what the server needs.
    New {
        /// DevEUI or endpoint name.
        node: String,
        /// Identity, at most 128 bytes [default: as psk_identity of the server says: random, or the endpoint name].
        #[arg(long, value_name = "TEXT")]
        identity: Option<String>,
        /// Length of the key in bytes.
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u8).range(16..=64))]
        bytes: u8,
        /// Do not print the key; `lpwad key export --for-server NODE` does later.
        #[arg(long)]
        hide: bool,
    },
    /// Bring in a key from standard input: hex digits of a pre-shared key, or PEM of a private key, with its certificates or
    /// without.
    Import {
        /// DevEUI or endpoint name.
        node: String,
        /// Identity of a pre-shared key [default: the endpoint name, if psk_identity of the server says so].
        #[arg(long, value_name = "TEXT", conflicts_with = "app_key")]
        identity: Option<String>,
        /// The hex digits are the AppKey of LoRaWAN, not a key for DTLS.
        #[arg(long)]
        app_key: bool,
        /// Put it in the place of a key that is there.
        #[arg(long)]
        replace: bool,
    },
    /// Make a new pre-shared key in the place of the old one; print what the server needs.
    Rotate {
        /// DevEUI or endpoint name.
        node: String,
        /// A new random identity too, so that the server can know both keys for a while.
        #[arg(long)]
        new_identity: bool,
        /// Do not print the key; `lpwad key export --for-server NODE` does later.
        #[arg(long)]
        hide: bool,
    },
    /// Print keys in clear, for the server's side.
    Export(export::Arguments),
}

pub(super) fn run(command: &Command, config: &Path, state: Option<&Path>, json: bool) -> ExitCode {
    let keys = match Roster::read(config) {
        Ok(roster) => Keys { state_dir: state_dir(state, roster.state_dir.as_deref()), roster, json },
        Err(errors) => return super::fail(exit::CONFIG, &errors),
    };
    let done = match command {
        Command::New { node, identity, bytes, hide } => change::new(&keys, node, identity.as_deref(), *bytes, *hide),
        Command::Import { node, identity, app_key, replace } => {
            change::import(&keys, node, identity.as_deref(), *app_key, *replace)
        }
        Command::Rotate { node, new_identity, hide } => change::rotate(&keys, node, *new_identity, *hide),
        Command::Export(arguments) => export::run(&keys, arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, problem)) => super::fail(code, &problem),
    }
}

/// Exit code, and what is wrong.
struct Failure(u8, String);

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure(exit::CONFIG, ConfigErrors::from(error).to_string())
    }
}

/// The nodes, and where their keys are.
struct Keys {
    roster: Roster,
    state_dir: PathBuf,
    json: bool,
}

impl Keys {
    fn find(&self, name: &str) -> Result<Listed, Failure> {
        let Some(node) = self.roster.find(name) else {
            let hint = "`lpwad key` takes the DevEUI (16 hex digits) or the endpoint name of a [[node]]";
            return Err(Failure(exit::USAGE, format!("no node \"{}\"\n  hint: {hint}", without_keys(name))));
        };
        if !self.roster.lists(node.dev_eui) {
            eprintln!("lpwad: note: {} is no [[node]] of the configuration yet", node.dev_eui);
        }
        Ok(node)
    }

    /// The key file of a place; an empty one if there is none yet.
    fn text(&self, place: &Place) -> Result<Sealed, ConfigError> {
        match place {
            Place::File(path) if std::fs::symlink_metadata(path).is_err() => Ok((path.clone(), Zeroizing::default())),
            _ => {
                let sealed = |_: Option<&Path>| Ok((self.sealed_path(), sealed_keys::text(&self.state_dir)?));
                place.text(&Outside { sealed: &sealed, user: &|_| user_of(&self.state_dir) }, None)
            }
        }
    }

    fn sealed_path(&self) -> PathBuf {
        self.state_dir.join(crate::io::disk::SEALED_KEYS)
    }

    /// Changes the key file of a place; gives its name. Nobody else does at the same time.
    fn edit(
        &self,
        place: &Place,
        change: impl FnOnce(&Path, &str) -> Result<Zeroizing<String>, ConfigError>,
    ) -> Result<PathBuf, ConfigError> {
        match place {
            Place::Store => {
                sealed_keys::edit(&self.state_dir, change)?;
                Ok(self.sealed_path())
            }
            Place::File(path) => {
                let edit = Edit::begin(path, user_of(&self.state_dir))?;
                let (_, text) = self.text(place)?;
                edit.replace(change(path, &text)?.as_bytes())?;
                self.note_owner(path);
                Ok(path.clone())
            }
            Place::Credential(path) => Err(ConfigError::file(path, "a systemd credential is not changed by lpwad")
                .hint(
                    "change it where the unit takes it from (LoadCredential=), or say keys = \"store\" for this node",
                )),
        }
    }

    /// A file of root in a directory of root is none that a service of another user can read.
    fn note_owner(&self, path: &Path) {
        use std::os::unix::fs::MetadataExt;
        let owner = std::fs::metadata(path).map(|meta| meta.uid()).ok();
        if let (Some(0), Some(user)) = (owner, user_of(&self.state_dir))
            && user != 0
        {
            eprintln!(
                "lpwad: note: {0} belongs to root, and lpwad runs as user {user}: chown {user} {0}",
                path.display()
            );
        }
    }
}

/// What the server needs for one node.
struct ForServer<'a> {
    node: &'a Listed,
    identity: &'a [u8],
    key: Option<&'a [u8]>,
}

impl ForServer<'_> {
    fn json(&self) -> serde_json::Value {
        let (field, identity) = match std::str::from_utf8(self.identity) {
            Ok(text) => ("identity", text.to_string()),
            Err(_) => ("identity_hex", lpwad_link::hex::encode(self.identity)),
        };
        serde_json::json!({
            "endpoint": self.node.endpoint,
            "dev_eui": self.node.dev_eui.to_string(),
            "server": self.node.server,
            "mode": "psk",
            field: identity,
            "psk": self.key.map(lpwad_link::hex::encode),
        })
    }

    /// For people.
    fn text(&self) -> Zeroizing<String> {
        let identity = match std::str::from_utf8(self.identity) {
            Ok(text) => text.to_string(),
            Err(_) => format!("{} (hex)", lpwad_link::hex::encode(self.identity)),
        };
        let key = self.key.map_or_else(|| "(not shown)".into(), lpwad_link::hex::encode);
        Zeroizing::new(format!("endpoint  {}\nidentity  {identity}\nkey       {key}\n", self.node.endpoint))
    }
}

/// Writes to standard output. Unlike `println!` it reports when nobody reads it.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure(exit::IO, format!("standard output: {error}")))
}

/// The PSK of a node in a key file, with its identity.
fn psk_of(keys: &keys::NodeKeys) -> Option<(Option<&[u8]>, &[u8])> {
    match &keys.dtls {
        Some(keys::DtlsKeys::Psk { identity, key }) => Some((identity.as_deref(), key.expose())),
        _ => None,
    }
}
