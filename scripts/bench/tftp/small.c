/* Fetches one small file again and again and tells how often.
 *
 *   small PORT NAME FILE BLKSIZE CLIENTS SECONDS
 *
 * CLIENTS transfers at a time, each from a port of its own, all in this process. Every file is
 * compared. Prints: files, seconds, packets that had to be repeated. */
#include <fcntl.h>

#include "tftp.h"

enum { MOST = 64, ROOM = 65536 };

static struct client {
    int s, answered;
    struct sockaddr_in peer;
    unsigned last, block;
    size_t octets;
    double heard;
} clients[MOST];

static unsigned char original[ROOM], asked[512];
static size_t size, asked_size;
static int port;
static unsigned long files, repeated;

static void out(struct client *c, const void *p, size_t n)
{
    if (sendto(c->s, p, n, 0, (struct sockaddr *)&c->peer, sizeof c->peer) < 0)
        die("send");
}

static void begin(struct client *c)
{
    if (c->s)
        close(c->s);
    *c = (struct client){.s = datagrams(), .peer = loopback(port), .block = 512, .heard = now()};
    out(c, asked, asked_size);
}

static void ack(struct client *c)
{
    unsigned char p[4];
    put16(p, ACK);
    put16(p + 2, c->last);
    out(c, p, 4);
}

static void receive(struct client *c, unsigned block)
{
    static unsigned char p[ROOM];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t n = recvfrom(c->s, p, sizeof p, 0, (struct sockaddr *)&from, &length);
    if (n < 4)
        die("recv");
    c->heard = now();
    if (!c->answered) {
        c->peer = from;
        c->answered = 1;
    }
    if (get16(p) == ERROR)
        fail((const char *)p + 4);
    if (get16(p) == OACK) {
        c->block = block;
        ack(c);
    } else if (get16(p) == DATA && get16(p + 2) == c->last + 1) {
        n -= 4;
        if (c->octets + n > size || memcmp(original + c->octets, p + 4, n) != 0)
            fail("what came is not the file");
        c->octets += n;
        c->last++;
        ack(c);
        if ((size_t)n < c->block) {
            if (c->octets != size)
                fail("the end came too early");
            files++;
            begin(c);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 7)
        fail("usage: small PORT NAME FILE BLKSIZE CLIENTS SECONDS");
    int fd = open(argv[3], O_RDONLY), many = atoi(argv[5]);
    ssize_t n = fd < 0 ? -1 : read(fd, original, sizeof original);
    if (n < 0 || many < 1 || many > MOST)
        die(argv[3]);
    size = n;
    port = atoi(argv[1]);
    unsigned block = atoi(argv[4]);
    asked_size = request(asked, RRQ, argv[2], block, 1);
    struct pollfd p[MOST];
    double start = now(), end = start + atof(argv[6]), looked = start;
    for (int i = 0; i < many; i++)
        begin(&clients[i]);
    while (now() < end) {
        for (int i = 0; i < many; i++)
            p[i] = (struct pollfd){clients[i].s, POLLIN, 0};
        if (poll(p, many, 100) < 0)
            die("poll");
        for (int i = 0; i < many; i++)
            if (p[i].revents)
                receive(&clients[i], block);
        if (now() < looked + 0.2)
            continue;
        looked = now();
        for (int i = 0; i < many; i++)
            if (looked > clients[i].heard + 0.5) {
                clients[i].heard = looked;
                repeated++;
                if (clients[i].answered)
                    ack(&clients[i]);
                else
                    out(&clients[i], asked, asked_size);
            }
    }
    printf("%lu %.6f %lu\n", files, now() - start, repeated);
    return 0;
}
