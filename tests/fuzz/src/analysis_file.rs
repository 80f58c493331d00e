//! Text of a threat analysis.
use lpwad::policy::Analysis;
use std::path::Path;

/// Runs the target on an input.
pub fn run(text: &str) {
    match Analysis::parse(Path::new("ta.toml"), text) {
        // 4 digits of year: 9999-12-31 is day 2,932,896.
        Ok(analysis) => {
            assert!(!analysis.id.is_empty() && analysis.id.len() <= 64 && analysis.expires_day <= 2_932_896)
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
