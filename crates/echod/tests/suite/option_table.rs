//! What the rows of the options make: manual pages, the guide's tables, completions.

use testkit::{check_closed_output, check_documents, check_marks_of_guide, completed, filled};

const DAEMON: &str = env!("CARGO_BIN_EXE_echod");
const CLIENT: &str = env!("CARGO_BIN_EXE_echoc");

#[test]
fn what_is_committed_is_what_the_rows_of_the_options_make() {
    check_documents(DAEMON, "echod.8");
    check_documents(CLIENT, "echoc.1");
}

#[test]
fn help_and_version_end_silently_when_their_reader_has_gone() {
    check_closed_output(DAEMON);
    check_closed_output(CLIENT);
}

#[test]
fn the_marks_of_the_guide_name_programs() {
    check_marks_of_guide();
}

#[test]
fn a_table_that_is_not_what_the_rows_say_is_made_anew() {
    let stale = "x\n<!-- options: echod -->\n| `--reap` | old |\n<!-- end of options -->\ny\n";
    let fresh = filled(DAEMON, stale);
    assert_ne!(fresh, stale);
    assert!(fresh.contains("| `--reap HOW` | "), "{fresh}");
    assert!(!fresh.contains("--max-clients"), "the options of every daemon have their own table");
    assert_eq!(filled(DAEMON, &fresh), fresh);
    let common = filled(DAEMON, "<!-- options: daemons -->\n<!-- end of options -->\n");
    assert!(common.contains("| `-c, --max-clients N` | clients at once | `256` |"), "{common}");
    assert!(!common.contains("--reap"), "{common}");
    let other = "<!-- options: pop3d -->\nold\n<!-- end of options -->\n";
    assert_eq!(filled(DAEMON, other), other, "another program's");
}

#[test]
fn bash_completes_names_of_options_words_files_and_folders() {
    let dir = testkit::TempDir::new();
    let file = dir.file("a file", "").display().to_string();
    let start = file.strip_suffix(" file").unwrap();
    for (words, offered) in [
        (&["--re"][..], &["--reap"][..]),
        (&["-m", "pre"], &["prefork"]),
        (&["--reap", "wait"], &["waitpid", "wait"]),
        (&["--reap", "=", "n"], &["none"]),
        (&["--reap", "="], &["waitpid", "wait", "none"]),
        (&["-d", "--config", start], &[file.as_str()]),
        (&["--chroot", start], &[]),
        (&["-c", ""], &[]),
        (&["--frob"], &[]),
    ] {
        assert_eq!(completed("echod", words), offered, "{words:?}");
    }
}
