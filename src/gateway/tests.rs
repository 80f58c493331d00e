//! The gateway in virtual time.
