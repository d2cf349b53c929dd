//! resolve: the resolver both ways, from files and from a DNS server of the test's own.

use std::fs;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use testkit::{Program, TempDir, in_namespaces, run};
use unp::netlink;

const RESOLVE: &str = env!("CARGO_BIN_EXE_resolve");
const DNSSTUB: &str = env!("CARGO_BIN_EXE_dnsstub");

const NAMES: &str = "\
# a comment, and an empty line

www.lab.test A 192.0.2.80
www.lab.test AAAA 2001:db8::80
lab.test CNAME www.lab.test
80.2.0.192.in-addr.arpa PTR www.lab.test
0.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR www.lab.test
66.2.0.192.in-addr.arpa PTR www.lab.test
nothing.lab.test PTR www.lab.test
";

/// A name server, and where it is.
fn dnsstub(at: &str) -> (Program, String, TempDir) {
    let dir = TempDir::new();
    let names = dir.file("names", NAMES);
    let server = Program::start(DNSSTUB, &[names.to_str().unwrap(), at]);
    server.wait_errors("listening on ");
    let at = server.errors().trim().replace("listening on ", "");
    (server, at, dir)
}

/// What the program says, and what it complains of.
fn resolve(args: &[&str]) -> Result<Vec<String>, String> {
    let mut command = Command::new(RESOLVE);
    command.args(args);
    let output = run(command, b"");
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    match output.status.code() {
        Some(0) => Ok(out.lines().map(ToOwned::to_owned).collect()),
        Some(1) => Err(err.trim_end().to_owned()),
        other => panic!("{other:?}: {err}"),
    }
}

fn lines(text: &[&str]) -> Result<Vec<String>, String> {
    Ok(text.iter().map(ToString::to_string).collect())
}

#[test]
fn dns_gives_all_addresses_of_a_name_and_the_name_of_an_address() {
    let (mut server, at, _dir) = dnsstub("127.0.0.1:0");
    let dns = |words: &[&str]| resolve(&[&["--from", "dns", "--dns", &at], words].concat());
    let both = ["canonical name: www.lab.test", "AF_INET 192.0.2.80", "AF_INET6 2001:db8::80"];
    let mut found = dns(&["name", "www.lab.test"]).unwrap();
    found[1..].sort(); // which is tried first depends on the machine's own addresses
    assert_eq!(Ok(found), lines(&both));
    assert_eq!(server.line().unwrap(), "A www.lab.test");
    assert_eq!(server.line().unwrap(), "AAAA www.lab.test");
    let mut found = dns(&["name", "lab.test"]).unwrap();
    found[1..].sort();
    assert_eq!(Ok(found), lines(&both));
    assert_eq!(server.line().unwrap(), "A lab.test");
    assert_eq!(server.line().unwrap(), "AAAA lab.test");
    for (address, question) in [
        ("192.0.2.80", "PTR 80.2.0.192.in-addr.arpa".to_owned()),
        ("2001:db8::80", format!("PTR 0.8{}.8.b.d.0.1.0.0.2.ip6.arpa", ".0".repeat(22))),
    ] {
        let [is, back] =
            [format!("{address} is www.lab.test"), format!("and www.lab.test is {address}")];
        assert_eq!(dns(&["address", address]), lines(&[&is, &back]));
        assert_eq!(server.line().unwrap(), question);
        assert_eq!(server.line().unwrap(), "A www.lab.test");
        assert_eq!(server.line().unwrap(), "AAAA www.lab.test");
    }
    assert!(server.has_said_nothing());
}

#[test]
fn a_name_that_does_not_lead_back_is_not_believed() {
    let (_server, at, _dir) = dnsstub("127.0.0.1:0");
    let found = resolve(&["--from", "dns", "--dns", &at, "address", "192.0.2.66"]);
    let but = "but www.lab.test is not 192.0.2.66: do not believe it";
    assert_eq!(found, lines(&["192.0.2.66 is www.lab.test", but]));
}

#[test]
fn the_resolver_tells_no_such_name_from_nothing_for_it_and_from_no_answer() {
    let (_server, at, _dir) = dnsstub("127.0.0.1:0");
    let dns = |at: &str, words: &[&str]| {
        resolve(&[&["--from", "dns", "--dns", at], words].concat()).unwrap_err()
    };
    assert_eq!(
        dns(&at, &["name", "nobody.test"]),
        "resolve: getaddrinfo nobody.test: Name or service not known (EAI_NONAME)"
    );
    assert_eq!(
        dns(&at, &["name", "nothing.lab.test"]),
        "resolve: getaddrinfo nothing.lab.test: No address associated with hostname (EAI_NODATA)"
    );
    assert_eq!(
        dns(&at, &["address", "192.0.2.81"]),
        "resolve: getnameinfo 192.0.2.81: Name or service not known (EAI_NONAME)"
    );
    assert_eq!(
        dns("127.66.55.44:1", &["name", "www.lab.test"]), // nobody is there
        "resolve: getaddrinfo www.lab.test: Temporary failure in name resolution (EAI_AGAIN)"
    );
}

#[test]
fn a_wrong_command_line_is_refused_with_the_usage() {
    let wrong: [&[&str]; 7] = [
        &[],
        &["name"],
        &["address", "www.lab.test"],
        &["port", "http"],
        &["--from", "nis", "name", "localhost"],
        &["--dns"],
        &["who", "am", "i"],
    ];
    for args in wrong {
        let mut command = Command::new(RESOLVE);
        command.args(args).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stderr.starts_with(b"usage: resolve "), "{args:?}");
    }
}

#[test]
fn hosts_and_services_come_from_files_and_the_first_source_with_an_answer_wins() {
    in_namespaces(&["--mount"], concat!(module_path!(), "::with_an_etc_of_its_own"));
}

/// /etc with these files in it, for this process and those that it starts.
fn own_etc(files: &[(&str, &str)]) -> TempDir {
    let etc = TempDir::new();
    for (name, content) in files {
        fs::write(etc.path().join(name), content).unwrap();
    }
    mount(Some(etc.path()), "/etc", None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    etc
}

#[test]
#[ignore = "replaces /etc: runs in a mount namespace only, see hosts_and_services_come_from_files"]
fn with_an_etc_of_its_own() {
    let _etc = own_etc(&[
        ("hosts", "127.0.0.80 www.lab.test www\n127.0.0.1 localhost\n::1 localhost\n"),
        ("services", "pop3 110/tcp pop-3 # mail\ntftp 69/udp\necho 7/tcp\necho 7/udp\n"),
        ("resolv.conf", "nameserver ::1\nsearch lab.test\noptions edns0 ndots:3\n"),
    ]);
    let (mut server, at, _dir) = dnsstub("127.0.0.1:0");
    let ask =
        |from: &str, words: &[&str]| resolve(&[&["--from", from, "--dns", &at], words].concat());
    let here = lines(&["canonical name: www.lab.test", "AF_INET 127.0.0.80"]);
    assert_eq!(ask("files", &["name", "www.lab.test"]), here);
    assert_eq!(ask("files,dns", &["name", "www"]), here);
    assert_eq!(
        resolve(&["--dns", &at, "name", "www"]),
        here,
        "files before DNS without --from too"
    );
    let address = ["127.0.0.80 is www.lab.test", "and www.lab.test is 127.0.0.80"];
    assert_eq!(ask("files,dns", &["address", "127.0.0.80"]), lines(&address));
    assert!(ask("files", &["name", "lab.test"]).is_err());
    assert!(server.has_said_nothing(), "nobody has asked DNS");
    let there = ask("dns,files", &["name", "www.lab.test"]).unwrap();
    assert_eq!(there.len(), 3, "{there:?}");
    assert_eq!(server.line().unwrap(), "A www.lab.test");
    assert_eq!(server.line().unwrap(), "AAAA www.lab.test");
    let last = ask("dns,files", &["name", "localhost"]).unwrap();
    assert_eq!(last[0], "canonical name: localhost", "DNS has none, the file has");
    assert_eq!(server.line().unwrap(), "A localhost"); // nothing is put behind it

    assert_eq!(resolve(&["service", "pop-3"]), lines(&["pop3, also pop-3: port 110/tcp"]));
    assert_eq!(resolve(&["service", "echo", "udp"]), lines(&["echo: port 7/udp"]));
    assert_eq!(resolve(&["port", "69"]), lines(&["port 69/udp: tftp"]));
    let none = "resolve: getservbyport 69: no such service";
    assert_eq!(resolve(&["port", "69", "tcp"]), Err(none.into()));
    let none = "resolve: getservbyname smtp: no such service";
    assert_eq!(resolve(&["service", "smtp"]), Err(none.into()));
    let found = resolve(&["--from", "files", "name", "www", "pop3"]).unwrap();
    assert_eq!(found[1], "AF_INET 127.0.0.80:110");
    let none = "resolve: getaddrinfo www: Servname not supported for ai_socktype (EAI_SERVICE)";
    assert_eq!(resolve(&["--from", "files", "name", "www", "tftp"]), Err(none.into()));
    let found = resolve(&["--from", "files", "address", "127.0.0.80", "110"]).unwrap();
    assert_eq!(found[2], "port 110 is pop3");
}

#[test]
fn a_service_may_have_more_names_than_fit_into_the_first_buffer() {
    in_namespaces(&["--mount"], concat!(module_path!(), "::with_a_long_line_in_services"));
}

#[test]
#[ignore = "replaces /etc: runs in a mount namespace only, see a_service_may_have_more_names"]
fn with_a_long_line_in_services() {
    let names: Vec<String> = (0..500).map(|n| format!("name-{n}")).collect();
    let line = format!("many 4711/tcp {}\n", names.join(" "));
    let _etc = own_etc(&[("services", &line)]);
    let aliases: String = names.iter().map(|name| format!(", also {name}")).collect();
    let found = lines(&[&format!("many{aliases}: port 4711/tcp")]);
    assert_eq!(resolve(&["service", "name-499"]), found);
    assert_eq!(resolve(&["service", "many", "tcp"]), found);
}

#[test]
fn getaddrinfo_asks_the_name_server_of_resolv_conf() {
    in_namespaces(
        &["--mount", "--net"],
        concat!(module_path!(), "::with_a_name_server_on_port_53"),
    );
}

#[test]
#[ignore = "replaces /etc: runs in namespaces only, see getaddrinfo_asks_the_name_server_of_resolv_conf"]
fn with_a_name_server_on_port_53() {
    netlink::bring_up(netlink::LOOPBACK, true).unwrap();
    let _etc = own_etc(&[
        ("nsswitch.conf", "hosts: nis mymachines myhostname\n"), // the program has none of these
        ("resolv.conf", "nameserver 127.0.0.1\nsearch lab.test\n"),
    ]);
    let (mut server, _at, _dir) = dnsstub("127.0.0.1:53");
    let found = resolve(&["name", "www"]).unwrap();
    assert_eq!(found[0], "canonical name: www.lab.test"); // resolv.conf's domain behind it
    assert_eq!(server.line().unwrap(), "A www.lab.test");
    let found = resolve(&["address", "192.0.2.80"]).unwrap();
    assert_eq!(found[0], "192.0.2.80 is www.lab.test");
}
