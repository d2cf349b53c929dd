"""Task of lab 03: an echo server that asks for one child whenever a client comes.

No zombie may stay, however many children end at once, and though no other client comes.

The check calls it with one argument, ADDR:PORT (port 0: any that is free), and waits for the line
`listening on ADDR:PORT` with the port that it got. To a pipe, print keeps its text until the buffer is full:
without flush=True the check would wait in vain.
"""

import os
import socket
import sys


def str_echo(connection):
    """Sends back what comes, until the end of file."""
    while octets := connection.recv(4096):
        connection.sendall(octets)


def main():
    """The main function of the slide."""
    host, _, port = (sys.argv[1:] or ["127.0.0.1:9877"])[0].rpartition(":")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((host, int(port)))
    listener.listen(1024)
    print("listening on %s:%d" % listener.getsockname(), flush=True)
    while True:
        connection, _ = listener.accept()
        try:
            os.waitpid(-1, os.WNOHANG)  # has anybody ended?
        except ChildProcessError:
            pass
        if os.fork() == 0:
            listener.close()
            str_echo(connection)
            os._exit(0)
        connection.close()


main()
