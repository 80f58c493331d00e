//! The shell: the only place for processes, sockets, files, the clock and randomness. It contains no `if` about LoRaWAN
//! or LwM2M: inputs go to the gateway, outputs are carried out.

mod clock;
pub mod control;
mod cost;
pub mod database;
pub mod disk;
pub mod entropy;
pub mod facts;
mod handshake;
pub mod journal;
pub mod keys;
pub mod library;
mod log_queue;
mod patience;
pub mod plugins;
mod resolve;
pub mod route;
pub mod run;
mod sandbox;
pub mod seal_key;
pub mod sealed_keys;
pub mod secrecy;
mod secure;
pub mod settings;
mod spawn;
mod state_dir;
mod udp;
mod what_if;

pub use clock::Clock;
pub use disk::StoreError;
