//! What travels: packets, the options in them, block numbers. Bytes in, values out: no socket, no
//! file, no clock.

pub mod block_number;
pub mod error_code;
pub mod negotiation;
mod option_list;
mod option_name;
pub mod options;
pub mod packet;
pub mod request;
pub mod requested_options;
