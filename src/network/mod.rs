//! The LoRaWAN network of this gateway: its settings from the configuration, its devices from configuration and store.

use crate::config::{Config, Node};
use crate::store::record::{BadRecord, device_from_bytes};
use crate::store::{Loaded, Table};
use core::time::Duration;
use lpwad_lorawan::{DevEui, Device, Network, Region, Settings};

/// How long before a receive window its answer is decided.
const DECISION_LEAD: Duration = Duration::from_millis(300);

/// The network of a configuration; beside it the nodes whose record in the store cannot be used.
///
/// A node whose record is damaged is left out: its counters and nonces are not known, so nothing may be sent to it that
/// could use one twice.
#[must_use]
pub fn build(config: &Config, loaded: &Loaded, seed: u64) -> (Network, Vec<(DevEui, BadRecord)>) {
    let mut network = Network::new(Settings {
        region: Region::Eu868,
        rx1_delay_s: config.rx1_delay_s,
        decision_lead: DECISION_LEAD,
        seed,
        ..Settings::default()
    });
    let mut damaged = Vec::new();
    for node in &config.nodes {
        if let Err(error) = add(&mut network, node, loaded) {
            damaged.push((node.dev_eui, error));
        }
    }
    (network, damaged)
}

/// Adds a node with what the store has of it.
pub fn add(network: &mut Network, node: &Node, loaded: &Loaded) -> Result<(), BadRecord> {
    let record = loaded.get(Table::Device, node.dev_eui).map(device_from_bytes).transpose()?;
    network.add_device(device(node), record);
    Ok(())
}

/// A node as the network sees it.
#[must_use]
pub fn device(node: &Node) -> Device {
    Device { dev_eui: node.dev_eui, activation: node.activation.clone() }
}

/// Channels of the region that a radio should listen on, most wanted first, in Hz.
#[must_use]
pub fn channels_hz(region: Region) -> &'static [u32] {
    match region {
        // EU863-870 join channels (LoRaWAN Regional Parameters RP002-1.0.4 §2.4.2).
        Region::Eu868 => &[868_100_000, 868_300_000, 868_500_000],
    }
}
