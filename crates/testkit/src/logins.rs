//! Programs that know levy, with the password tanstaaf, for a mail daemon: one of checkpassword's interface, and
//! a server of Dovecot's auth protocol.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::tempdir::TempDir;

/// A program of checkpassword's interface: it knows levy, the password and where the home is. With other
/// passwords it does what they say.
const PROGRAM: &str = r#"#!/bin/sh
{ IFS= read -r name; IFS= read -r password; } <<end
$(tr '\0' '\n' <&3)
end
exec 3<&-
noted=$name
while [ $# -gt 2 ]; do noted="$noted $1"; shift; done
echo "$noted" >>'@LOG'
case $password in
exit2) exit 2 ;;
temporary) exit 111 ;;
killed) kill -9 $$ ;;
liar) exit 0 ;;
forged) printf '1\0001\000levy\000@HOME\000'; exit 0 ;;
esac
[ "$name $password" = 'levy tanstaaf' ] || exit 1
become=
if [ "$(id -u)" = 0 ] && [ @UID != 0 ]; then become='setpriv --reuid=@UID --regid=@UID --clear-groups'; fi
exec $become env -i USER=levy HOME='@HOME' "$@"
"#;

/// Writes the program into a test's folder, and returns it with its arguments. It becomes the user of this uid
/// where root runs it, and notes in the file `log` of the folder what it is asked.
///
/// # Panics
/// It cannot be written.
#[must_use]
pub fn checkpassword(dir: &TempDir, uid: u32, home: &Path) -> String {
    let log = dir.path().join("log").display().to_string();
    let text = PROGRAM.replace("@LOG", &log).replace("@HOME", home.to_str().unwrap());
    let program = dir.program("check", &text.replace("@UID", &uid.to_string()));
    format!("{} -x two", program.display())
}

/// A server of Dovecot's auth protocol, with PLAIN, CRAM-MD5 and SCRAM-SHA-256, of which the last always fails.
/// It notes the lines that it has read, and goes with the test's process.
#[derive(Debug)]
pub struct AuthServer {
    path: PathBuf,
    heard: Arc<Mutex<Vec<String>>>,
}

impl AuthServer {
    /// Listens on the socket `auth` in a test's folder.
    ///
    /// # Panics
    /// It cannot listen.
    #[must_use]
    pub fn start(dir: &TempDir) -> AuthServer {
        let path = dir.path().join("auth");
        let listener = UnixListener::bind(&path).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&heard);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let notes = Arc::clone(&notes);
                thread::spawn(move || serve(stream.unwrap(), &notes));
            }
        });
        AuthServer { path, heard }
    }

    /// The socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lines that it has read.
    ///
    /// # Panics
    /// Its own thread has.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// What it says first.
const GREETING: &str = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tCRAM-MD5\nMECH\tSCRAM-SHA-256\n\
    SPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n";
/// `<1@dovecot>` in base64.
const CHALLENGE: &str = "PDFAZG92ZWNvdD4=";
/// The responses of CRAM-MD5 that it accepts, and the user's name that it tells then:
/// `0123456789abcdef0123456789abcdef` after `levy ` and after `Levy@RED.test `, in base64.
const DIGESTS: [(&str, &str); 2] = [
    ("bGV2eSAwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==", "Levy"),
    ("TGV2eUBSRUQudGVzdCAwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==", "Levy@RED.test"),
];
/// `NUL levy NUL` and a password, in base64: tanstaaf, down, gone.
const PASSWORDS: [&str; 3] = ["AGxldnkAdGFuc3RhYWY=", "AGxldnkAZG93bg==", "AGxldnkAZ29uZQ=="];

fn serve(mut stream: UnixStream, notes: &Mutex<Vec<String>>) {
    if stream.write_all(GREETING.as_bytes()).is_err() {
        return;
    }
    let [right, down, gone] = PASSWORDS;
    for line in BufReader::new(stream.try_clone().unwrap()).lines() {
        let Ok(line) = line else { return };
        notes.lock().unwrap().push(line.clone());
        let fields: Vec<&str> = line.split('\t').collect();
        let answer = match fields.as_slice() {
            ["AUTH", _, "CRAM-MD5", ..] => format!("CONT\t1\t{CHALLENGE}\n"),
            ["CONT", _, response] => match DIGESTS.iter().find(|(right, _)| right == response) {
                Some((_, name)) => format!("OK\t1\tuser={name}\n"),
                None => "FAIL\t1\n".to_owned(),
            },
            ["AUTH", _, "PLAIN", .., response] => match response.strip_prefix("resp=").unwrap() {
                it if it == right => "OK\t1\tuser=levy\n".to_owned(),
                it if it == down => "FAIL\t1\tuser=levy\ttemp\n".to_owned(),
                it if it == gone => return,
                _ => "FAIL\t1\tuser=levy\n".to_owned(),
            },
            ["AUTH", ..] => "FAIL\t1\n".to_owned(),
            _ => continue,
        };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
