//! The radio of a node, as `lorawan-device` sees it: it notes what it is told and hands over what was heard.

use crate::air::Modulation;
use lorawan_device::Timings;
use lorawan_device::nb_device::radio::{Event as PhyEvent, PhyRxTx, Response as PhyResponse, RfConfig, RxQuality};
use std::time::Duration;

/// RX2 of EU868 (RP002-1.0.4 §2.4.7): its frequency is not one of the uplink channels.
const RX2_HZ: u32 = 869_525_000;

/// The radio that `lorawan-device` believes to have.
pub(crate) struct Phy {
    pinned_hz: Option<u32>,
    tolerance_ms: u32,
    /// What it was told to send: modulation, power in dBm, frame.
    pub(crate) sent: Option<(Modulation, i8, Vec<u8>)>,
    /// What its receiver is open for.
    pub(crate) listening: Option<Modulation>,
    /// The frame that it has heard.
    pub(crate) received: Vec<u8>,
}

impl Phy {
    /// A radio whose windows are open for `tolerance` to both sides of their time, and that uses `pinned_hz` instead of
    /// every frequency but that of RX2.
    pub(crate) fn new(tolerance: Duration, pinned_hz: Option<u32>) -> Self {
        let tolerance_ms = u32::try_from(tolerance.as_millis()).unwrap_or(0);
        Phy { pinned_hz, tolerance_ms, sent: None, listening: None, received: Vec::new() }
    }

    fn modulation(&self, rf: &RfConfig) -> Modulation {
        let freq_hz = self.pinned_hz.filter(|_| rf.frequency != RX2_HZ).unwrap_or(rf.frequency);
        Modulation { freq_hz, sf: rf.bb.sf.factor() as u8, bw_hz: rf.bb.bw.hz() }
    }
}

impl PhyRxTx for Phy {
    type PhyEvent = ();
    type PhyError = ();
    type PhyResponse = ();
    /// EU868: 16 dBm EIRP (RP002-1.0.4 §2.4.3).
    const MAX_RADIO_POWER: u8 = 16;

    fn get_mut_radio(&mut self) -> &mut Self {
        self
    }

    fn get_received_packet(&mut self) -> &mut [u8] {
        &mut self.received
    }

    fn handle_event(&mut self, event: PhyEvent<Self>) -> Result<PhyResponse<Self>, ()> {
        match event {
            PhyEvent::TxRequest(config, frame) => {
                self.sent = Some((self.modulation(&config.rf), config.pw, frame.to_vec()));
                Ok(PhyResponse::TxDone(0))
            }
            PhyEvent::RxRequest(rf) => {
                self.listening = Some(self.modulation(&rf));
                Ok(PhyResponse::Rxing)
            }
            PhyEvent::CancelRx => {
                self.listening = None;
                Ok(PhyResponse::Idle)
            }
            PhyEvent::Phy(()) => Ok(PhyResponse::RxDone(RxQuality::new(-60, 9))),
        }
    }
}

impl Timings for Phy {
    fn get_rx_window_offset_ms(&self) -> i32 {
        -i32::try_from(self.tolerance_ms).unwrap_or(0)
    }

    fn get_rx_window_duration_ms(&self) -> u32 {
        2 * self.tolerance_ms
    }
}
