//! After the last ACK, in case that is lost: "dallying is encouraged" (RFC 1350 §6).

use nix::unistd::{chdir, setsid};
use sys::fd;
use sys::fork::{Fork, OneTask, child, fork};

use std::time::Duration;

use crate::server::limits::dally_time;
use crate::transfer::side::Side;
use crate::transfer::udp_transfer::UdpTransfer;

/// Time to stay where the user has to wait for it, because there is no process for it.
const SHORT: Duration = Duration::from_millis(1500);

/// Stays, to acknowledge the last block again if the server repeats it. A process in the background does that, so that the
/// user need not wait; it ends after some seconds of silence. The file is complete by then.
pub(super) fn stay<S: Side>(transfer: &mut UdpTransfer<'_, S>) {
    let interval = transfer.state.side.options().timeout;
    let wait = dally_time(transfer.state.is_lossless, interval);
    match OneTask::check().and_then(fork) {
        Ok(Fork::Parent(_)) => {}
        Ok(Fork::Child) => child(|| {
            if leave().is_ok() {
                transfer.dally(wait);
            }
            0
        }),
        Err(_) if transfer.state.is_lossless => {}
        Err(_) => transfer.dally(SHORT),
    }
}

/// Leaves the terminal, its signals and the pipes to other programs, which wait for their end, and the folder.
fn leave() -> nix::Result<()> {
    setsid()?;
    fd::replace_standard(&fd::null()?, [true; 3])?;
    chdir("/")
}
