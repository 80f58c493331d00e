//! The program; everything is in the library, where tests and fuzz targets reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    lpwad_lora_serial::serve()
}
