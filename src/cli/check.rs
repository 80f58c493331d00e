//! `lpwad check`: everything that `run` would read, read once, and what would come of it.

use super::exit;
use crate::config::{Config, ConfigError, ConfigErrors, endpoint};
use crate::gateway::gate::facts_of;
use crate::io::Clock;
use crate::io::facts::Look;
use crate::io::keys::Keys;
use crate::io::run::state_dir;
use crate::io::sealed_keys;
use crate::io::{library, plugins, route};
use crate::policy::analyses::Analyses;
use crate::policy::date::Day;
use crate::policy::decide::{Case, Verdict, decide};
use crate::policy::facts::HostFacts;
use crate::policy::signature::Signers;
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
    // A start goes on without it, and without NoSec.
    config.analysis_signers.as_deref().map(Signers::read).transpose()?;
    let analyses = Analyses::read(&config.analysis_dir, config.analysis_signers.as_deref())?;
    let mut warnings = config.warnings.clone();
    let (mut errors, mut look) = (Vec::new(), Look::by_other(&config.facts_dir));
    for radio in &config.radios {
        match plugins::find(&radio.plugin, &config.plugin_dirs) {
            Ok(plugin) => {
                look.add(radio, &plugin);
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
    for node in config.nodes.iter().filter(|node| node.credential.is_none()) {
        let server = config.servers.get(node.server);
        if server.is_some_and(|server| server.secure_uri.is_some()) {
            let node = node.dev_eui;
            warnings.push(format!("node {node}: it has no key for DTLS with its server: `lpwad key new {node}`"));
        }
    }
    let verdicts = verdicts(&config, &analyses, &look, &mut warnings);
    let state_dir = state_dir(state, config.state_dir.as_deref());
    let json = json!({
        "ok": true,
        "nodes": config.nodes.len(),
        "radios": config.radios.iter().map(|radio| &radio.name).collect::<Vec<_>>(),
        "servers": verdicts.iter().map(|(name, verdict, nodes)| {
            json!({ "name": name, "verdict": verdict, "nodes": nodes })
        }).collect::<Vec<_>>(),
        "state_dir": state_dir.display().to_string(),
        "warnings": warnings,
    });
    let mut text = format!("{}: ok\n", path.display());
    text +=
        &format!("  {} nodes, {} radios, state in {}\n", config.nodes.len(), config.radios.len(), state_dir.display());
    for (name, verdict, nodes) in &verdicts {
        let nodes = if *nodes == 1 { "1 node".to_string() } else { format!("{nodes} nodes") };
        text += &format!("  server {name}, {nodes}: {verdict}\n");
    }
    for warning in &warnings {
        text += &format!("  warning: {warning}\n");
    }
    Ok(Report { json, text })
}

/// What would become of the sessions: server, verdict for people, and how many nodes it is for.
fn verdicts(
    config: &Config,
    analyses: &Analyses,
    look: &Look,
    warnings: &mut Vec<String>,
) -> Vec<(String, String, usize)> {
    let unix_ms = Clock::start().now().unix_ms;
    let (looked, today) = (look.look(unix_ms), unix_ms.map(Day::of_unix_ms));
    let host = HostFacts { facts: looked.facts, bearers: route::bearers(&route::asked_for(config)) };
    for trouble in &looked.troubles {
        let fields = trouble.fields.iter().map(|(_, text)| text.as_str());
        warnings.push(fields.collect::<Vec<_>>().join(" "));
    }
    let mut verdicts: Vec<(String, String, usize)> = Vec::new();
    for node in &config.nodes {
        let Some(server) = config.servers.get(node.server) else { continue };
        let endpoint = endpoint(node.dev_eui, node.endpoint.as_deref());
        let (credential, facts) = (node.dtls_mode(), facts_of(node, &host.towards(server)));
        let case = Case { endpoint: &endpoint, server, credential, facts: &facts, today, latched: None };
        let decision = decide(&case, analyses);
        let text = match decision.verdict {
            Verdict::Nosec => format!("NoSec, by analysis {}", decision.ids().join(", ")),
            Verdict::Dtls(mode) => format!("{}: {}", mode.verdict(), decision.reason),
            Verdict::Refuse => format!("no session: {}", decision.reason),
        };
        for warning in decision.warnings {
            let warning = format!("server {}: {warning}", server.name);
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        match verdicts.iter_mut().find(|(name, known, _)| *name == server.name && *known == text) {
            Some((.., nodes)) => *nodes += 1,
            None => verdicts.push((server.name.clone(), text, 1)),
        }
    }
    verdicts
}
