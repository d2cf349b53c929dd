"""Task of lab 01: a server that answers each client with one line,
`you are ADDR:PORT, I am ADDR:PORT`, and closes. One client after the other.

Of itself it knows only what it was told to bind. Let it say which address and port this client is
really connected to.

The check calls it with one argument, ADDR:PORT (port 0: any that is free), and waits for the line
`listening on ADDR:PORT` with the port that it got. To a pipe, print keeps its text until the buffer is full:
without flush=True the check would wait in vain.
"""

import socket
import sys


def main():
    """The main function of the slide."""
    host, _, port = (sys.argv[1:] or ["127.0.0.1:9877"])[0].rpartition(":")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((host, int(port)))
    listener.listen(1024)
    print("listening on %s:%d" % listener.getsockname(), flush=True)
    while True:
        connection, client = listener.accept()
        answer = f"you are {client[0]}:{client[1]}, I am {host}:{port}\n"
        connection.sendall(answer.encode())
        connection.close()


main()
