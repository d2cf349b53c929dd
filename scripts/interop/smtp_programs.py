"""smtpd with what curl, Net::SMTP, msmtp, swaks and smtpc can do beyond sending one letter."""

import email
import re

from harness import add, check, same, test
from letters import SENDER, SLIDES, below_trace, big, crlf, one
from smtp_clients import HELO, HERE

NOBODY = "nobody-here@red.test"


def url(lab, daemon=None):
    return f"smtp://{HERE}:{(daemon or lab.smtpd).port}/{HELO}"


def curl(lab, to, letter, *more, daemon=None):
    rcpt = [word for address in to for word in ("--mail-rcpt", address)]
    return lab.run("curl", "-sS", "--url", url(lab, daemon), "--mail-from", SENDER, *rcpt,
                   "-T", lab.file("letter", letter), *more)


# curl

@test("curl: a file with LF line ends goes through with --crlf")
def curl_crlf(lab):
    box = lab.mailbox()
    curl(lab, [box.address], SLIDES, "--crlf").good()
    below_trace(one(box.letters()), SLIDES)


@test("curl: without --crlf its bare LF are refused, and nothing is kept")
def curl_bare_lf(lab):
    box = lab.mailbox()
    curl(lab, [box.address], SLIDES, "-v").bad("550 5.6.11")
    same(box.letters() + box.unfinished(), [], "letters")


@test("curl: one recipient of three is unknown: curl gives up, and nobody has the letter")
def curl_one_unknown(lab):
    boxes = [lab.mailbox(), lab.mailbox()]
    to = [boxes[0].address, NOBODY, boxes[1].address]
    curl(lab, to, crlf(SLIDES)).bad("550")
    same([box.letters() for box in boxes], [[], []], "letters")


@test("curl --mail-rcpt-allowfails: the two others have it")
def curl_allow_fails(lab):
    boxes = [lab.mailbox(), lab.mailbox()]
    to = [boxes[0].address, NOBODY, boxes[1].address]
    curl(lab, to, crlf(SLIDES), "--mail-rcpt-allowfails").good()
    for box in boxes:
        below_trace(one(box.letters()), SLIDES)


@test("curl: SIZE= over --max-size is refused at MAIL with 552")
def curl_size(lab):
    box = lab.mailbox()
    letter = crlf(big(20_000))
    out = curl(lab, [box.address], letter, "-v", daemon=lab.small_smtpd).bad("< 552 5.3.4")
    out.says(f"> MAIL FROM:<{SENDER}> SIZE={len(letter)}")
    same(box.letters(), [], "letters")


@test("curl: a bounce, which has no sender, arrives with Return-Path: <>")
def curl_null_sender(lab):
    box = lab.mailbox()
    lab.run("curl", "-sS", "--url", url(lab), "--mail-from", "", "--mail-rcpt", box.address,
            "-T", lab.file("letter", crlf(SLIDES))).good()
    trace = below_trace(one(box.letters()), SLIDES)
    check(trace.startswith("Return-Path: <>\r\n"), f"not so: {trace}")


@test("curl: without a letter it asks: HELP lists the commands, VRFY and NOOP are answered")
def curl_asks(lab):
    box = lab.mailbox()
    lab.run("curl", "-sS", url(lab)).good().says("214", "VRFY", "DATA")
    lab.run("curl", "-sS", url(lab), "--mail-rcpt", box.address).good().says(f"<{box.address}>")
    lab.run("curl", "-sSv", url(lab), "-X", "NOOP").good().says("< 250")
    lab.run("curl", "-sS", url(lab), "--mail-rcpt", NOBODY).bad()


@test("curl: a letter from a pipe, whose length it does not know, arrives")
def curl_pipe(lab):
    box = lab.mailbox()
    lab.run("curl", "-sS", "--url", url(lab), "--mail-from", SENDER, "--mail-rcpt", box.address,
            "-T", "-", stdin=crlf(big(300_000))).good()
    below_trace(one(box.letters()), big(300_000))


@test("curl --ssl-reqd: STARTTLS is not offered, so curl sends nothing")
def curl_no_tls(lab):
    box = lab.mailbox()
    curl(lab, [box.address], crlf(SLIDES), "--ssl-reqd").bad("STARTTLS")
    same(box.letters(), [], "letters")


@test("curl: an attachment made by -F arrives as a multipart letter")
def curl_mime(lab):
    box = lab.mailbox()
    data = bytes(range(256)) * 40
    lab.run("curl", "-sS", "--url", url(lab), "--mail-from", SENDER, "--mail-rcpt", box.address,
            "-H", "Subject: a file", "-F", "=see the file;type=text/plain",
            "-F", f"file=@{lab.file('octets', data)};encoder=base64").good()
    parts = list(email.message_from_bytes(one(box.letters())).walk())
    same(parts[-1].get_payload(decode=True), data, "the file")


# Net::SMTP

def net_smtp(lab, *words, stdin=b""):
    return lab.run("perl", lab.script("net_smtp.pl"), HERE, lab.smtpd.port, *words, stdin=stdin)


@test("Net::SMTP: banner, domain, extensions, verify, help, reset, quit")
def perl_asks(lab):
    box = lab.mailbox()
    out = net_smtp(lab, "ask", box.name).good()
    out.says("domain: red.test", "supports SIZE: yes 52428800", "supports PIPELINING: yes",
             "supports 8BITMIME: yes", "verify known: yes 250", "verify unknown: no 550",
             "recipient after reset: no 503", "quit: 221")
    check(re.search(r"^help: [1-9]\d* 214$", out.text, re.M), f"help: {out.text}")
    check(re.search(r"^help MAIL: [1-9]\d* 214$", out.text, re.M), f"help MAIL: {out.text}")


@test("Net::SMTP: SkipBad: those that are taken have the letter, the unknown one is left out")
def perl_skip_bad(lab):
    boxes = [lab.mailbox(), lab.mailbox()]
    to = [boxes[0].address, NOBODY, boxes[1].address]
    out = net_smtp(lab, "some", SENDER, *to, stdin=SLIDES).good()
    same(re.findall("taken: (.*)", out.text), [box.address for box in boxes], "taken")
    for box in boxes:
        below_trace(one(box.letters()), SLIDES)


@test("Net::SMTP: without SkipBad an unknown recipient is an error")
def perl_unknown(lab):
    net_smtp(lab, "send", SENDER, NOBODY, stdin=SLIDES).bad("recipient: 550")


# msmtp

def msmtp(lab, *words, stdin=b"", daemon=None):
    return lab.run("msmtp", f"--host={HERE}", f"--port={(daemon or lab.smtpd).port}",
                   f"--domain={HELO}", "--auth=off", "--tls=off", "--timeout=10", *words,
                   stdin=stdin)


@test("msmtp --serverinfo: names the server, SIZE and PIPELINING, and no TLS and no AUTH")
def msmtp_info(lab):
    out = msmtp(lab, "--serverinfo").good().says("red.test ESMTP", "50.00 MiB", "SIZE", "PIPELINING")
    for word in ("STARTTLS", "AUTH"):
        check(word not in out.text, f"it says {word}: {out.text}")


@test("msmtp -t: the recipients are read from the letter, a Bcc one is not betrayed")
def msmtp_headers(lab):
    to, cc, bcc = lab.mailbox(), lab.mailbox(), lab.mailbox()
    head = f"From: {SENDER}\nTo: Levy <{to.address}>\nCc: {cc.address}\nBcc: {bcc.address}\n"
    msmtp(lab, "-t", f"--from={SENDER}", "--set-date-header=off",
          stdin=f"{head}Subject: x\n\nhello\n".encode()).good()
    for box in (to, cc, bcc):
        text = one(box.letters())
        check(text.endswith(b"Subject: x\r\n\r\nhello\r\n"), f"letter: {text}")
        check(bcc.name.encode() not in text, f"the Bcc one is named: {text}")


@test("msmtp: an unknown recipient: it says 550 and who, nobody has the letter")
def msmtp_unknown(lab):
    box = lab.mailbox()
    msmtp(lab, f"--from={SENDER}", "--", box.address, NOBODY, stdin=SLIDES).bad("550", NOBODY)
    same(box.letters(), [], "letters")


@test("msmtp: a letter over --max-size is refused with 552")
def msmtp_size(lab):
    box = lab.mailbox()
    msmtp(lab, f"--from={SENDER}", "--", box.address, stdin=big(20_000),
          daemon=lab.small_smtpd).bad("552")
    same(box.letters() + box.unfinished(), [], "letters")


# swaks

def swaks(lab, to, *more, daemon=None):
    return lab.run("swaks", "--server", HERE, "--port", (daemon or lab.smtpd).port,
                   "--helo", HELO, "--from", SENDER, "--to", to, "--timeout", 10, *more)


@test("swaks: the EHLO list: each line well formed, each keyword once, SIZE PIPELINING 8BITMIME")
def swaks_ehlo(lab):
    out = swaks(lab, NOBODY, "--quit-after", "FIRST-EHLO").good()
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


def quits_after(lab, stop):
    box = lab.mailbox()
    out = swaks(lab, box.address, "--quit-after", stop).good().says("-> QUIT", "<-  221")
    check("<** " not in out.text, f"an error: {out.text}")
    same(box.letters() + box.unfinished(), [], "letters")


for stop in ("CONNECT", "FIRST-EHLO", "MAIL", "RCPT"):
    add(f"swaks --quit-after {stop}: leaves in good order, and nothing is delivered",
        quits_after, stop)


def drops_after(lab, option, stop):
    box = lab.mailbox()
    swaks(lab, box.address, option, stop).good()
    lab.smtpd.at_rest()
    same(box.letters() + box.unfinished(), [], "letters")


for stop in ("MAIL", "RCPT", "DATA"):
    for option in ("--drop-after", "--drop-after-send"):
        add(f"swaks {option} {stop}: the server notices, and nothing is delivered",
            drops_after, option, stop)


@test("swaks --protocol SMTP: greets with HELO, and is received 'with SMTP'")
def swaks_helo(lab):
    box = lab.mailbox()
    swaks(lab, box.address, "--protocol", "SMTP").good().says("-> HELO topaz.test")
    check(b" with SMTP id " in one(box.letters()), f"trace: {box.letters()}")


@test("swaks --pipeline: an unknown recipient amid known ones: each answered in its place")
def swaks_pipeline(lab):
    boxes = [lab.mailbox(), lab.mailbox()]
    out = swaks(lab, f"{boxes[0].address},{NOBODY},{boxes[1].address}", "--pipeline").good()
    replies = re.findall(r"^<\S*\s+(\d{3}) (\d\.\d\.\d)", out.text, re.M)
    codes = [code for code, _ in replies]
    at = codes.index("550")
    same(codes[at - 2:at + 2], ["250", "250", "550", "250"], "MAIL and three RCPT")
    for box in boxes:
        check(b"This is a test mailing" in one(box.letters()), "not swaks' letter")


@test("swaks --pipeline: all recipients unknown: DATA is refused, exit 24")
def swaks_pipeline_unknown(lab):
    out = swaks(lab, NOBODY, "--pipeline")
    same(out.code, 24, "exit status of swaks")
    out.says("<** 550 5.1.1")
    check("354" not in out.text, f"DATA was accepted: {out.text}")


@test("swaks: an unknown recipient: exit 24; another domain: 550 5.7.1")
def swaks_unknown(lab):
    same(swaks(lab, NOBODY).says("<** 550 5.1.1").code, 24, "exit status of swaks")
    same(swaks(lab, "a@elsewhere.test").says("<** 550 5.7.1").code, 24, "exit status of swaks")


@test("swaks --auth: not advertised, and swaks says so")
def swaks_no_auth(lab):
    box = lab.mailbox()
    out = swaks(lab, box.address, "--auth", "PLAIN", "--auth-user", "a", "--auth-password", "b")
    out.bad("Host did not advertise authentication")
    same(box.letters(), [], "letters")


@test("swaks --xclient: not advertised, and swaks leaves in good order")
def swaks_xclient(lab):
    box = lab.mailbox()
    out = swaks(lab, box.address, "--xclient-addr", "192.0.2.1")
    out.bad("Host did not advertise XCLIENT", "<-  221")
    same(box.letters(), [], "letters")


@test("swaks --attach: a file of every octet value arrives")
def swaks_attach(lab):
    box = lab.mailbox()
    data = bytes(range(256)) * 100
    swaks(lab, box.address, "--attach", f"@{lab.file('octets', data)}", "--suppress-data").good()
    parts = list(email.message_from_bytes(one(box.letters())).walk())
    same(parts[-1].get_payload(decode=True), data, "the file")


# smtpc

def smtpc(lab, *words, stdin=SLIDES):
    return lab.run("smtpc", "-s", f"{HERE}:{lab.smtpd.port}", "-f", SENDER, *words, stdin=stdin)


@test("smtpc: an unknown recipient: exit 1, who and why")
def smtpc_unknown(lab):
    same(smtpc(lab, NOBODY).says("550", NOBODY).code, 1, "exit status of smtpc")


@test("smtpc: an unknown recipient beside a known one: exit 1, the known one has the letter")
def smtpc_some(lab):
    box = lab.mailbox()
    same(smtpc(lab, box.address, NOBODY).says("550", NOBODY).code, 1, "exit status of smtpc")
    below_trace(one(box.letters()), SLIDES)


@test("smtpc -v: shows the dialogue")
def smtpc_verbose(lab):
    box = lab.mailbox()
    smtpc(lab, "-v", "--helo", HELO, box.address).good().says(
        f"EHLO {HELO}", f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{box.address}>", "DATA", "354", "QUIT")
