"""What all scripts share: programs with a log, daemons, fixtures, namespaces, reports.

    paths       where the repository and the built programs are
    checks      Failure, check, same, wait_until, at_once, Watchdog
    packages    need: another's program, or the Debian package that brings it
    program     run a program to its end; Program: one that runs beside this one
    dialogue    a program that is typed to and read from in turns
    pop3        a client of POP3 that tells what it has read
    smtp        a client of SMTP that shows its dialogue
    daemon      Daemon: a program that says `listening on ADDR:PORT`
    processes   what /proc tells of processes;  sockets  what ss tells of ports
    mta         Postfix and OpenSMTPD, each with files of its own in their places
    folder      a temporary folder, its files and folders
    mailbox     a user's Maildir;  fixture  folder, users and daemons of a run
    namespace   namespaces, a second host, and the wire to it
    report      tests by name, what passed, failed and is missing; the command line
    stage       titles, tables and promises of the scripts that show a slide
"""

from lib.checks import Failure, Watchdog, at_once, check, same, show, wait_until
from lib.daemon import Daemon
from lib.packages import Missing, need
from lib.paths import LOOPBACK, REPOSITORY
from lib.program import Output, Program, run
from lib.report import NotJudged, add, test

__all__ = ["LOOPBACK", "REPOSITORY", "Daemon", "Failure", "Missing", "NotJudged", "Output", "Program",
           "Watchdog", "add", "at_once", "check", "need", "run", "same", "show", "test", "wait_until"]
