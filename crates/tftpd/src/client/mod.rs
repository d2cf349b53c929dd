//! tftpc: fetches or sends one file.

pub mod command_line;
pub mod job;
pub mod local_file;
pub mod progress;
mod stay;
pub mod url;
