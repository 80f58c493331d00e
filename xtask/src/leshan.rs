//! The harness around Eclipse Leshan: built by Maven, only when its sources changed.

use crate::Places;
use crate::step::{Failure, run};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// Builds `tests/interop/leshan` if its sources are newer than the last build.
pub(crate) fn build(places: &Places) -> Result<(), Failure> {
    let project = places.root.join("tests/interop/leshan");
    let target = project.join("target");
    // The time of a file of ours: Maven does not touch a jar whose content stays the same.
    let built = target.join("built");
    let last = modified(&built).filter(|_| target.join("leshan-harness.jar").is_file() && target.join("lib").is_dir());
    let sources = [project.join("pom.xml"), project.join("src")];
    if last.is_some() && sources.iter().filter_map(|path| newest(path)).max() <= last {
        eprintln!("    up to date");
        return Ok(());
    }
    run(Command::new("mvn").args(["-q", "-B", "-f"]).arg(&project).arg("package")).map_err(|failure| {
        Failure::failed(format!("{}\n  the first run fetches Leshan from Maven Central", failure.message))
    })?;
    fs::write(&built, "").map_err(|error| Failure::failed(format!("{}: {error}", built.display())))
}

/// Time of the newest file under `path`.
fn newest(path: &Path) -> Option<SystemTime> {
    let below = fs::read_dir(path).ok().into_iter().flatten().filter_map(|entry| newest(&entry.ok()?.path())).max();
    below.max(modified(path))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
