//! What the administrator's rules and filters say to a client, beside what the protocol demands. It is implemented
//! outside of the protocol, because filters are other programs.

use crate::protocol::envelope::{ClientAddress, Envelope, Hello, Recipient};
use crate::protocol::lookup::Delivery;
use crate::protocol::reply::Reply;

/// Rules and filters: each function may refuse a command that the protocol accepts.
pub trait Policy {
    /// HELO or EHLO.
    ///
    /// # Errors
    /// The reply to the client: 4yz or 5yz.
    fn hello(&self, client: &ClientAddress, hello: &Hello) -> Result<(), Reply>;

    /// MAIL; of the envelope there is the sender and its parameters.
    ///
    /// # Errors
    /// The reply to the client: 4yz or 5yz.
    fn sender(&self, client: &ClientAddress, envelope: &Envelope) -> Result<(), Reply>;

    /// RCPT, before the user is looked for, with the forms of the address.
    ///
    /// # Errors
    /// The reply to the client: 4yz or 5yz.
    fn address(&self, forms: &[String]) -> Result<(), Reply>;

    /// DATA, with a recipient.
    ///
    /// # Errors
    /// The reply to the client: 4yz or 5yz.
    fn data(&self) -> Result<(), Reply>;

    /// Returns a delivery that has the letter pass the filters on its way to `delivery`. The two numbers are the
    /// length of our own fields at its start in bytes, and the number of recipients.
    fn filtered<'a>(
        &'a self,
        delivery: Box<dyn Delivery + 'a>,
        id: &str,
        trace_and_recipients: (usize, usize),
    ) -> Box<dyn Delivery + 'a>;

    /// RCPT, of a recipient who was found.
    ///
    /// # Errors
    /// The reply to the client: 4yz or 5yz.
    fn recipient(&self, recipient: &Recipient) -> Result<(), Reply>;
}

/// No rules and no filters.
#[derive(Debug, Clone, Copy)]
pub struct Open;

impl Policy for Open {
    fn hello(&self, _: &ClientAddress, _: &Hello) -> Result<(), Reply> {
        Ok(())
    }

    fn sender(&self, _: &ClientAddress, _: &Envelope) -> Result<(), Reply> {
        Ok(())
    }

    fn address(&self, _: &[String]) -> Result<(), Reply> {
        Ok(())
    }

    fn recipient(&self, _: &Recipient) -> Result<(), Reply> {
        Ok(())
    }

    fn data(&self) -> Result<(), Reply> {
        Ok(())
    }

    fn filtered<'a>(
        &'a self,
        delivery: Box<dyn Delivery + 'a>,
        _: &str,
        _: (usize, usize),
    ) -> Box<dyn Delivery + 'a> {
        delivery
    }
}
