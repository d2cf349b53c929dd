//! The progress bar on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

use super::job::{Job, accepted_options};
use super::local_file::STDIO;
use crate::transfer::channel::Traced;
use crate::wire::block_number::BlockNumbers;
use crate::wire::packet::Packet;
use crate::wire::request::{Direction, Mode};

/// Templates of the bar: with a known file size, and without.
const WITH_SIZE: &str = "{bar:30} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left";
const WITHOUT_SIZE: &str = "{spinner} {bytes}, {binary_bytes_per_sec}";

/// The progress bar of one job.
#[derive(Clone, Debug)]
pub struct ProgressMeter(ProgressBar);

impl ProgressMeter {
    /// Creates a progress bar, shown if standard error is a terminal. It is hidden if `wanted` is
    /// false or the file itself is written to the terminal.
    #[must_use]
    pub fn new(job: &Job, wanted: bool) -> ProgressMeter {
        if !wanted || job.local == STDIO {
            return ProgressMeter(ProgressBar::hidden());
        }
        let meter = ProgressMeter(ProgressBar::no_length());
        let is_known = job.direction == Direction::Write && job.mode == Mode::Octet;
        let meta = std::fs::metadata(&job.local).ok().filter(std::fs::Metadata::is_file);
        match meta.filter(|_| is_known) {
            Some(meta) => meter.set_size(meta.len()),
            None => meter.set_style(WITHOUT_SIZE),
        }
        meter
    }

    /// Sets the file's size. That draws the bar, so the style is set first.
    fn set_size(&self, size: u64) {
        self.set_style(WITH_SIZE);
        self.0.set_length(size);
    }

    /// Returns whether the bar is hidden.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.0.is_hidden()
    }

    /// Removes the bar from the terminal.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }

    fn set_style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style);
        }
    }

    /// Returns a trace function to call for each packet. It counts the bytes of each block once,
    /// and takes the file's size from the server's OACK.
    pub fn counter(&self, job: &Job) -> impl FnMut(Traced, &[u8]) + use<> {
        let (meter, requested) = (self.clone(), job.options);
        let data = if job.direction == Direction::Read { Traced::Received } else { Traced::Sent };
        let (mut numbers, mut next) = (BlockNumbers::default(), 1);
        move |traced, packet| match Packet::parse(packet) {
            Ok(Packet::Data { block, data: bytes })
                if traced == data && block == numbers.on_wire(next) =>
            {
                next += 1;
                meter.0.inc(bytes.len() as u64);
            }
            Ok(Packet::Oack { .. }) if traced == Traced::Received => {
                let Some(options) = accepted_options(packet, &requested) else { return };
                numbers = BlockNumbers::with_rollover(options.rollover);
                if let Some(size) = options.tsize.filter(|_| meter.0.length().is_none()) {
                    meter.set_size(size);
                }
            }
            _ => (),
        }
    }
}
