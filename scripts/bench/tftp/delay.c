/* A path that takes its time: passes the datagrams of one transfer on, each after the same delay.
 *
 *   delay SERVER-PORT MICROSECONDS
 *
 * Prints the port to ask. Forwards to the server, learns its new port from its first answer as a
 * client does, and holds every datagram for MICROSECONDS, each way; the order stays. A request
 * begins a new transfer. Ends with its standard input. */
#include "tftp.h"

enum { HELD = 4096, ROOM = 65536 };

static struct held {
    double due;
    int to_client;
    size_t length;
    unsigned char *octets;
} ring[HELD];
static unsigned first, count;

static void take(int from, int to_client, double due, struct sockaddr_in *peer)
{
    static unsigned char buffer[ROOM];
    socklen_t length = sizeof *peer;
    ssize_t n;
    while (count < HELD
           && (n = recvfrom(from, buffer, sizeof buffer, MSG_DONTWAIT, (struct sockaddr *)peer, &length)) >= 0) {
        struct held *h = &ring[(first + count++) % HELD];
        free(h->octets);
        *h = (struct held){due, to_client, n, malloc(n + 1)};
        memcpy(h->octets, buffer, n);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        fail("usage: delay SERVER-PORT MICROSECONDS");
    double wait = atof(argv[2]) / 1e6;
    int front = datagrams(), back = datagrams();
    struct sockaddr_in client = {0}, server = loopback(atoi(argv[1])), answering = server, own;
    socklen_t length = sizeof own;
    getsockname(front, (struct sockaddr *)&own, &length);
    printf("%d\n", ntohs(own.sin_port));
    fflush(stdout);
    for (;;) {
        struct pollfd p[] = {{front, POLLIN, 0}, {back, POLLIN, 0}, {0, POLLIN, 0}};
        double left = count ? ring[first].due - now() : 1;
        struct timespec t = {left > 0 ? (time_t)left : 0, left > 0 ? (long)((left - (time_t)left) * 1e9) : 0};
        if (ppoll(p, 3, &t, 0) < 0)
            die("ppoll");
        if (p[2].revents)
            return 0;
        double due = now() + wait;
        if (p[0].revents)
            take(front, 0, due, &client);
        if (p[1].revents)
            take(back, 1, due, &answering);
        for (; count && ring[first].due <= now(); first = (first + 1) % HELD, count--) {
            struct held *h = &ring[first];
            int request = !h->to_client && h->length > 1 && (h->octets[1] == RRQ || h->octets[1] == WRQ);
            if (request) { /* another transfer: another port here too */
                close(back);
                back = datagrams();
                answering = server;
            }
            struct sockaddr_in *to = h->to_client ? &client : &answering;
            sendto(h->to_client ? front : back, h->octets, h->length, 0, (struct sockaddr *)to, sizeof *to);
        }
    }
}
