//! `lora-serial`: a radio plugin for LoRa modems on a serial port.
//!
//! One modem is a gateway with one channel and one data rate. That is not what LoRaWAN asks of a gateway: nodes that
//! hop over the channels of a region are heard only in part. See README.md for what that means.
//!
//! Inside out: `airtime` and `modem` (what every dialect has in common), `dialect` (one file per command
//! language, state machines without IO), `port` (the serial port), `run` (the shell between the daemon's lines and
//! the port).
//!
//! Not supported: several modems in one process, FSK, reception with inverted IQ, regions other than EU868, a frame
//! queue in the modem.
#![deny(clippy::indexing_slicing)]

mod airtime;
mod dialect;
mod line;
pub mod modem;
mod port;
mod run;
mod settings;

use std::process::ExitCode;

/// Serves the daemon on standard input and output until it says stop.
#[must_use]
pub fn serve() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run::run());
            // The reader of standard input cannot be interrupted; do not wait for it.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lora-serial: {error}");
            ExitCode::FAILURE
        }
    }
}
