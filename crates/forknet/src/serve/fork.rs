//! One process per client: the slides' concurrent server.

use std::io;

use sys::fork::{Fork, child, fork};

use crate::error::Result;
use crate::serve::master::Master;
use crate::serve::session::{self, Client};

/// Slide "Final (correct) Version of TCP Echo Server": accept, fork, close, and round again.
///
/// Not inlined, so that gdb, perf and uprobes find it by name.
#[inline(never)]
pub(crate) fn serve(
    mut master: Master,
    serve: impl Fn(&mut Client) -> io::Result<()>,
) -> Result<()> {
    let alone = master.alone()?; // proof of one task, for fork
    master.ready()?;
    // for ( ; ; )
    loop {
        let ready = master.wait()?; // ppoll, where signals are delivered
        if master.must_stop() {
            return master.shut_down();
        }
        for listener in ready {
            let Some(mut conn) = master.accept(listener)? else { continue }; // EINTR: back to for ( )
            let Some(slot) = master.admit(&mut conn)? else { continue }; //  over a limit: refused
            match fork(alone) {
                Ok(Fork::Child) => child(|| {
                    master.close_listeners(); //        Close(listenfd)
                    session::run(conn, slot, &serve) // str_echo(connfd), exit(0)
                }),
                Ok(Fork::Parent(pid)) => master.children().add(pid, slot),
                Err(errno) => master.cannot_serve(conn, slot, errno),
            }
        } // conn is dropped: Close(connfd)
    }
}
