use super::*;

fn read(args: &[&str]) -> Result<Config> {
    let args = args.iter().map(std::ffi::OsString::from).collect();
    let config = Config::read(&forknet::parse("smtpd", "", OPTIONS.rows, args)?)?;
    config.check().map(|()| config)
}

fn complaint(args: &[&str]) -> String {
    read(args).unwrap_err().to_string()
}

#[test]
fn defaults_are_those_of_the_table() {
    let dir = testkit::TempDir::new();
    let users = dir.file("users", "").display().to_string();
    let config = read(&["--users", &users, "--hostname", "red.test"]).unwrap();
    assert_eq!(config.domains, ["red.test"]);
    assert_eq!((config.max_size, config.max_recipients), (52_428_800, 1000));
    assert!(!config.repair_bare_lf && !config.strict_space);
}

#[test]
fn the_users_file_is_that_of_all_daemons_unless_told_otherwise() {
    match read(&[]) {
        Ok(config) => {
            assert_eq!(config.mail.users, maild::Users::File("/etc/forklore/users".into()));
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.starts_with("users /etc/forklore/users: "), "{text}");
        }
    }
}

#[test]
fn a_bad_value_is_named() {
    assert_eq!(complaint(&["--users", "/no/f"]), "users /no/f: No such file or directory");
    let dir = testkit::TempDir::new();
    let users = dir.file("users", "").display().to_string();
    assert_eq!(
        complaint(&["--users", &users, "--aliases", "/no/f"]),
        "aliases /no/f: No such file or directory"
    );
    for args in [
        ["--hostname", "a..b"],
        ["--domain", "a b"],
        ["--max-size", "-1"],
        ["--max-recipients", "0"],
        ["--min-free", "x"],
        ["--vrfy", "me"],
        ["--delimiter", "%"],
        ["--delimiter", "++"],
        ["--mail", "~x"],
        ["--postmaster", "nobody-of-that-name"],
    ] {
        let text = complaint(&["--users", &users, args[0], args[1]]);
        assert!(text.starts_with(args[0]), "{text}");
    }
}
