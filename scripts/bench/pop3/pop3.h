/* What the POP3 clients here share: time, a connection, a line said and its reply. */
#ifndef POP3_H
#define POP3_H

#include "../tcp.h"

#include <netinet/tcp.h>
#include <time.h>

#define PASSWORD "tanstaaf"
#define LINE 512 /* octets of a reply's first line, RFC 1939 section 3 */

static struct sockaddr_in server = {.sin_family = AF_INET};

static inline double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

_Noreturn static inline void fail(const char *why, const char *what)
{
    fprintf(stderr, "pop3: %s %s\n", why, what);
    exit(1);
}

/* The server's address from the command line. */
static inline void server_at(const char *port)
{
    inet_pton(AF_INET, "127.0.0.1", &server.sin_addr);
    server.sin_port = htons((uint16_t) atoi(port));
}

/* A connected socket. */
static inline int connected(void)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *) &server, sizeof server) < 0)
        die("pop3: connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static inline void say(int fd, const char *line)
{
    if (!writen(fd, line, strlen(line)))
        die("pop3: write");
}

/* Whether every read asks for an ACK at once: a server that writes a reply in two parts would wait 40 ms for the
   delayed one. */
static int quickack;

static inline void acknowledge(int fd)
{
    int on = 1;

    if (quickack) /* the kernel forgets it */
        setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

/* Reads one line, octet for octet, so that nothing behind it is taken; it must be +OK. */
static inline void ok(int fd, char *line)
{
    size_t length = 0;

    while (length < LINE - 1 && (length == 0 || line[length - 1] != '\n')) {
        if (read(fd, line + length, 1) != 1)
            fail("the connection ended", "");
        length++;
        acknowledge(fd);
    }
    line[length] = 0;
    if (strncmp(line, "+OK", 3) != 0)
        fail("a reply is", line);
}

/* Greeting and USER; `enter` sends PASS. */
static inline int greeted(const char *user)
{
    char line[LINE];
    int fd = connected();

    ok(fd, line);
    snprintf(line, sizeof line, "USER %s\r\n", user);
    say(fd, line);
    ok(fd, line);
    return fd;
}

static inline void enter(int fd)
{
    char line[LINE];

    say(fd, "PASS " PASSWORD "\r\n");
    ok(fd, line);
}

/* QUIT, up to the end of the file: the maildrop is free then. */
static inline void leave(int fd)
{
    char line[LINE];

    say(fd, "QUIT\r\n");
    ok(fd, line);
    if (read(fd, line, 1) != 0)
        fail("something comes behind the reply to QUIT", "");
    close(fd);
}

#endif
