use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use testkit::TempDir;

use super::*;
use crate::files::roots::Roots;

/// Applies the rules to a name, for an RRQ from 192.0.2.7.
fn mapped(rules: &str, name: &str) -> String {
    asked(rules, name, Direction::Read, "192.0.2.7")
}

fn asked(rules: &str, name: &str, direction: Direction, peer: &str) -> String {
    let rules = parse::rules(rules.as_bytes()).unwrap();
    let context = RequestContext {
        direction,
        peer: peer.parse().unwrap(),
        hardware_address: &|| (peer == "192.0.2.7").then(|| "01-52-54-00-ab-cd-0f".into()),
        below: &|name| name.strip_prefix(b"/srv/").map(<[u8]>::to_vec).into_iter().collect(),
        exists: &|name| name.starts_with(b"there/"),
    };
    match rules::apply(&rules, name.as_bytes(), &context, |_, _| ()) {
        Ok(name) => String::from_utf8(name).unwrap(),
        Err(error) => error.to_string(),
    }
}

/// Returns the error in the rules.
fn fault(rules: &str) -> String {
    parse::rules(rules.as_bytes()).unwrap_err()
}

#[test]
fn without_rules_a_name_stays_as_it_is() {
    for rules in ["", "\n\n", "# slash\n   # lower\n", "\r\n"] {
        assert_eq!(mapped(rules, "A\\b"), "A\\b");
    }
}

#[test]
fn slash_makes_slashes_of_backslashes() {
    assert_eq!(mapped("slash", r"\boot\x64\\a"), "/boot/x64//a");
}

#[test]
fn lower_and_upper_fold_the_letters_of_ascii() {
    assert_eq!(mapped("lower", "Boot/BCD.Ä"), "boot/bcd.Ä");
    assert_eq!(mapped("upper", "Boot/bcd.ä"), "BOOT/BCD.ä");
}

#[test]
fn deny_and_stop_look_at_the_name_as_sent_and_as_the_rules_have_left_it() {
    let refused = "Name is not allowed (ERROR 2)";
    for name in ["pub/secret", "./pub//secret", "pub/x/../secret"] {
        assert_eq!(mapped("prefix pub/ ''\ndeny ^pub/secret", name), refused, "as sent: {name}");
    }
    assert_eq!(mapped("prefix '' pub/\ndeny ^pub/secret", "secret"), refused, "as it is left");
    assert_eq!(mapped("prefix pub/ ''\ndeny ^pub/secret", "pub/x"), "x");
    for name in ["/srv/secret", "//srv/x/../secret", "/srv/./secret"] {
        assert_eq!(mapped("deny ^secret", name), refused, "behind the path of a root: {name}");
    }
    assert_eq!(mapped("deny ^secret", "srv/secret"), "srv/secret", "that is another file");
    assert_eq!(mapped("prefix pub/ ''\nstop ^pub/\nupper", "pub/x"), "x", "stop, as sent");
    assert_eq!(mapped("prefix '' pub/\nstop ^pub/\nupper", "x"), "pub/x", "stop, as it is left");
    assert_eq!(mapped("stop ^pub/\nupper", "pub/../x"), "PUB/../X");
}

#[test]
fn not_turns_deny_and_stop_round() {
    let refused = "Name is not allowed (ERROR 2)";
    for (name, result) in
        [("pub/x", "pub/x"), ("x", refused), ("pub/../x", refused), ("a/../pub/x", refused)]
    {
        assert_eq!(mapped("deny not ^pub/", name), result, "{name}");
    }
    assert_eq!(mapped("prefix pub/ ''\ndeny not ^pub/", "pub/x"), "x", "as sent it is one");
    assert_eq!(mapped("stop not ^boot/\nupper", "x"), "x");
    assert_eq!(mapped("stop not ^boot/\nupper", "boot/x"), "BOOT/X");
    assert_eq!(mapped("deny not", "a not b"), refused, "a pattern of its own");
    assert_eq!(fault("deny not a b"), "line 1: deny: unexpected 'b'");
}

#[test]
fn prefix_replaces_the_beginning_of_a_name_and_nothing_else() {
    assert_eq!(mapped("prefix /tftpboot/ ''", "/tftpboot/a/tftpboot/b"), "a/tftpboot/b");
    assert_eq!(mapped("prefix /tftpboot/ ''", "a/tftpboot/b"), "a/tftpboot/b");
    assert_eq!(mapped("prefix '' pub/", "x"), "pub/x");
    assert_eq!(mapped("prefix a.c 'with blank/'", "abc"), "abc", "not a pattern");
    assert_eq!(mapped("prefix old/ $0new/", "old/x"), "old/new/x");
}

#[test]
fn regex_replaces_the_first_match_and_regex_all_each() {
    assert_eq!(mapped("regex a+ <$0>", "baab aa"), "b<aa>b aa");
    assert_eq!(mapped("regex-all a+ <$0>", "baab aa"), "b<aa>b <aa>");
    assert_eq!(mapped("regex-all x* -", "abc"), "-a-b-c-");
    assert_eq!(mapped(r"regex (?i)\.EFI$ .efi", "boot.Efi"), "boot.efi");
    assert_eq!(mapped("regex none $0", "abc"), "abc");
}

#[test]
fn groups_are_named_by_number_and_by_name() {
    assert_eq!(mapped("regex ^(.*)/(?<base>[^/]*)$ ${base}.$1", "dir/file"), "file.dir");
    assert_eq!(mapped("regex (a)|(b) $1-$2", "b"), "-b", "a group that took no part is empty");
    assert_eq!(mapped("regex (.) ${1}0$$%%", "a"), "a0$%");
}

#[test]
fn a_client_gets_a_folder_named_after_its_address() {
    assert_eq!(mapped("prefix '' %i/", "x"), "192.0.2.7/x");
    assert_eq!(mapped("prefix '' %x/", "x"), "C0000207/x");
    assert_eq!(mapped("prefix '' %m/", "x"), "01-52-54-00-ab-cd-0f/x");
    let six = "2001:db8::1";
    assert_eq!(asked("prefix '' %i/", "x", Direction::Read, six), "2001:db8::1/x");
    let digits = "20010DB8000000000000000000000001/x";
    assert_eq!(asked("prefix '' %x/", "x", Direction::Read, six), digits);
    assert_eq!(
        asked("prefix '' %m/", "x", Direction::Read, six),
        "x",
        "unknown address: rule skipped"
    );
    assert_eq!(asked("regex ^ %m/", "x", Direction::Read, six), "x");
}

#[test]
fn dot_dot_never_leaves_the_clients_folder() {
    let denied = "Name leaves the client's folder (ERROR 2)";
    for (rules, name) in [
        ("prefix '' %i/", "../192.0.2.9/x"),
        ("prefix '' %i/", "a/../../192.0.2.9/x"),
        ("prefix '' %i/", "a/.."),
        ("prefix '' %m", "/../x"),
        ("slash\nprefix '' %x/", r"..\192.0.2.9\x"),
        ("prefix '' %x/\nlower\nslash", r"..\192.0.2.9\x"),
        ("regex ^(.*)$ hosts/%i/$1", "../192.0.2.9/x"),
        ("regex-all ^ %i/", "../192.0.2.9/x"),
        ("prefix '' %i/\nprefix '' hosts/\nregex b$ a", "../b"),
        ("prefix '' %i/\nprefix 192 hosts/192\nslash", r"..\b"),
        ("prefix '' %i/\nregex-all x ''", ".x./x192.0.2.9/y"),
        ("prefix '' %i/\nregex none x\nslash", r"..\b"),
    ] {
        assert_eq!(mapped(rules, name), denied, "{rules}: {name}");
    }
    for (rules, name, expected) in [
        ("prefix '' %i/", "a..b/..c/x..", "192.0.2.7/a..b/..c/x.."),
        ("prefix '' f.%i", "../x", "f.192.0.2.7../x"),
        ("prefix old/ new/", "old/../x", "new/../x"),
        ("try there/%i/$0", "../x", "../x"),
        ("prefix '' %i/\nregex ^.*$ a/../b", "x", "a/../b"),
    ] {
        assert_eq!(mapped(rules, name), expected, "{rules}: {name}");
    }
}

#[test]
fn a_hardware_address_in_a_name_can_become_a_folder() {
    let rule = r"regex ^pxelinux\.cfg/01-([0-9a-f]{2}(?:-[0-9a-f]{2}){5})$ hosts/$1/config";
    let config = "pxelinux.cfg/01-52-54-00-ab-cd-0f";
    assert_eq!(mapped(rule, config), "hosts/52-54-00-ab-cd-0f/config");
    assert_eq!(mapped(rule, "pxelinux.cfg/default"), "pxelinux.cfg/default");
}

#[test]
fn a_clients_name_is_never_expanded_as_a_template() {
    assert_eq!(mapped("regex (.*) a/$1", "%i$1${1}%%"), "a/%i$1${1}%%");
    assert_eq!(mapped("prefix %i x", "%iy"), "xy", "OLD is text");
}

#[test]
fn try_takes_an_existing_name_and_ends_the_rules() {
    let rules = "try %m/$0\ntry there/%i/$0\nprefix '' after/";
    assert_eq!(mapped(rules, "x"), "there/192.0.2.7/x");
    assert_eq!(mapped("try %i/$0\nprefix '' after/", "x"), "after/x");
    assert_eq!(asked("try there/%m/$0", "x", Direction::Read, "192.0.2.8"), "x");
}

#[test]
fn stop_ends_the_rules_and_deny_refuses() {
    let rules = "stop ^pub/\nlower\ndeny \\.key$";
    assert_eq!(mapped(rules, "pub/A.key"), "pub/A.key");
    assert_eq!(mapped(rules, "A.KEY"), "Name is not allowed (ERROR 2)");
    assert_eq!(mapped(rules, "A.KEYS"), "a.keys");
    assert_eq!(mapped("deny ^a.*b$", "a\nb"), "Name is not allowed (ERROR 2)");
}

#[test]
fn deny_matches_every_spelling_of_a_name() {
    for name in
        ["secret/x", "/secret/x", "//secret/x", "./secret/x", "a/../secret/x", "../secret/x"]
    {
        assert_eq!(mapped("deny ^secret/", name), "Name is not allowed (ERROR 2)", "{name}");
    }
    for name in ["a/secret/x", "secrets", "secret/../x"] {
        assert_eq!(mapped("deny ^secret/x", name), name);
    }
    assert_eq!(mapped("stop ^pub/\ndeny .", "pub/x"), "pub/x");
    assert_eq!(mapped("stop ^pub/\ndeny .", "pub/../x"), "Name is not allowed (ERROR 2)");
}

#[test]
fn each_rule_applies_to_the_result_of_the_one_before() {
    let rules =
        "slash\nlower\nprefix /boot/ ''\nregex ^x64/(.*)$ amd64/$1 # the folder's name here";
    assert_eq!(mapped(rules, r"\Boot\X64\BCD"), "amd64/bcd");
    assert_eq!(mapped("prefix /boot/ ''\nslash", r"\boot\a"), "/boot/a");
}

#[test]
fn conditions_choose_directions_and_clients() {
    let rules =
        "put prefix '' up/\nget from 192.0.2.0/24 prefix '' near/\nfrom 2001:db8::/32 upper";
    for (direction, peer, expected) in [
        (Direction::Read, "192.0.2.7", "near/x"),
        (Direction::Write, "192.0.2.7", "up/x"),
        (Direction::Read, "198.51.100.1", "x"),
        (Direction::Read, "2001:db8::9", "X"),
        (Direction::Write, "2001:db8::9", "UP/X"),
    ] {
        assert_eq!(asked(rules, "x", direction, peer), expected, "{direction} {peer}");
    }
}

#[test]
fn a_name_that_grows_too_long_is_refused() {
    let growing = "regex-all . $0$0$0$0\n".repeat(6);
    assert_eq!(mapped(&growing, "abcd"), "File name too long (ERROR 2)");
    assert_eq!(mapped("regex-all . $0$0", "abcd"), "aabbccdd");
}

#[test]
fn a_faulty_rule_is_reported_with_its_line_and_reason() {
    for (rules, expected) in [
        ("slash\n\nlowr", "line 3: no such rule 'lowr'"),
        ("prefix", "line 1: prefix: OLD is missing"),
        ("prefix a # b", "line 1: prefix: NEW is missing"),
        ("prefix a b c", "line 1: prefix: unexpected 'c'"),
        ("lower x", "line 1: lower: unexpected 'x'"),
        ("get", "line 1: no rule after the condition"),
        ("from", "line 1: from: NETWORK is missing"),
        ("from 1.2.3 lower", "line 1: from '1.2.3': not an address or network"),
        ("get put lower", "line 1: put: only one of get and put"),
        ("put from ::1 put lower", "line 1: put: only one of get and put"),
        ("from ::1 from 1.2.3.4 lower", "line 1: from: only one network"),
        ("\u{feff}slash", r"line 1: no such rule '\u{feff}slash'"),
        ("slash \x1b[2J", r"line 1: slash: unexpected '\u{1b}[2J'"),
        ("from \x07 slash", r"line 1: from '\u{7}': not an address or network"),
        ("try %\x07", r"line 1: try: %\u{7} is none of %i, %x, %m and %%"),
        ("try ${\x07}", r"line 1: try: there is no group $\u{7}"),
        ("\nregex ( x", "line 2: regex: unclosed group"),
        ("regex a $1", "line 1: regex: there is no group $1"),
        ("regex a ${b}", "line 1: regex: there is no group $b"),
        ("regex a ${b", "line 1: regex: ${ without }"),
        ("regex a x$", "line 1: regex: $ without a number or {NAME}; $$ is a dollar sign"),
        ("try %q/$0", "line 1: try: %q is none of %i, %x, %m and %%"),
        ("try a%", "line 1: try: % at the end; %% is a percent sign"),
        ("try $1", "line 1: try: there is no group $1"),
        ("prefix 'a b", "line 1: ' is not closed"),
        ("prefix \"a\"b c", "line 1: \" is not closed"),
        ("deny [z-a]", "line 1: deny: invalid character class range, the start must be <= the end"),
    ] {
        assert_eq!(fault(rules), expected, "{rules}");
    }
    assert_eq!(parse::rules(b"lower\n\xff").unwrap_err(), "line 2: not UTF-8");
    let huge = fault("regex (((a{100}){100}){100}){100} x");
    assert!(huge.starts_with("line 1: regex: ") && !huge.contains('\n'), "{huge}");
    assert_eq!(fault(&"lower\n".repeat(1001)), "line 1001: more than 1000 rules");
}

#[test]
fn the_sample_map_is_valid_with_all_its_rules_enabled() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/deploy/tftpd.map");
    let text = std::fs::read_to_string(sample).unwrap();
    let as_it_is = parse::rules(text.as_bytes()).unwrap().len();
    let in_use: String = text
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rule| !rule.starts_with(' ')).unwrap_or(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(as_it_is > 2 && parse::rules(in_use.as_bytes()).unwrap().len() > as_it_is + 5);
    let config = "/tftpboot\\pxelinux.cfg/01-52-54-00-ab-cd-0f";
    let expected = "hosts/01-52-54-00-ab-cd-0f/pxelinux.cfg";
    assert_eq!(mapped(&in_use, &config.replace("tftpboot\\", "tftpboot/")), expected);
    let write = |peer: &str| asked(&in_use, r"\config", Direction::Write, peer);
    assert_eq!(write("192.0.2.7"), "switches/192.0.2.7//config");
    assert_eq!(write("198.51.100.1"), "Name is not allowed (ERROR 2)");
}

#[test]
fn a_missing_too_long_or_faulty_file_is_named() {
    let dir = TempDir::new();
    let missing = dir.path().join("none");
    let error = Map::open(&missing, None, None).unwrap_err().to_string();
    assert_eq!(error, format!("map {}: No such file or directory", missing.display()));
    let long = dir.file("long", "#".repeat(300_000));
    let error = Map::open(&long, None, None).unwrap_err().to_string();
    assert_eq!(error, format!("map {}: longer than 262144 bytes", long.display()));
    let faulty = dir.file("faulty", "slash\nprefix /\n");
    let error = Map::open(&faulty, None, None).unwrap_err().to_string();
    assert_eq!(error, format!("map {}: line 2: prefix: NEW is missing", faulty.display()));
}

#[test]
fn reloading_a_faulty_file_keeps_the_old_rules() {
    let dir = TempDir::new();
    let file = dir.file("map", "lower");
    let roots = Roots::open(&[dir.path().display().to_string()], None).unwrap();
    let of = roots.of([127, 0, 0, 1].into(), [192, 0, 2, 7].into());
    let map = Map::open(&file, None, None).unwrap();
    let name =
        || map.file_name(b"Ab", Direction::Read, "[::ffff:192.0.2.7]:9".parse().unwrap(), &of);
    assert_eq!(name().unwrap(), b"ab");
    for (text, expected) in [("upper", b"AB"), ("uper", b"AB"), ("# none", b"Ab")] {
        File::create(&file).unwrap().write_all(text.as_bytes()).unwrap();
        map.reload();
        assert_eq!(name().unwrap(), expected, "{text}");
    }
}

#[test]
fn a_file_that_others_may_write_is_refused_and_opening_never_blocks() {
    let dir = TempDir::new();
    let file = dir.file("map", "lower");
    let refused = |path: &Path, why: &str| {
        let error = Map::open(path, None, None).unwrap_err().to_string();
        assert_eq!(error, format!("map {}: {why}", path.display()));
        let inside = Map::open(Path::new(path.file_name().unwrap()), Some(dir.path()), None);
        let shown = Path::new("/").join(path.file_name().unwrap());
        assert_eq!(inside.unwrap_err().to_string(), format!("map {}: {why}", shown.display()));
    };
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    refused(&link, "is a symbolic link");
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&fifo, "not a regular file");
    let two = dir.path().join("two");
    std::fs::hard_link(&file, &two).unwrap();
    refused(&two, "has 2 links");
    std::fs::remove_file(&two).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o664)).unwrap();
    refused(&file, "is writable by others");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(Map::open(&file, None, None).is_ok());
    if nix::unistd::geteuid().is_root() {
        let [daemon, stranger] = [1, 4242];
        std::os::unix::fs::chown(&file, Some(stranger), None).unwrap();
        refused(&file, "belongs to user 4242");
        std::os::unix::fs::chown(&file, Some(daemon), None).unwrap();
        refused(&file, "belongs to user 1");
        assert!(Map::open(&file, None, Some("daemon")).is_ok());
    }
}
