//! Thousands of transfers over a network that does to datagrams whatever a network may.

use std::fs;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use testkit::relay::{Relay, Weather};
use tftpd::client::job::Job;
use tftpd::transfer::timer::RetryLimits;
use tftpd::wire::request::{Direction, Mode};
use tftpd::wire::requested_options::RequestedOptions;

use crate::udp::{Served, noise};

/// tftpd's options for this number of clients.
pub const PLENTY: [&str; 7] =
    ["--create", "-c", "2000", "--max-per-ip", "2000", "--retries", "200"];
/// How many kinds of weather there are: the last one loses `WORST` of 100 datagrams.
const WEATHERS: u32 = 4;
const WORST: u32 = 20;
const RESTLESS: Weather =
    Weather { doubled: 3, late: 10, by: Duration::from_millis(50), ..Weather::CALM };
/// What a client may say: no answer; the server's process is gone; or gone and its port another's.
const CLEAR: [&str; 3] = ["timed out", "refused", "Unknown transfer ID"];
/// Tries of a client, as many as of the server: few would do if the machine itself were never late.
const RETRIES: u32 = 200;
/// How long a client waits without progress.
const IDLE: Duration = Duration::from_secs(60);

/// Transfers of all kinds, each of a file of its own.
#[derive(Clone, Copy)]
pub struct Storm {
    /// How many there are.
    pub transfers: usize,
    /// How many at once.
    pub at_once: usize,
    /// The files' sizes.
    pub sizes: &'static [usize],
    /// What the n-th one asks for.
    pub wishes: fn(usize) -> RequestedOptions,
}

impl Storm {
    /// Each one ends with its file whole, or with an error that says why; few do.
    pub fn over(&self, served: &Served) {
        let files: Vec<Vec<u8>> =
            self.sizes.iter().zip(1..).map(|(size, seed)| noise(*size, seed)).collect();
        for (number, file) in files.iter().enumerate() {
            served.write(&format!("f{number}"), file);
        }
        let weathers = (1..=WEATHERS).map(|n| Weather { lost: n * WORST / WEATHERS, ..RESTLESS });
        let mut scripts: Vec<_> = weathers.map(|weather| weather.script(5)).collect();
        let relay = Relay::start(served.daemon.addr(), move |passing| {
            scripts[passing.transfer as usize % WEATHERS as usize](passing)
        });
        let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..self.at_once {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Relaxed);
                        if number >= self.transfers {
                            return;
                        }
                        if let Err(said) = self.transfer(served, &files, relay.addr(), number) {
                            failures.lock().unwrap().push(said);
                        }
                    }
                });
            }
        });
        let (counts, failures) = (relay.counts(), failures.into_inner().unwrap());
        eprintln!("{} of {} failed; {counts:?}", failures.len(), self.transfers);
        let clear = |said: &String| CLEAR.iter().any(|words| said.contains(words));
        assert!(failures.iter().all(clear), "{failures:?}");
        assert!(failures.len() * 10 < self.transfers, "{failures:?}");
        assert!(counts.lost * 9 > counts.came && counts.late * 20 > counts.came, "{counts:?}");
        let unfinished = served.names().iter().filter(|name| name.starts_with('.')).count();
        assert_eq!(unfinished, 0, "a temporary is left");
    }

    /// Gets or puts a file. Here tftpc is not run but called: a thousand processes at once would
    /// take most of the time.
    fn transfer(
        &self,
        served: &Served,
        files: &[Vec<u8>],
        service: SocketAddr,
        number: usize,
    ) -> Result<(), String> {
        let kind = number % files.len();
        let file = &files[kind];
        // Names of their own, because the weather hangs on the request.
        let (source, fetched) = (format!("g{number}"), format!("l{number}"));
        let uploaded = format!("p{number}");
        fs::hard_link(served.path(&format!("f{kind}")), served.path(&source)).unwrap();
        let is_get = (number / files.len()).is_multiple_of(2);
        let direction = if is_get { Direction::Read } else { Direction::Write };
        let (remote, local, result) = match direction {
            Direction::Read => (&source, served.dir.path().join(&fetched), fetched.clone()),
            Direction::Write => (&uploaded, served.path(&source), format!("root/{uploaded}")),
        };
        let job = Job {
            direction,
            remote: remote.clone().into_bytes(),
            local: local.to_str().unwrap().to_owned(),
            mode: Mode::Octet,
            options: (self.wishes)(number),
            limits: RetryLimits {
                retries: RETRIES,
                unproven_sends: RETRIES + 1,
                idle: IDLE,
                whole: IDLE,
            },
            stream: None,
        };
        let outcome = job.run(service, Box::new(|_, _| ()), || ()).unwrap();
        let there = fs::read(served.dir.path().join(result)).ok();
        let Err(failure) = outcome.result else {
            assert!(
                there.as_ref() == Some(file),
                "transfer {number} ended well and its file is another"
            );
            return Ok(());
        };
        // An upload whose last ACKs were all lost is there, and whole; a file of the client's is not.
        let whole = there.is_none_or(|there| !is_get && there == *file);
        assert!(whole, "transfer {number} left a half: {failure}");
        Err(format!("{number}: {failure}"))
    }
}
