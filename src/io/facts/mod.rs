//! What is seen of this host, for the policy. Everything here may take its time, so it runs on a thread ([`watch`]).

mod clock;
pub mod directory;
pub mod file;
mod port;
pub mod watch;
pub mod wireguard;

use super::plugins::Plugin;
use crate::config::Radio;
use crate::gateway::event::{Event, Kind};
use crate::policy::facts::Facts;
use port::Port;
use std::path::{Path, PathBuf};

/// The only user whose fact files are believed.
const ROOT: u32 = 0;

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Look {
    /// Directory of fact files.
    pub facts_dir: PathBuf,
    /// Devices of the radios.
    ports: Vec<Port>,
    /// The process whose children may have them open. `None`: nobody is asked who has.
    daemon: Option<u32>,
}

/// What was seen.
#[derive(Debug)]
pub struct Looked {
    /// Facts.
    pub facts: Facts,
    /// What people should know: files that are not believed, ports that others can reach. The same events as long as nothing
    /// changes.
    pub troubles: Vec<Event>,
}

impl Look {
    /// For this process as the one that runs the plugins.
    #[must_use]
    pub fn by_daemon(facts_dir: &Path) -> Look {
        Look { daemon: Some(std::process::id()), ..Look::by_other(facts_dir) }
    }

    /// For a process that only asks: it cannot tell whose the plugins are that have the ports open.
    #[must_use]
    pub fn by_other(facts_dir: &Path) -> Look {
        Look { facts_dir: facts_dir.into(), ports: Vec::new(), daemon: None }
    }

    /// Adds the devices of a radio: its settings that the plugin declares as paths.
    pub fn add(&mut self, radio: &Radio, plugin: &Plugin) {
        if plugin.needs.iter().any(|need| need == "device") {
            let paths = plugin.settings.iter().filter(|(_, setting)| setting.kind == "path");
            let paths = paths.filter_map(|(name, _)| radio.settings.get(name)?.as_str());
            self.ports.extend(paths.map(|path| Port { radio: radio.name.clone(), path: path.into() }));
        }
    }

    /// Looks, at `unix_ms` (`None`: the clock is not trusted).
    #[must_use]
    pub fn look(&self, unix_ms: Option<u64>) -> Looked {
        let (mut seen, refused) = directory::read(&self.facts_dir, ROOT, unix_ms.map(|ms| ms / 1000));
        let (ports, exposed) = port::look(&self.ports, self.daemon, Path::new("/proc"));
        seen.extend(ports);
        let refused = refused
            .into_iter()
            .map(|one| Event::new(Kind::FactFileRefused).with("path", one.path.display()).with("reason", one.reason));
        let exposed =
            exposed.into_iter().map(|one| Event::new(Kind::PortExposed).radio(&one.radio).with("reason", one.reason));
        let facts = Facts { clock_synchronised: clock::synchronised(), seen, ..Facts::default() };
        Looked { facts, troubles: refused.chain(exposed).collect() }
    }
}
