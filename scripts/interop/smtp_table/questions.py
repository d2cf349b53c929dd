"""Questions and the replies that RFC 5321 and its extensions want: dialogues, a line each.

A dialogue is what is sent, a str as a line and bytes as they are, and a regular expression for each reply that must
come. {user} and {other} are users of the server, {domain} is theirs; each dialogue begins with the greeting read.
"""

from lib.mailbox import DOMAIN
from side_by_side import probe
from wire import HELO, LETTER, SENDER, Session

EHLO = (f"EHLO {HELO}", "250")
MAIL = (f"MAIL FROM:<{SENDER}>", "250")
RCPT = ("RCPT TO:<{user}@{domain}>", "250")
BEGUN = (EHLO, MAIL, RCPT)

DIALOGUES = [
    # Sessions: section 4.1 and 4.3.
    ("a bare EHLO is 501 (§4.1.1.1)", ("EHLO", "501")),
    ("HELO is a one-line 250", (f"HELO {HELO}", r"250 [^\n]*$")),
    ("NOOP, RSET, HELP before EHLO are not 503", ("NOOP", "250"), ("RSET", "250"), ("HELP", "214")),
    ("a second EHLO aborts the transaction (§4.1.4)", *BEGUN, EHLO, ("DATA", "503|554")),
    ("a refused EHLO changes nothing", *BEGUN, ("EHLO", "501"), ("DATA", "354"), (LETTER + b".\r\n", "250")),
    ("verbs in any case", (f"eHlO {HELO}", "250"), (f"mail from:<{SENDER}>", "250"), ("rcpt TO:<{user}@{domain}>", "250"),
     ("rset", "250"), ("quit", "221")),
    ("blanks behind a command are taken", EHLO, ("RSET  ", "250"), (f"MAIL FROM:<{SENDER}> ", "250"), ("NOOP ", "250")),
    ("an unknown command is 500, the session lives", EHLO, ("FROB", "500"), ("NOOP", "250")),
    ("MAIL twice is 503", EHLO, MAIL, (f"MAIL FROM:<{SENDER}>", "503")),
    ("RCPT before MAIL is 503", EHLO, ("RCPT TO:<{user}@{domain}>", "503")),
    ("DATA without a recipient is 503 or 554", EHLO, MAIL, ("DATA", "503|554")),
    ("`DATA x` is 501, and DATA works after it", *BEGUN, ("DATA x", "501"), ("DATA", "354"), (LETTER + b".\r\n", "250")),
    ("`RSET x` is 501, and the transaction lives", *BEGUN, ("RSET x", "501"), ("DATA", "354"), (LETTER + b".\r\n", "250")),
    ("`QUIT x` is 501, the session lives", EHLO, ("QUIT x", "501"), ("NOOP", "250")),
    ("`NOOP x` is 250", EHLO, ("NOOP x", "250")),
    ("`HELP verb` is 214", EHLO, ("HELP RCPT", "214")),
    ("a bare VRFY is 501", EHLO, ("VRFY", "501")),
    ("VRFY inside a transaction keeps it", *BEGUN, ("VRFY {user}", "25[012]"), ("DATA", "354"), (LETTER + b".\r\n", "250")),
    ("VRFY gives the full name (250)", EHLO, ("VRFY {user}", "250[^\n]*Jacob Levy")),
    ("VRFY of nobody is 550", EHLO, ("VRFY nobody-here", "55[013]")),
    ("EXPN of a group tells its members (250)", EHLO, ("EXPN staff", r"250-[^\n]*g[01]@[^\n]*\n250 [^\n]*g[01]@")),
    ("EXPN of nobody is 550", EHLO, ("EXPN nobody-here", "550")),
    ("a group is a recipient", EHLO, MAIL, ("RCPT TO:<staff@{domain}>", "250")),
    ("a group of groups is a recipient", EHLO, MAIL, ("RCPT TO:<all@{domain}>", "250")),
    ("groups that lead to each other are refused at RCPT", EHLO, MAIL, ("RCPT TO:<round@{domain}>", "[45]")),
    ("user+tag is the user", EHLO, MAIL, ("RCPT TO:<{user}+tag@{domain}>", "250")),
    ("SEND, SOML and SAML are 502 or 500 unless they are wanted", EHLO, *((f"{verb} FROM:<{SENDER}>", "50[02]") for verb in ("SEND", "SOML", "SAML"))),
    ("QUIT inside a transaction is 221", *BEGUN, ("QUIT", "221")),
    ("HTTP is refused with 421 or 500 and the end", (b"GET / HTTP/1.1\r\nHost: red.test\r\n\r\n", "421|221|500|502"), ("", "closed")),
    ("after RSET, RCPT is 503", *BEGUN, ("RSET", "250"), ("RCPT TO:<{user}@{domain}>", "503")),
    ("after a letter, RCPT is 503", *BEGUN, ("DATA", "354"), (LETTER + b".\r\n", "250"), ("RCPT TO:<{user}@{domain}>", "503")),
    ("two letters in a session", *BEGUN, ("DATA", "354"), (LETTER + b".\r\n", "250"), MAIL, RCPT, ("DATA", "354"), (LETTER + b".\r\n", "250")),
    # Addresses: section 4.1.2 and 4.5.
    ("MAIL FROM:<> is 250 (§4.5.5)", EHLO, ("MAIL FROM:<>", "250"), RCPT),
    ("RCPT TO:<PostMaster> is 250 (§4.5.1)", EHLO, MAIL, ("RCPT TO:<PostMaster>", "250")),
    ("a quoted local part is taken", EHLO, ('MAIL FROM:<"a b"@topaz.test>', "250")),
    ("a blank behind FROM: and TO: is taken", EHLO, (f"MAIL FROM: <{SENDER}>", "250"), ("RCPT TO: <{user}@{domain}>", "250")),
    ("an address without <> is taken, as devices send it", EHLO, (f"MAIL FROM:{SENDER}", "250"), ("RCPT TO:{user}@{domain}", "250")),
    ("RCPT of our domain in capitals is taken", EHLO, MAIL, (f"RCPT TO:<{{user}}@{DOMAIN.upper()}>", "250")),
    ("RCPT a..b is 501, 550 or 553", EHLO, MAIL, ("RCPT TO:<a..b@{domain}>", "501|55[03]")),
    ("a sender a..b is taken", EHLO, ("MAIL FROM:<a..b@topaz.test>", "250")),
    ("a sender with a final dot in the local part is taken", EHLO, ("MAIL FROM:<ab.@topaz.test>", "250")),
    ("a sender whose domain has an underscore is taken", EHLO, ("MAIL FROM:<a@my_host.topaz.test>", "250")),
    ("a sender at an address literal is taken", EHLO, ("MAIL FROM:<a@[192.0.2.1]>", "250")),
    ("a source route is taken and ignored (§4.1.1.3)", EHLO, ("MAIL FROM:<@a.test,@b.test:a@c.test>", "250"), RCPT),
    ("an unknown parameter of MAIL is 555 or 501", EHLO, (f"MAIL FROM:<{SENDER}> FROB=1", "555|501")),
    ("an unknown parameter of RCPT is 555 or 501", EHLO, MAIL, ("RCPT TO:<{user}@{domain}> FROB=1", "555|501")),
    ("an unknown user is 550 5.1.1 at RCPT", EHLO, MAIL, ("RCPT TO:<nobody-here@{domain}>", "550 5.1.1")),
    ("another domain is 550 or 554 5.7.1", EHLO, MAIL, ("RCPT TO:<a@elsewhere.test>", "55[04] 5.7.1")),
    ("a%elsewhere@ours never means relay", EHLO, MAIL, ("RCPT TO:<a%elsewhere.test@{domain}>", "5")),
    ("elsewhere!a never means relay", EHLO, MAIL, ("RCPT TO:<elsewhere.test!a@{domain}>", "5"), ("RCPT TO:<elsewhere.test!a>", "5")),
    ("a quoted @ never means relay", EHLO, MAIL, ('RCPT TO:<"a@elsewhere.test"@{domain}>', "5"), ('RCPT TO:<"a@elsewhere.test">', "5")),
    ("a source route never means relay", EHLO, MAIL, ("RCPT TO:<@{domain}:a@elsewhere.test>", "5")),
    ("an address literal of another host never means relay", EHLO, MAIL, ("RCPT TO:<a@[192.0.2.1]>", "5")),
    ("NUL in a command is refused", EHLO, (b"MAIL FROM:<a\0b@topaz.test>\r\n", "5")),
    ("CR within a command is refused", EHLO, (b"MAIL FROM:<a@topaz.test>\rRCPT TO:<b@topaz.test>\r\n", "5")),
    ("a path over 256 octets is 501 or 5xx (§4.5.3.1.3)", EHLO, (f"MAIL FROM:<{'a' * 64}@{'b' * 60 + '.'}{('c' * 60 + '.') * 4}test>", "5")),
    ("RCPT of one user twice: 250, and one letter", *BEGUN, RCPT, ("DATA", "354"), (LETTER + b".\r\n", "250")),
    # Limits: section 4.5.3.1.
    ("a command line of 512 octets is read (§4.5.3.1.4)", EHLO, ("NOOP " + "x" * 505, "250")),
    ("a command of 3,000 octets is 500 or 501, and its tail is no command", EHLO, ("FROB " + "x" * 3000, "50[0-2]"), ("NOOP", "250")),
    ("SIZE= over the limit is 552 (RFC 1870)", EHLO, (f"MAIL FROM:<{SENDER}> SIZE=99999999999", "552")),
    ("SIZE= that is no number is 501", EHLO, (f"MAIL FROM:<{SENDER}> SIZE=x", "501|555|552")),
    ("BODY=8BITMIME is taken (RFC 6152)", EHLO, (f"MAIL FROM:<{SENDER}> BODY=8BITMIME", "250")),
    ("BODY=FROB is 501", EHLO, (f"MAIL FROM:<{SENDER}> BODY=FROB", "501|504|555")),
    # Pipelining: RFC 2920.
    ("MAIL, RCPT, RCPT of nobody, DATA in one packet: replies in order",
     EHLO, (f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{{user}}@{{domain}}>\r\nRCPT TO:<nobody-here@{{domain}}>\r\nDATA", "250", "250", "550", "354"),
     (LETTER + b".\r\n", "250")),
    ("MAIL right behind the end of DATA", *BEGUN, ("DATA", "354"), (LETTER + b".\r\nMAIL FROM:<a@b.test>\r\nQUIT\r\n", "250", "250", "221")),
    ("all recipients bad: a pipelined DATA is refused", EHLO,
     (f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<nobody-here@{{domain}}>\r\nDATA", "250", "550", "503|554"), ("NOOP", "250")),
    ("a hundred NOOPs in one packet: a hundred replies", EHLO, ("NOOP\r\n" * 99 + "NOOP", *["250"] * 100)),
]


def filled(text, server, names):
    """The users' names in a str."""
    if not isinstance(text, str):
        return text
    for key, value in {"{user}": names[0], "{domain}": DOMAIN}.items():
        text = text.replace(key, value)
    return text


def dialogue(name, *turns):
    """Registers a probe that holds this dialogue."""
    @probe(name)
    def hold(server):
        names = [server.user()] if any("{user}" in str(part) for turn in turns for part in turn) else [""]
        with Session(server) as session:
            for command, *patterns in turns:
                if patterns == ["closed"]:
                    while session.more():
                        pass
                else:
                    session.ask(filled(command, server, names), *patterns)


for one in DIALOGUES:
    dialogue(*one)
