//! A process that has nothing to do with a server, and notes what signals it is sent.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::unistd::geteuid;

use crate::process::{has_ended, signal_mask};
use crate::wait::wait_until;

/// The user that a server of root's becomes in tests where it could harm others.
pub const NOBODY: u32 = 65534;

/// It blocks all signals, so those that it is sent stay pending, and /proc shows them. Killed when
/// dropped.
#[derive(Debug)]
pub struct Bystander(Child);

impl Bystander {
    /// Starts one in this process group, or in one of its own for 0; as root, one of [`NOBODY`]'s.
    ///
    /// # Panics
    /// There is no env(1) of coreutils 9.
    #[must_use]
    pub fn start(group: i32) -> Bystander {
        let mut command = Command::new("env");
        command.args(["--block-signal", "sleep", "3600"]).process_group(group);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let bystander = Bystander(command.spawn().expect("env of coreutils"));
        wait_until("the bystander blocks all signals", || {
            !has_ended(bystander.pid()) && signal_mask(bystander.pid(), "SigBlk:") != 0
        });
        bystander
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    /// Fails unless it lives and was sent no signal.
    ///
    /// # Panics
    /// See above.
    pub fn check(&self) {
        assert!(!has_ended(self.pid()), "a process that must not be touched was killed");
        let [own, of_all] = ["SigPnd:", "ShdPnd:"].map(|field| signal_mask(self.pid(), field));
        assert_eq!(own | of_all, 0, "a process that must not be touched was sent signals");
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _status = self.0.wait();
    }
}
