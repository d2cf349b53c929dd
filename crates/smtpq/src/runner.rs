//! The parent: finds letters in the queue, gives those that are due to processes, and sees to what these leave.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forknet::{Jobs, Slot, Work, user_ids};
use log::{info, warn};
use maild::client::password_in;
use mailstore::{Queue, RunnerLock};
use nix::unistd::{Gid, Uid, getegid, geteuid};
use smtpclient::{Login, TlsUse};

use crate::deliver::{Access, UNREACHABLE, deliver};
use crate::due::{due_after_process, now, parts};
use crate::notify::notify_authors;
use crate::options::Config;
use crate::schedule::{Batch, Limits, Name, Schedule};
use crate::watch::{Event, Watcher};

/// Letters that are read at a time; signals wait meanwhile.
const MAX_READ: usize = 200;
/// Most letters that are known at once, of some 200 bytes each. Others are found when there is room.
const MAX_KNOWN: usize = 200_000;
/// Time between two looks at all names of the queue: what no event has shown is found by them.
const LOOK_INTERVAL: Duration = Duration::from_secs(300);
/// The same where changes are not seen.
const BLIND_INTERVAL: Duration = Duration::from_secs(5);
/// Time between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// Seconds after which a letter is tried again that another process had, and of a process that has failed.
const BUSY_PAUSE: u64 = 5;
const FAILED_PAUSE: u64 = 60;
/// Longest rest of a destination that cannot be reached, in seconds.
const MAX_REST: u64 = 60;

/// How a runner works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// It tries each letter that is due once, and ends.
    pub is_once: bool,
    /// All letters are due.
    pub flushes: bool,
    /// Processes at once.
    pub processes: usize,
}

/// The runner of a queue.
#[derive(Debug)]
pub struct Runner {
    queue: Queue,
    config: Config,
    access: Access,
    manner: Manner,
    watcher: Watcher,
    schedule: Schedule,
    /// Names of letters that were not read yet, the oldest last.
    unread: Vec<Name>,
    /// When all names are looked at again.
    look_at: Instant,
    has_looked: bool,
    /// When what crashes have left is removed again.
    sweep_at: Instant,
    /// The batches of processes, by the numbers of their slots.
    running: Vec<Option<Batch>>,
    /// Of SIGHUP.
    hangup: Rc<Cell<bool>>,
    _lock: Option<RunnerLock>,
}

/// Reads how other servers are met: the authorities that TLS trusts, the password of a login.
///
/// # Errors
/// One of the files cannot be read.
pub fn access(config: &Config) -> forknet::Result<Access> {
    let tls = match config.requires_tls {
        true => TlsUse::Required(tls::Client::new(config.ca_file.as_deref())?),
        false => {
            // Nothing is checked by it, but one that cannot be read is a mistake.
            config.ca_file.as_deref().map(|file| tls::Client::new(Some(file))).transpose()?;
            TlsUse::Opportunistic
        }
    };
    let login = config.relay_login.as_ref().map(|(user, file)| {
        password_in(file, "smtpq").map(|password| Login::new(user.clone(), password))
    });
    Ok(Access { tls, login: login.transpose()? })
}

/// Makes what is missing of the queue, with the rights of the start: root needs `-u`, whose user is its owner.
///
/// # Errors
/// It cannot be used; root has named no user.
pub fn make_queue(config: &Config, user: Option<&str>) -> forknet::Result<Queue> {
    let (uid, gid) = owner(user)?;
    let made = Queue::make_at(&config.queue, Uid::from_raw(uid), Gid::from_raw(gid));
    made.map_err(|error| forknet::Error::Refused(format!("queue: {error}")))
}

/// Checks what [`make_queue`] would find, and makes nothing.
///
/// # Errors
/// As [`make_queue`].
pub fn check_queue(config: &Config, user: Option<&str>) -> forknet::Result<()> {
    let checked = Queue::check_at(&config.queue, Uid::from_raw(owner(user)?.0));
    checked.map_err(|error| forknet::Error::Refused(format!("queue: {error}")))
}

/// Returns the ids of the queue's owner.
fn owner(user: Option<&str>) -> forknet::Result<(u32, u32)> {
    match (geteuid().is_root(), user) {
        (true, Some(user)) => user_ids(user),
        (true, None) => {
            let why = "refusing to run as root: name the queue's owner with -u USER";
            Err(forknet::Error::Refused(why.into()))
        }
        (false, _) => Ok((geteuid().as_raw(), getegid().as_raw())),
    }
}

/// Locks the queue, so that it has one runner. One that tries all letters once may run beside it.
///
/// # Errors
/// Another runner has it.
pub fn lock_queue(queue: &Queue, manner: Manner) -> forknet::Result<Option<RunnerLock>> {
    if manner.is_once {
        return Ok(None);
    }
    let refused = |why: String| forknet::Error::Refused(format!("queue: {why}"));
    let lock = queue.lock_runner().map_err(|error| refused(error.to_string()))?;
    lock.map(Some).ok_or_else(|| refused("another runner has it".into()))
}

impl Runner {
    /// Makes the runner of a queue. `hangup` is set by SIGHUP.
    #[must_use]
    pub fn new(
        (queue, lock): (Queue, Option<RunnerLock>),
        watcher: Watcher,
        (config, access): (Config, Access),
        manner: Manner,
        hangup: Rc<Cell<bool>>,
    ) -> Runner {
        let limits =
            Limits { per_destination: config.max_per_destination, letters: config.max_letters };
        Runner {
            queue,
            config,
            access,
            manner,
            watcher,
            schedule: Schedule::new(limits),
            unread: Vec::new(),
            look_at: Instant::now(),
            has_looked: false,
            sweep_at: Instant::now() + SWEEP_INTERVAL,
            running: Vec::new(),
            hangup,
            _lock: lock,
        }
    }

    /// Looks at the names of all letters, so that those that are not known are read.
    fn look(&mut self) {
        self.look_at = Instant::now() + self.interval();
        if self.queue.take_flush() {
            self.schedule.flush(now());
        }
        let (schedule, mut unread) = (&mut self.schedule, Vec::new());
        schedule.begin_look();
        let looked = self.queue.each_name(|name| {
            if !schedule.see(name) {
                unread.push(Name::from(name));
            }
        });
        if let Err(error) = looked {
            warn!("{error}"); // nothing is known to be gone
            return;
        }
        schedule.end_look();
        if !self.has_looked {
            info!("queue {}: {} letters", self.config.queue.display(), unread.len());
            self.has_looked = true;
        }
        unread.sort_unstable_by(|one, other| other.cmp(one));
        self.unread = unread;
        self.sweep();
    }

    /// Removes what crashes of those that put letters in have left, once a day; the start has done so too.
    fn sweep(&mut self) {
        if self.sweep_at > Instant::now() {
            return;
        }
        self.sweep_at = Instant::now() + SWEEP_INTERVAL;
        match self.queue.sweep() {
            Ok(0) => {}
            Ok(removed) => info!("queue: {removed} leftovers removed"),
            Err(error) => warn!("{error}"),
        }
    }

    fn interval(&self) -> Duration {
        if self.watcher.is_on() { LOOK_INTERVAL } else { BLIND_INTERVAL }
    }

    /// Does what events ask for.
    fn follow_events(&mut self) {
        for event in self.watcher.take() {
            match event {
                Event::Letter(name) => {
                    let name = Name::from(OsStr::from_bytes(&name));
                    if !self.schedule.knows(&name) {
                        self.see_to(&name, None);
                    }
                }
                Event::Gone(name) => self.schedule.remove(OsStr::from_bytes(&name)),
                Event::Held(name) => self.schedule.hold(OsStr::from_bytes(&name), true),
                Event::Released(name) => self.schedule.hold(OsStr::from_bytes(&name), false),
                Event::Request => {
                    if self.queue.take_flush() {
                        info!("all letters are tried now");
                        self.schedule.flush(now());
                        self.look_at = Instant::now(); // for those that could not be read before
                    }
                }
                Event::Everything => self.look_at = Instant::now(),
            }
        }
    }

    /// Reads some of the letters that were not read yet.
    fn read_some(&mut self) {
        for _ in 0..MAX_READ {
            if self.schedule.counts().0 >= MAX_KNOWN {
                self.unread = Vec::new(); // found again by the next look
                return;
            }
            let Some(name) = self.unread.pop() else { return };
            if !self.schedule.knows(&name) {
                self.see_to(&name, None);
            }
        }
    }

    /// Reads a letter, and notes what is left to do for it: nothing is, it is removed. What the process of a batch has left
    /// due at its destination is not, before the time that is `later`.
    fn see_to(&mut self, name: &Name, later: Option<(&Batch, u64)>) {
        if self.schedule.counts().0 >= MAX_KNOWN {
            return;
        }
        let letter = match self.queue.read(name) {
            Ok(Some(letter)) => letter,
            Ok(None) => {
                self.schedule.remove(name);
                self.queue.forget(name);
                return;
            }
            Err(error) => {
                warn!("{error}");
                self.schedule.remove(name);
                return;
            }
        };
        let mut parts = parts(&letter, &self.config);
        if parts.is_empty() {
            self.remove(name);
            return;
        }
        if self.manner.flushes {
            let now = now();
            parts.iter_mut().for_each(|(_, due)| *due = now.min(*due));
        }
        if let Some((batch, until)) = later {
            let (now, is_once) = (now(), self.manner.is_once);
            let its = parts.iter_mut().filter(|(at, _)| *at == batch.destination);
            its.for_each(|(_, due)| *due = due_after_process(*due, until, now, is_once));
        }
        self.schedule.put(name, parts, self.queue.is_held(name));
    }

    /// Removes a letter that is done.
    fn remove(&mut self, name: &OsStr) {
        match self.queue.lock(name) {
            Ok(Some(letter)) => {
                if let Err(error) = letter.remove() {
                    warn!("{error}");
                }
            }
            Ok(None) => {}
            // Another runner's process has it, and that one will remove it.
            Err(error) => log::debug!("{error}"),
        }
        self.schedule.remove(name);
    }

    /// Returns when a letter of an ended process is tried again that it has left as it was.
    fn pause(&self, is_ok: bool) -> u64 {
        match (self.manner.is_once, is_ok) {
            (true, _) => u64::MAX,
            (false, true) => now().saturating_add(BUSY_PAUSE),
            (false, false) => now().saturating_add(FAILED_PAUSE),
        }
    }

    /// Returns until when a destination rests that could not be reached.
    fn rest(&self) -> u64 {
        let first = self.config.retry.first().map_or(MAX_REST, Duration::as_secs);
        now().saturating_add(first.clamp(1, MAX_REST))
    }

    fn jobs(&self) -> usize {
        self.running.iter().flatten().count()
    }
}

impl Jobs for Runner {
    type Job = Batch;

    fn wakers(&self) -> Vec<BorrowedFd<'_>> {
        self.watcher.fd().into_iter().collect()
    }

    fn tend(&mut self) {
        if self.hangup.take() {
            self.look_at = Instant::now();
            match access(&self.config) {
                Ok(access) => self.access = access,
                Err(error) => warn!("{error}: what was read before goes on"),
            }
        }
        self.follow_events();
        if self.look_at <= Instant::now() {
            self.look();
        }
        self.read_some();
    }

    fn next(&mut self) -> Option<Batch> {
        self.schedule.take(now())
    }

    fn due_in(&mut self) -> Option<Duration> {
        if !self.unread.is_empty() {
            return Some(Duration::ZERO);
        }
        let look = self.look_at.saturating_duration_since(Instant::now());
        let has_room = self.jobs() < self.manner.processes;
        let first = self.schedule.first_due().filter(|_| has_room);
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let due = first.map(|due| Duration::from_secs(due).saturating_sub(clock));
        due.into_iter().chain([look]).min()
    }

    fn begins(&mut self, slot: Slot, job: Batch) {
        if self.running.len() <= slot.number() {
            self.running.resize(slot.number() + 1, None);
        }
        if let Some(place) = self.running.get_mut(slot.number()) {
            *place = Some(job);
        }
    }

    fn cannot_begin(&mut self, job: Batch) {
        self.schedule.ended(&job);
        job.letters.iter().for_each(|name| self.see_to(name, None));
    }

    fn has_ended(&mut self, slot: Slot, is_ok: bool) {
        let Some(batch) = self.running.get_mut(slot.number()).and_then(Option::take) else {
            return;
        };
        self.schedule.ended(&batch);
        let is_unreachable = slot.counters().number(UNREACHABLE) != 0;
        let rest = (is_unreachable && !self.manner.is_once).then(|| self.rest());
        let later = (&batch, self.pause(is_ok));
        for name in &batch.letters {
            self.see_to(name, Some(later));
        }
        self.schedule.rest(&batch.destination, rest);
        if let Err(error) = self.queue.sync() {
            warn!("{error}");
        }
        if self.manner.is_once && batch.destination.is_author() {
            self.look_at = Instant::now(); // for the notifications
        }
    }

    fn is_over(&self) -> bool {
        let is_due = self.schedule.first_due().is_some_and(|due| due <= now());
        let is_idle = self.unread.is_empty() && self.look_at > Instant::now() && !is_due;
        self.manner.is_once && is_idle && self.jobs() == 0
    }

    fn log_table(&self) {
        let (letters, held) = self.schedule.counts();
        let unread = self.unread.len();
        info!("{letters} letters, {held} of them held; {unread} more to be read");
        for batch in self.running.iter().flatten() {
            info!("{} letters for {}", batch.letters.len(), batch.destination);
        }
    }

    fn run(&self, job: &Batch, work: &mut Work<'_>) -> io::Result<()> {
        match job.destination.is_author() {
            true => notify_authors(&self.queue, &self.config, &job.letters, work),
            false => deliver(&self.queue, &self.config, &self.access, job, work),
        }
    }
}
