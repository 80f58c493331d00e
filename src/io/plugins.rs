//! Plugins on disk: a directory with `plugin.toml` and an executable.

use crate::config::{ConfigError, Secrecy, parse, read_text};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where plugins are looked for, before the directory beside the daemon's executable and those of the configuration.
const DIRS: [&str; 2] = ["/usr/lib/lpwad/plugins", "/etc/lpwad/plugins"];

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

/// A setting that a plugin understands.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// `string`, `integer`, `number`, `boolean`, `path` or `list`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it must be there.
    #[serde(default)]
    pub required: bool,
    /// Its unit, if it has one.
    #[serde(default)]
    pub unit: String,
    /// What holds without it.
    pub default: Option<toml::Value>,
    /// What it can be, if that is a short list.
    #[serde(default)]
    pub values: Vec<toml::Value>,
    /// One line of help.
    #[serde(default)]
    pub help: String,
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

/// Finds the plugin `name`.
///
/// # Errors
/// There is none, its manifest is wrong, it is of another kind or protocol, or others could change its files.
pub fn find(name: &str, more_dirs: &[PathBuf]) -> Result<Plugin, ConfigError> {
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(|dir| dir.join("plugins")));
    let dirs: Vec<PathBuf> = DIRS.iter().map(PathBuf::from).chain(beside).chain(more_dirs.iter().cloned()).collect();
    // The last directory wins, so that a configuration can name its own.
    for dir in dirs.iter().rev() {
        let manifest = dir.join(name).join("plugin.toml");
        if manifest.is_file() {
            return read(&manifest, name);
        }
    }
    let searched = dirs.iter().map(|dir| dir.join(name).display().to_string()).collect::<Vec<_>>().join(", ");
    let problem = format!("there is no plugin \"{name}\"");
    Err(ConfigError { key: Some("radio.plugin".into()), ..ConfigError::file(name, problem) }
        .hint(format!("searched: {searched}")))
}

fn read(path: &Path, name: &str) -> Result<Plugin, ConfigError> {
    let fail = |key: &str, problem: String| ConfigError { key: Some(key.into()), ..ConfigError::file(path, problem) };
    let manifest: Manifest = parse(path, &read_text(path)?, Secrecy::Public)?;
    if manifest.name != name {
        return Err(fail("name", format!("is \"{}\", but the directory is \"{name}\"", manifest.name)));
    }
    if manifest.protocol != "1" || manifest.kind != "lora-phy" {
        return Err(fail("kind", "this version runs plugins of kind lora-phy, protocol 1".into()));
    }
    if manifest.exec.is_empty() || manifest.exec.contains('/') {
        return Err(fail("exec", "is not the name of a file in the same directory".into()));
    }
    let exec = path.with_file_name(&manifest.exec);
    for file in [path, &exec] {
        let meta = std::fs::metadata(file).map_err(|error| fail("exec", format!("{}: {error}", file.display())))?;
        if meta.uid() != 0 && meta.uid() != nix::unistd::geteuid().as_raw() {
            return Err(fail("exec", format!("{} belongs neither to root nor to this user", file.display())));
        }
        if meta.mode() & 0o022 != 0 {
            return Err(fail("exec", format!("{} can be written by others", file.display())).hint("chmod go-w"));
        }
    }
    Ok(Plugin { name: manifest.name, exec, needs: manifest.needs, help: manifest.help, settings: manifest.settings })
}

/// What is wrong with a radio's `settings` by the plugin's own manifest: unknown names, missing ones.
pub fn settings_problems(plugin: &Plugin, settings: &serde_json::Map<String, serde_json::Value>) -> Vec<String> {
    let unknown = settings.keys().filter(|name| !plugin.settings.contains_key(*name)).map(|name| {
        let known = plugin.settings.keys().map(String::as_str);
        match crate::config::error::nearest(name, known) {
            Some(near) => {
                format!("plugin {} does not know the setting \"{name}\": did you mean \"{near}\"?", plugin.name)
            }
            None => format!("plugin {} does not know the setting \"{name}\"", plugin.name),
        }
    });
    let missing = plugin.settings.iter().filter(|(name, setting)| setting.required && !settings.contains_key(*name));
    let missing =
        missing.map(|(name, setting)| format!("plugin {} needs the setting \"{name}\": {}", plugin.name, setting.help));
    unknown.chain(missing).collect()
}
