//! tftpc: fetches or sends one file.

pub mod command_line;
pub mod job;
pub mod local_file;
mod on_signal;
pub mod progress;
pub mod url;
