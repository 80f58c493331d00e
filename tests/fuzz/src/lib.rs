//! One module for each place where lpwad reads bytes that somebody else wrote. `run` panics where a promise is broken.
//! `fuzz/` feeds them from a fuzzer, `tests/smoke.rs` from the seeds and mutations of them.

pub mod analysis_file;
pub mod analysis_signature;
pub mod at_line;
pub mod client_datagram;
pub mod coap_message;
pub mod config_text;
pub mod control_request;
pub mod decision_record;
pub mod dtls_credential;
pub mod dtls_open_datagram;
pub mod dtls_session_import;
pub mod fact_file;
pub mod format_decode;
pub mod gateway_input;
pub mod key_file;
pub mod link_line;
pub mod lpp;
pub mod phy_payload;
pub mod plugin_manifest;
pub mod store_record;
pub mod wireguard_facts;

/// Name and function of a target.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("analysis_file", |bytes| text(bytes, analysis_file::run)),
    ("analysis_signature", analysis_signature::run),
    ("at_line_lora_e5", |bytes| at_line::run("lora-e5", bytes)),
    ("at_line_rn2483", |bytes| at_line::run("rn2483", bytes)),
    ("client_datagram", client_datagram::run),
    ("coap_message", coap_message::run),
    ("config_text", |bytes| text(bytes, config_text::run)),
    ("control_request", control_request::run),
    ("decision_record", decision_record::run),
    ("dtls_credential", dtls_credential::run),
    ("dtls_open_datagram", dtls_open_datagram::run),
    ("dtls_session_import", dtls_session_import::run),
    ("fact_file", fact_file::run),
    ("format_decode", format_decode::run),
    ("gateway_input", gateway_input::run),
    ("key_file", |bytes| text(bytes, key_file::run)),
    ("link_line", link_line::run),
    ("lpp", lpp::run),
    ("phy_payload", phy_payload::run),
    ("plugin_manifest", |bytes| text(bytes, plugin_manifest::run)),
    ("store_record", store_record::run),
    ("wireguard_facts", wireguard_facts::run),
];

fn text(bytes: &[u8], run: fn(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        run(text);
    }
}
