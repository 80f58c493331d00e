//! Text of a key file. The error names no value of the file.
use lpwad::config::keys::parse_text;
use std::path::Path;

/// Runs the target on an input.
pub fn run(text: &str) {
    match parse_text(Path::new("keys.toml"), text) {
        Ok(keys) => assert!(keys.len() <= text.len() / 16),
        Err(error) => {
            let said = error.to_string();
            assert!(said.starts_with("keys.toml") && said.len() < 1000);
            // What follows `=` on any line is a value. A DevEUI, 16 characters, may be named.
            for value in text.lines().filter(|line| !line.contains('[')).filter_map(|line| line.split_once('=')) {
                let value = value.1.trim().trim_matches('"');
                assert!(value.len() <= 16 || !said.contains(value), "a value of the file is in the error");
            }
        }
    }
}
