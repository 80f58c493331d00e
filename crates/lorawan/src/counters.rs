//! Counters for status and tests.

use crate::output::{DropReason, TxFailure};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often things happened since the start. They saturate.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// All counters with their names.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Uplinks delivered.
    uplinks,
    /// Repeated uplinks.
    retransmissions,
    /// Join requests accepted.
    joins,
    /// New sessions used for the first time.
    activations,
    /// Uplink counters that started again (ABP, relaxed).
    counter_resets,
    /// Records given out to be saved.
    saves,
    /// Join accepts sent.
    join_accepts_sent,
    /// Data frames sent.
    downlinks_sent,
    /// Answers that a newer uplink, or a join request, of the same device made pointless.
    answers_superseded,
    /// Answers that found no window.
    answers_failed,
    /// Windows passed over for lack of time.
    tx_too_late,
    /// Windows passed over for the duty cycle.
    tx_duty_cycle,
    /// Windows passed over because the radio is busy then, or has too much planned.
    tx_no_window,
    /// Windows passed over because the frequency may not be used.
    tx_no_band,
    /// Windows passed over because the disk was not ready.
    tx_not_saved,
    /// Windows passed over because the answer did not fit.
    tx_too_long,
    /// Transmissions lost with their radio.
    tx_radio_gone,
    /// Transmissions of which the radio told nothing.
    tx_no_report,
    /// Transmissions that the radio did not make.
    tx_refused_by_radio,
    /// Reports of transmissions that are not known.
    tx_unknown_report,
    /// MAC commands left unanswered.
    mac_unanswered,
    /// Frames with a wrong MIC.
    drop_bad_mic,
    /// Frames of unknown devices.
    drop_unknown_device,
    /// Join requests with a used nonce.
    drop_dev_nonce_reused,
    /// Join requests of a device without join nonces.
    drop_join_nonces_used_up,
    /// Replayed frames.
    drop_replay,
    /// Malformed frames.
    drop_malformed,
    /// Frames of unsupported types.
    drop_unsupported_mtype,
    /// Frames of another major version.
    drop_unsupported_major,
    /// Frames outside the channel plan.
    drop_not_in_plan,
    /// Further copies.
    drop_duplicate,
    /// Frames of unknown radios.
    drop_unknown_radio,
    /// Copies of an uplink, by further radios, that were not kept for the choice of the radio: there were too many.
    copies_dropped,
    /// Frames forgotten early because there were too many: a late copy of one is judged by its counter.
    frames_forgotten,
}

impl Counters {
    pub(crate) fn count(counter: &mut u64) {
        *counter = counter.saturating_add(1);
    }

    pub(crate) fn dropped(&mut self, reason: DropReason) {
        Self::count(match reason {
            DropReason::BadMic => &mut self.drop_bad_mic,
            DropReason::UnknownDevice => &mut self.drop_unknown_device,
            DropReason::DevNonceReused(_) => &mut self.drop_dev_nonce_reused,
            DropReason::JoinNoncesUsedUp => &mut self.drop_join_nonces_used_up,
            DropReason::Replay(_) => &mut self.drop_replay,
            DropReason::Malformed => &mut self.drop_malformed,
            DropReason::UnsupportedMtype => &mut self.drop_unsupported_mtype,
            DropReason::UnsupportedMajor => &mut self.drop_unsupported_major,
            DropReason::NotInPlan => &mut self.drop_not_in_plan,
            DropReason::Duplicate => &mut self.drop_duplicate,
            DropReason::UnknownRadio => &mut self.drop_unknown_radio,
        });
    }

    pub(crate) fn window_missed(&mut self, failure: TxFailure) {
        Self::count(match failure {
            TxFailure::TooLate => &mut self.tx_too_late,
            TxFailure::DutyCycle => &mut self.tx_duty_cycle,
            TxFailure::NoWindow => &mut self.tx_no_window,
            TxFailure::NoBand => &mut self.tx_no_band,
            TxFailure::NotSaved => &mut self.tx_not_saved,
            TxFailure::TooLong => &mut self.tx_too_long,
            TxFailure::RadioGone => &mut self.tx_radio_gone,
            TxFailure::NoReport => &mut self.tx_no_report,
            TxFailure::Radio(_) => &mut self.tx_refused_by_radio,
        });
    }
}
