"""Task of lab 05: a server that says what time it is, in seconds since 1970, and closes first. It shall be
possible to start it again at once.

The check calls it with one argument, ADDR:PORT (port 0: any that is free), and waits for the line
`listening on ADDR:PORT` with the port that it got. To a pipe, print keeps its text until the buffer is full:
without flush=True the check would wait in vain.
"""

import socket
import sys
import time


def main():
    """The main function of the slide."""
    host, _, port = (sys.argv[1:] or ["127.0.0.1:9877"])[0].rpartition(":")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((host, int(port)))
    listener.listen(1024)
    print("listening on %s:%d" % listener.getsockname(), flush=True)
    while True:
        connection, _ = listener.accept()
        connection.sendall(b"%d\n" % time.time())
        connection.close()  # the first FIN is ours


main()
