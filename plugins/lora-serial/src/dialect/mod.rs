//! One command language per module, and what they share.

#[cfg(test)]
mod bench;
mod lora_e5;
mod queue;
mod rn2483;
mod transmission;

pub(crate) use lora_e5::LoraE5;
pub(crate) use rn2483::Rn2483;
