//! The wire format: packets, options, block numbers. No socket, no file, no clock.

pub mod block_number;
pub mod error_code;
pub mod negotiation;
mod option_list;
pub mod option_name;
pub mod options;
pub mod packet;
pub mod request;
pub mod requested_options;
