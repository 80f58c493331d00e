//! The shell: the only place for processes, sockets, files, the clock and randomness. It contains no `if` about LoRaWAN
//! or LwM2M: inputs go to the gateway, outputs are carried out.

mod clock;
pub mod control;
pub mod database;
mod disk;
pub mod entropy;
pub mod journal;
pub mod plugins;
pub mod run;
mod spawn;
mod udp;

pub use clock::Clock;
pub use disk::StoreError;
