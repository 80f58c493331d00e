//! `lpwad check`: everything that `run` would read, read once, and what would come of it.

use super::exit;
use crate::config::{ConfigError, ConfigErrors};
use crate::io::Clock;
use crate::io::keys::Keys;
use crate::io::run::state_dir;
use crate::io::sealed_keys;
use crate::io::{library, plugins};
use crate::policy::{Analyses, Verdict, decide};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

pub(super) fn check(path: &Path, state: Option<&Path>, json: bool) -> ExitCode {
    let report = match examine(path, state) {
        Ok(report) => report,
        Err(errors) => {
            if json {
                let entry = |error: &ConfigError| {
                    json!({
                        "file": error.file.display().to_string(),
                        "line": error.line,
                        "key": error.key,
                        "problem": error.problem,
                        "hint": error.hint,
                    })
                };
                println!("{}", json!({ "ok": false, "errors": errors.0.iter().map(entry).collect::<Vec<_>>() }));
            } else {
                eprintln!("lpwad: {errors}");
            }
            return exit::CONFIG.into();
        }
    };
    if json {
        println!("{}", report.json);
    } else {
        print!("{}", report.text);
    }
    ExitCode::SUCCESS
}

struct Report {
    json: serde_json::Value,
    text: String,
}

fn examine(path: &Path, state: Option<&Path>) -> Result<Report, ConfigErrors> {
    let config = sealed_keys::read_config(path, state)?;
    let analyses = Analyses::read(&config.analysis_dir)?;
    let mut warnings = config.warnings.clone();
    let mut errors = Vec::new();
    for radio in &config.radios {
        match plugins::find(&radio.plugin, &config.plugin_dirs) {
            Ok(plugin) => {
                for problem in plugins::settings_problems(&plugin, &radio.settings) {
                    warnings.push(format!("radio {}: {problem}", radio.name));
                }
            }
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    warnings.extend(Keys::problems(&config).into_iter().map(|(node, problem)| format!("node {node}: {problem}")));
    warnings.extend(library::warning(Clock::start().now().unix_ms));
    warnings.extend(analyses.invalid.iter().map(|invalid| invalid.error.clone()));
    let unix_ms = Clock::start().now().unix_ms;
    let decided: Vec<Verdict> = config.servers.iter().map(|server| decide(server, &analyses, unix_ms)).collect();
    for node in config.nodes.iter().filter(|node| node.credential.is_none()) {
        if let Some(Verdict::Dtls { .. }) = decided.get(node.server) {
            let node = node.dev_eui;
            warnings.push(format!(
                "node {node}: its server asks for DTLS, and it has no key for that: `lpwad key new {node}`"
            ));
        }
    }
    let verdicts: Vec<(String, String)> = config
        .servers
        .iter()
        .zip(&decided)
        .map(|(server, verdict)| match verdict {
            Verdict::Nosec { analysis, .. } => (server.name.clone(), format!("NoSec, by analysis {analysis}")),
            Verdict::Dtls { reason } => (server.name.clone(), format!("DTLS: {reason}")),
            Verdict::Refuse { reason } => (server.name.clone(), format!("no session: {reason}")),
        })
        .collect();
    let state_dir = state_dir(state, config.state_dir.as_deref());
    let json = json!({
        "ok": true,
        "nodes": config.nodes.len(),
        "radios": config.radios.iter().map(|radio| &radio.name).collect::<Vec<_>>(),
        "servers": verdicts.iter().map(|(name, verdict)| json!({ "name": name, "verdict": verdict })).collect::<Vec<_>>(),
        "state_dir": state_dir.display().to_string(),
        "warnings": warnings,
    });
    let mut text = format!("{}: ok\n", path.display());
    text +=
        &format!("  {} nodes, {} radios, state in {}\n", config.nodes.len(), config.radios.len(), state_dir.display());
    for (name, verdict) in &verdicts {
        text += &format!("  server {name}: {verdict}\n");
    }
    for warning in &warnings {
        text += &format!("  warning: {warning}\n");
    }
    Ok(Report { json, text })
}
