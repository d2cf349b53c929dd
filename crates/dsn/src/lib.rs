//! The text of delivery status notifications: what has become of a letter, for its author and for programs (RFC 3464,
//! RFC 6522, RFC 6533).
//!
//! [`Report`] has the facts, most of them from strangers, and makes a letter of them. Who receives one is decided
//! elsewhere: smtpd knows what it has delivered, smtpq what it could not send.

// The order of the modules; each imports from its left only:
//   text | recipient returned | report seven_bit

mod recipient;
mod report;
mod returned;
mod seven_bit;
mod text;

pub use recipient::{Action, Recipient, date};
pub use report::{About, Report, Text};
pub use returned::Returned;
pub use seven_bit::in_seven_bits;
