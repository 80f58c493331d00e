//! Where the keys of a node are: a file, a credential of systemd, or the sealed store.

use super::document::At;
use super::error::ConfigError;
use super::file::Layers;
use super::private_file::Origin;
use super::{keys, path_of_credential};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Name of the key file beside the configuration.
const DEFAULT_FILE: &str = "keys.toml";

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// `file:PATH`
    File(PathBuf),
    /// `credential:NAME`, as a path.
    Credential(PathBuf),
    /// `store`: imported by `lpwad key import`.
    Store,
}

/// A key file in the sealed store: its name for people, and its text, empty if nothing was imported yet.
pub type Sealed = (PathBuf, Zeroizing<String>);

/// What only the shell knows. Both take the state directory that the configuration names.
pub struct Outside<'a> {
    /// Opens the sealed store.
    pub sealed: &'a dyn Fn(Option<&Path>) -> Result<Sealed, ConfigError>,
    /// The user that lpwad runs as, if that is known.
    pub user: &'a dyn Fn(Option<&Path>) -> Option<u32>,
}

impl Place {
    /// The key file beside the configuration.
    #[must_use]
    pub fn default_in(home: &Path) -> Place {
        Place::File(home.join(DEFAULT_FILE))
    }

    /// The place that `node.keys` names, relative to the file in which that stands; without one the key file in `home`.
    pub(super) fn of(keys: Option<&At<String>>, layers: &Layers, home: &Path) -> Result<Place, ConfigError> {
        let Some(at) = keys else { return Ok(Place::default_in(home)) };
        let refuse = |problem: &str, hint: &str| layers.sources.error(at, "node.keys", problem).hint(hint);
        match at.value.split_once(':') {
            Some(("file", name)) if !name.is_empty() => {
                Ok(Place::File(layers.sources.file(at).parent().unwrap_or(home).join(name)))
            }
            Some(("credential", name)) if !name.is_empty() && !name.contains('/') => {
                path_of_credential(name).map(Place::Credential).ok_or_else(|| {
                    let hint = "set LoadCredential= in the unit, or use keys = \"file:/etc/lpwad/keys.toml\"";
                    refuse("there are no systemd credentials in this process", hint)
                })
            }
            None if at.value == "store" => Ok(Place::Store),
            _ => {
                let hint = "keys = \"file:/etc/lpwad/keys.toml\", \"credential:NAME\" or \"store\"";
                Err(refuse("is not of a known form", hint))
            }
        }
    }

    /// The text of the key file in this place. `state_dir` is the one that the configuration names.
    ///
    /// # Errors
    /// It cannot be read, or others could read it.
    pub fn text(&self, outside: &Outside<'_>, state_dir: Option<&Path>) -> Result<Sealed, ConfigError> {
        match self {
            Place::Store => (outside.sealed)(state_dir),
            Place::File(path) | Place::Credential(path) => {
                Ok((path.clone(), keys::text(path, self.origin((outside.user)(state_dir)))?))
            }
        }
    }

    /// How strictly files are examined that a key file in this place names; `user` is the one that lpwad runs as, if that
    /// is known.
    #[must_use]
    pub fn origin(&self, user: Option<u32>) -> Origin {
        match self {
            Place::Credential(_) => Origin::Credential,
            Place::File(_) | Place::Store => Origin::File { user },
        }
    }
}
