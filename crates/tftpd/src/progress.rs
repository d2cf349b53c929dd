//! How far tftpc's file is, as a bar on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

use crate::channel::Way;
use crate::client::{Order, granted};
use crate::commandline::STANDARD;
use crate::numbers::Numbers;
use crate::packet::{Direction, Mode, Packet};

const KNOWN: &str = "{bar:30} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left";
const UNKNOWN: &str = "{spinner} {bytes}, {binary_bytes_per_sec}";

/// The bar of one order.
#[derive(Clone, Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// One that is shown where standard error is a terminal; not where `wanted` is false, nor while
    /// the file goes to the terminal itself.
    #[must_use]
    pub fn of(order: &Order, wanted: bool) -> Progress {
        if !wanted || order.local == STANDARD {
            return Progress(ProgressBar::hidden());
        }
        let progress = Progress(ProgressBar::no_length());
        let is_known = order.direction == Direction::Write && order.mode == Mode::Octet;
        let meta = std::fs::metadata(&order.local).ok().filter(std::fs::Metadata::is_file);
        match meta.filter(|_| is_known) {
            Some(meta) => progress.is_of(meta.len()),
            None => progress.style(UNKNOWN),
        }
        progress
    }

    /// The file's size has become known. What sets it draws the bar, so the style comes first.
    fn is_of(&self, size: u64) {
        self.style(KNOWN);
        self.0.set_length(size);
    }

    /// True where nobody sees it.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.0.is_hidden()
    }

    /// Takes it away.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style);
        }
    }

    /// What is to be called for each packet: counts the octets of each block once, and learns the
    /// file's size from the server.
    pub fn counter(&self, order: &Order) -> impl FnMut(Way, &[u8]) + use<> {
        let (progress, wishes) = (self.clone(), order.wishes);
        let data_goes = if order.direction == Direction::Read { Way::In } else { Way::Out };
        let (mut numbers, mut next) = (Numbers::default(), 1);
        move |way, packet| match Packet::parse(packet) {
            Ok(Packet::Data { block, data })
                if way == data_goes && block == numbers.on_wire(next) =>
            {
                next += 1;
                progress.0.inc(data.len() as u64);
            }
            Ok(Packet::Oack { .. }) if way == Way::In => {
                let Some(options) = granted(packet, &wishes) else { return };
                numbers = Numbers::rolling_to(options.rollover);
                if let Some(size) = options.tsize.filter(|_| progress.0.length().is_none()) {
                    progress.is_of(size);
                }
            }
            _ => (),
        }
    }
}
