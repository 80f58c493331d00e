//! Plugins on disk: a directory with `plugin.toml` and an executable.

use super::settings::{Setting, mistakes};
use crate::config::error::nearest;
use crate::config::{Config, ConfigError, ConfigErrors, Radio, RadioPlaces, Secrecy, parse, read_text};
use serde::Deserialize;
use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where plugins are looked for, before the directory beside the daemon's executable and those of the configuration.
const DIRS: [&str; 2] = ["/usr/lib/lpwad/plugins", "/etc/lpwad/plugins"];
/// What says that a directory is a plugin.
const MANIFEST: &str = "plugin.toml";

/// `plugin.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    exec: String,
    kind: String,
    protocol: String,
    #[serde(default)]
    help: String,
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default)]
    settings: BTreeMap<String, Setting>,
}

/// A plugin that may be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plugin {
    /// Its name.
    pub name: String,
    /// Its executable.
    pub exec: PathBuf,
    /// What it needs: `device`, `network`.
    pub needs: Vec<String>,
    /// One line for people.
    pub help: String,
    /// Settings that it understands, by name.
    pub settings: BTreeMap<String, Setting>,
}

/// The plugins of all radios of a configuration, read from `path`, in their order.
///
/// # Errors
/// For every radio what keeps it from working: no plugin of this name, or one that may not be run; settings that the plugin
/// cannot take; a port that another radio has.
pub fn of_radios(config: &Config, path: &Path) -> Result<Vec<Plugin>, ConfigErrors> {
    let (mut plugins, mut errors) = (Vec::new(), Vec::new());
    let mut ports: BTreeMap<PathBuf, &str> = BTreeMap::new();
    let places = LazyCell::new(|| RadioPlaces::read(path));
    for radio in &config.radios {
        let plugin = match find(&radio.plugin, &config.plugin_dirs) {
            Ok(Some(plugin)) => plugin,
            Ok(None) => {
                let problem = format!("there is no plugin \"{}\"", radio.plugin);
                let hint = not_found(&radio.plugin, &config.plugin_dirs);
                errors.push(places.error(&radio.name, "plugin", problem).hint(hint));
                continue;
            }
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        errors.extend(mistakes(&plugin.settings, &radio.settings).into_iter().map(|mistake| {
            places.error(&radio.name, &format!("settings.{}", mistake.setting), mistake.problem).hint(mistake.hint)
        }));
        for (setting, port) in plugin.ports(radio) {
            let port = port.canonicalize().unwrap_or(port);
            if let Some(other) = ports.insert(port, &radio.name).filter(|other| *other != radio.name) {
                let problem = format!("is the port of radio \"{other}\" too");
                let hint = "a port belongs to one radio: name another one, or remove one of the two";
                errors.push(places.error(&radio.name, &format!("settings.{setting}"), problem).hint(hint));
            }
        }
        plugins.push(plugin);
    }
    errors.sort_by_key(|error: &ConfigError| error.line);
    if errors.is_empty() { Ok(plugins) } else { Err(ConfigErrors(errors)) }
}

impl Plugin {
    /// Devices that a radio names in its settings, with the names of these.
    pub fn ports(&self, radio: &Radio) -> Vec<(&str, PathBuf)> {
        if !self.needs.iter().any(|need| need == "device") {
            return Vec::new();
        }
        let paths = self.settings.iter().filter(|(_, setting)| setting.kind == "path");
        paths.filter_map(|(name, _)| Some((name.as_str(), radio.settings.get(name)?.as_str()?.into()))).collect()
    }
}

/// Where plugins are looked for; the last directory wins, so that a configuration can name its own.
fn dirs(more_dirs: &[PathBuf]) -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(|dir| dir.join("plugins")));
    DIRS.iter().map(PathBuf::from).chain(beside).chain(more_dirs.iter().cloned()).collect()
}

/// Finds the plugin `name`, if there is one.
fn find(name: &str, more_dirs: &[PathBuf]) -> Result<Option<Plugin>, ConfigError> {
    let manifests = dirs(more_dirs).into_iter().rev().map(|dir| dir.join(name).join(MANIFEST));
    manifests.into_iter().find(|manifest| manifest.is_file()).map(|manifest| read(&manifest, name)).transpose()
}

/// What to do if there is no plugin `name`.
fn not_found(name: &str, more_dirs: &[PathBuf]) -> String {
    let dirs = dirs(more_dirs);
    let entries = dirs.iter().flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten());
    let known = entries.filter(|entry| entry.path().join(MANIFEST).is_file());
    let known: BTreeSet<String> = known.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let searched = dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ");
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean \"{near}\"? searched: {searched}"),
        None if known.is_empty() => format!("there is no plugin at all; searched: {searched}"),
        None => format!("known plugins: {}; searched: {searched}", known.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

fn fail(path: &Path, key: &str, problem: String) -> ConfigError {
    ConfigError { key: Some(key.into()), ..ConfigError::file(path, problem) }
}

/// A plugin as the text of its manifest at `path`, in a directory `name`, describes it; nothing is read.
///
/// # Errors
/// What cannot be understood, or keeps this version from running it.
pub fn parse_manifest(path: &Path, text: &str, name: &str) -> Result<Plugin, ConfigError> {
    let fail = |key: &str, problem: String| fail(path, key, problem);
    let manifest: Manifest = parse(path, text, Secrecy::Public)?;
    if manifest.name != name {
        return Err(fail("name", format!("is \"{}\", but the directory is \"{name}\"", manifest.name)));
    }
    if manifest.protocol != "1" || manifest.kind != "lora-phy" {
        return Err(fail("kind", "this version runs plugins of kind lora-phy, protocol 1".into()));
    }
    if manifest.exec.is_empty() || manifest.exec.contains('/') {
        return Err(fail("exec", "is not the name of a file in the same directory".into()));
    }
    if let Some((name, problem)) = manifest.settings.iter().find_map(|(name, one)| Some((name, one.own_mistake()?))) {
        return Err(fail(&format!("settings.{name}"), problem));
    }
    let exec = path.with_file_name(&manifest.exec);
    Ok(Plugin { name: manifest.name, exec, needs: manifest.needs, help: manifest.help, settings: manifest.settings })
}

fn read(path: &Path, name: &str) -> Result<Plugin, ConfigError> {
    let fail = |key: &str, problem: String| fail(path, key, problem);
    let plugin = parse_manifest(path, &read_text(path)?, name)?;
    for file in [path, &plugin.exec] {
        let meta = std::fs::metadata(file).map_err(|error| fail("exec", format!("{}: {error}", file.display())))?;
        if meta.uid() != 0 && meta.uid() != nix::unistd::geteuid().as_raw() {
            return Err(fail("exec", format!("{} belongs neither to root nor to this user", file.display())));
        }
        if meta.mode() & 0o022 != 0 {
            return Err(fail("exec", format!("{} can be written by others", file.display())).hint("chmod go-w"));
        }
    }
    Ok(plugin)
}
