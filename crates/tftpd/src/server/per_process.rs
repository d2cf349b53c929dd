//! A process for each transfer. It answers one request, from a port of its own (RFC 1350 §4; slide
//! "Протокол TFTP").

use std::time::{Instant, SystemTime};

use forknet::{Request, Title, in_title};

use super::limits::{dally_time, retry_limits};
use super::request::{ValidRequest, open_receiver, open_sender};
use super::shared_status::SharedStatus;
use super::transfer_log::{Subject, TransferLine, log_refusal};
use crate::error::Error;
use crate::options::Config;
use crate::transfer::channel::{Channel, Trace, Traced};
use crate::transfer::side::Side;
use crate::transfer::timer::RetryLimits;
use crate::transfer::udp_transfer::UdpTransfer;
use crate::wire::packet::describe;
use crate::wire::request::Direction;

/// Serves one transfer from request to end, and logs one line.
pub fn answer(request: &mut Request, config: &Config) {
    let Request { data, peer, local, socket, counters, transcript, title, is_quiet, .. } = request;
    let is_quiet = *is_quiet;
    if transcript.is_on() {
        transcript.client(describe(data).as_bytes());
    }
    let counters = *counters;
    let trace: Trace<'_> = Box::new(move |traced, packet| {
        match traced {
            Traced::Received => {
                counters.received(packet.len());
                SharedStatus::new(counters).set_answered();
            }
            Traced::Sent => counters.sent(packet.len()),
        }
        match traced {
            _ if !transcript.is_on() => (),
            Traced::Received => transcript.client(describe(packet).as_bytes()),
            Traced::Sent => transcript.server(describe(packet).as_bytes()),
        }
    });
    let limits = retry_limits(config.retries, request.timeout, request.deadline);
    let channel = Channel::for_server(socket, *peer, trace);
    let (started_at, status) = (Instant::now(), SharedStatus::new(counters));
    let child = Child { config, limits, started_at, status, is_quiet, title: title.clone() };
    match ValidRequest::parse(config, data, *local, *peer) {
        Ok(request) => child.serve(&request, channel),
        Err(error) => child.refuse(channel, &describe(data), &error),
    }
}

/// The process that answers one request.
struct Child<'c> {
    config: &'c Config,
    limits: RetryLimits,
    started_at: Instant,
    status: SharedStatus,
    /// Only a client that has answered has a log line.
    is_quiet: bool,
    title: Title,
}

impl Child<'_> {
    fn serve(&self, request: &ValidRequest<'_>, channel: Channel<'_>) {
        let direction = request.raw.direction;
        self.title.set(format_args!("{direction} {}", in_title(request.raw.name)));
        match direction {
            Direction::Read => self.send(request, channel),
            Direction::Write => self.receive(request, channel.takes_data()),
        }
    }

    /// Answers an RRQ. Not inlined, because the frame of a WRQ would be on the stack too.
    #[inline(never)]
    fn send(&self, request: &ValidRequest<'_>, channel: Channel<'_>) {
        match open_sender(request, self.config.max_options) {
            Ok((sender, granted)) => {
                let mut transfer = self.transfer(sender, channel);
                let result = transfer.run();
                self.log(request, &request.describe(&granted), &transfer, &result);
                self.set_done(&transfer, &result);
            }
            Err(error) => self.refuse(channel, &request.to_string(), &error),
        }
    }

    /// Answers a WRQ.
    #[inline(never)]
    fn receive(&self, request: &ValidRequest<'_>, channel: Channel<'_>) {
        let status = self.status;
        // Set before the last ACK is sent, because the client may then send a new request at once.
        let committed = move || status.set_done(SystemTime::now());
        let receive_buffer = |size| channel.expect_windows(size);
        let max = self.config.max_options;
        match open_receiver(self.config, request, max, receive_buffer, committed) {
            Ok((receiver, granted)) => {
                let mut transfer = self.transfer(receiver, channel);
                let result = transfer.run();
                self.log(request, &request.describe(&granted), &transfer, &result);
                if result.is_ok() {
                    self.dally(request, &mut transfer);
                } else {
                    self.set_done(&transfer, &result);
                    if matches!(result, Err(Error::Denied { .. })) {
                        self.status.set_dallies(); // the place is another client's, if it needs one
                        transfer.into_channel().stay_after_error();
                    }
                }
            }
            Err(error) => self.refuse(channel, &request.to_string(), &error),
        }
    }

    fn transfer<'a, S: Side>(&self, side: S, channel: Channel<'a>) -> UdpTransfer<'a, S> {
        let status = self.status;
        let repeated = Box::new(move || status.take_repeated());
        UdpTransfer::new(side, channel, self.limits).with_repeated_requests(repeated)
    }

    fn dally<S: Side>(&self, request: &ValidRequest<'_>, transfer: &mut UdpTransfer<'_, S>) {
        self.status.set_dallies();
        let name = in_title(request.raw.name);
        self.title.set(format_args!("{} {name} complete", Direction::Write));
        let interval = transfer.state.side.options().timeout;
        transfer.dally(dally_time(transfer.state.is_lossless, interval));
    }

    /// Tells the parent when the transfer ended, because the same request is a new one if it came
    /// after the packet that ended the transfer. Without such a packet the transfer ends now.
    fn set_done<S: Side>(&self, transfer: &UdpTransfer<'_, S>, result: &Result<(), Error>) {
        self.status.set_done(match result {
            Err(Error::TimedOut | Error::PortClosed | Error::Socket(_)) => SystemTime::now(),
            _ => transfer.channel.last_arrival(),
        });
    }

    fn refuse(&self, mut channel: Channel<'_>, request: &str, error: &Error) {
        // Set before the ERROR is sent, because the client may then send a new request at once.
        self.status.set_done(SystemTime::now());
        if let Error::Denied { code, reason } = error
            && !self.config.keeps_silent(*code)
        {
            channel.send_error(*code, reason);
        }
        if !self.is_quiet {
            log_refusal(channel.peer(), request, self.started_at, error);
        }
    }

    fn log<S: Side>(
        &self,
        valid: &ValidRequest<'_>,
        request: &str,
        transfer: &UdpTransfer<'_, S>,
        result: &Result<(), Error>,
    ) {
        if self.is_quiet && !self.status.is_answered() {
            return; // the parent counts it
        }
        let (peer, side) = (transfer.channel.peer(), &transfer.state.side);
        let (unexpected, started_at) = (transfer.state.unexpected, self.started_at);
        let ValidRequest { raw, mode, file, .. } = valid;
        let subject = Subject { direction: raw.direction, mode: *mode, file };
        let also = self.config.transfer_log.as_ref().map(|log| (log, subject));
        TransferLine { peer, request, side, unexpected, started_at, result }.log(also);
    }
}
