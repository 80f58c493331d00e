//! `lpwad key export`: keys in clear, for the side of the server.

use super::{Failure, ForServer, Keys, exit, print, psk_of};
use crate::config::private_file;
use crate::config::roster::Listed;
use crate::config::{Place, keys};
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use zeroize::Zeroizing;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// DevEUIs or endpoint names [default: all nodes of the configuration].
    nodes: Vec<String>,
    /// Say that the keys go to the operator of the server.
    #[arg(long, required = true)]
    for_server: bool,
    /// JSON lines, or comma-separated values with a heading.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Write to this file, which must not be there yet; it gets mode 0600.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Do not ask: who runs this knows that the output opens sessions in the name of the nodes.
    #[arg(long)]
    yes_i_understand: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Json,
    Csv,
}

pub(super) fn run(keys: &Keys, arguments: &Arguments) -> Result<(), Failure> {
    let nodes: Vec<Listed> = match arguments.nodes.as_slice() {
        [] => keys.roster.nodes.clone(),
        names => names.iter().map(|name| keys.find(name)).collect::<Result<_, _>>()?,
    };
    let mut files = BTreeMap::new();
    let mut out = Zeroizing::new(String::new());
    let (mut count, mut without) = (0_usize, 0_usize);
    for node in &nodes {
        let place = node.place.clone()?;
        let file = match files.get(&place) {
            Some(file) => file,
            None => files.entry(place.clone()).or_insert(read(keys, &place)?),
        };
        let Some((identity, key)) = file.get(&node.dev_eui).and_then(psk_of) else {
            without += 1;
            continue;
        };
        count += 1;
        let identity = identity.unwrap_or(node.endpoint.as_bytes());
        line(&mut out, arguments.format, &ForServer { node, identity, key: Some(key) })?;
    }
    if without > 0 {
        let hint = "of a raw public key or a certificate give the server the public part: openssl pkey -pubout";
        eprintln!("lpwad: note: nodes without a pre-shared key, left out: {without}; {hint}");
    }
    if count == 0 {
        return Err(Failure(
            exit::DATA,
            "there is no pre-shared key to export\n  hint: `lpwad key new` makes one".into(),
        ));
    }
    if !arguments.yes_i_understand {
        ask(count)?;
    }
    let Some(path) = &arguments.output else { return print(&out) };
    private_file::create(path, out.as_bytes())
        .map_err(|error| Failure(exit::CANNOT_CREATE, format!("{}: {error}", path.display())))?;
    eprintln!("lpwad: keys written to {}: {count}; remove it when the server has them", path.display());
    Ok(())
}

fn read(keys: &Keys, place: &Place) -> Result<keys::KeyFile, Failure> {
    let (path, text) = keys.text(place)?;
    Ok(keys::parse_text(&path, &text)?)
}

fn line(out: &mut Zeroizing<String>, format: Format, line: &ForServer<'_>) -> Result<(), Failure> {
    if format == Format::Json {
        out.push_str(&Zeroizing::new(format!("{}\n", line.json())));
        return Ok(());
    }
    if out.is_empty() {
        out.push_str("endpoint,identity,psk\n");
    }
    let Ok(identity) = std::str::from_utf8(line.identity) else {
        let problem = format!("{}: an identity that is no text does not fit into CSV", line.node.dev_eui);
        return Err(Failure(exit::DATA, format!("{problem}\n  hint: --format json has it as hex")));
    };
    let key = Zeroizing::new(line.key.map(lpwad_link::hex::encode).unwrap_or_default());
    out.push_str(&format!("{},{},", quoted(&line.node.endpoint), quoted(identity)));
    out.push_str(&key);
    out.push('\n');
    Ok(())
}

/// A field of RFC 4180.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_string()
    }
}

/// Asks twice; the second time for something that is not typed by habit.
fn ask(count: usize) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        let hint = "--yes-i-understand, where nobody is there to be asked";
        return Err(Failure(
            exit::USAGE,
            format!("keys to be given out in clear: {count}; this is asked before\n  hint: {hint}"),
        ));
    }
    let mut input = std::io::stdin().lock();
    let mut answer = |question: &str| {
        eprint!("{question}: ");
        let mut line = String::new();
        input.read_line(&mut line).map(|_| line.trim().to_string()).unwrap_or_default()
    };
    let whoever =
        format!("Keys to be given out in clear: {count}. Whoever has them can speak for the nodes. Go on? (yes/no)");
    if answer(&whoever) == "yes" && answer("How many keys are given out? (the number)") == count.to_string() {
        return Ok(());
    }
    Err(Failure(exit::USAGE, "nothing was given out".into()))
}
