//! dnsstub: a DNS server with a short list of names, for labs and tests; slide "TCP vs UDP": "UDP
//! is more commonly used for quick lookups, and single use query-reply actions: DNS lookup, UDP
//! 53".
//!
//! Run: `dnsstub names 127.0.0.1:5353`, where `names` holds lines such as
//! `www.lab.test A 192.0.2.80`, `www.lab.test AAAA 2001:db8::80`, `lab.test MX 10 mail.lab.test` and
//! `80.2.0.192.in-addr.arpa PTR www.lab.test`. Then
//! `resolve --dns 127.0.0.1:5353 name www.lab.test`.
//! You see each question that it receives, "a => dar la IP de un nombre, ptr => dar el nombre de
//! una IP", "aaaa IPv6": a name that is looked up makes two, an address makes one of a name spelt
//! backwards. It is udpserv with another answer. A datagram that is not a question gets no answer.

use std::fs::read_to_string;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use nix::sys::socket::{
    MsgFlags, SockFlag, SockType, SockaddrStorage, bind, recvfrom, sendto, socket,
};
use unp::dns::{Question, Record};
use unp::{MAXDGRAM, Result, err_quit, err_sys, family, listening, note, say, words};

fn main() -> ExitCode {
    unp::main(dnsstub)
}

fn dnsstub() -> Result {
    let mut line = words([], "usage: dnsstub FILE ADDR:PORT")?;
    if line.words.len() != 2 {
        return Err(line.wrong());
    }
    let records = records(&line.words.remove(0))?;
    let servaddr = line.address()?.ok_or_else(|| line.wrong())?;
    let sockfd = socket(family(&servaddr), SockType::Datagram, SockFlag::empty(), None)
        .map_err(err_sys("socket error"))?;
    bind(sockfd.as_raw_fd(), &SockaddrStorage::from(servaddr)).map_err(err_sys("bind error"))?;
    listening(&sockfd)?;
    serve(&sockfd, &records)
}

fn records(file: &str) -> Result<Vec<Record>> {
    let text = read_to_string(file).map_err(err_sys(file))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let record =
        |line: &str| line.parse().map_err(|why| err_quit(format!("{file}: '{line}': {why}")));
    lines.map(record).collect()
}

fn serve(sockfd: &OwnedFd, records: &[Record]) -> Result {
    let mut mesg = [0; MAXDGRAM];
    loop {
        let (n, cliaddr) = recvfrom::<SockaddrStorage>(sockfd.as_raw_fd(), &mut mesg)
            .map_err(err_sys("recvfrom error"))?;
        let question = mesg.get(..n).and_then(Question::parse);
        let (Some(question), Some(cliaddr)) = (question, cliaddr) else { continue };
        say(format_args!("{} {}", question.kind(), question.name))?;
        let answer = question.answer(records);
        if let Err(errno) = sendto(sockfd.as_raw_fd(), &answer, &cliaddr, MsgFlags::empty()) {
            note(err_sys(format_args!("sendto {cliaddr}"))(errno));
        }
    }
}
