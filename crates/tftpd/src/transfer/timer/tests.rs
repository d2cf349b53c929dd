use super::*;

const LIMITS: RetryLimits = RetryLimits {
    retries: 5,
    unproven_sends: 2,
    idle: Duration::from_secs(60),
    whole: Duration::from_secs(60),
};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Runs the timer without an answer. Returns the times in milliseconds of all sends after the
/// first, and of giving up.
fn silence(timer: &mut Timer, start: Instant) -> Vec<u128> {
    let mut times = Vec::new();
    loop {
        let now = timer.deadline();
        times.push(now.duration_since(start).as_millis());
        match timer.due(now) {
            Due::Retransmit => timer.on_retransmit(now),
            Due::GiveUp => return times,
            Due::Nothing => panic!("nothing is due at the deadline"),
        }
    }
}

#[test]
fn an_address_that_never_answers_gets_two_packets() {
    let start = Instant::now();
    let mut timer = Timer::new(LIMITS, start);
    assert_eq!(silence(&mut timer, start), [1000, 11000]);
}

#[test]
fn retries_are_bounded_and_the_timeout_doubles_up_to_its_maximum() {
    let start = Instant::now();
    let mut timer = Timer::new(LIMITS, start);
    timer.on_answer(1, start + ms(1));
    let start = start + ms(1);
    assert_eq!(silence(&mut timer, start), [1000, 3000, 7000, 15000, 23000, 31000]);
    let forever = ms(999_000);
    let generous = RetryLimits { retries: 8, unproven_sends: 9, idle: forever, whole: forever };
    let mut timer = Timer::new(generous, start);
    let times = silence(&mut timer, start);
    assert_eq!(times, [1000, 3000, 7000, 15000, 23000, 31000, 39000, 47000, 55000]);
}

#[test]
fn the_idle_limit_ends_a_silent_transfer_even_between_two_sends() {
    let start = Instant::now();
    let mut timer = Timer::new(RetryLimits { idle: ms(2500), ..LIMITS }, start);
    assert_eq!(silence(&mut timer, start), [1000, 2500]);
}

#[test]
fn the_timeout_follows_the_round_trip_time() {
    let mut now = Instant::now();
    let mut timer = Timer::new(LIMITS, now);
    for _ in 0..50 {
        now += ms(1500);
        timer.on_answer(1, now);
    }
    let wait = timer.deadline().duration_since(now);
    assert!(wait >= ms(1500) && wait < ms(1600), "{wait:?}");
    for _ in 0..50 {
        now += ms(1);
        timer.on_answer(1, now);
    }
    assert_eq!(timer.deadline().duration_since(now), MIN_TIMEOUT);
}

#[test]
fn the_timeout_is_a_second_at_least_until_a_packet_is_lost() {
    let mut now = Instant::now();
    let mut timer = Timer::new(LIMITS, now);
    timer.on_answer(1, now + ms(1));
    assert_eq!(timer.deadline(), now + ms(1) + MIN_TIMEOUT);
    now = timer.deadline();
    timer.on_retransmit(now);
    timer.on_answer(1, now + ms(400));
    assert_eq!(timer.deadline(), now + ms(400) + MIN_TIMEOUT * 2, "the peer took its time");
    now = timer.deadline();
    timer.on_retransmit(now);
    timer.on_answer(1, now + ms(1));
    assert_eq!(timer.deadline(), now + ms(1) + MIN_TIMEOUT_LOSSY_NEAR, "a packet was lost");
}

#[test]
fn a_negotiated_timeout_is_kept_and_not_doubled() {
    let start = Instant::now();
    let mut timer = Timer::new(LIMITS, start);
    timer.set_interval(Some(ms(700)));
    timer.on_answer(1, start);
    assert_eq!(silence(&mut timer, start), [700, 1400, 2100, 2800, 3500, 4500]);
    let mut timer = Timer::new(RetryLimits { idle: ms(30_000), ..LIMITS }, start);
    timer.set_interval(Some(ms(20_000)));
    assert_eq!(silence(&mut timer, start), [20_000, 30_000], "the peer has not answered yet");
    timer.on_answer(1, start);
    assert_eq!(silence(&mut timer, start), [20_000, 40_000]);
}

#[test]
fn the_wait_after_the_last_send_is_a_second_at_least() {
    let start = Instant::now();
    let mut timer = Timer::new(LIMITS, start);
    timer.set_interval(Some(ms(10)));
    timer.on_answer(1, start);
    assert_eq!(silence(&mut timer, start), [10, 20, 30, 40, 50, 1050]);
    let mut timer = Timer::new(RetryLimits { retries: 0, ..LIMITS }, start);
    timer.on_answer(1, start + ms(1));
    assert_eq!(silence(&mut timer, start + ms(1)), [1000]);
}

#[test]
fn a_repeated_request_is_answered_before_the_timeout_and_once_for_each_time() {
    let start = Instant::now();
    let mut timer = Timer::new(LIMITS, start);
    timer.on_repeated_request();
    assert_eq!(timer.deadline(), start + MIN_TIMEOUT_LOSSY, "the network may have doubled it");
    let now = start + ms(500);
    assert_eq!(timer.due(now), Due::Retransmit);
    timer.on_retransmit(now);
    assert_eq!(timer.deadline(), now + ms(2000), "once for each time");
    timer.on_repeated_request();
    let now = now + ms(300);
    timer.on_retransmit(now);
    let now = timer.deadline();
    assert_eq!(timer.due(now), Due::Retransmit, "two by the clock, two because it asked again");
    timer.on_retransmit(now);
    assert_eq!(timer.due(timer.deadline()), Due::GiveUp);
    (0..100).for_each(|_| timer.on_repeated_request());
    let sent = std::iter::repeat_with(|| {
        let now = timer.deadline();
        timer.due(now) == Due::Retransmit && {
            timer.on_retransmit(now);
            true
        }
    });
    assert!(sent.take_while(|sent| *sent).count() <= 3, "never more than --retries");
    let mut timer = Timer::new(LIMITS, start);
    timer.on_answer(1, start);
    timer.on_repeated_request();
    assert_eq!(timer.deadline(), start + MIN_TIMEOUT);
    timer.set_interval(Some(ms(5000)));
    assert_eq!(timer.deadline(), start + ms(5000), "a peer that has answered has the packet");
}

#[test]
fn blocks_received_in_a_window_restart_the_timeout() {
    let start = Instant::now();
    let mut timer = Timer::new(LIMITS, start);
    timer.on_blocks(1, start + ms(500));
    timer.on_blocks(1, start + ms(900));
    assert_eq!(timer.round_trip(), Some(ms(500)), "the first one of the window counts");
    assert_eq!(timer.deadline(), start + ms(900) + ms(1500));
}

#[test]
fn a_timeout_that_expired_while_the_socket_was_not_read_begins_again() {
    let start = Instant::now();
    let mut timer = Timer::new(LIMITS, start);
    timer.on_busy(start + ms(900));
    assert_eq!(timer.deadline(), start + ms(1000));
    timer.on_busy(start + ms(5000));
    assert_eq!(timer.due(start + ms(5999)), Due::Nothing);
    timer.on_answer(1, start + ms(5001));
    assert_eq!(timer.round_trip(), None, "the answer may have come long before");
    assert_eq!(timer.due(start + ms(5001) + INITIAL_TIMEOUT), Due::Retransmit);
}

#[test]
fn the_answer_to_a_packet_sent_twice_is_not_a_measurement() {
    let start = Instant::now();
    let mut timer = Timer::new(LIMITS, start);
    let now = timer.deadline();
    timer.on_retransmit(now);
    timer.on_answer(1, now + ms(1));
    assert_eq!(timer.deadline(), now + ms(1) + MIN_TIMEOUT_LOSSY, "and the backoff is reduced");
    timer.on_answer(1, now + ms(2));
    assert_eq!(timer.deadline(), now + ms(2) + MIN_TIMEOUT_LOSSY_NEAR, "a round trip of 1 ms");
}

#[test]
fn a_round_trip_longer_than_the_first_timeout_is_learnt_from_a_few_packets() {
    for trip in [1010, 1500, 2900, 5000] {
        let mut now = Instant::now();
        let mut timer = Timer::new(LIMITS, now);
        let mut too_often = 0;
        for _ in 0..10 {
            let answer = now + ms(trip);
            while timer.due(answer) == Due::Retransmit {
                let due = timer.deadline();
                timer.on_retransmit(due);
                too_often += 1;
            }
            now = answer;
            timer.on_answer(1, now);
        }
        assert!(too_often <= 4, "{too_often} needless sends at {trip} ms");
        assert!(timer.deadline() - now >= ms(trip));
    }
}

#[test]
fn an_answer_after_a_repeated_packet_is_not_a_measurement() {
    let start = Instant::now();
    let mut timer = Timer::new(LIMITS, start);
    timer.on_duplicate(start + ms(10));
    timer.on_answer(1, start + ms(20));
    assert_eq!(timer.deadline(), start + ms(20) + INITIAL_TIMEOUT);
}

#[test]
fn a_slow_peer_within_the_idle_limit_reaches_the_deadline() {
    let start = Instant::now();
    let pace = |wait: Duration| {
        let mut timer = Timer::new(LIMITS, start);
        let mut now = start;
        (0..10_000).all(|_| {
            now += wait;
            let in_time = timer.due(now) != Due::GiveUp;
            timer.on_answer(1, now);
            in_time
        })
    };
    assert!(pace(ms(3900)), "slow but steady");
    assert!(!pace(ms(5000)));
}

#[test]
fn a_peer_that_only_repeats_packets_reaches_the_idle_limit() {
    let start = Instant::now();
    let mut timer = Timer::new(RetryLimits { idle: ms(3000), ..LIMITS }, start);
    let mut now = start;
    while timer.due(now) == Due::Nothing {
        now += ms(100);
        timer.on_duplicate(now);
    }
    assert_eq!(now, start + ms(3000));
    assert_eq!(timer.due(now), Due::GiveUp);
}
