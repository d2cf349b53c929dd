/* POP3 sessions: connect, USER, PASS, STAT, QUIT, each after the reply to the one before, then the end of file.

   usage: logins PORT CLIENTS SECONDS        as many sessions as there is time for
          logins PORT hold SESSIONS          logged in and held; then QUIT on each

   CLIENTS have sessions at the same time; client N is "userN" with the password "tanstaaf", so that none waits
   for the lock of another's mailbox. Prints "SESSIONS SECONDS". hold prints "held" once all are logged in, and
   "quit" after it has read a line on standard input and every session has ended. A reply that is not +OK ends
   the run with status 1. Addresses are taken in turn from 127.1.9.1-250, so that ports do not run out. */
#include "../tcp.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <time.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif
#define MOST_CLIENTS 1024
#define SILENCE 20000 /* ms without any reply: something hangs */
#define STATES 5      /* replies: greeting, USER, PASS, STAT, QUIT */

struct client {
    int fd, number, replies;
    size_t length;
    char line[512];
};

static struct client table[MOST_CLIENTS];
static struct sockaddr_in server = {.sin_family = AF_INET};
static unsigned opened;
static int epfd;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

_Noreturn static void fail(const char *why, const char *what)
{
    fprintf(stderr, "logins: %s %s\n", why, what);
    exit(1);
}

static void begin(struct client *client)
{
    struct sockaddr_in own = {.sin_family = AF_INET};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("logins: socket");
    own.sin_addr.s_addr = htonl(0x7f010901u + opened++ % 250);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *) &own, sizeof own) < 0)
        die("logins: bind");
    if (connect(fd, (struct sockaddr *) &server, sizeof server) < 0)
        die("logins: connect");
    client->fd = fd;
    client->replies = 0;
    client->length = 0;
    if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("logins: epoll_ctl");
}

/* What follows a reply; the session ends after the last of them. */
static void say(struct client *client)
{
    char command[64];
    int length = 0;

    switch (client->replies) {
    case 1: length = snprintf(command, sizeof command, "USER user%d\r\n", client->number); break;
    case 2: length = snprintf(command, sizeof command, "PASS tanstaaf\r\n"); break;
    case 3: length = snprintf(command, sizeof command, "STAT\r\n"); break;
    case 4: length = snprintf(command, sizeof command, "QUIT\r\n"); break;
    default: return;
    }
    if (!writen(client->fd, command, (size_t) length))
        die("logins: write");
}

/* Reads what is there; returns 1 at the end of the session. */
static int answered(struct client *client)
{
    ssize_t n = read(client->fd, client->line + client->length, sizeof client->line - 1 - client->length);

    if (n < 0)
        die("logins: read");
    if (n == 0) {
        if (client->replies != STATES)
            fail("the server closed the connection after", client->line);
        return 1;
    }
    client->length += (size_t) n;
    client->line[client->length] = 0;
    if (client->line[client->length - 1] != '\n')
        return 0;
    if (strncmp(client->line, "+OK", 3) != 0)
        fail("a reply is", client->line);
    client->length = 0;
    client->replies++;
    return 0;
}

/* Waits for replies, and gives them to `next`, until `done` says so. */
static void serve(void (*next)(struct client *, int ended), int (*done)(void))
{
    struct epoll_event events[MOST_CLIENTS];

    while (!done()) {
        int n = epoll_wait(epfd, events, MOST_CLIENTS, SILENCE);
        if (n < 0 && errno != EINTR)
            die("logins: epoll_wait");
        if (n == 0)
            fail("no reply for 20 s", "");
        for (int i = 0; i < n; i++) {
            struct client *client = events[i].data.ptr;
            int before = client->replies, ended = answered(client);
            if (ended)
                close(client->fd);
            if (ended || client->replies > before)
                next(client, ended);
        }
    }
}

static unsigned long begun, ended_count;
static unsigned long held, sessions;
static double until;

static void next_session(struct client *client, int ended)
{
    if (!ended) {
        say(client);
        return;
    }
    ended_count++;
    if (now() < until) {
        begun++;
        begin(client);
    }
}

static int all_ended(void)
{
    return ended_count == begun;
}

static void next_held(struct client *client, int ended)
{
    if (ended)
        fail("a held session ended", "");
    if (client->replies < 4)
        say(client);
    else
        held++;
}

static int all_held(void)
{
    return held == sessions;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        fail("usage: logins PORT", "CLIENTS SECONDS | hold SESSIONS");
    inet_pton(AF_INET, "127.0.0.1", &server.sin_addr);
    server.sin_port = htons((uint16_t) atoi(argv[1]));
    epfd = epoll_create1(EPOLL_CLOEXEC);
    int hold = strcmp(argv[2], "hold") == 0;
    int clients = atoi(hold ? argv[3] : argv[2]);
    if (clients < 1 || clients > MOST_CLIENTS)
        fail("CLIENTS or SESSIONS is from 1 to 1024, not", argv[3]);
    double start = now();
    until = hold ? start : start + atof(argv[3]);
    for (int n = 0; n < clients; n++) {
        table[n].number = n;
        begin(&table[n]);
        begun++;
    }
    if (!hold) {
        serve(next_session, all_ended);
        printf("%lu %.4f\n", ended_count, now() - start);
        return 0;
    }
    sessions = (unsigned long) clients;
    serve(next_held, all_held);
    printf("held\n");
    fflush(stdout);
    if (getchar() == EOF)
        return 1;
    for (int n = 0; n < clients; n++)
        say(&table[n]);
    serve(next_session, all_ended);
    printf("quit\n");
    return 0;
}
