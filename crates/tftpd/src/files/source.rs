//! A file being served: with the size it had when it was requested, and never cut short unnoticed.
//!
//! To the client a short block is the end of the file. So a file that shrinks during the transfer,
//! or is overwritten in place, ends it with an ERROR. A file that grows is served up to its size at
//! the request, which the option `tsize` reported. Samples of the bytes read tell a file that grows, or
//! is only touched, from one that is overwritten: its times say nothing. Files in /proc and /sys do not
//! know their size and end where read(2) returns 0.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, IoSliceMut, Read};
use std::os::unix::fs::FileExt;

/// The st_size of every file in sysfs, in bytes.
const SYSFS_SIZE: u64 = 4096;
/// Longest sample, and the bytes at the beginning of a file all of which are sampled. Behind them each sample is at least
/// at twice the offset of the one before.
const SAMPLE: usize = 4096;

/// A file being read from beginning to end.
#[derive(Debug)]
pub struct Source {
    file: File,
    /// The size when it was opened, if the file knows its size.
    size: Option<u64>,
    /// Bytes read so far.
    read: u64,
    /// Samples of the bytes read.
    samples: Vec<Sample>,
    /// Of the last sample.
    hasher: DefaultHasher,
    /// Offset of the next sample.
    next_sample: u64,
}

/// Bytes that were read, as a hash.
#[derive(Debug, Default)]
struct Sample {
    at: u64,
    length: usize,
    hash: u64,
}

impl Source {
    /// Wraps a file that was just opened.
    ///
    /// # Errors
    /// fstat(2) or pread(2) fails.
    pub fn new(file: File) -> io::Result<Source> {
        let meta = file.metadata()?;
        let size = Some(meta.len()).filter(|size| *size > SYSFS_SIZE);
        let size = match size {
            Some(size) => Some(size),
            None => Some(meta.len()).filter(|_| ends_at(&file, meta.len())),
        };
        let next_sample = if size.is_some() { 0 } else { u64::MAX };
        let (samples, hasher) = (Vec::new(), DefaultHasher::new());
        Ok(Source { file, size, read: 0, samples, hasher, next_sample })
    }

    /// Returns the size in bytes, if the file knows it.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Checks at the end that the file has not changed since it was opened.
    fn check_end(&self) -> io::Result<usize> {
        let Some(size) = self.size else { return Ok(0) };
        let is_whole = self.read == size && self.file.metadata()?.len() >= size;
        if !is_whole || !self.samples.iter().all(|sample| self.is_unchanged(sample)) {
            return Err(io::Error::other("File changed while it was read"));
        }
        Ok(0)
    }

    /// Stores a sample of the bytes just read.
    fn take_sample(&mut self, buffers: &[IoSliceMut<'_>], length: usize) {
        if self.read >= SAMPLE as u64 || self.samples.is_empty() {
            self.samples.push(Sample { at: self.read, ..Sample::default() });
            self.hasher = DefaultHasher::new();
        }
        let Some(sample) = self.samples.last_mut() else { return };
        let mut left = length.min(SAMPLE - sample.length);
        for buffer in buffers {
            let bytes = buffer.get(..left.min(buffer.len())).unwrap_or_default();
            self.hasher.write(bytes);
            sample.length += bytes.len();
            left -= bytes.len();
        }
        sample.hash = self.hasher.finish();
        let end = self.read + length as u64;
        self.next_sample = if end < SAMPLE as u64 { end } else { end.max(self.read * 2) };
    }

    fn is_unchanged(&self, sample: &Sample) -> bool {
        let (mut now, mut hasher) = (vec![0; sample.length], DefaultHasher::new());
        if self.file.read_exact_at(&mut now, sample.at).is_err() {
            return false;
        }
        hasher.write(&now);
        hasher.finish() == sample.hash
    }

    /// Returns the number of bytes still to be read.
    fn left(&self) -> u64 {
        self.size.map_or(u64::MAX, |size| size - self.read)
    }
}

/// Returns whether the file ends exactly at `size`.
fn ends_at(file: &File, size: u64) -> bool {
    let has = |at| file.read_at(&mut [0], at).is_ok_and(|length| length == 1);
    !has(size) && size.checked_sub(1).is_none_or(has)
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(buffer)])
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let (mut room, mut whole) = (0, 0);
        for buffer in &*buffers {
            if room + buffer.len() as u64 > self.left() {
                break;
            }
            room += buffer.len() as u64;
            whole += 1;
        }
        let length = match buffers.split_at_mut_checked(whole) {
            Some((fitting, _)) if room > 0 => self.file.read_vectored(fitting)?,
            Some((_, [first, ..])) => {
                let left = usize::try_from(self.left()).unwrap_or(usize::MAX);
                match first.get_mut(..left) {
                    Some(part) if !part.is_empty() => self.file.read(part)?,
                    _ => 0,
                }
            }
            _ => return Ok(0), // the buffers are empty
        };
        if length > 0 && self.read >= self.next_sample {
            self.take_sample(buffers, length);
        }
        self.read += length as u64;
        if length == 0 { self.check_end() } else { Ok(length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::time::{Duration, UNIX_EPOCH};
    use testkit::TempDir;

    fn source(dir: &TempDir, text: &[u8]) -> Source {
        Source::new(File::open(dir.file("x", text)).unwrap()).unwrap()
    }

    fn rest(source: &mut Source) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        source.read_to_end(&mut rest).map(|_| rest)
    }

    fn changed(result: io::Result<Vec<u8>>) {
        assert_eq!(result.unwrap_err().to_string(), "File changed while it was read");
    }

    #[test]
    fn an_unchanged_file_is_read_to_its_end_with_any_buffer_size() {
        let dir = TempDir::new();
        for size in [0, 1, 4095, 4096, 4097, 10_000] {
            let text: Vec<u8> = (0..size).map(|n| n as u8).collect();
            let mut file = source(&dir, &text);
            assert_eq!(file.size(), Some(size));
            assert_eq!(rest(&mut file).unwrap(), text);
            let (mut file, mut all) = (source(&dir, &text), Vec::<u8>::new());
            loop {
                let (mut one, mut two, mut three) = ([0; 7], [0; 0], [0; 1000]);
                let mut buffers = [&mut one[..], &mut two, &mut three].map(IoSliceMut::new);
                let length = file.read_vectored(&mut buffers).unwrap();
                all.extend(&[&one[..], &three].concat()[..length]);
                if length == 0 {
                    break;
                }
            }
            assert_eq!(all, text, "{size}");
        }
    }

    #[test]
    fn a_file_that_grows_is_read_as_long_as_it_was() {
        let dir = TempDir::new();
        let mut file = source(&dir, b"before");
        let mut writer = File::options().append(true).open(dir.path().join("x")).unwrap();
        writer.write_all(b" and after").unwrap();
        assert_eq!(rest(&mut file).unwrap(), b"before");
    }

    #[test]
    fn a_file_that_shrinks_is_never_read_as_if_it_were_whole() {
        let dir = TempDir::new();
        for (read, left) in [(0, 0), (0, 5000), (3000, 3000), (9999, 100), (9999, 9999)] {
            let mut file = source(&dir, &[7; 10_000]);
            file.read_exact(&mut vec![0; read]).unwrap();
            let writer = File::options().write(true).open(dir.path().join("x")).unwrap();
            writer.set_len(left).unwrap();
            changed(rest(&mut file));
        }
    }

    #[test]
    fn a_file_overwritten_in_place_is_never_read_as_a_mixture() {
        let dir = TempDir::new();
        let writer = File::create(dir.path().join("x")).unwrap();
        writer.write_all_at(&[1; 10_000], 0).unwrap();
        writer.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
        let mut file = Source::new(File::open(dir.path().join("x")).unwrap()).unwrap();
        file.read_exact(&mut [0; 5000]).unwrap();
        writer.write_all_at(&[2; 10_000], 0).unwrap();
        changed(rest(&mut file));
    }

    #[test]
    fn a_file_overwritten_by_a_longer_one_is_never_read_as_a_mixture() {
        let dir = TempDir::new();
        let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (read, same) in [(5000, 0), (299_000, 0), (299_000, 40_000), (299_000, 120_000)] {
            let writer = File::create(dir.path().join("x")).unwrap();
            writer.write_all_at(&[1; 300_000], 0).unwrap();
            writer.set_modified(long_ago).unwrap();
            let mut file = Source::new(File::open(dir.path().join("x")).unwrap()).unwrap();
            for _ in 0..read / 1000 {
                file.read_exact(&mut [0; 1000]).unwrap();
            }
            writer.write_all_at(&vec![2; 400_000 - same], same as u64).unwrap();
            changed(rest(&mut file));
            assert!(file.samples.len() <= 8, "{read}");
        }
    }

    #[test]
    fn a_file_that_is_touched_and_not_changed_goes_on() {
        let dir = TempDir::new();
        for size in [100, 4097, 300_000] {
            let text = vec![7; size];
            let mut file = source(&dir, &text);
            file.read_exact(&mut [0; 50]).unwrap();
            let touched = File::options().write(true).open(dir.path().join("x")).unwrap();
            touched.set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
            touched.write_all_at(&text[..10], 0).unwrap(); // the same bytes
            assert_eq!(rest(&mut file).unwrap().len(), size - 50);
        }
    }

    #[test]
    fn a_small_file_that_is_overwritten_is_never_read_as_a_mixture_whatever_its_times_say() {
        let dir = TempDir::new();
        for changed_at in [0, 511, 1023, 1700] {
            let mut file = source(&dir, &[1; 3000]);
            let then = std::fs::metadata(dir.path().join("x")).unwrap().modified().unwrap();
            for _ in 0..4 {
                file.read_exact(&mut [0; 512]).unwrap();
            }
            let writer = File::options().write(true).open(dir.path().join("x")).unwrap();
            writer.write_all_at(&[2], changed_at).unwrap();
            writer.set_modified(then).unwrap();
            changed(rest(&mut file));
        }
    }

    #[test]
    fn files_without_a_known_size_end_where_read_returns_0() {
        let mut file = Source::new(File::open("/proc/sys/kernel/ostype").unwrap()).unwrap();
        assert_eq!(file.size(), None);
        assert_eq!(rest(&mut file).unwrap(), b"Linux\n");
        let page = "/sys/kernel/mm/transparent_hugepage/enabled";
        if let Ok(file) = File::open(page) {
            let mut file = Source::new(file).unwrap();
            assert_eq!(file.size(), None, "though st_size is a page");
            assert_eq!(rest(&mut file).unwrap(), std::fs::read(page).unwrap());
        }
    }

    #[test]
    fn a_hole_is_read_as_zeros_and_counts() {
        let dir = TempDir::new();
        let path = dir.file("x", "head");
        File::options().write(true).open(&path).unwrap().set_len(5 << 40).unwrap();
        let mut file = Source::new(File::open(&path).unwrap()).unwrap();
        assert_eq!(file.size(), Some(5 << 40));
        let mut start = [1; 8];
        file.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"head\0\0\0\0");
    }
}
