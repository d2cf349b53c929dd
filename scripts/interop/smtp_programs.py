"""smtpd with what curl, Net::SMTP, msmtp, swaks and smtpc can do beyond sending one letter."""

import email
import re

from lib import LOOPBACK, add, check, same, test
from lib.fixture import PASSWORD
from letters import SENDER, SLIDES, below_trace, big, crlf, one
from smtp_clients import HELO

NOBODY = "nobody-here@red.test"


def url(fixture, daemon=None):
    return f"smtp://{LOOPBACK}:{(daemon or fixture.smtpd).port}/{HELO}"


def curl(fixture, to, letter, *more, daemon=None):
    rcpt = [word for address in to for word in ("--mail-rcpt", address)]
    return fixture.run("curl", "-sS", "--url", url(fixture, daemon), "--mail-from", SENDER, *rcpt,
                       "-T", fixture.file("letter", letter), *more)


# curl

@test("curl: a file with LF line ends goes through with --crlf")
def curl_crlf(fixture):
    box = fixture.mailbox()
    curl(fixture, [box.address], SLIDES, "--crlf").good()
    below_trace(one(box.letters()), SLIDES)


@test("curl: without --crlf its bare LF are refused, and nothing is kept")
def curl_bare_lf(fixture):
    box = fixture.mailbox()
    curl(fixture, [box.address], SLIDES, "-v").bad("550 5.6.11")
    same(box.letters() + box.unfinished(), [], "letters")


@test("curl: one recipient of three is unknown: curl gives up, and nobody has the letter")
def curl_one_unknown(fixture):
    boxes = [fixture.mailbox(), fixture.mailbox()]
    to = [boxes[0].address, NOBODY, boxes[1].address]
    curl(fixture, to, crlf(SLIDES)).bad("550")
    same([box.letters() for box in boxes], [[], []], "letters")


@test("curl --mail-rcpt-allowfails: the two others have it")
def curl_allow_fails(fixture):
    boxes = [fixture.mailbox(), fixture.mailbox()]
    to = [boxes[0].address, NOBODY, boxes[1].address]
    curl(fixture, to, crlf(SLIDES), "--mail-rcpt-allowfails").good()
    for box in boxes:
        below_trace(one(box.letters()), SLIDES)


@test("curl: SIZE= over --max-size is refused at MAIL with 552")
def curl_size(fixture):
    box = fixture.mailbox()
    letter = crlf(big(20_000))
    out = curl(fixture, [box.address], letter, "-v", daemon=fixture.small_smtpd).bad("< 552 5.3.4")
    out.says(f"> MAIL FROM:<{SENDER}> SIZE={len(letter)}")
    same(box.letters(), [], "letters")


@test("curl: a bounce, which has no sender, arrives with Return-Path: <>")
def curl_null_sender(fixture):
    box = fixture.mailbox()
    fixture.run("curl", "-sS", "--url", url(fixture), "--mail-from", "", "--mail-rcpt", box.address,
                "-T", fixture.file("letter", crlf(SLIDES))).good()
    trace = below_trace(one(box.letters()), SLIDES)
    check(trace.startswith("Return-Path: <>\r\n"), f"not so: {trace}")


@test("curl: without a letter it asks: HELP lists the commands, VRFY and NOOP are answered")
def curl_asks(fixture):
    box = fixture.mailbox()
    fixture.run("curl", "-sS", url(fixture)).good().says("214", "VRFY", "DATA")
    fixture.run("curl", "-sS", url(fixture), "--mail-rcpt", box.address).good().says(f"<{box.address}>")
    fixture.run("curl", "-sSv", url(fixture), "-X", "NOOP").good().says("< 250")
    fixture.run("curl", "-sS", url(fixture), "--mail-rcpt", NOBODY).bad()


@test("curl: a letter from a pipe, whose length it does not know, arrives")
def curl_pipe(fixture):
    box = fixture.mailbox()
    fixture.run("curl", "-sS", "--url", url(fixture), "--mail-from", SENDER, "--mail-rcpt", box.address,
                "-T", "-", stdin=crlf(big(300_000))).good()
    below_trace(one(box.letters()), big(300_000))


@test("curl --ssl-reqd: STARTTLS is not offered, so curl sends nothing")
def curl_no_tls(fixture):
    box = fixture.mailbox()
    curl(fixture, [box.address], crlf(SLIDES), "--ssl-reqd").bad("STARTTLS")
    same(box.letters(), [], "letters")


@test("curl: an attachment made by -F arrives as a multipart letter")
def curl_mime(fixture):
    box = fixture.mailbox()
    data = bytes(range(256)) * 40
    fixture.run("curl", "-sS", "--url", url(fixture), "--mail-from", SENDER, "--mail-rcpt", box.address,
                "-H", "Subject: a file", "-F", "=see the file;type=text/plain",
                "-F", f"file=@{fixture.file('octets', data)};encoder=base64").good()
    parts = list(email.message_from_bytes(one(box.letters())).walk())
    same(parts[-1].get_payload(decode=True), data, "the file")


# Net::SMTP

def net_smtp(fixture, *words, stdin=b""):
    return fixture.run("perl", fixture.script("net_smtp.pl"), LOOPBACK, fixture.smtpd.port,
                       *words, stdin=stdin)


@test("Net::SMTP: banner, domain, extensions, verify, help, reset, quit")
def perl_asks(fixture):
    box = fixture.mailbox()
    out = net_smtp(fixture, "ask", box.name).good()
    out.says("domain: red.test", "supports SIZE: yes 52428800", "supports PIPELINING: yes",
             "supports 8BITMIME: yes", "verify known: yes 250", "verify unknown: no 550",
             "recipient after reset: no 503", "quit: 221")
    check(re.search(r"^help: [1-9]\d* 214$", out.text, re.M), f"help: {out.text}")
    check(re.search(r"^help MAIL: [1-9]\d* 214$", out.text, re.M), f"help MAIL: {out.text}")


@test("Net::SMTP: SkipBad: those that are taken have the letter, the unknown one is left out")
def perl_skip_bad(fixture):
    boxes = [fixture.mailbox(), fixture.mailbox()]
    to = [boxes[0].address, NOBODY, boxes[1].address]
    out = net_smtp(fixture, "some", SENDER, *to, stdin=SLIDES).good()
    same(re.findall("taken: (.*)", out.text), [box.address for box in boxes], "taken")
    for box in boxes:
        below_trace(one(box.letters()), SLIDES)


@test("Net::SMTP: without SkipBad an unknown recipient is an error")
def perl_unknown(fixture):
    net_smtp(fixture, "send", SENDER, NOBODY, stdin=SLIDES).bad("recipient: 550")


# msmtp

def msmtp(fixture, *words, stdin=b"", daemon=None):
    return fixture.run("msmtp", f"--host={LOOPBACK}", f"--port={(daemon or fixture.smtpd).port}",
                       f"--domain={HELO}", "--auth=off", "--tls=off", "--timeout=10", *words,
                       stdin=stdin)


@test("msmtp --serverinfo: names the server, SIZE, PIPELINING, the mechanisms of AUTH, and no TLS")
def msmtp_info(fixture):
    fixture.mailbox()  # without users who could log in, AUTH is not listed
    with fixture.start("smtpd", *fixture.options("smtpd")) as smtpd:
        out = msmtp(fixture, "--serverinfo", daemon=smtpd).good()
        out.says("red.test ESMTP", "50.00 MiB", "SIZE", "PIPELINING", "AUTH", "PLAIN")
    check("STARTTLS" not in out.text, f"it says STARTTLS: {out.text}")


@test("msmtp -t: the recipients are read from the letter, a Bcc one is not betrayed")
def msmtp_headers(fixture):
    to, cc, bcc = fixture.mailbox(), fixture.mailbox(), fixture.mailbox()
    head = f"From: {SENDER}\nTo: Levy <{to.address}>\nCc: {cc.address}\nBcc: {bcc.address}\n"
    msmtp(fixture, "-t", f"--from={SENDER}", "--set-date-header=off",
          stdin=f"{head}Subject: x\n\nhello\n".encode()).good()
    for box in (to, cc, bcc):
        text = one(box.letters())
        check(text.endswith(b"Subject: x\r\n\r\nhello\r\n"), f"letter: {text}")
        check(bcc.name.encode() not in text, f"the Bcc one is named: {text}")


@test("msmtp: an unknown recipient: it says 550 and who, nobody has the letter")
def msmtp_unknown(fixture):
    box = fixture.mailbox()
    msmtp(fixture, f"--from={SENDER}", "--", box.address, NOBODY, stdin=SLIDES).bad("550", NOBODY)
    same(box.letters(), [], "letters")


@test("msmtp: a letter over --max-size is refused with 552")
def msmtp_size(fixture):
    box = fixture.mailbox()
    msmtp(fixture, f"--from={SENDER}", "--", box.address, stdin=big(20_000),
          daemon=fixture.small_smtpd).bad("552")
    same(box.letters() + box.unfinished(), [], "letters")


# swaks

def swaks(fixture, to, *more, daemon=None):
    return fixture.run("swaks", "--server", LOOPBACK, "--port", (daemon or fixture.smtpd).port,
                       "--helo", HELO, "--from", SENDER, "--to", to, "--timeout", 10, *more)


@test("swaks: the EHLO list: each line well formed, each keyword once, SIZE PIPELINING 8BITMIME")
def swaks_ehlo(fixture):
    out = swaks(fixture, NOBODY, "--quit-after", "FIRST-EHLO").good()
    lines = re.findall(r"^<-\s+250([- ])(.*)$", out.text, re.M)
    check(lines and all(joint == "-" for joint, _ in lines[:-1]) and lines[-1][0] == " ",
          f"hyphens: {out.text}")
    check(lines[0][1].startswith("red.test"), f"the first line: {lines[0]}")
    words = [line.split()[0] for _, line in lines[1:]]
    same(len(words), len(set(words)), "keywords and different keywords")
    for word in ("SIZE", "PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "HELP"):
        check(word in words, f"{word} is missing: {words}")
    for word in words:
        check(re.fullmatch("[A-Z0-9][A-Z0-9-]*", word), f"not a keyword: {word}")


def quits_after(fixture, stop):
    box = fixture.mailbox()
    out = swaks(fixture, box.address, "--quit-after", stop).good().says("-> QUIT", "<-  221")
    check("<** " not in out.text, f"an error: {out.text}")
    same(box.letters() + box.unfinished(), [], "letters")


for stop in ("CONNECT", "FIRST-EHLO", "MAIL", "RCPT"):
    add(f"swaks --quit-after {stop}: leaves in good order, and nothing is delivered",
        quits_after, stop)


def drops_after(fixture, option, stop):
    box = fixture.mailbox()
    swaks(fixture, box.address, option, stop).good()
    fixture.smtpd.at_rest()
    same(box.letters() + box.unfinished(), [], "letters")


for stop in ("MAIL", "RCPT", "DATA"):
    for option in ("--drop-after", "--drop-after-send"):
        add(f"swaks {option} {stop}: the server notices, and nothing is delivered",
            drops_after, option, stop)


@test("swaks --protocol SMTP: greets with HELO, and is received 'with SMTP'")
def swaks_helo(fixture):
    box = fixture.mailbox()
    swaks(fixture, box.address, "--protocol", "SMTP").good().says("-> HELO topaz.test")
    check(b" with SMTP id " in one(box.letters()), f"trace: {box.letters()}")


@test("swaks --pipeline: an unknown recipient amid known ones: each answered in its place")
def swaks_pipeline(fixture):
    boxes = [fixture.mailbox(), fixture.mailbox()]
    out = swaks(fixture, f"{boxes[0].address},{NOBODY},{boxes[1].address}", "--pipeline").good()
    replies = re.findall(r"^<\S*\s+(\d{3}) (\d\.\d\.\d)", out.text, re.M)
    codes = [code for code, _ in replies]
    at = codes.index("550")
    same(codes[at - 2:at + 2], ["250", "250", "550", "250"], "MAIL and three RCPT")
    for box in boxes:
        check(b"This is a test mailing" in one(box.letters()), "not swaks' letter")


@test("swaks --pipeline: all recipients unknown: DATA is refused, exit 24")
def swaks_pipeline_unknown(fixture):
    out = swaks(fixture, NOBODY, "--pipeline")
    same(out.code, 24, "exit status of swaks")
    out.says("<** 550 5.1.1")
    check(not re.search(r"^<\S*\s+354", out.text, re.M), f"DATA was accepted: {out.text}")


@test("swaks: an unknown recipient: exit 24; another domain: 550 5.7.1")
def swaks_unknown(fixture):
    same(swaks(fixture, NOBODY).says("<** 550 5.1.1").code, 24, "exit status of swaks")
    same(swaks(fixture, "a@elsewhere.test").says("<** 550 5.7.1").code, 24, "exit status of swaks")


@test("swaks --auth: not advertised without plaintext, and swaks says so; else by the password")
def swaks_auth(fixture):
    box = fixture.mailbox()  # without users who could log in, AUTH is not listed
    plain = ["--auth", "PLAIN", "--auth-user", box.name, "--auth-password"]
    with fixture.start("smtpd", *fixture.options("smtpd"), "--plaintext", "never") as smtpd:
        out = swaks(fixture, box.address, *plain, PASSWORD, daemon=smtpd)
        check(out.code != 0, f"a password in the clear: {out.text}")
        check("AUTH PLAIN" not in out.text, f"AUTH PLAIN is listed or was said: {out.text}")
    with fixture.start("smtpd", *fixture.options("smtpd")) as smtpd:
        out = swaks(fixture, box.address, *plain, "wrong", daemon=smtpd)
        out.bad("535 5.7.8", "No authentication type succeeded")
        same(box.letters(), [], "letters")
        swaks(fixture, box.address, *plain, PASSWORD, daemon=smtpd).good().says("235 2.7.0")
    same(len(box.letters()), 1, "letters")


@test("swaks --xclient: not advertised, and swaks leaves in good order")
def swaks_xclient(fixture):
    box = fixture.mailbox()
    out = swaks(fixture, box.address, "--xclient-addr", "192.0.2.1")
    out.bad("Host did not advertise XCLIENT", "<-  221")
    same(box.letters(), [], "letters")


@test("swaks --attach: a file of every octet value arrives")
def swaks_attach(fixture):
    box = fixture.mailbox()
    data = bytes(range(256)) * 100
    swaks(fixture, box.address, "--attach", f"@{fixture.file('octets', data)}", "--suppress-data").good()
    parts = list(email.message_from_bytes(one(box.letters())).walk())
    same(parts[-1].get_payload(decode=True), data, "the file")


# smtpc

def smtpc(fixture, *words, stdin=SLIDES):
    return fixture.run("smtpc", "-s", f"{LOOPBACK}:{fixture.smtpd.port}", "-f", SENDER, *words, stdin=stdin)


@test("smtpc: an unknown recipient: exit 67, who and why")
def smtpc_unknown(fixture):
    same(smtpc(fixture, NOBODY).says("550", NOBODY).code, 67, "exit status of smtpc")


@test("smtpc: an unknown recipient beside a known one: exit 67, the known one has the letter")
def smtpc_some(fixture):
    box = fixture.mailbox()
    same(smtpc(fixture, box.address, NOBODY).says("550", NOBODY).code, 67, "exit status of smtpc")
    below_trace(one(box.letters()), SLIDES)


@test("smtpc -v: shows the dialogue")
def smtpc_verbose(fixture):
    box = fixture.mailbox()
    smtpc(fixture, "-v", "--helo", HELO, box.address).good().says(
        f"EHLO {HELO}", f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{box.address}>", "DATA", "354", "QUIT")
