//! MAC commands (LoRaWAN 1.0.4 §5). One file per command that is served; all others are counted and left unanswered.

pub(crate) mod link_adr;
pub(crate) mod link_check;

/// A command from a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MacUp {
    LinkCheckReq,
    LinkAdrAns {
        channel_mask: bool,
        data_rate: bool,
        power: bool,
    },
    /// Any other command.
    Other,
}

/// A command to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MacDown {
    LinkCheckAns { margin_db: u8, gateways: u8 },
    LinkAdrReq { dr: u8, channel: u8 },
}

impl MacDown {
    /// Bytes on the air, CID included (LoRaWAN 1.0.4 §5, table of commands).
    pub(crate) fn len(self) -> usize {
        match self {
            MacDown::LinkCheckAns { .. } => 3,
            MacDown::LinkAdrReq { .. } => 5,
        }
    }
}
