//! A folder of a test's own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::{AccessFlags, access};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A fresh folder, mode 0755, removed with all that is in it when dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes the folder below the system's temporary folder.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> TempDir {
        TempDir::below(&std::env::temp_dir())
    }

    /// Makes the folder in memory where the system has a file system there (shm_overview(7)): for a test
    /// that reads and writes much, and not for one about a disk.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn in_memory() -> TempDir {
        let memory = Path::new("/dev/shm");
        let is_memory = statfs(memory).is_ok_and(|fs| fs.filesystem_type() == TMPFS_MAGIC);
        if is_memory && access(memory, AccessFlags::W_OK).is_ok() {
            return TempDir::below(memory);
        }
        TempDir::new()
    }

    /// As [`TempDir::new`], below another folder.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn below(parent: &Path) -> TempDir {
        use std::os::unix::fs::DirBuilderExt;
        loop {
            let name = format!("forklore-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
            let path = parent.join(name);
            match std::fs::DirBuilder::new().mode(0o755).create(&path) {
                Ok(()) => return TempDir(path),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => panic!("{}: {e}", path.display()),
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it and gives its path.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a file in the temporary folder");
        // Whatever the umask is: servers take no file that others may write to.
        let mode = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, mode).expect("a file of our own");
        path
    }

    /// Makes a program of this text in it, for all to run, and gives its path.
    ///
    /// # Panics
    /// As for [`copy_program`].
    pub fn program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        copy_program(&self.file(&format!("{name}.text"), text), &path);
        path
    }
}

/// Copies a program, for all to run. Another process does it: had this one the file open for writing, a child that another
/// test forks would have it open too until it calls exec(2), and until then running the program fails with ETXTBSY.
///
/// # Panics
/// It cannot be copied.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("install").args(["-m", "755"]).args([from, to]).status();
    assert!(
        copied.is_ok_and(|status| status.success()),
        "install {} {}",
        from.display(),
        to.display()
    );
}

/// The names in a folder, sorted.
///
/// # Panics
/// It cannot be read, or a name is no UTF-8.
#[must_use]
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> = entries.map(|e| name(e).into_string().unwrap()).collect();
    names.sort();
    names
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_dir_all(&self.0);
    }
}
