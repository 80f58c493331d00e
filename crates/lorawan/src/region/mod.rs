//! Channel plans. The tables of data rates, channels and payload sizes come from `lrwn`; what we choose of them is data
//! in one file per region.

mod eu868;

use crate::regulation::Band;
use core::time::Duration;
use lrwn::region as plans;

/// A LoRa data rate: spreading factor 7 to 12 and bandwidth. Coding rate is always 4/5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataRate {
    /// Spreading factor, 7 to 12.
    pub sf: u8,
    /// Bandwidth in Hz, 125 000 or 250 000 in EU868.
    pub bw_hz: u32,
}

/// Regional parameters that are supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Region {
    /// EU863-870 (RP002-1.0.4 §2.4).
    #[default]
    Eu868,
}

impl Region {
    /// Largest FRMPayload in bytes of a frame without MAC commands, from node or gateway; 0 for a data rate that the region
    /// does not have (RP002-1.0.4 §2.4.6, column N without repeater).
    #[must_use]
    pub fn max_payload(self, dr: DataRate) -> usize {
        const FHDR_AND_FPORT: usize = 8;
        Plan::new(self).max_mac_payload(dr).saturating_sub(FHDR_AND_FPORT)
    }
}

/// What a region file chooses.
struct Choice {
    name: plans::CommonName,
    bands: &'static [Band],
}

/// A region ready for use.
pub(crate) struct Plan {
    table: Box<dyn plans::Region + Sync + Send>,
    choice: Choice,
}

impl Plan {
    pub(crate) fn new(region: Region) -> Plan {
        let choice = match region {
            Region::Eu868 => eu868::CHOICE,
        };
        // No repeater between device and gateway, no dwell time limit.
        Plan { table: plans::get(choice.name, false, false), choice }
    }

    /// The index of an uplink data rate, None if the plan does not have it.
    pub(crate) fn dr_index(&self, dr: DataRate) -> Option<u8> {
        let lora = plans::LoraDataRate { spreading_factor: dr.sf, bandwidth: dr.bw_hz, coding_rate: "4/5".into() };
        self.table.get_data_rate_index(true, &plans::DataRateModulation::Lora(lora)).ok()
    }

    /// Frequency and data rate of RX1 for an uplink, with RX1DROffset 0.
    pub(crate) fn rx1(&self, freq_hz: u32, dr: DataRate) -> Option<(u32, DataRate)> {
        let index = self.table.get_rx1_data_rate_index(self.dr_index(dr)?, 0).ok()?;
        Some((self.table.get_rx1_frequency_for_uplink_frequency(freq_hz).ok()?, self.data_rate(index)?))
    }

    /// Frequency and data rate of RX2, by default of the region.
    pub(crate) fn rx2(&self) -> Option<(u32, DataRate)> {
        let defaults = self.table.get_defaults();
        Some((defaults.rx2_frequency, self.data_rate(defaults.rx2_dr)?))
    }

    /// The RX2 data rate index, for DLSettings of the join accept.
    pub(crate) fn rx2_dr_index(&self) -> u8 {
        self.table.get_defaults().rx2_dr
    }

    /// JOIN_ACCEPT_DELAY1; the second window opens one second later.
    pub(crate) fn join_accept_delay(&self) -> Duration {
        self.table.get_defaults().join_accept_delay1
    }

    /// RECEIVE_DELAY1 of a device that was told nothing else, in seconds.
    pub(crate) fn default_rx1_delay_s(&self) -> u8 {
        u8::try_from(self.table.get_defaults().rx1_delay.as_secs()).unwrap_or(1)
    }

    /// Largest MACPayload (FHDR, FPort and FRMPayload) in bytes; 0 for a data rate that the plan does not have.
    pub(crate) fn max_mac_payload(&self, dr: DataRate) -> usize {
        let Some(index) = self.dr_index(dr) else { return 0 };
        let size = self.table.get_max_payload_size(plans::MacVersion::LORAWAN_1_0_4, plans::Revision::Latest, index);
        size.map_or(0, |size| size.m)
    }

    /// The index of one of the channels every device has, None for any other frequency.
    pub(crate) fn default_channel(&self, freq_hz: u32) -> Option<u8> {
        u8::try_from(self.table.get_uplink_channel_index(freq_hz, false).ok()?).ok()
    }

    /// The rules for transmitting.
    pub(crate) fn bands(&self) -> &'static [Band] {
        self.choice.bands
    }

    fn data_rate(&self, index: u8) -> Option<DataRate> {
        match self.table.get_data_rate(index).ok()? {
            plans::DataRateModulation::Lora(lora) => {
                Some(DataRate { sf: lora.spreading_factor, bw_hz: lora.bandwidth })
            }
            _ => None,
        }
    }
}
