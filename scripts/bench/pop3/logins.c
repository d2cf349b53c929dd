/* POP3 sessions: connect, USER, PASS, STAT, QUIT, each after the reply to the one before, then the end of file.

   usage: logins PORT CLIENTS SECONDS

   CLIENTS have sessions at the same time, each one after the other as long as there is time; client N is "userN"
   with the password "tanstaaf", so that none waits for the lock of another's mailbox. Prints how many sessions
   there were in a second. A reply that is not +OK, or none for 20 s, ends the run with status 1. Addresses are
   taken in turn from 127.1.9.1-250, so that ports do not run out. */
#include "../tcp.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <time.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif
#define MOST_CLIENTS 256
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

/* Reads what is there, and sends what follows a whole reply; returns 1 at the end of the session. */
static int has_ended(struct client *client)
{
    ssize_t n = read(client->fd, client->line + client->length, sizeof client->line - 1 - client->length);
    int on = 1;

    /* A server that writes a reply in two parts would wait 40 ms for the delayed ACK; the kernel forgets this. */
    setsockopt(client->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
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
    say(client);
    return 0;
}

int main(int argc, char **argv)
{
    struct epoll_event events[MOST_CLIENTS];
    unsigned long sessions = 0;

    if (argc != 4)
        fail("usage: logins PORT", "CLIENTS SECONDS");
    int clients = atoi(argv[2]);
    if (clients < 1 || clients > MOST_CLIENTS)
        fail("CLIENTS is from 1 to 256, not", argv[2]);
    inet_pton(AF_INET, "127.0.0.1", &server.sin_addr);
    server.sin_port = htons((uint16_t) atoi(argv[1]));
    epfd = epoll_create1(EPOLL_CLOEXEC);

    double start = now(), until = start + atof(argv[3]);
    for (int n = 0; n < clients; n++) {
        table[n].number = n;
        begin(&table[n]);
    }
    for (int running = clients; running > 0;) {
        int n = epoll_wait(epfd, events, MOST_CLIENTS, SILENCE);
        if (n < 0 && errno != EINTR)
            die("logins: epoll_wait");
        if (n == 0)
            fail("no reply for 20 s", "");
        for (int i = 0; i < n; i++) {
            struct client *client = events[i].data.ptr;
            if (!has_ended(client))
                continue;
            close(client->fd);
            sessions++;
            if (now() < until)
                begin(client);
            else
                running--;
        }
    }
    printf("%.1f\n", (double) sessions / (now() - start));
    return 0;
}
