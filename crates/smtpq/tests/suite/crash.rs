//! kill -9 at any moment: no letter is lost, and one arrives twice only where its end was not answered in time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::mail_server::MailServer;
use testkit::{children, repetitions, wait_until};

use crate::common::Site;

/// Longest time of the test, but for the machine's own slowness.
const LIMIT: Duration = Duration::from_secs(30);

/// Random numbers, by a generator whose seed is printed when the test fails.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn no_letter_is_lost_when_parents_and_children_are_killed() {
    let seed = std::process::id().into();
    let (mut chance, site, server) = (Chance(seed), Site::new(), MailServer::start(|_| None));
    let begin = Instant::now();
    let (mut put, mut kills) = (0, 0);
    for _ in 0..repetitions(15) {
        for _ in 0..4 {
            put += 1;
            let to = ["a@red.test", "b@blue.test"];
            site.put_from("levy@topaz.test", &to, &format!("letter {put}.\n"));
        }
        let mut runner = site.start(&server.port(), &["--max-letters", "3"]);
        std::thread::sleep(Duration::from_micros(chance.below(30_000)));
        for child in children(runner.pid()) {
            if chance.below(2) == 0 {
                kills += i32::from(kill(Pid::from_raw(child), Signal::SIGKILL).is_ok());
            }
        }
        runner.signal(Signal::SIGKILL);
        let _killed = runner.wait();
        kills += 1;
        if begin.elapsed() > LIMIT {
            break;
        }
    }
    // Children of a parent that was killed end by themselves.
    let _runner = site.start(&server.port(), &[]);
    wait_until("the queue is empty", || {
        site.ask(&["--flush"]);
        site.names("letters").is_empty()
    });
    let mut arrived: HashMap<String, usize> = HashMap::new();
    for text in server.letters() {
        *arrived.entry(text).or_default() += 1;
    }
    let lost: Vec<i32> = (1..=put)
        .filter(|number| arrived.get(&format!("letter {number}.\n")).is_none_or(|times| *times < 2))
        .collect();
    let twice: usize = arrived.values().map(|times| times.saturating_sub(2)).sum();
    assert!(lost.is_empty(), "seed {seed}: lost: {lost:?}");
    // At most one letter of each process that was killed had its end sent and not answered.
    assert!(twice <= kills as usize * 2, "seed {seed}: {twice} arrived twice, {kills} were killed");
    assert!(site.names("state").is_empty(), "{:?}", site.names("state"));
}
