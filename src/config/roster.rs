//! Which nodes there are and where their keys belong, also while keys are missing and the configuration cannot be run.

use super::document::At;
use super::error::ConfigErrors;
use super::place::Place;
use super::server::PskIdentity;
use super::{ConfigError, endpoint, file};
use lpwad_lorawan::DevEui;
use std::path::{Path, PathBuf};

/// The nodes of a configuration.
#[derive(Debug)]
pub struct Roster {
    /// The state directory that it names.
    pub state_dir: Option<PathBuf>,
    /// In the order of the files.
    pub nodes: Vec<Listed>,
    home: PathBuf,
}

/// A node as the configuration lists it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its DevEUI.
    pub dev_eui: DevEui,
    /// Its endpoint name.
    pub endpoint: String,
    /// Name of its server; `None` if there is none.
    pub server: Option<String>,
    /// What identity a new key gets.
    pub psk_identity: PskIdentity,
    /// Where its keys belong.
    pub place: Result<Place, ConfigError>,
}

impl Roster {
    /// Reads the configuration at `path` only as far as it says which nodes there are. A node without a good DevEUI is
    /// passed over: `lpwad check` names it.
    ///
    /// # Errors
    /// A file cannot be read or is no configuration.
    pub fn read(path: &Path) -> Result<Roster, ConfigErrors> {
        let layers = file::read(path)?;
        let home = path.parent().unwrap_or(Path::new(".")).to_path_buf();
        let name_of = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
        let listed = |raw: &file::Node| {
            let dev_eui = raw.dev_eui.as_ref()?.value.parse::<DevEui>().ok()?;
            let server = match (name_of(&raw.server), layers.servers.as_slice()) {
                (Some(name), servers) => servers.iter().find(|server| name_of(&server.name).as_ref() == Some(&name)),
                (None, [server]) => Some(server),
                _ => None,
            };
            let by_endpoint =
                server.and_then(|server| server.psk_identity.as_ref()).is_some_and(|at| at.value == "endpoint");
            Some(Listed {
                dev_eui,
                endpoint: endpoint(dev_eui, raw.endpoint.as_ref().map(|at| at.value.as_str())),
                server: server.and_then(|server| name_of(&server.name)),
                psk_identity: if by_endpoint { PskIdentity::Endpoint } else { PskIdentity::Random },
                place: Place::of(raw.keys.as_ref(), &layers, &home),
            })
        };
        let nodes = layers.nodes.iter().filter_map(listed).collect();
        let state_dir = layers.gateway.state_dir.as_ref().map(|at| home.join(&at.value));
        Ok(Roster { state_dir, nodes, home })
    }

    /// The node of this DevEUI or endpoint name. A DevEUI that is not listed yet has its keys in the default key file.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Listed> {
        let dev_eui = name.parse::<DevEui>().ok();
        let listed = self.nodes.iter().find(|node| Some(node.dev_eui) == dev_eui || node.endpoint == name);
        listed.cloned().or_else(|| {
            let dev_eui = dev_eui?;
            Some(Listed {
                dev_eui,
                endpoint: endpoint(dev_eui, None),
                server: None,
                psk_identity: PskIdentity::Random,
                place: Ok(Place::default_in(&self.home)),
            })
        })
    }

    /// Whether the configuration lists this node.
    #[must_use]
    pub fn lists(&self, dev_eui: DevEui) -> bool {
        self.nodes.iter().any(|node| node.dev_eui == dev_eui)
    }
}
