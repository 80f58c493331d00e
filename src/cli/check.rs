//! `lpwad check`: everything that `run` would read, read once, and what would come of it.

use super::exit;
use crate::codec::sample_mistake;
use crate::config::profile::ProfileFile;
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
                let errors: Vec<_> = errors.0.iter().map(ConfigError::to_json).collect();
                println!("{}", json!({ "ok": false, "errors": errors }));
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
    if report.ok { ExitCode::SUCCESS } else { exit::CONFIG.into() }
}

struct Report {
    ok: bool,
    json: serde_json::Value,
    text: String,
}

/// What would become of the nodes of one server that have the same verdict.
struct Fate {
    server: String,
    /// For people.
    verdict: String,
    refused: bool,
    nodes: usize,
}

fn examine(path: &Path, state: Option<&Path>) -> Result<Report, ConfigErrors> {
    let config = sealed_keys::read_config(path, state)?;
    // A start goes on without it, and without NoSec.
    config.analysis_signers.as_deref().map(Signers::read).transpose()?;
    let analyses = Analyses::read(&config.analysis_dir, config.analysis_signers.as_deref())?;
    let mut warnings = config.warnings.clone();
    let mut look = Look::by_other(&config.facts_dir);
    let state_dir = state_dir(state, config.state_dir.as_deref());
    let (plugins, examined) = (plugins::of_radios(&config, path), sealed_keys::examine(&state_dir));
    let samples = bad_samples(path);
    let (plugins, state_warning) = match (plugins, examined) {
        (Ok(plugins), Ok(warning)) if samples.is_empty() => (plugins, warning),
        (plugins, examined) => {
            let errors = plugins.err().map(|errors| errors.0).unwrap_or_default();
            return Err(ConfigErrors(errors.into_iter().chain(examined.err()).chain(samples).collect()));
        }
    };
    warnings.extend(state_warning);
    for (radio, plugin) in config.radios.iter().zip(&plugins) {
        look.add(radio, plugin);
        for (setting, port) in plugin.ports(radio).into_iter().filter(|(_, port)| !port.exists()) {
            let port = port.display();
            warnings.push(format!("radio {}: {setting}: {port} is not there now; lpwad waits until it is", radio.name));
        }
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
    let fates = fates(&config, &analyses, &look, &mut warnings);
    let ok = fates.is_empty() || fates.iter().any(|fate| !fate.refused);
    let mut json = json!({
        "ok": ok,
        "nodes": config.nodes.len(),
        "radios": config.radios.iter().map(|radio| &radio.name).collect::<Vec<_>>(),
        "servers": fates.iter().map(|fate| {
            json!({ "name": fate.server, "verdict": fate.verdict, "nodes": fate.nodes })
        }).collect::<Vec<_>>(),
        "state_dir": state_dir.display().to_string(),
        "warnings": warnings,
    });
    let no_session = ConfigError::file(path, "not ok: no node can open a session, as things are now")
        .hint("give a node a key for DTLS (`lpwad key new NODE`); `lpwad policy explain NODE` tells the rest of a running lpwad");
    let mut text = if ok { format!("{}: ok\n", path.display()) } else { format!("{no_session}\n") };
    if let Some(report) = json.as_object_mut().filter(|_| !ok) {
        report.insert("errors".into(), json!([no_session.to_json()]));
    }
    text +=
        &format!("  {} nodes, {} radios, state in {}\n", config.nodes.len(), config.radios.len(), state_dir.display());
    for Fate { server, verdict, nodes, .. } in &fates {
        let nodes = if *nodes == 1 { "1 node".to_string() } else { format!("{nodes} nodes") };
        text += &format!("  server {server}, {nodes}: {verdict}\n");
    }
    for warning in &warnings {
        text += &format!("  warning: {warning}\n");
    }
    Ok(Report { ok, json, text })
}

/// Samples of the user's profiles that are not as they say.
fn bad_samples(path: &Path) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    for file in ProfileFile::read_all(path) {
        for (n, sample) in file.profile.sample.iter().enumerate() {
            let mistake = sample_mistake(&file.profile, sample);
            errors.extend(mistake.map(|problem| file.error(&format!("sample.{n}"), problem)));
        }
    }
    errors
}

/// What would become of the sessions.
fn fates(config: &Config, analyses: &Analyses, look: &Look, warnings: &mut Vec<String>) -> Vec<Fate> {
    let unix_ms = Clock::start().now().unix_ms;
    let (looked, today) = (look.look(unix_ms), unix_ms.map(Day::of_unix_ms));
    let host = HostFacts { facts: looked.facts, bearers: route::bearers(&route::asked_for(config)) };
    for trouble in &looked.troubles {
        let fields = trouble.fields.iter().map(|(_, text)| text.as_str());
        warnings.push(fields.collect::<Vec<_>>().join(" "));
    }
    let mut fates: Vec<Fate> = Vec::new();
    for node in &config.nodes {
        let Some(server) = config.servers.get(node.server) else { continue };
        let endpoint = endpoint(node.dev_eui, node.endpoint.as_deref());
        let (credential, facts) = (node.dtls_mode(), facts_of(node, &host.towards(server)));
        let case = Case { endpoint: &endpoint, server, credential, facts: &facts, today, latched: None };
        let decision = decide(&case, analyses);
        let verdict = match decision.verdict {
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
        let refused = matches!(decision.verdict, Verdict::Refuse);
        match fates.iter_mut().find(|fate| fate.server == server.name && fate.verdict == verdict) {
            Some(fate) => fate.nodes += 1,
            None => fates.push(Fate { server: server.name.clone(), verdict, refused, nodes: 1 }),
        }
    }
    fates
}
