"""The notifications of smtpq, as Python's email reads it: every field of a notification, odd letters, replies of
servers that are no friends. The server that refuses and then takes the notification is played here."""

import email
import os
import pwd
import smtplib
import socket
import threading
import time
from email import policy

from lib import LOOPBACK, add, check, need, same, test, wait_until
from lib.mailbox import crlf
from letters import HEAD, SENDER, SLIDES, big

TO = "levy@red.test"
HOST = "topaz.test"
# The longest line of a letter in bytes, without CRLF.
MAX_LINE = 998
WAIT = 60.0


class MailHost(threading.Thread):
    """A server that takes everything but what `replies` has another reply for: by the first word, by an address in RCPT, or
    by `.`. `letters` are what it has taken: (MAIL, [RCPT], the text as it came on the wire)."""

    def __init__(self, replies=None, extensions=("8BITMIME", "SMTPUTF8", "DSN", "SIZE")):
        super().__init__(daemon=True)
        self.replies, self.extensions, self.letters = replies or {}, extensions, []
        self.socket = socket.create_server((LOOPBACK, 0))
        self.port = self.socket.getsockname()[1]

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def run(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(client,), daemon=True).start()

    def talk(self, client):
        """One session."""
        try:
            with client, client.makefile("rwb") as wire:
                self.session(wire)
        except OSError:
            pass  # the client is gone

    def notices(self):
        """The letters from <>."""
        return [letter for letter in self.letters if letter[0].startswith(b"MAIL FROM:<>")]

    def session(self, wire):
        """Line by line."""
        mail, to = b"", []
        self.say(wire, b"220 red.test")
        for line in wire:
            line = line.rstrip(b"\r\n")
            word = line.split(b" ")[0].split(b":")[0].upper().decode(errors="replace")
            if word == "EHLO":
                self.say(wire, b"\r\n".join([b"250-red.test", *(b"250-" + it.encode() for it in self.extensions), b"250 HELP"]))
            elif word == "RCPT":
                address = line.partition(b"<")[2].partition(b">")[0].decode("utf-8", "surrogateescape")
                reply = self.replies.get(address, b"250 2.1.5 ok")
                to += [line] * reply.startswith(b"250")
                self.say(wire, reply)
            elif word == "DATA":
                self.say(wire, b"354 go on" if to else b"554 5.5.1 none")
                if to:
                    text = b"".join(iter(wire.readline, b".\r\n"))
                    reply = self.replies.get(".", b"250 2.0.0 taken")
                    if reply.startswith(b"250"):
                        self.letters.append((mail, to, text))
                    self.say(wire, reply)
            else:
                if word == "MAIL":
                    mail, to = line, []
                self.say(wire, self.replies.get(word, b"221 bye" if word == "QUIT" else b"250 ok"))

    @staticmethod
    def say(wire, reply):
        """A reply of one line or several."""
        wire.write(reply + b"\r\n")
        wire.flush()


class Outbox:
    """A queue, and letters in it as docs/mail.md has them."""

    def __init__(self, fixture):
        self.fixture, self.path, self.count = fixture, fixture.folder("queue"), 0
        self.user = pwd.getpwnam("nobody") if fixture.is_root else None
        for folder in (self.path, *(self.path / name for name in ("tmp", "letters", "state"))):
            folder.mkdir(exist_ok=True)
            self.own(folder, 0o700)

    def own(self, path, mode):
        """Gives a file to the queue's owner."""
        path.chmod(mode)
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def put(self, text=SLIDES, sender=SENDER, to=TO, more=(), recipient=(), age=0):
        """A letter; `more` lines of the envelope, and of its recipient."""
        self.count += 1
        now = int(time.time()) - age
        lines = ["forklore letter 1", f"id 1-2-{self.count}", f"arrived {now}", "client 127.0.0.1:52100", f"from <{sender}>", *more,
                 f"to <{to}>", *recipient]
        draft = self.path / "tmp" / f"{now:x}-00000-1-{self.count}"
        draft.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape") + b"\n\n" + text)
        self.own(draft, 0o600)
        draft.rename(self.path / "letters" / draft.name)

    def send(self, server, *options, before=()):
        """Each letter that is due is tried once, by this server. `before` are words that start smtpq."""
        fixture = self.fixture
        return fixture.run(*before, *fixture.known(("smtpq",)), "--queue", self.path, "--relayhost", f"{LOOPBACK}:{server.port}", "--hostname", HOST, "--once",
                           *options, *fixture.as_root(), env={"TZ": "EET-2"})

    def left(self):
        """The letters that wait."""
        return sorted(os.listdir(self.path / "letters"))


def whole(message, path="1"):
    """No part of it has a fault that Python knows."""
    same(message.defects, [], f"faults of part {path}")
    if message.is_multipart():
        for number, part in enumerate(message.get_payload(), 1):
            whole(part, f"{path}.{number}")


def text_of(value):
    """A field with UTF-8, which Python leaves as bytes."""
    return str(value).encode("utf-8", "surrogateescape").decode()


def notice(server, sender=SENDER, kind="message/delivery-status"):
    """The only notification that the server has got, read by Python: the message, and the fields of its second part."""
    same(len(server.notices()), 1, "notifications")
    mail, to, text = server.notices()[0]
    check(len(to) == 1 and f"TO:<{sender}>".encode() in to[0] and b"NOTIFY" not in to[0], f"not to the sender: {to}")
    check(all(len(line) <= MAX_LINE for line in text.split(b"\r\n")), "a line is too long")
    check(b"\r" not in text.replace(b"\r\n", b"") and b"\n" not in text.replace(b"\r\n", b"") and b"\0" not in text, "a bare CR, LF or NUL")
    message = email.message_from_bytes(text, policy=policy.default)
    whole(message)
    same((message.get_content_type(), message.get_param("report-type")), ("multipart/report", "delivery-status"), "type")
    same(text_of(message["To"]), sender, "To")
    same(message["Auto-Submitted"], "auto-replied", "Auto-Submitted")
    check(message["Date"].datetime.utcoffset() is not None and message["Message-ID"] and message["From"], "a field is missing")
    parts = list(message.iter_parts())
    same([part.get_content_type() for part in parts[:2]], ["text/plain", kind], "the first parts")
    check("topaz.test" in parts[0].get_content(), "the person's part does not say who writes")
    if kind == "message/delivery-status":
        return message, parts, parts[1].get_payload()
    blocks = parts[1].get_payload()[0].as_bytes().split(b"\n\n")  # which Python does not take apart for this type
    return message, parts, [email.message_from_bytes(block, policy=policy.default) for block in blocks if block.strip()]


def failed(fixture, reply=b"550 5.1.1 No such user", server=None, **letter):
    """A letter that is refused with this reply; the server, which has got the notification."""
    outbox = Outbox(fixture)
    outbox.put(**letter)
    server = server or MailHost({letter.get("to", TO): reply})
    with server:
        outbox.send(server)
        wait_until("the notification has come", server.notices, WAIT)
    same(outbox.left(), [], "letters in the queue")
    return server


@test("smtpq: a 5xx comes back to the author, and Python's email reads each field")
def fields(fixture):
    server = failed(fixture, more=["ret HDRS", "envid QQ+2B314+3D"], recipient=["notify FAILURE", "orcpt rfc822;Levy+2Bx@red.test"])
    _, parts, (letter, recipient) = notice(server)
    same((letter["Reporting-MTA"], letter["Original-Envelope-Id"]), (f"dns; {HOST}", "QQ+314="), "fields of the letter")
    check(email.utils.parsedate_to_datetime(letter["Arrival-Date"]).utcoffset().seconds == 7200, f"not in our zone: {letter['Arrival-Date']}")
    same({name: recipient[name] for name in ("Original-Recipient", "Final-Recipient", "Action", "Status", "Diagnostic-Code")},
         {"Original-Recipient": "rfc822;Levy+x@red.test", "Final-Recipient": f"rfc822;{TO}", "Action": "failed", "Status": "5.1.1",
          "Diagnostic-Code": "smtp; 550 5.1.1 No such user"}, "fields of the recipient")
    check(recipient["Remote-MTA"].startswith("dns; ") and recipient["Last-Attempt-Date"], f"fields: {recipient.as_string()}")
    person = parts[0].get_content()
    check(f"<{TO}>" in person and "550 5.1.1 No such user" in person, f"the person's part: {person}")
    same(parts[2].get_content_type(), "text/rfc822-headers", "what comes back")
    same(crlf(parts[2].get_content().encode()), crlf(HEAD), "the header")


def returned(fixture, ret, text, kind, want):
    """What of a letter comes back."""
    server = failed(fixture, text=text, more=[f"ret {ret}", "body 8BITMIME"] if ret else ["body 8BITMIME"])
    _, parts, _ = notice(server)
    same(parts[2].get_content_type(), kind, "what comes back")
    part = parts[2]
    got = part.get_payload()[0].as_bytes(policy=policy.compat32) if kind == "message/rfc822" else part.get_payload(decode=True)
    same(crlf(got), crlf(want), "the letter")


EIGHT_BIT = "Subject: Πρωτόκολλο\n".encode() + HEAD + "\nΣυνάντηση\n".encode()
LATIN = b"Subject: r\xe9union\n" + HEAD + b"\n\xe9\n"
LONG = b"X-Long: " + b"x" * 5000 + b"\n" + HEAD + b"\ntext\n"
BOUNDARIES = HEAD + b"\n" + b"".join(b"--report-%x-1-1.%d.\n" % (n, n) for n in range(100))
for name, text in {"the slides' letter": SLIDES, "8-bit UTF-8": EIGHT_BIT, "8-bit Latin-1": LATIN, "boundaries": BOUNDARIES,
                   "no header": b"\ntext alone\n"}.items():
    add(f"smtpq: RET=FULL brings back the letter, octet for octet: {name}", returned, "FULL", text, "message/rfc822", text)
for name, text in {"8-bit UTF-8": EIGHT_BIT, "8-bit Latin-1": LATIN, "a line of 5,000 octets": LONG}.items():
    add(f"smtpq: the header comes back, octet for octet: {name}", returned, "", text, "text/rfc822-headers",
        text.partition(b"\n\n")[0] + b"\n")
add("smtpq: RET=FULL of 5 MB brings back its header alone", returned, "FULL", big(5_000_000), "text/rfc822-headers", HEAD)
add("smtpq: RET=FULL with a line of 5,000 octets brings back its header alone", returned, "FULL", LONG, "text/rfc822-headers",
    LONG.partition(b"\n\n")[0] + b"\n")


def hostile(fixture, reply):
    """A reply that would like to be something else."""
    _, parts, blocks = notice(failed(fixture, reply))
    same(len(blocks), 2, "blocks of fields")
    same([blocks[1].get_all(name) for name in ("Action", "Bcc", "Status")], [["failed"], None, [blocks[1]["Status"]]], "fields")
    check(len(blocks[1]["Diagnostic-Code"]) < 700 and blocks[1]["Diagnostic-Code"].isprintable(), "the reply is not as it should be")
    check("Subject: meeting" in parts[2].get_content(), "the header is not there")


for name, reply in {
        "several lines": b"550-5.1.1 no\r\n550-Action: delivered\r\n550 5.1.1 Status: 2.0.0",
        "control characters": b"550 5.1.1 no\x1b[2J\x07 \x08\x0b\x0c\rBcc: x@y.test",
        "8 bit": b"550 5.1.1 \xff\xe9 " + "όχι \u202e\u2028Bcc: x".encode(),
        "a boundary": b"550 5.1.1 --report-1-2-3.1.--",
        "as long as it may be": b"550 5.1.1 " + b"x" * 490}.items():
    add(f"smtpq: a hostile reply makes no field: {name}", hostile, reply)


def asked_for(fixture, notify, reply, extensions, action, more=()):
    """There are the notifications that NOTIFY asks for, and no others."""
    outbox = Outbox(fixture)
    outbox.put(recipient=[f"notify {notify}"] if notify else [], age=5 * 3600)
    with MailHost({TO: reply}, extensions) as server:
        for _ in range(2):
            outbox.send(server, *more)
        same(len(server.notices()), 1 if action else 0, "notifications")
        if not action:
            return
        _, _, (_, recipient) = notice(server)
    same(recipient["Action"], action, "Action")
    check(action != "delayed" or email.utils.parsedate_to_datetime(recipient["Will-Retry-Until"]), "no Will-Retry-Until")


NO, LATER, YES = b"550 5.1.1 no", b"451 4.3.0 later", b"250 2.1.5 ok"
PLAIN, DSN = ("SIZE",), ("SIZE", "DSN")
for notify, reply, extensions, action, more in (
        ("", NO, DSN, "failed", ()), ("NEVER", NO, DSN, "", ()), ("SUCCESS,DELAY", NO, DSN, "", ()), ("FAILURE", NO, PLAIN, "failed", ()),
        ("", YES, PLAIN, "", ()), ("SUCCESS", YES, DSN, "", ()), ("SUCCESS", YES, PLAIN, "relayed", ()),
        ("", LATER, DSN, "", ()), ("", LATER, DSN, "delayed", ("--warn-after", "60")), ("FAILURE", LATER, DSN, "", ("--warn-after", "60")),
        ("DELAY", LATER, DSN, "delayed", ()), ("", LATER, DSN, "failed", ("--max-age", "60"))):
    add(f"smtpq: NOTIFY={notify or '(none)'}, {reply.decode()}, {' '.join(extensions)} {' '.join(more)}: {action or 'no'} notification",
        asked_for, notify, reply, extensions, action, more)


@test("smtpq: a notification that is refused goes to the postmaster, and what is refused then is dropped")
def double(fixture):
    outbox = Outbox(fixture)
    outbox.put()
    with MailHost({TO: NO, SENDER: NO, "postmaster@topaz.test": NO}) as server:
        outbox.send(server).says("double bounce", "dropped: a notification for the postmaster")
        same((outbox.left(), server.letters), ([], []), "letters")
    outbox.put(sender="")
    with MailHost({TO: NO}) as server:
        outbox.send(server)
        notice(server, "postmaster@topaz.test")


@test("smtpq: SMTPUTF8: addresses come back as RFC 6533 has them")
def utf8(fixture):
    to, sender = "λεύι@red.test", "χέντρικ@topaz.test"
    server = failed(fixture, more=["smtputf8"], to=to, sender=sender, text="Subject: Σ\n\n".encode(), recipient=["orcpt utf-8;\\x{3bb}@red.test"])
    check(b"SMTPUTF8" in server.letters[0][0], f"MAIL: {server.letters[0][0]}")
    _, parts, (_, recipient) = notice(server, sender, "message/global-delivery-status")
    same((text_of(recipient["Final-Recipient"]), text_of(recipient["Original-Recipient"])), (f"utf-8;{to}", "utf-8;λ@red.test"), "addresses")
    same((parts[2].get_content_type(), text_of(parts[2].get_payload()[0]["Subject"])), ("message/global-headers", "Σ"), "the header")
    server = failed(fixture, more=["smtputf8"], to=to, server=MailHost({to: NO}))
    check(b"SMTPUTF8" not in server.letters[0][0], f"MAIL: {server.letters[0][0]}")


# System calls by which a notification gets onto the disk, each with the numbers of calls at which a process is killed.
STEPS = {"write": range(1, 7), "fdatasync": range(1, 4), "renameat2": range(1, 2), "fsync": range(1, 4), "unlinkat": range(1, 3)}


@test("smtpq: killed at each step of a notification, it is sent once or twice, and never not at all")
def killed(fixture):
    tries = twice = 0
    for call, numbers in STEPS.items():
        for number in numbers:
            outbox = Outbox(fixture)
            outbox.put()
            with MailHost({TO: NO}) as server:
                before = (need("strace"), "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e",
                          f"inject={call}:signal=SIGKILL:when={number}")
                outbox.send(server, before=before)

                def is_done(outbox=outbox, server=server):
                    outbox.send(server)
                    return not outbox.left()

                wait_until(f"the queue is empty after a kill at {call} {number}", is_done, WAIT)
                sent = len(server.notices())
                check(sent in (1, 2), f"killed at {call} {number}: {sent} notifications")
                tries, twice = tries + 1, twice + (sent == 2)
    check(tries == sum(map(len, STEPS.values())) and twice < tries, f"{twice} of {tries} twice")


@test("smtpd: NOTIFY=SUCCESS: Python's email reads each field of the notification")
def delivered(fixture):
    author, reader = fixture.mailbox(), fixture.mailbox()
    with smtplib.SMTP(LOOPBACK, fixture.smtpd.port, HOST, timeout=20) as session:
        session.sendmail(author.address, [reader.address], crlf(SLIDES), ["ENVID=QQ+2B3"], ["NOTIFY=SUCCESS", "ORCPT=rfc822;L+2Bx@red.test"])
    wait_until("the notification has come", author.letters, WAIT)
    message = email.message_from_bytes(author.letters()[0], policy=policy.default)
    whole(message)
    same((message["Return-Path"], message.get_param("report-type"), message["Auto-Submitted"]), ("<>", "delivery-status", "auto-replied"), "header")
    person, status = message.iter_parts()
    letter, recipient = status.get_payload()
    check(reader.address in person.get_content(), "the person's part does not name the recipient")
    same((letter["Reporting-MTA"], letter["Original-Envelope-Id"]), ("dns; red.test", "QQ+3"), "fields of the letter")
    same([recipient[name] for name in ("Original-Recipient", "Final-Recipient", "Action", "Status")],
         ["rfc822;L+x@red.test", f"rfc822;{reader.address}", "delivered", "2.0.0"], "fields of the recipient")
