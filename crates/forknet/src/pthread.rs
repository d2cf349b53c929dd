//! pthread_create, as the slide has it.
//!
//! `std::thread` gives each thread an alternate signal stack for its report of a stack overflow:
//! mmap, mprotect, sigaltstack three times, munmap, half of what a thread costs, and a server has put
//! SIGSEGV back to its default anyway.

use std::ffi::c_void;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A session needs little; what is reserved and not touched costs nothing.
const STACK: usize = 512 * 1024;

/// The threads that may use what lives for `'env`: dropping this waits for the last of them.
#[derive(Debug)]
pub(crate) struct Crew<'env> {
    running: Arc<Running>,
    /// Neither longer nor shorter.
    env: PhantomData<&'env mut &'env ()>,
}

#[derive(Debug, Default)]
struct Running {
    threads: Mutex<usize>,
    last_one_gone: Condvar,
}

/// What a new thread is handed.
struct Start {
    life: Box<dyn FnOnce() + Send>,
    running: Arc<Running>,
}

impl Running {
    fn add(&self, one: isize) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        *threads = threads.saturating_add_signed(one);
        if *threads == 0 {
            self.last_one_gone.notify_all();
        }
    }
}

impl<'env> Crew<'env> {
    /// Runs `body` with a crew, and waits for the last thread of it.
    pub(crate) fn with<T>(body: impl FnOnce(&Crew<'env>) -> T) -> T {
        body(&Crew { running: Arc::default(), env: PhantomData })
    }

    /// pthread_create: a detached thread that lives `life`, which must not panic.
    ///
    /// # Errors
    /// EAGAIN: too many threads.
    pub(crate) fn create(&self, life: impl FnOnce() + Send + 'env) -> io::Result<()> {
        let life: Box<dyn FnOnce() + Send + 'env> = Box::new(life);
        // SAFETY: only the lifetime changes. `life` is called and dropped by the thread before it
        // takes itself off `running`, and nobody gets past the drop of this crew, which `with` keeps to
        // itself, before all have done so: so all of it happens within 'env.
        let life: Box<dyn FnOnce() + Send> = unsafe { std::mem::transmute(life) };
        self.running.add(1);
        let start = Box::new(Start { life, running: Arc::clone(&self.running) });
        let start = Box::into_raw(start);
        let created = detached(start.cast());
        if created.is_err() {
            // SAFETY: no thread has come to be that would take it.
            drop(unsafe { Box::from_raw(start) });
            self.running.add(-1);
        }
        created
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        let threads = self.running.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = self.running.last_one_gone.wait_while(threads, |threads| *threads > 0);
        drop(gone.unwrap_or_else(PoisonError::into_inner));
    }
}

/// The thread's whole life. A panic would end the process here: there is no frame to unwind into.
extern "C" fn run(start: *mut c_void) -> *mut c_void {
    // SAFETY: `create` made this pointer from a Box for this thread alone.
    let start = unsafe { Box::from_raw(start.cast::<Start>()) };
    let Start { life, running } = *start;
    life();
    running.add(-1);
    std::ptr::null_mut()
}

fn detached(start: *mut c_void) -> io::Result<()> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    let mut thread = MaybeUninit::uninit();
    // SAFETY: init makes the attributes valid for the two setters and for pthread_create, which
    // copies them; it cannot fail with glibc and musl. `run` takes the pointer that it is given.
    let failed = unsafe {
        libc::pthread_attr_init(attributes);
        libc::pthread_attr_setstacksize(attributes, STACK);
        libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED);
        let failed = libc::pthread_create(thread.as_mut_ptr(), attributes, run, start);
        libc::pthread_attr_destroy(attributes);
        failed
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(failed)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    #[test]
    fn all_threads_are_gone_when_the_crew_is() {
        let done = AtomicUsize::new(0);
        Crew::with(|crew| {
            for _ in 0..20 {
                let life = || {
                    std::thread::sleep(Duration::from_millis(5));
                    done.fetch_add(1, SeqCst);
                };
                crew.create(life).unwrap();
            }
        });
        assert_eq!(done.load(SeqCst), 20);
    }
}
