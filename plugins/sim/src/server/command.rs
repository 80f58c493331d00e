//! The lines that the server takes while it runs.

use super::path::Path;
use serde_json::Value;

/// All of them, for the help text.
pub const HELP: &str = "\
read EP PATH             write EP PATH VALUE      VALUE is JSON (true, 21.5, \"text\"), or a word
execute EP PATH [ARGS]   observe EP PATH          for an object instance, VALUE is {\"5850\":true,..}
forget EP                the registration is lost, so that the next Update gets 4.04
silent on|off            receive and send nothing
quit";

/// What a line means.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A request to a client.
    Request {
        /// Endpoint name.
        ep: String,
        /// What to ask for.
        path: Path,
        /// What to do.
        operation: Operation,
    },
    /// Loses a registration without a word.
    Forget {
        /// Endpoint name.
        ep: String,
    },
    /// Whether to be as good as absent.
    Silent(bool),
}

/// What the server asks of clients.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Read (LwM2M Core 1.1.1 §6.3.1).
    Read,
    /// Write (§6.3.3): Replace of a resource, Partial Update of an object instance.
    Write(Value),
    /// Execute (§6.3.5) with its arguments.
    Execute(String),
    /// Observe (§6.4.1).
    Observe,
}

/// What a line asks of the program.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// For the server.
    Command(Command),
    /// The end.
    Quit,
}

/// Reads one line; an error says what is wrong, for people.
pub fn parse(line: &str) -> Result<Line, String> {
    let line = line.trim();
    let (verb, rest) = word(line);
    let command = match verb {
        "quit" if rest.is_empty() => return Ok(Line::Quit),
        "silent" if rest == "on" => Command::Silent(true),
        "silent" if rest == "off" => Command::Silent(false),
        "forget" if !rest.is_empty() => Command::Forget { ep: rest.to_owned() },
        "read" | "write" | "execute" | "observe" => {
            let (ep, rest) = word(rest);
            let (path, rest) = word(rest);
            let path: Path = path.parse().map_err(|error| format!("{verb} {ep}: {error}"))?;
            let operation = match verb {
                "read" if rest.is_empty() => Operation::Read,
                "observe" if rest.is_empty() => Operation::Observe,
                "write" if !rest.is_empty() => Operation::Write(written(&path, rest)?),
                "execute" => Operation::Execute(rest.to_owned()),
                _ => return Err(format!("usage:\n{HELP}")),
            };
            Command::Request { ep: ep.to_owned(), path, operation }
        }
        _ => return Err(format!("unknown command {:?}", line.chars().take(80).collect::<String>())),
    };
    Ok(Line::Command(command))
}

/// The first word, and the rest without leading blanks.
fn word(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

/// What is not JSON is a string. A whole object instance takes a JSON object and nothing else.
fn written(path: &Path, text: &str) -> Result<Value, String> {
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    match (path.ids().len(), value.is_object()) {
        (1, _) => Err(format!("{path}: an object cannot be written")),
        (2, false) => Err(format!("{path}: an object instance is written as {{\"RESOURCE\":VALUE,..}}")),
        (3.., true) => Err(format!("{path}: a resource is written as one value")),
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(line: &str) -> (String, Operation) {
        match parse(line) {
            Ok(Line::Command(Command::Request { ep, path, operation })) => (format!("{ep} {path}"), operation),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn requests_are_understood() {
        assert_eq!(request("read a:b /3303/0"), ("a:b /3303/0".into(), Operation::Read));
        assert_eq!(request("write a /3306/0/5850 true").1, Operation::Write(json!(true)));
        assert_eq!(request("write a /3/0/15 Europe/Paris").1, Operation::Write(json!("Europe/Paris")));
        assert_eq!(request("write a /3306/0 {\"5850\": true}").1, Operation::Write(json!({"5850": true})));
        assert_eq!(request("execute a /3/0/4  0='1 2'").1, Operation::Execute("0='1 2'".into()));
        assert_eq!(request(" execute a /3/0/4 ").1, Operation::Execute(String::new()));
        assert_eq!(request("observe a /3303/0/5700").1, Operation::Observe);
    }

    #[test]
    fn the_others_are_understood_and_mistakes_are_told() {
        assert_eq!(parse("quit"), Ok(Line::Quit));
        assert_eq!(parse("silent on"), Ok(Line::Command(Command::Silent(true))));
        assert_eq!(parse("forget urn:x"), Ok(Line::Command(Command::Forget { ep: "urn:x".into() })));
        let bad = ["", "fly", "read", "read a", "read a b", "read a /3 x", "write a /3/0/15", "silent", "silent maybe"];
        for line in bad.into_iter().chain(["forget", "quit now", "write a /3306 1", "write a /3306/0 1"]) {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("write a /3306/0/5850 {}").is_err());
    }
}
