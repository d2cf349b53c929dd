//! What a server says to clients that it does not serve, in the words of its protocol.

use crate::serve::server::Server;

impl Server {
    /// Sets the replies to clients over a limit (`busy`), and to clients without a process or
    /// descriptor.
    pub fn refuse_with(&mut self, busy: impl Into<Vec<u8>>, unavailable: impl Into<Vec<u8>>) {
        self.replies.busy = busy.into();
        self.replies.unavailable = unavailable.into();
    }

    /// Sets the reply to clients that say PROXY and may not, or must and do not (`--proxy-from`). Without one,
    /// PROXY is an ordinary word where there are no proxies.
    pub fn refuse_proxy_with(&mut self, denied: impl Into<Vec<u8>>) {
        self.replies.denied = denied.into();
    }
}
