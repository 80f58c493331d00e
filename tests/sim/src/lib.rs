//! The whole gateway in simulated time. The core of lpwad is real, and so are the nodes (`lorawan-device`); the radio's
//! plugin, the network, the servers and the disk are models with faults. A seed decides everything; a hash over all that
//! goes in and out tells whether two runs are the same. A shadow model checks what must hold after every step.

mod disk;
mod faults;
pub mod medium;
mod net;
mod plugin;
mod presence;
mod privacy;
mod readings;
mod sessions;
mod settings;
mod shadow;
mod site;
mod tally;
mod trace;
mod world;
mod writes;

pub use disk::{Kept, seal};
pub use settings::{Outcome, Planted, Settings, Weather};
pub use shadow::{Rule, Violation};
pub use world::{run, starts};
