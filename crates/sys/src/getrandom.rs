//! getrandom(2): random bytes that need no file, in an empty root and behind Landlock too.

use nix::errno::Errno;

/// Fills the buffer. Waits only in a machine that has just started.
///
/// # Errors
/// ENOSYS on Linux before 3.17.
pub fn fill(buffer: &mut [u8]) -> nix::Result<()> {
    let mut filled = 0;
    while let Some(rest @ [_, ..]) = buffer.get_mut(filled..) {
        // SAFETY: the kernel writes at most the length of `rest` to it.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match Errno::result(got) {
            Ok(got) => filled += got.cast_unsigned(),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_are_different_and_all_of_a_large_one_is_filled() {
        let (mut a, mut b) = ([0; 16], [0; 16]);
        fill(&mut a).unwrap();
        fill(&mut b).unwrap();
        assert_ne!(a, b);
        let mut large = vec![0; 70_000];
        fill(&mut large).unwrap();
        assert!(large[69_000..].iter().any(|byte| *byte != 0));
        fill(&mut []).unwrap();
    }
}
