//! The handshakes of WireGuard tunnels, as facts. To ask for them needs CAP_NET_ADMIN, so root does it from a timer.

use super::file::{FactFile, MAX_FACTS, is_interface};
use crate::policy::evidence::is_wireguard_key;
use crate::policy::facts::Seen;
use crate::policy::protection::Probe;
use std::process::Command;

/// Name of the fact file.
pub const FILE: &str = "wireguard.json";

/// Asks `wg` (wireguard-tools) at `now_unix_s`.
///
/// # Errors
/// It cannot be run, or refuses, for people.
pub fn ask(now_unix_s: u64) -> Result<FactFile, String> {
    let output = Command::new("wg")
        .args(["show", "all", "latest-handshakes"])
        .output()
        .map_err(|error| format!("wg cannot be run: {error} (install wireguard-tools)"))?;
    if !output.status.success() {
        return Err(format!("wg: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let text = String::from_utf8(output.stdout).map_err(|_| "wg does not speak text")?;
    Ok(FactFile::new(now_unix_s, facts(&text, now_unix_s)?))
}

/// The facts in the output of `wg show all latest-handshakes` at `now_unix_s`: lines of interface, public key of the peer,
/// and the last handshake in s since 1970, 0 for none, with tabs between. Good is that there was one; whether it is too
/// old is for the analysis to say. One in the future is not good: the clock was set back, and its age is not known.
///
/// # Errors
/// A line is not of this form, or there are more than [`MAX_FACTS`].
pub fn facts(text: &str, now_unix_s: u64) -> Result<Vec<Seen>, String> {
    let mut facts = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let mut fields = line.split('\t');
        let seen = match (fields.next(), fields.next(), fields.next(), fields.next()) {
            (Some(interface), Some(key), Some(handshake), None) if is_interface(interface) && is_wireguard_key(key) => {
                handshake.parse::<u64>().ok().map(|at| {
                    let age_s = u32::try_from(now_unix_s.saturating_sub(at)).unwrap_or(u32::MAX);
                    let good = (1..=now_unix_s).contains(&at);
                    Seen {
                        probe: Probe::Wireguard,
                        peer: Some(key.into()),
                        interface: Some(interface.into()),
                        good,
                        age_s: if good { age_s } else { 0 },
                    }
                })
            }
            _ => None,
        };
        facts.push(seen.ok_or_else(|| format!("line {number} of wg is not interface, key and time"))?);
        if facts.len() > MAX_FACTS {
            return Err(format!("more than {MAX_FACTS} peers"));
        }
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

    #[test]
    fn s_03_lines_of_wg_are_facts_with_the_age_of_the_handshake() {
        let other = KEY.replace('x', "y");
        let text = format!("wg0\t{KEY}\t1799999970\nwg0\t{other}\t0\nwg1\t{KEY}\t1800000060\n");
        let seen = facts(&text, 1_800_000_000).unwrap();
        let short = |seen: &Seen| (seen.interface.clone().unwrap(), seen.peer.clone().unwrap(), seen.good, seen.age_s);
        assert_eq!(
            seen.iter().map(short).collect::<Vec<_>>(),
            [
                ("wg0".into(), KEY.into(), true, 30),
                ("wg0".into(), other, false, 0),
                ("wg1".into(), KEY.into(), false, 0)
            ]
        );
        assert_eq!(facts("", 1_800_000_000), Ok(Vec::new()), "no tunnel, no fact");
    }

    #[test]
    fn what_wg_does_not_say_is_refused_by_line() {
        let good = format!("wg0\t{KEY}\t1\n");
        for bad in [
            "\n".to_string(),
            format!("wg0 {KEY} 1\n"),
            format!("wg0\t{KEY}\n"),
            format!("\t{KEY}\t1\n"),
            format!("sixteen-letters-\t{KEY}\t1\n"),
            format!("wg0\t{KEY}\tsoon\n"),
            format!("wg0\t{KEY}\t-1\n"),
            format!("wg0\t{}\t1\n", &KEY[1..]),
            format!("wg0\t{}\t1\n", KEY.replace("g=", "h=")),
            format!("wg0\t{}\t1\n", KEY.replace("g=", "==")),
            format!("wg0\t{KEY}\t1\tmore\n"),
        ] {
            let problem = facts(&format!("{good}{bad}"), 2).unwrap_err();
            assert_eq!(problem, "line 2 of wg is not interface, key and time", "{bad}");
        }
        assert_eq!(facts(&good.repeat(257), 2).unwrap_err(), "more than 256 peers");
    }
}
