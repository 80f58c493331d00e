//! One command language per module.

mod rn2483;

pub(crate) use rn2483::Rn2483;
