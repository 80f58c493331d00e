//! Why a radio is lost, as one of a closed set; the sentence for people goes with it.

/// What made a plugin's radio useless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The plugin said itself what is wrong.
    Fault,
    /// Its process ended, or could not be started.
    Ended,
    /// It said nothing in time.
    Silent,
    /// Too many lines in a row were no messages, or out of turn.
    Garbage,
    /// A line did not end.
    LineTooLong,
    /// Too many lines in a second.
    Flood,
    /// Another protocol, version or kind.
    Incompatible,
    /// Its capability sheet cannot be true, or is of no use.
    Sheet,
    /// It did not read what it was told.
    NotReading,
}
