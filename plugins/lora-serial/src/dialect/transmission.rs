//! One frame on its way: the settings are changed, the line is loaded early, and its end is written at the due time.
//! The dialect knows the words; the times, and what is too late, are decided here.

use crate::dialect::queue::{Pending, signed_ms};
use crate::modem::{Output, TxStatus, WRITE_AHEAD};
use std::time::Duration;

/// Bound: By how much the end of the line may be late. Nodes tolerate about 10 ms at SF7.
const TOLERANCE: Duration = Duration::from_millis(3);
/// Added to the airtime for the answer after it.
const DONE_TIMEOUT: Duration = Duration::from_secs(1);

/// A frame that is being sent.
pub(super) struct Transmission {
    pub(super) pending: Pending,
    pub(super) stage: Stage,
    margin_ms: i32,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Settings are being changed.
    Preparing,
    /// The line is in the module, all but its end.
    Loaded,
    /// The end of the line is written.
    Sending,
}

/// What is to be done with a loaded line.
pub(super) enum LineEnd {
    /// Nothing yet.
    Wait,
    /// Write its end then.
    Write(Duration),
    /// Spoil it.
    TooLate(End),
}

/// The end of a frame: exactly one for each that was ordered.
#[derive(Debug, PartialEq)]
pub(super) struct End {
    pub(super) id: u64,
    pub(super) status: TxStatus,
    pub(super) margin_ms: Option<i32>,
    pub(super) detail: Option<String>,
}

impl Transmission {
    pub(super) fn new(pending: Pending) -> Transmission {
        Transmission { pending, stage: Stage::Preparing, margin_ms: 0 }
    }

    /// The settings are made; the line will be in the module at `loaded_at`. An error: that is too late.
    pub(super) fn load(&mut self, loaded_at: Duration) -> Result<(), End> {
        self.margin_ms = signed_ms(self.pending.write_at, loaded_at);
        if loaded_at > self.pending.write_at + TOLERANCE {
            return Err(self.end(TxStatus::Late, Some("the preparation took too long".into())));
        }
        self.stage = Stage::Loaded;
        Ok(())
    }

    /// When [`Transmission::line_end`] wants to be called.
    pub(super) fn deadline(&self) -> Option<Duration> {
        (self.stage == Stage::Loaded).then(|| self.pending.write_at.saturating_sub(WRITE_AHEAD))
    }

    /// What is to be done with the loaded line now.
    pub(super) fn line_end(&mut self, now: Duration) -> LineEnd {
        let write_at = self.pending.write_at;
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return LineEnd::Wait;
        }
        if now <= write_at + TOLERANCE {
            self.stage = Stage::Sending;
            return LineEnd::Write(write_at);
        }
        self.margin_ms = signed_ms(write_at, now);
        LineEnd::TooLate(self.end(TxStatus::Late, Some("this host woke up too late".into())))
    }

    /// When the module must have said that it has sent the frame.
    pub(super) fn sent_by(&self) -> Duration {
        self.pending.write_at + self.pending.airtime + DONE_TIMEOUT
    }

    /// Its end.
    pub(super) fn end(&self, status: TxStatus, detail: Option<String>) -> End {
        End { id: self.pending.request.id, status, margin_ms: Some(self.margin_ms), detail }
    }
}

impl End {
    /// The name of its counter.
    pub(super) fn counter(&self) -> &'static str {
        match self.status {
            TxStatus::Sent => "tx_sent",
            TxStatus::Late => "tx_late",
            TxStatus::Collision => "tx_collision",
            TxStatus::Busy => "tx_busy",
            TxStatus::Failed => "tx_failed",
        }
    }

    /// What the shell is told.
    pub(super) fn output(self) -> Output {
        Output::TxDone { id: self.id, status: self.status, margin: self.margin_ms, detail: self.detail }
    }
}
