//! What a modem answers to the dialect `lora-e5`: lines of a script, see `lpwad_lora_serial::exercise`.

/// Runs the target on an input.
pub fn run(script: &[u8]) {
    lpwad_lora_serial::exercise("lora-e5", script);
}
