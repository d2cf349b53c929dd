//! Channel binding (RFC 5056): what ties SCRAM-SHA-256-PLUS to its TLS connection.

use crate::secret::Secret;

/// Longest binding in bytes: the hash of a certificate by SHA-512 (RFC 5929 §4.1).
const MAX_BINDING: usize = 64;

/// What a binding is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// `tls-exporter` (RFC 9266): exported keying material, 32 bytes for the label
    /// `EXPORTER-Channel-Binding` and an empty context.
    Exporter,
    /// `tls-server-end-point` (RFC 5929 §4): the hash of the server's certificate.
    ServerEndPoint,
}

impl Binding {
    /// Returns the registered name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Binding::Exporter => "tls-exporter",
            Binding::ServerEndPoint => "tls-server-end-point",
        }
    }
}

/// The bindings of a connection. Without TLS, and without the one that was agreed, there is none.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    exporter: Option<Secret>,
    server_end_point: Option<Secret>,
}

impl Bindings {
    /// Adds a binding; an empty one or one over 64 bytes is left out.
    #[must_use]
    pub fn with(mut self, binding: Binding, data: &[u8]) -> Bindings {
        let data = Some(data).filter(|data| !data.is_empty() && data.len() <= MAX_BINDING);
        match binding {
            Binding::Exporter => self.exporter = data.map(Secret::from),
            Binding::ServerEndPoint => self.server_end_point = data.map(Secret::from),
        }
        self
    }

    /// Whether there is none, so that SCRAM-SHA-256-PLUS cannot be offered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exporter.is_none() && self.server_end_point.is_none()
    }

    /// Returns the data of the binding of this name.
    pub(super) fn by_name(&self, name: &[u8]) -> Option<&[u8]> {
        let (_, data) = self.all().find(|(binding, _)| name == binding.name().as_bytes())?;
        Some(data)
    }

    /// Returns the binding that a client takes: that of the connection before that of the certificate.
    pub(super) fn best(&self) -> Option<(Binding, &[u8])> {
        self.all().next()
    }

    fn all(&self) -> impl Iterator<Item = (Binding, &[u8])> {
        let exporter = self.exporter.as_ref().map(|data| (Binding::Exporter, data));
        let end_point = self.server_end_point.as_ref().map(|data| (Binding::ServerEndPoint, data));
        exporter.into_iter().chain(end_point).map(|(binding, data)| (binding, data.as_bytes()))
    }
}
