//! What an LwM2M client talks about: paths, values, object definitions and the tree of values of one node.

pub mod definition;
pub mod path;
pub mod registry;
pub(crate) mod tree;
pub mod value;
