use super::*;
use crate::options::tests::config;

fn to(domain: &str) -> Destination {
    Destination::of(format!("x@{domain}").as_bytes(), &config(&[]).unwrap())
}

fn schedule() -> Schedule {
    Schedule::new(Limits { per_destination: 2, letters: 20 })
}

fn put(schedule: &mut Schedule, name: &str, parts: &[(&str, u64)]) {
    let parts = parts.iter().map(|(domain, due)| (to(domain), *due)).collect();
    schedule.put(&Rc::from(OsStr::new(name)), parts, false);
}

fn names(batch: &Batch) -> Vec<&str> {
    batch.letters.iter().map(|name| name.to_str().unwrap()).collect()
}

#[test]
fn letters_for_one_destination_go_together_the_oldest_first() {
    let mut schedule = schedule();
    put(&mut schedule, "3", &[("a.test", 0)]);
    put(&mut schedule, "1", &[("a.test", 0)]);
    put(&mut schedule, "2", &[("b.test", 5)]);
    assert_eq!((schedule.first_due(), schedule.counts()), (Some(0), (3, 0)));
    let batch = schedule.take(4).unwrap();
    assert_eq!((names(&batch), batch.destination.clone()), (vec!["1", "3"], to("a.test")));
    assert!(schedule.take(4).is_none());
    assert_eq!(names(&schedule.take(5).unwrap()), ["2"]);
    assert!(schedule.take(99).is_none() && schedule.first_due().is_none());
    schedule.ended(&batch);
    put(&mut schedule, "1", &[("a.test", 9)]);
    schedule.remove(OsStr::new("3"));
    assert!(!schedule.knows(OsStr::new("3")) && schedule.take(8).is_none());
    assert_eq!(names(&schedule.take(9).unwrap()), ["1"]);
}

#[test]
fn many_letters_for_one_destination_are_shared_by_as_many_processes_as_it_may_have() {
    let mut schedule = schedule();
    for number in 0..100 {
        put(&mut schedule, &format!("{number:03}"), &[("a.test", 0)]);
    }
    let (one, two) = (schedule.take(0).unwrap(), schedule.take(0).unwrap());
    assert_eq!((one.letters.len(), two.letters.len()), (20, 20));
    assert!(schedule.take(0).is_none() && schedule.first_due().is_none());
    schedule.ended(&one);
    assert_eq!(schedule.take(0).unwrap().letters.len(), 20);
    // What is left is divided.
    schedule.ended(&two);
    let rest = schedule.take(0).unwrap();
    assert_eq!(rest.letters.len(), 20);
    schedule.ended(&rest);
    assert_eq!(schedule.take(0).unwrap().letters.len(), 10);
}

#[test]
fn a_letter_has_one_process_at_each_of_its_destinations() {
    let mut schedule = schedule();
    put(&mut schedule, "1", &[("a.test", 0), ("b.test", 0)]);
    let (one, two) = (schedule.take(0).unwrap(), schedule.take(0).unwrap());
    assert_ne!(one.destination, two.destination);
    // While it is being sent, the same is found again.
    put(&mut schedule, "1", &[("a.test", 0), ("b.test", 0)]);
    assert!(schedule.take(0).is_none());
    schedule.remove(OsStr::new("1"));
    schedule.ended(&one);
    put(&mut schedule, "1", &[("a.test", 0), ("b.test", 0)]);
    assert_eq!(schedule.take(0).unwrap().destination, one.destination);
    assert!(schedule.take(0).is_none());
}

#[test]
fn a_letter_that_is_held_waits_until_it_is_released() {
    let mut schedule = schedule();
    schedule.put(&Rc::from(OsStr::new("1")), vec![(to("a.test"), 0)], true);
    assert!(schedule.take(9).is_none());
    schedule.flush(9);
    assert!(schedule.take(9).is_none());
    assert_eq!(schedule.counts(), (1, 1));
    schedule.hold(OsStr::new("1"), false);
    schedule.hold(OsStr::new("none"), true);
    assert_eq!(schedule.counts(), (1, 0));
    schedule.hold(OsStr::new("1"), true);
    schedule.hold(OsStr::new("1"), false);
    assert_eq!(names(&schedule.take(9).unwrap()), ["1"]);
    // It is held while it is being sent.
    schedule.hold(OsStr::new("1"), true);
    assert_eq!(schedule.counts(), (1, 1));
    schedule.remove(OsStr::new("1"));
    assert_eq!(schedule.counts(), (1, 1));
}

#[test]
fn a_destination_that_cannot_be_reached_rests_and_is_tried_by_one_process() {
    let mut schedule = schedule();
    for number in 0..100 {
        put(&mut schedule, &format!("{number:03}"), &[("a.test", 0)]);
    }
    put(&mut schedule, "b", &[("b.test", 7)]);
    let batch = schedule.take(0).unwrap();
    schedule.ended(&batch);
    schedule.rest(&batch.destination, Some(60));
    assert!(schedule.take(6).is_none());
    assert_eq!(names(&schedule.take(59).unwrap()), ["b"]);
    assert_eq!(schedule.first_due(), Some(60));
    let batch = schedule.take(60).unwrap();
    assert!(schedule.take(60).is_none(), "a second process");
    schedule.ended(&batch);
    schedule.rest(&batch.destination, Some(120));
    schedule.flush(61);
    assert!(schedule.take(61).is_some() && schedule.take(61).is_some());
}

#[test]
fn a_letter_that_a_look_has_not_seen_is_forgotten() {
    let mut schedule = schedule();
    for name in ["1", "2"] {
        put(&mut schedule, name, &[("a.test", 0)]);
    }
    for _ in 0..3 {
        schedule.begin_look();
        assert!(schedule.see(OsStr::new("1")) && schedule.see(OsStr::new("2")));
        put(&mut schedule, "new", &[("a.test", 0)]);
        schedule.end_look();
        assert_eq!(schedule.counts(), (3, 0));
        schedule.remove(OsStr::new("new"));
    }
    schedule.begin_look();
    assert!(schedule.see(OsStr::new("2")) && !schedule.see(OsStr::new("3")));
    schedule.end_look();
    assert_eq!(names(&schedule.take(0).unwrap()), ["2"]);
    assert_eq!(schedule.counts(), (1, 0));
}

#[test]
fn nothing_is_left_of_a_destination_without_letters() {
    let mut schedule = schedule();
    put(&mut schedule, "1", &[("a.test", 0)]);
    let batch = schedule.take(0).unwrap();
    schedule.ended(&batch);
    put(&mut schedule, "1", &[("a.test", 9)]);
    schedule.rest(&batch.destination, Some(60));
    schedule.remove(OsStr::new("1"));
    assert_eq!((schedule.lines.len(), schedule.first_due()), (1, Some(60)));
    assert!(schedule.take(60).is_none());
    assert_eq!((schedule.lines.len(), schedule.ready.len()), (0, 0));
}
