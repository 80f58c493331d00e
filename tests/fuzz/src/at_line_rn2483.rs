//! What a modem answers to the dialect `rn2483`: lines of a script, see `lpwad_lora_serial::exercise`.

/// Runs the target on an input.
pub fn run(script: &[u8]) {
    lpwad_lora_serial::exercise("rn2483", script);
}
