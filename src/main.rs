//! `lpwad`: arguments → configuration → gateway.

use std::process::ExitCode;

fn main() -> ExitCode {
    lpwad::cli::main()
}
