/* What UDP on the loopback can do at all: one way, from one process to another.
 *
 *   ceiling PAYLOAD SEGMENTS SECONDS
 *
 * SEGMENTS of PAYLOAD octets go out in one system call (UDP_SEGMENT; 1: a plain send each), and are
 * read with UDP_GRO. Prints the octets a second that arrived. */
#include <signal.h>
#include <sys/wait.h>

#include "tftp.h"

static void feed(int port, size_t payload, int segments, double seconds)
{
    static unsigned char buffer[65536];
    int s = datagrams(), piece = payload;
    struct sockaddr_in to = loopback(port);
    if (connect(s, (struct sockaddr *)&to, sizeof to) < 0)
        die("connect");
    if (segments > 1 && setsockopt(s, SOL_UDP, UDP_SEGMENT, &piece, sizeof piece) < 0)
        die("UDP_SEGMENT");
    for (double end = now() + seconds; now() < end;)
        if (send(s, buffer, payload * segments, 0) < 0 && errno != ENOBUFS)
            die("send");
}

int main(int argc, char **argv)
{
    if (argc != 4)
        fail("usage: ceiling PAYLOAD SEGMENTS SECONDS");
    static unsigned char buffer[65536];
    int s = datagrams(), on = 1;
    double seconds = atof(argv[3]);
    struct sockaddr_in own;
    socklen_t length = sizeof own;
    setsockopt(s, SOL_UDP, UDP_GRO, &on, sizeof on);
    getsockname(s, (struct sockaddr *)&own, &length);
    pid_t child = fork();
    if (child == 0) {
        feed(ntohs(own.sin_port), atoi(argv[1]), atoi(argv[2]), seconds + 0.2);
        _exit(0);
    }
    unsigned long long octets = 0;
    double start = now();
    while (now() < start + seconds) {
        ssize_t n = recv(s, buffer, sizeof buffer, 0);
        if (n < 0)
            die("recv");
        octets += n;
    }
    printf("%.0f\n", octets / (now() - start));
    waitpid(child, 0, 0);
    return 0;
}
