//! `lpwad key new`, `import` and `rotate`: they change a key file, or the keys in the sealed store.

use super::{Failure, ForServer, Keys, exit, print, psk_of};
use crate::config::key_edit::{self, Change};
use crate::config::keys::{self, NodeKeys};
use crate::config::roster::Listed;
use crate::config::weak::weakness;
use crate::config::{ConfigError, PskIdentity};
use crate::io::{entropy, secrecy};
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of a random identity.
const IDENTITY_BYTES: usize = 8;
/// Most that is taken from standard input in bytes: a private key and a chain of certificates.
const MAX_INPUT_BYTES: u64 = 64 * 1024;

const DTLS_FIELDS: [&str; 6] = ["psk_identity", "psk_identity_hex", "psk", "rpk_key", "x509_certificate", "x509_key"];

pub(super) fn new(keys: &Keys, node: &str, identity: Option<&str>, bytes: u8, hide: bool) -> Result<(), Failure> {
    let node = keys.find(node)?;
    let identity = match (identity, node.psk_identity) {
        (Some(identity), _) => checked(identity)?.to_string(),
        (None, PskIdentity::Endpoint) => node.endpoint.clone(),
        (None, PskIdentity::Random) => random_identity()?,
    };
    let key = random_key(&node, &identity, usize::from(bytes))?;
    let set = vec![("psk_identity", Zeroizing::new(identity.clone())), ("psk", hex(&key))];
    write(keys, &node, |there| {
        if there.is_some_and(|there| there.dtls.is_some()) {
            return Err(("has a key for DTLS", "`lpwad key rotate` makes a new one in its place"));
        }
        Ok(Change { set: set.clone(), remove: Vec::new() })
    })?;
    say(keys, &node, identity.as_bytes(), &key, hide)
}

pub(super) fn rotate(keys: &Keys, node: &str, new_identity: bool, hide: bool) -> Result<(), Failure> {
    let node = keys.find(node)?;
    let mut made = None;
    let new = if new_identity { Some(random_identity()?) } else { None };
    // A key of the longest kind, cut to the length of the one before.
    let random = random_key(&node, new.as_deref().unwrap_or_default(), *keys::PSK_BYTES.end())?;
    write(keys, &node, |there| {
        let Some((identity, before)) = there.and_then(psk_of) else {
            return Err(("has no pre-shared key", "`lpwad key new` makes one"));
        };
        let key = Zeroizing::new(random.get(..before.len()).unwrap_or(&random).to_vec());
        let mut change = Change { set: vec![("psk", hex(&key))], remove: Vec::new() };
        let identity = match &new {
            Some(new) => {
                change.set.push(("psk_identity", Zeroizing::new(new.clone())));
                change.remove.push("psk_identity_hex");
                new.as_bytes().to_vec()
            }
            None => identity.unwrap_or(node.endpoint.as_bytes()).to_vec(),
        };
        made = Some((identity, key));
        Ok(change)
    })?;
    let (identity, key) = made.expect("made before it was written");
    say(keys, &node, &identity, &key, hide)
}

pub(super) fn import(
    keys: &Keys,
    node: &str,
    identity: Option<&str>,
    app_key: bool,
    replace: bool,
) -> Result<(), Failure> {
    let node = keys.find(node)?;
    let input = secrecy::read_secret(MAX_INPUT_BYTES, "Key (hex digits, not shown)")
        .map_err(|error| Failure(exit::DATA, format!("standard input: {error}")))?;
    let set = fields(&node, input.trim(), identity, app_key)?;
    let names: Vec<&'static str> = set.iter().map(|(name, _)| *name).collect();
    let written = write(keys, &node, |there| {
        let taken = there.is_some_and(|there| if app_key { there.app_key.is_some() } else { there.dtls.is_some() });
        if taken && !replace {
            return Err(("has such a key", "--replace puts this one in its place"));
        }
        let remove =
            if app_key { Vec::new() } else { DTLS_FIELDS.into_iter().filter(|f| !names.contains(f)).collect() };
        Ok(Change { set: set.clone(), remove })
    })?;
    if keys.json {
        let answer = serde_json::json!({ "dev_eui": node.dev_eui.to_string(), "fields": names, "written_to": written });
        return print(&format!("{answer}\n"));
    }
    Ok(())
}

/// What the input is, as fields of a key file.
fn fields(
    node: &Listed,
    input: &str,
    identity: Option<&str>,
    app_key: bool,
) -> Result<Vec<(&'static str, Zeroizing<String>)>, Failure> {
    let bad = |problem: &str| Err(Failure(exit::DATA, format!("standard input: {problem}")));
    let text = |text: &str| Zeroizing::new(text.to_string());
    if input.is_empty() {
        return bad("empty");
    }
    if app_key {
        return Ok(vec![("app_key", text(input))]);
    }
    if input.contains("-----BEGIN") {
        if identity.is_some() {
            return Err(Failure(exit::USAGE, "--identity is for pre-shared keys".into()));
        }
        let (private, certificates) = blocks(input);
        return match (private.as_slice(), certificates.is_empty()) {
            ([key], true) => Ok(vec![("rpk_key", key.clone())]),
            ([key], false) => Ok(vec![("x509_certificate", certificates), ("x509_key", key.clone())]),
            _ => bad("PEM with one private key is expected, and perhaps certificates"),
        };
    }
    let identity = match (identity, node.psk_identity) {
        (Some(identity), _) => checked(identity)?,
        (None, PskIdentity::Endpoint) => &node.endpoint,
        (None, PskIdentity::Random) => {
            let hint = "the one that the server has for this key; the endpoint name is often taken";
            return Err(Failure(exit::USAGE, format!("a pre-shared key needs its --identity\n  hint: {hint}")));
        }
    };
    Ok(vec![("psk_identity", text(identity)), ("psk", text(input))])
}

/// Private keys and certificates of a PEM text.
fn blocks(input: &str) -> (Vec<Zeroizing<String>>, Zeroizing<String>) {
    let (mut private, mut certificates) = (Vec::new(), Zeroizing::new(String::with_capacity(input.len() + 1)));
    let mut block: Option<Zeroizing<String>> = None;
    for line in input.lines().map(str::trim_end) {
        if line.starts_with("-----BEGIN ") {
            block = Some(Zeroizing::new(String::with_capacity(input.len() + 1)));
        }
        let Some(text) = &mut block else { continue };
        text.push_str(line);
        text.push('\n');
        if line.starts_with("-----END ") {
            let text = block.take().unwrap_or_default();
            if line.contains("PRIVATE KEY") {
                private.push(text);
            } else if line.contains("CERTIFICATE") {
                certificates.push_str(&text);
            }
        }
    }
    (private, certificates)
}

/// Changes the node's table as `decide` says from what is there, and gives the file's name.
fn write(
    keys: &Keys,
    node: &Listed,
    decide: impl FnOnce(Option<&NodeKeys>) -> Result<Change, (&'static str, &'static str)>,
) -> Result<String, Failure> {
    let place = node.place.clone()?;
    let path = keys.edit(&place, |path: &Path, text: &str| {
        let file = keys::parse_text(path, text)?;
        let change = decide(file.get(&node.dev_eui))
            .map_err(|(problem, hint)| ConfigError::file(path, format!("{} {problem}", node.dev_eui)).hint(hint))?;
        key_edit::change(path, text, node.dev_eui, &change)
    })?;
    let written = path.display().to_string();
    eprintln!(
        "lpwad: {} written to {written}; a running lpwad takes it over at SIGHUP (systemctl reload lpwad)",
        node.dev_eui
    );
    Ok(written)
}

fn say(keys: &Keys, node: &Listed, identity: &[u8], key: &[u8], hide: bool) -> Result<(), Failure> {
    let line = ForServer { node, identity, key: (!hide).then_some(key) };
    print(&if keys.json { Zeroizing::new(format!("{}\n", line.json())) } else { line.text() })
}

fn checked(identity: &str) -> Result<&str, Failure> {
    match keys::identity_problem(identity.as_bytes()) {
        Some(problem) => Err(Failure(exit::USAGE, format!("--identity: {problem}"))),
        None => Ok(identity),
    }
}

fn random_identity() -> Result<String, Failure> {
    let mut bytes = [0; IDENTITY_BYTES];
    fill(&mut bytes)?;
    Ok(lpwad_link::hex::encode(&bytes))
}

/// Random bytes that the check of key files takes for a key, which nearly all are.
fn random_key(node: &Listed, identity: &str, length: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut key = Zeroizing::new(vec![0; length]);
    let ids = [node.dev_eui.to_string(), node.endpoint.clone(), identity.to_string()];
    let ids: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
    loop {
        fill(&mut key)?;
        // What is cut off a long key must be good as well.
        if key.get(..*keys::PSK_BYTES.start()).is_some_and(|start| weakness(start, &ids).is_none()) {
            return Ok(key);
        }
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), Failure> {
    entropy::fill(bytes).map_err(|error| Failure(exit::OS, format!("no random bytes: {error}")))
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(lpwad_link::hex::encode(bytes))
}
