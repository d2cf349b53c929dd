//! Plain technical English in comments, log lines and messages, as in sudo-rs, ripgrep and the Linux
//! manual pages.

use std::path::PathBuf;

use architecture::words::{Phrase, in_comments, in_names, in_strings};
use architecture::{read, sources};

use crate::none;

/// Phrases that a reader would have to guess the meaning of, and what to write in their place.
const PHRASES: [Phrase; 56] = [
    // Name the thing.
    ("so many", "the name of the limit or count"),
    ("so much", "the name of the limit or amount"),
    ("so long", "the name of the timeout or interval"),
    ("so often", "the name of the limit or count"),
    ("as long at most", "'at most', with the name of the timeout"),
    ("for as long", "the name of the timeout or interval"),
    // Name the actor.
    ("nobody", "who does not (the user is `nobody`)"),
    ("somebody", "who does"),
    ("anybody", "who may"),
    ("everybody", "who all do"),
    ("someone", "who does"),
    ("anyone", "who may"),
    ("everyone", "who all do"),
    ("no one", "who does not"),
    ("whoever", "who does"),
    ("whom", "the actor's name"),
    ("he", "the actor's name, or 'it'"),
    ("his", "the actor's name, or 'its'"),
    ("him", "the actor's name, or 'it'"),
    ("himself", "'itself'"),
    ("she", "the actor's name, or 'it'"),
    // Programs receive, log and report.
    ("hear", "'receive' or 'read'"),
    ("hears", "'receives' or 'reads'"),
    ("heard", "'received' or 'read'"),
    ("hearing", "'receiving' or 'reading'"),
    ("is told", "'receives', 'is logged' or 'is sent'"),
    ("are told", "'receive', 'are logged' or 'are sent'"),
    ("was told", "'received', 'was logged' or 'was sent'"),
    ("were told", "'received', 'were logged' or 'were sent'"),
    ("be told", "'receive', 'be logged' or 'be sent'"),
    ("been told", "'received', 'been logged' or 'been sent'"),
    ("tells whether", "'returns true if'"),
    ("is said", "'is logged' or 'is sent'"),
    ("was said", "'was logged' or 'was sent'"),
    ("be said", "'be logged' or 'be sent'"),
    // Old or private words.
    ("anew", "'again' or 'new'"),
    ("tarry", "'wait'"),
    ("tarries", "'waits'"),
    ("heed*", "'check' or 'handle'"),
    ("attention", "'interrupt' or 'wakeup'"),
    ("in vain", "'without success'"),
    ("of which there", "the number first"),
    ("look after", "'handle' or 'supervise'"),
    ("looks after", "'handles' or 'supervises'"),
    ("looked after", "'handled' or 'supervised'"),
    ("one behind the other", "'consecutive'"),
    ("one too many", "'over the limit'"),
    ("slept through", "'sleeps'"),
    ("at hand", "'available' or 'ready'"),
    ("be it", "'whether'"),
    ("lest", "'so that … not'"),
    ("for all that", "'nevertheless', or nothing"),
    ("all the same", "'nevertheless', or nothing"),
    ("takes notice", "'handles'"),
    ("thereof", "'of it'"),
    ("therein", "'in it'"),
];

/// Words that only the quotation of an RFC may have; elsewhere a comment says "byte".
const UNLESS_RFC: [Phrase; 2] =
    [("octet", "'byte', or the RFC"), ("octets", "'bytes', or the RFC")];

/// The sources of the crates and of the slides' programs, unit tests included.
fn files() -> Vec<PathBuf> {
    let is_source = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "src");
    [sources("crates"), sources("examples")].into_iter().flatten().filter(is_source).collect()
}

fn found(look: impl Fn(&str, &str) -> Vec<String>) -> Vec<String> {
    files().iter().flat_map(|path| look(&path.display().to_string(), &read(path))).collect()
}

#[test]
fn comments_have_no_private_phrases() {
    let wrong = found(|path, source| in_comments(path, source, &PHRASES, &UNLESS_RFC));
    none("private phrases in comments", &wrong);
}

/// Tests of protocols may say "octet", as the RFCs do.
#[test]
fn comments_of_tests_have_no_private_phrases() {
    let is_test = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "tests");
    // The crate of this test is about these phrases.
    let is_checked = |path: &PathBuf| is_test(path) && !path.starts_with("crates/architecture");
    let files: Vec<PathBuf> = sources("crates").into_iter().filter(is_checked).collect();
    assert!(files.len() > 100, "{} files", files.len());
    let wrong = files
        .iter()
        .flat_map(|path| in_comments(&path.display().to_string(), &read(path), &PHRASES, &[]));
    none("private phrases in comments of tests", &wrong.collect::<Vec<_>>());
}

#[test]
fn log_lines_and_messages_have_no_private_phrases() {
    none("private phrases in messages", &found(|path, source| in_strings(path, source, &PHRASES)));
}

/// Not those of testkit: `start_as_nobody` is named after the user, and `hears` after what a test expects.
#[test]
fn names_of_functions_have_no_private_phrases() {
    let wrong = found(|path, source| in_names(path, source, &PHRASES));
    let wrong = wrong.into_iter().filter(|line| !line.starts_with("crates/testkit/"));
    none("private phrases in names", &wrong.collect::<Vec<_>>());
}

#[test]
fn the_list_is_in_small_letters_without_doubles() {
    let mut phrases: Vec<_> = PHRASES.iter().chain(&UNLESS_RFC).map(|phrase| phrase.0).collect();
    assert!(phrases.iter().all(|phrase| *phrase == phrase.to_lowercase()));
    phrases.sort_unstable();
    assert!(phrases.windows(2).all(|pair| pair[0] != pair[1]), "{phrases:?}");
    assert!(files().len() > 100, "{} files", files().len());
}
