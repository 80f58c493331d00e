//! Lays the plugins out as an installed system has them: one directory each, with `plugin.toml` and the executable,
//! beside the programs. The daemon looks there, and runs nothing that others could write.

use crate::Places;
use crate::step::Failure;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Plugins that are for tests, and are not laid out for anything else.
const FOR_TESTS: [&str; 1] = ["stress"];

/// Stages every directory under `plugins` that has a `plugin.toml`; those for tests too, if they are wanted.
pub(crate) fn stage(places: &Places, release: bool, for_tests: bool) -> Result<(), Failure> {
    let programs = places.programs(release);
    for dir in directories(&places.root.join("plugins"))? {
        let manifest = dir.join("plugin.toml");
        if !manifest.is_file() {
            continue;
        }
        if !for_tests && FOR_TESTS.iter().any(|name| dir.ends_with(name)) {
            continue;
        }
        let text = fs::read_to_string(&manifest).map_err(|error| at(&manifest, &error))?;
        let (Some(name), Some(exec)) = (value(&text, "name"), value(&text, "exec")) else {
            return Err(Failure::failed(format!("{}: name or exec is missing", manifest.display())));
        };
        // A script lies beside its manifest, a program of the workspace among cargo's.
        let source = [dir.join(exec), programs.join(exec)].into_iter().find(|file| file.is_file());
        let Some(source) = source else {
            let hint = if release { "cargo xtask build --release" } else { "cargo xtask build" };
            return Err(Failure::failed(format!("plugin {name}: {exec} is not built yet: {hint}")));
        };
        let target = programs.join("plugins").join(name);
        fs::create_dir_all(&target).map_err(|error| at(&target, &error))?;
        put(&manifest, &target.join("plugin.toml"), 0o644)?;
        put(&source, &target.join(exec), 0o755)?;
        eprintln!("    {}", target.display());
    }
    Ok(())
}

/// The text of `key = "text"` at the top of a manifest, before its first table.
fn value<'a>(manifest: &'a str, key: &str) -> Option<&'a str> {
    let top = manifest.lines().map(str::trim).take_while(|line| !line.starts_with('['));
    let mut values = top.filter_map(|line| line.split_once('=')).filter(|(name, _)| name.trim() == key);
    values.next()?.1.split('"').nth(1).filter(|text| !text.is_empty() && !text.contains('/'))
}

/// Copies a file under another name first, so that a plugin that runs keeps its old file.
fn put(from: &Path, to: &Path, mode: u32) -> Result<(), Failure> {
    let new = to.with_file_name(".new");
    let copy = || {
        fs::copy(from, &new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(mode))?;
        fs::rename(&new, to)
    };
    copy().map_err(|error| at(to, &error))
}

fn directories(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(dir).map_err(|error| at(dir, &error))?;
    let mut found: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    found.sort();
    Ok(found)
}

fn at(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn values_are_those_before_the_first_table() {
        let text = "# a comment\nname = \"x\"   # y\nkind=\"lora-phy\"\n[settings.exec]\nexec = \"no\"\n";
        assert_eq!(value(text, "name"), Some("x"));
        assert_eq!(value(text, "kind"), Some("lora-phy"));
        assert_eq!(value(text, "exec"), None);
        assert_eq!(value("exec = \"../x\"", "exec"), None, "an executable lies in the plugin's own directory");
    }
}
