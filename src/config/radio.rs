//! Radios: name, plugin, and settings that only the plugin understands.

use super::document::At;
use super::error::ConfigError;
use super::file::{self, Layers, Settings};
use super::{Checker, Radio};
use lpwad_lorawan::Region;
use serde_json::Value;
use std::path::Path;

/// Most radios of one gateway; one more is refused when the configuration is read.
const MAX_RADIOS: usize = 255;

impl Checker<'_> {
    pub(super) fn radios(&mut self) -> Vec<Radio> {
        let mut radios = Vec::new();
        for raw in self.layers.radios.clone() {
            let Some(name) = raw.name else {
                self.missing("radio.name", "a [[radio]] has no name", "name = \"roof\"");
                continue;
            };
            self.not_empty(&name, "radio.name", "name = \"roof\": events and `lpwad status` tell radios by it");
            let Some(plugin) = raw.plugin else {
                self.refuse(&name, "radio.plugin", "is missing", "plugin = \"lora-serial\"");
                continue;
            };
            if let Some(at) = raw.attach.filter(|at| at.value != "spawn") {
                self.refuse(&at, "radio.attach", format!("\"{}\" is not supported", at.value), "attach = \"spawn\"");
            }
            let settings = raw.settings.as_ref().map(|at| at.value.clone()).unwrap_or_default();
            // Another type than text is refused by what the plugin declares.
            let named = settings.iter().find(|(key, _)| key.get_ref() == "region");
            if let Some((key, other)) = named.and_then(|(key, value)| Some((key, value.as_str()?)))
                && other != "EU868"
            {
                let at = raw.settings.as_ref().map_or(name.here(), |at| at.inside(key.span().start));
                let problem = format!("\"{other}\" is not supported");
                self.refuse(&at, "radio.settings.region", problem, "region = \"EU868\"");
            }
            match serde_json::to_value(plain(settings)) {
                Ok(Value::Object(settings)) => {
                    radios.push(Radio { name: name.value, plugin: plugin.value, region: Region::Eu868, settings });
                }
                _ => self.refuse(&name, "radio.settings", "cannot be handed to a plugin as JSON", "use plain values"),
            }
        }
        if self.layers.radios.is_empty() {
            self.missing("radio", "there is no [[radio]]", "add one with name, plugin and settings");
        }
        if radios.len() > MAX_RADIOS {
            self.missing("radio", &format!("more than {MAX_RADIOS} radios"), "run a second gateway");
        }
        radios
    }
}

fn plain(settings: Settings) -> toml::Table {
    settings.into_iter().map(|(key, value)| (key.into_inner(), value)).collect()
}

/// Where radios stand in the files of a configuration, to name what is found when their plugins are known.
pub struct RadioPlaces(Layers);

impl RadioPlaces {
    /// Reads the configuration at `path` once more; of one that cannot be read any more no place is known.
    #[must_use]
    pub fn read(path: &Path) -> RadioPlaces {
        RadioPlaces(file::read(path).unwrap_or_default())
    }

    /// An error of the radio of this name, at `key` (`plugin`, `settings` or `settings.NAME`) or as near as possible.
    #[must_use]
    pub fn error(&self, radio: &str, key: &str, problem: impl Into<String>) -> ConfigError {
        let named = |raw: &&file::Radio| raw.name.as_ref().is_some_and(|name| name.value == radio);
        let raw = self.0.radios.iter().find(named);
        let setting = || {
            let (at, name) = (raw?.settings.as_ref()?, key.strip_prefix("settings.")?);
            let (key, _) = at.value.iter().find(|(key, _)| key.get_ref() == name)?;
            Some(at.inside(key.span().start))
        };
        let settings = || raw?.settings.as_ref().filter(|_| key.starts_with("settings")).map(At::here);
        let plugin = || raw?.plugin.as_ref().filter(|_| key == "plugin").map(At::here);
        let at = setting().or_else(plugin).or_else(settings).or_else(|| raw?.name.as_ref().map(At::here));
        let key = format!("radio.{key}");
        match at {
            Some(at) => self.0.sources.error(&at, &key, problem),
            None => ConfigError { key: Some(key), ..ConfigError::file(Path::new(radio), problem) },
        }
    }
}
