/* Many clients in one process, each with a port of its own, as boot ROMs are: what storm.c and flood.c share. A client
 * acknowledges what comes in order, says once where a window has a gap (RFC 7440), and repeats its last packet after a
 * second of silence. Every file is compared as it comes. */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "tftp.h"

#define AGAIN 1.0 /* seconds of silence */

enum state { WAITS, WHOLE, FAILED };

struct client {
    int s;
    enum state state;
    unsigned answered, block, window, in_window, gap, silences;
    struct sockaddr_in peer;
    uint64_t last, stray; /* blocks, not wrapped: the last in order, the last of those that were not */
    size_t octets;
    double began, heard, ended;
};

static const unsigned char *original;
static size_t size, asked_size;
static unsigned char asked[512];
static unsigned long repeated;
static int polled;

/* The file, the request for it, and as many descriptors as may be had. */
static inline void prepare(const char *name, const char *file, unsigned block, unsigned window)
{
    struct rlimit most;
    struct stat st;
    int fd = open(file, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) < 0)
        die(file);
    size = st.st_size;
    original = mmap(0, size + 1, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (original == MAP_FAILED)
        die("mmap");
    asked_size = request(asked, RRQ, name, block, window);
    getrlimit(RLIMIT_NOFILE, &most);
    most.rlim_cur = most.rlim_max;
    setrlimit(RLIMIT_NOFILE, &most);
    if ((polled = epoll_create1(0)) < 0)
        die("epoll");
}

static inline void out(struct client *c, const void *p, size_t n)
{
    /* One that is refused, or has no room, is lost like others. */
    sendto(c->s, p, n, MSG_DONTWAIT, (struct sockaddr *)&c->peer, sizeof c->peer);
}

static inline void begin(struct client *c, int port)
{
    if (c->s)
        close(c->s);
    *c = (struct client){.s = datagrams(), .peer = loopback(port), .block = 512, .window = 1};
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(polled, EPOLL_CTL_ADD, c->s, &e) < 0)
        die("epoll_ctl");
    c->began = c->heard = now();
    out(c, asked, asked_size);
}

static inline void ack(struct client *c)
{
    unsigned char p[4];
    put16(p, ACK);
    put16(p + 2, c->last & 0xffff);
    c->in_window = 0;
    out(c, p, 4);
}

static inline void data(struct client *c, const unsigned char *p, size_t n)
{
    int ahead = (int16_t)(get16(p + 2) - (uint16_t)c->last);
    uint64_t number = c->last + ahead;
    if (c->state != WAITS) {
        ack(c); /* the last ACK was lost */
    } else if (ahead != 1) {
        /* A gap is reported once for each time that a window comes. */
        if (!c->gap || number <= c->stray)
            ack(c);
        c->gap = 1;
        c->stray = number;
    } else {
        n -= 4;
        if (n > c->block || c->octets + n > size || memcmp(original + c->octets, p + 4, n) != 0)
            fail("what came is not the file");
        c->octets += n;
        c->last = number;
        c->gap = 0;
        if (n < c->block) {
            if (c->octets != size)
                fail("the end came too early");
            c->state = WHOLE;
            c->ended = now();
        }
        if (++c->in_window == c->window || c->state == WHOLE)
            ack(c);
    }
}

/* Everything that has come for this client. */
static inline void receive(struct client *c)
{
    static unsigned char p[65536];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t n;
    while ((n = recvfrom(c->s, p, sizeof p, MSG_DONTWAIT, (struct sockaddr *)&from, &length)) >= 0) {
        if (n < 4 || (c->answered && from.sin_port != c->peer.sin_port))
            continue;
        c->peer = from;
        c->answered = 1;
        c->heard = now();
        c->silences = 0;
        if (get16(p) == DATA) {
            data(c, p, n);
        } else if (get16(p) == OACK && c->last == 0) {
            read_oack(p, n, &c->block, &c->window);
            ack(c);
        } else if (get16(p) == ERROR && c->state == WAITS) {
            c->state = FAILED;
        }
    }
}

/* Repeats what was sent last after a second of silence, as often as that. */
static inline void look(struct client *c, double time, unsigned tries)
{
    if (c->state != WAITS || time < c->heard + AGAIN)
        return;
    if (++c->silences > tries) {
        c->state = FAILED;
        return;
    }
    c->heard = time;
    c->gap = 0;
    repeated++;
    if (c->answered)
        ack(c);
    else
        out(c, asked, asked_size);
}

/* Handles what comes within this number of milliseconds. */
static inline void serve(int wait)
{
    struct epoll_event events[256];
    int ready = epoll_wait(polled, events, 256, wait);
    for (int i = 0; i < ready; i++)
        receive(events[i].data.ptr);
}
