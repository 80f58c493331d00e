//! The lines that the simulator takes while it runs.

use crate::air::Command;
use crate::node::Uplink;
use lpwad_link::hex;

/// All of them, for the help text.
pub const HELP: &str = "\
uplink EUI FPORT HEX [confirmed]  a node sends, as soon as it has joined and is idle (HEX may be -: no bytes)
drop N        the next N uplinks are lost          drop-down N   the next N downlinks are lost
corrupt N     one bit flips in the next N uplinks
forget EUI    a node loses its session and joins again
replay        the last data uplink again           replay-join   the last join request again
race HEX      a frame is reported just at the next `radio rxstop`
garbage       noise on the serial line             reboot        the modem restarts
mute, unmute  the modem is silent                  unplug, replug the port goes and comes back
quit";

/// What a line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// For the air.
    Air(Command),
    /// Noise on the serial line.
    Garbage,
    /// The modem restarts.
    Reboot,
    /// The modem falls silent, or speaks again.
    Mute(bool),
    /// The port goes away, or comes back.
    Plug(bool),
    /// A frame at the next `radio rxstop`.
    Race(Vec<u8>),
    /// The end.
    Quit,
}

/// Reads one line; an error says what is wrong, for people.
pub fn parse(line: &str) -> Result<Line, String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let count = |text: &str| text.parse::<u32>().map_err(|_| format!("{text:?} is not a number"));
    let bytes = |text: &str| if text == "-" { Ok(Vec::new()) } else { hex::decode(text).map_err(|e| e.to_string()) };
    Ok(match words.as_slice() {
        ["uplink", eui, fport, payload, rest @ ..] => {
            let confirmed = match rest {
                [] => false,
                ["confirmed"] => true,
                _ => return Err("usage: uplink EUI FPORT HEX [confirmed]".into()),
            };
            let dev_eui = eui.parse().map_err(|error| format!("{eui:?}: {error}"))?;
            let fport = fport.parse().map_err(|_| format!("{fport:?} is not an FPort"))?;
            Line::Air(Command::Uplink { dev_eui, uplink: Uplink { fport, payload: bytes(payload)?, confirmed } })
        }
        ["forget", eui] => {
            Line::Air(Command::Reboot { dev_eui: eui.parse().map_err(|error| format!("{eui:?}: {error}"))? })
        }
        ["drop", n] => Line::Air(Command::Drop(count(n)?)),
        ["drop-down", n] => Line::Air(Command::DropDown(count(n)?)),
        ["corrupt", n] => Line::Air(Command::Corrupt(count(n)?)),
        ["replay"] => Line::Air(Command::Replay),
        ["replay-join"] => Line::Air(Command::ReplayJoin),
        ["race", data] => Line::Race(bytes(data)?),
        ["garbage"] => Line::Garbage,
        ["reboot"] => Line::Reboot,
        ["mute"] => Line::Mute(true),
        ["unmute"] => Line::Mute(false),
        ["unplug"] => Line::Plug(false),
        ["replug"] => Line::Plug(true),
        ["quit"] => Line::Quit,
        _ => return Err(format!("unknown command {:?}", line.chars().take(80).collect::<String>())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_and_mistakes_are_told() {
        assert_eq!(parse("drop 3"), Ok(Line::Air(Command::Drop(3))));
        let Ok(Line::Air(Command::Uplink { uplink, .. })) = parse("uplink 70b3d57ed0001234 5 0aFF confirmed") else {
            panic!("not an uplink")
        };
        assert_eq!(uplink, Uplink { fport: 5, payload: vec![0x0a, 0xff], confirmed: true });
        for bad in ["", "fly", "drop", "drop -1", "drop x", "uplink", "uplink 1 2 3", "uplink 70b3d57ed0001234 5 0"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
