/* What the clients here share: packets of RFC 1350, a socket, a clock. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { RRQ = 1, WRQ, DATA, ACK, ERROR, OACK };

static inline void die(const char *what)
{
    perror(what);
    exit(1);
}

static inline void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static inline unsigned get16(const unsigned char *p)
{
    return p[0] << 8 | p[1];
}

static inline void put16(unsigned char *p, unsigned value)
{
    p[0] = value >> 8;
    p[1] = value;
}

static inline struct sockaddr_in loopback(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

/* A datagram socket of 127.0.0.1 with room for a window of the largest blocks. */
static inline int datagrams(void)
{
    int s = socket(AF_INET, SOCK_DGRAM, 0), room = 32 << 20;
    struct sockaddr_in a = loopback(0);
    if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof a) < 0)
        die("socket");
    /* Beyond net.core.rmem_max where that is allowed. */
    if (setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) < 0)
        setsockopt(s, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    return s;
}

/* RRQ or WRQ; options are left out where they say what holds without them. */
static inline size_t request(unsigned char *p, int what, const char *file, unsigned block, unsigned window)
{
    size_t n = 2;
    put16(p, what);
    n += sprintf((char *)p + n, "%s", file) + 1;
    n += sprintf((char *)p + n, "octet") + 1;
    if (block != 512) {
        n += sprintf((char *)p + n, "blksize") + 1;
        n += sprintf((char *)p + n, "%u", block) + 1;
    }
    if (window != 1) {
        n += sprintf((char *)p + n, "windowsize") + 1;
        n += sprintf((char *)p + n, "%u", window) + 1;
    }
    return n;
}

/* The block size and the window in an OACK. */
static inline void read_oack(const unsigned char *p, size_t n, unsigned *block, unsigned *window)
{
    const char *name = (const char *)p + 2, *end = (const char *)p + n;
    while (name < end) {
        const char *value = name + strlen(name) + 1;
        if (value >= end)
            break;
        if (strcasecmp(name, "blksize") == 0)
            *block = atoi(value);
        if (strcasecmp(name, "windowsize") == 0)
            *window = atoi(value);
        name = value + strlen(value) + 1;
    }
}
