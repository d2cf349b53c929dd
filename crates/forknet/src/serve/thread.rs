//! One thread per client: the fork design with pthread_create in place of fork.

use std::io;
use std::thread::{self, Builder};

use crate::error::{Error, Result};
use crate::serve::master::Master;
use crate::serve::session::{self, Client};

/// Bytes of a thread's stack. Pages that are not touched cost nothing.
const STACK: usize = 512 * 1024;

/// accept, create a thread, and again. The signals stay blocked in all threads but this one.
#[inline(never)]
pub(crate) fn serve(
    mut master: Master,
    serve: impl Fn(&mut Client) -> io::Result<()> + Send + Sync,
) -> Result<()> {
    let (threads, waker) = (master.set_threads()?, master.make_waker()?);
    master.ready()?;
    master.confine().map_err(Error::os("confinement"))?;
    let doit = |slot| {
        if let Some(conn) = threads.take(slot) {
            session::run(conn, slot, &serve); //            str_echo(connfd), close(connfd)
        }
        if threads.end(slot) {
            waker.notify();
        }
    };
    let doit = &doit;
    thread::scope(|scope| {
        loop {
            let ready = master.wait()?;
            if master.must_stop() {
                return master.shut_down();
            }
            for listener in ready {
                let Some(mut conn) = master.accept(listener)? else { continue };
                let Some(slot) = master.admit(&mut conn)? else { continue };
                threads.add(slot, conn); // the thread takes it from there
                let thread = Builder::new().stack_size(STACK); // pthread_create(&tid, NULL, &doit, connfd)
                let created = thread.spawn_scoped(scope, move || doit(slot));
                if let Err(error) = created
                    && let Some(conn) = threads.remove(slot)
                {
                    master.cannot_serve(conn, slot, error);
                }
            }
        }
    })
}
