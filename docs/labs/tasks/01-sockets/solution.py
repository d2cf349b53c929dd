"""Task of lab 01, solved: the connected socket knows all four numbers. accept tells two of them, and
getsockname the other two.

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
        here = connection.getsockname()
        answer = f"you are {client[0]}:{client[1]}, I am {here[0]}:{here[1]}\n"
        connection.sendall(answer.encode())
        connection.close()


main()
