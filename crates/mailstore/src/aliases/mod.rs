//! aliases(5).

mod target;

pub use target::{AliasTarget, Fault, MAX_TARGETS, targets};
