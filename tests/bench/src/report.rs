//! Results as JSON lines.

use serde_json::{Value, json};

/// Prints a figure: of `n` things measured, beside what the same costs at least, if that was measured too.
pub fn figure(metric: &str, value: f64, unit: &str, n: u64, floor: Option<f64>) {
    let line = json!({ "metric": metric, "value": rounded(value), "unit": unit, "n": n, "floor": floor.map(rounded) });
    println!("{line}");
}

/// To four digits: the rest is noise.
fn rounded(value: f64) -> Value {
    if value == 0.0 || !value.is_finite() {
        return json!(value);
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits.max(0));
    json!((value * scale).round() / scale)
}
