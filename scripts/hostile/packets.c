/* Hostile packets for a TFTP server: to its port, and to those that its transfers answer from.
 *
 *   packets PORT FILE COUNT SEED
 *
 * Requests with bits turned over, cut short, drawn out and with the strangest options; packets of every kind and of none,
 * true block numbers and false ones. After each 500 a client that behaves fetches FILE (`clean` below the root), so that
 * the server keeps up; it must get every byte. Prints: packets sent, answers, the clean client's files. */
#include <fcntl.h>

#include "../bench/tftp/tftp.h"

enum { SOCKETS = 48, BETWEEN = 500, LONGEST = 3000, ROOM = 65536, TRIES = 60 };

static struct {
    int s;
    struct sockaddr_in peer; /* who answered last */
    int answered;
    unsigned last; /* the block or acknowledgement that came last */
} all[SOCKETS];

static uint64_t state;
static unsigned char original[ROOM], p[ROOM];
static size_t size;
static int port;
static unsigned long sent, answers, files;

static unsigned any(unsigned below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % below;
}

static size_t put(size_t n, const char *text)
{
    size_t length = strlen(text) + 1;
    memcpy(p + n, text, length);
    return n + length;
}

/* A request as clients make them, more or less. */
static size_t plain_request(void)
{
    static const char *const names[] = {"clean", "none", "up", "../clean", "/clean", "a/b/c", "", ".", "up2", "%s%n", "\xff\xfe",
                                        "clean\n", "sub/../clean", "..", "sub"};
    static const char *const modes[] = {"octet", "netascii", "OCTET", "mail", "", "octets"};
    static const char *const options[] = {"blksize", "tsize", "timeout", "windowsize", "utimeout", "rollover", "blksize2",
                                          "BLKSIZE", "none", "", "multicast"};
    static const char *const values[] = {"0", "1", "8", "512", "1468", "65464", "65535", "65536", "99999999999999999999", "-1", "",
                                         "x", " 5", "+5", "255"};
    size_t n = 2;
    put16(p, any(3) ? RRQ : WRQ);
    n = put(n, names[any(sizeof names / sizeof *names)]);
    n = put(n, modes[any(4) ? 0 : any(sizeof modes / sizeof *modes)]);
    for (unsigned many = any(3) ? any(3) : any(40); many > 0; many--) {
        n = put(n, options[any(sizeof options / sizeof *options)]);
        n = put(n, values[any(sizeof values / sizeof *values)]);
    }
    return n;
}

static size_t noise(size_t from, size_t n)
{
    for (; from < n; from++)
        p[from] = any(256);
    return n;
}

/* Something that may come to the service's port. */
static size_t to_service(void)
{
    size_t n;
    switch (any(8)) {
    case 0: /* bytes */
        return noise(0, any(any(4) ? 40 : LONGEST));
    case 1: /* another kind */
        put16(p, any(9));
        return noise(2, 2 + any(40));
    case 2: /* a name as long as it gets */
        put16(p, RRQ);
        n = 2 + any(LONGEST);
        memset(p + 2, 'x', n - 2);
        return any(2) ? n : put(put(n, ""), "octet");
    case 3: /* cut short */
        return any(plain_request() + 1);
    case 4: /* padding and garbage behind it */
        n = plain_request();
        return noise(n, n + any(200));
    case 5: /* bits turned over */
    case 6:
        n = plain_request();
        for (unsigned many = 1 + any(6); many > 0; many--)
            p[any(n)] ^= 1 << any(8);
        return n;
    default:
        return plain_request();
    }
}

/* Something that may come to a transfer. */
static size_t to_transfer(unsigned last)
{
    unsigned block = any(2) ? last + any(3) - 1 : any(65536);
    switch (any(8)) {
    case 0:
        return noise(0, any(30));
    case 1: /* an ERROR, with or without an end */
        put16(p, ERROR);
        put16(p + 2, any(10));
        return noise(4, 4 + any(60));
    case 2: /* an OACK without a request for it */
        put16(p, OACK);
        return put(put(2, "blksize"), "8");
    case 3: /* DATA of any length */
    case 4:
        put16(p, DATA);
        put16(p + 2, block);
        return noise(4, 4 + (any(2) ? 512 : any(LONGEST)));
    case 5: /* cut short */
        put16(p, ACK);
        return any(4);
    default:
        put16(p, ACK);
        put16(p + 2, block);
        return 4 + (any(4) ? 0 : any(10));
    }
}

static void fresh(int i)
{
    if (all[i].s)
        close(all[i].s);
    memset(&all[i], 0, sizeof all[i]);
    all[i].s = datagrams();
}

static void hostile(void)
{
    int i = any(SOCKETS);
    if (!all[i].s || any(20) == 0)
        fresh(i);
    static unsigned char came[ROOM];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t n;
    while ((n = recvfrom(all[i].s, came, sizeof came, MSG_DONTWAIT, (struct sockaddr *)&from, &length)) >= 0) {
        answers++;
        all[i].peer = from;
        all[i].answered = n >= 4;
        all[i].last = n >= 4 ? get16(came + 2) : 0;
    }
    int again = all[i].answered && any(3);
    struct sockaddr_in to = again ? all[i].peer : loopback(port);
    size_t octets = again ? to_transfer(all[i].last) : to_service();
    sendto(all[i].s, p, octets, 0, (struct sockaddr *)&to, sizeof to);
    sent++;
}

/* The client that behaves, at an address of its own: it may get a port for which a hostile transfer goes on still. */
static void clean(void)
{
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1)};
    if (s < 0 || bind(s, (struct sockaddr *)&own, sizeof own) < 0)
        die("socket");
    struct sockaddr_in peer = loopback(port), from;
    unsigned char asked[64], ack[4];
    size_t octets = 0, n = request(asked, RRQ, "clean", 512, 1);
    unsigned last = 0, tries = 0, answered = 0;
    sendto(s, asked, n, 0, (struct sockaddr *)&peer, sizeof peer);
    for (;;) {
        struct pollfd ready = {s, POLLIN, 0};
        put16(ack, ACK);
        if (poll(&ready, 1, 1000) == 0) {
            if (++tries == TRIES)
                fail("the server is silent");
            if (answered) {
                put16(ack + 2, last);
                sendto(s, ack, 4, 0, (struct sockaddr *)&peer, sizeof peer);
            } else
                sendto(s, asked, n, 0, (struct sockaddr *)&peer, sizeof peer);
            continue;
        }
        socklen_t length = sizeof from;
        ssize_t got = recvfrom(s, p, sizeof p, 0, (struct sockaddr *)&from, &length);
        if (got < 4)
            continue;
        if (get16(p) == ERROR)
            fail((const char *)p + 4);
        if (get16(p) != DATA || get16(p + 2) != last + 1)
            continue;
        answered = 1;
        peer = from;
        if (octets + got - 4 > size || memcmp(original + octets, p + 4, got - 4) != 0)
            fail("what came is not the file");
        octets += got - 4;
        put16(ack + 2, ++last);
        sendto(s, ack, 4, 0, (struct sockaddr *)&peer, sizeof peer);
        if (got < 516)
            break;
    }
    if (octets != size)
        fail("the end came too early");
    close(s);
    files++;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        fail("usage: packets PORT FILE COUNT SEED");
    int fd = open(argv[2], O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, original, sizeof original);
    if (n < 0)
        die(argv[2]);
    size = n;
    port = atoi(argv[1]);
    unsigned long count = atol(argv[3]);
    state = atol(argv[4]) * 0x9e3779b97f4a7c15 + 1;
    while (sent < count) {
        hostile();
        if (sent % BETWEEN == 0)
            clean();
    }
    clean();
    printf("%lu %lu %lu\n", sent, answers, files);
    return 0;
}
