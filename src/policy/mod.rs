//! How a session may open. A proxy speaks without DTLS only where every piece of the path from node to server is
//! protected **and** a threat analysis in writing concluded that no more is needed (LwM2M 1.1 §7.1.1; requirements S-03 to
//! S-05). Whatever is missing, unreadable, expired or not known means DTLS, or no session where DTLS cannot be had.
//! Nothing here can be overridden.
//!
//! `file` reads an analysis, `table` holds its path against what is seen, `decide` concludes by the rules of `rule`.
//!
//! `signature` says who signed a file. Facts come from outside: `src/io/facts` and the plugins.

pub mod analyses;
pub mod analysis;
pub mod date;
pub mod decide;
pub mod draft;
pub mod evidence;
pub mod facts;
pub mod file;
mod named;
pub mod outlook;
pub mod protection;
mod raw;
pub mod record;
pub mod rule;
pub mod segment;
pub mod signature;
pub mod table;

#[cfg(test)]
mod tests;
