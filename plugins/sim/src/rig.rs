//! A modem and the air around it, wired together; clock-free.

use crate::air::{Air, AirEvent};
use crate::modem::{Modem, ModemConfig, ModemOutput};
use crate::node::NodeConfig;
use std::collections::VecDeque;
use std::time::Duration;

/// What the rig does.
#[derive(Clone, Debug, PartialEq)]
pub enum RigOutput {
    /// Bytes for the host.
    ToHost(Vec<u8>),
    /// A line that passed between host and modem.
    Line {
        /// Direction.
        from_host: bool,
        /// Without its end.
        text: String,
    },
    /// An event of the air.
    Air(AirEvent),
    /// The modem did not take a frame that reached it; why, for people.
    ModemMissed(String),
}

/// One gateway modem and its nodes.
pub struct Rig {
    modem: Modem,
    air: Air,
    outputs: VecDeque<(Duration, RigOutput)>,
}

impl Rig {
    /// A modem with nodes around it.
    #[must_use]
    pub fn new(config: ModemConfig, seed: u64, nodes: Vec<NodeConfig>) -> Self {
        Rig { modem: Modem::new(config), air: Air::new(seed, nodes), outputs: VecDeque::new() }
    }

    /// The modem; after an order to it call [`Rig::tick`].
    pub fn modem(&mut self) -> &mut Modem {
        &mut self.modem
    }

    /// The air; after an order to it call [`Rig::tick`].
    pub fn air(&mut self) -> &mut Air {
        &mut self.air
    }

    /// Lets everything happen that is due until `now`, in the order of time.
    pub fn tick(&mut self, now: Duration) {
        self.wire(now);
        while let Some(due) = self.deadline().filter(|due| *due <= now) {
            self.modem.tick(due);
            self.air.tick(due);
            self.wire(due);
        }
    }

    /// When [`Rig::tick`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.modem.deadline().into_iter().chain(self.air.deadline()).min()
    }

    /// The next output, with its time.
    pub fn poll(&mut self) -> Option<(Duration, RigOutput)> {
        self.outputs.pop_front()
    }

    /// Carries frames between modem and air until both are quiet.
    fn wire(&mut self, now: Duration) {
        loop {
            if let Some(output) = self.modem.poll() {
                let output = match output {
                    ModemOutput::Transmit(frame) => {
                        self.air.transmit_from_gateway(now, frame);
                        continue;
                    }
                    ModemOutput::ToHost(bytes) => RigOutput::ToHost(bytes),
                    ModemOutput::Line { from_host, text } => RigOutput::Line { from_host, text },
                    ModemOutput::Missed(reason) => RigOutput::ModemMissed(reason),
                };
                self.outputs.push_back((now, output));
            } else if let Some(event) = self.air.poll() {
                if let AirEvent::ToGateway(heard) = &event {
                    self.modem.handle_air(now, heard);
                }
                self.outputs.push_back((now, RigOutput::Air(event)));
            } else {
                return;
            }
        }
    }
}
