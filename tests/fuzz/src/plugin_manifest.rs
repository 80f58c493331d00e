//! `plugin.toml` of a plugin named `lora-serial`, and a radio's settings judged by what it declares.
use lpwad::io::plugins;
use lpwad::io::settings::mistakes;
use std::path::Path;

/// Runs the target on an input.
pub fn run(text: &str) {
    let path = Path::new("/lora-serial/plugin.toml");
    match plugins::parse_manifest(path, text, "lora-serial") {
        Ok(plugin) => {
            assert_eq!(plugin.name, "lora-serial");
            // What is run lies beside the file that names it.
            assert_eq!(plugin.exec.parent(), path.parent(), "{:?}", plugin.exec);
            let settings =
                serde_json::json!({ "device": "/dev/ttyS0", "baud": 1, "sf": 7.5, "region": true, "x": [1] });
            for mistake in mistakes(&plugin.settings, settings.as_object().expect("an object")) {
                assert!(!mistake.setting.is_empty() && !mistake.problem.is_empty());
            }
        }
        Err(error) => assert!(!error.problem.is_empty()),
    }
}
