/* POP3 sessions: connect, USER, PASS, STAT, QUIT, each after the reply to the one before, then the end of file.

   usage: logins PORT CLIENTS SECONDS [tls]

   CLIENTS have sessions at the same time, each one after the other as long as there is time; client N is "userN"
   with the password "tanstaaf", so that none waits for the lock of another's mailbox. Prints how many sessions
   there were in a second. A reply that is not +OK, or none for 20 s, ends the run with status 1. Addresses are
   taken in turn from 127.1.9.1-250, so that ports do not run out. With `tls` every session begins with a full
   handshake; the certificate is not looked at, and no session is taken up again. */
#include "pop3.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif
#define MOST_CLIENTS 256
#define SILENCE 20000 /* ms without any reply: something hangs */
#define STATES 5      /* replies: greeting, USER, PASS, STAT, QUIT */

struct client {
    int fd, number, replies;
    SSL *tls; /* none in the clear */
    size_t length;
    char line[512];
};

static struct client table[MOST_CLIENTS];
static SSL_CTX *context; /* none in the clear */
static unsigned opened;
static int epfd;

/* Speaks TLS on a connection from now on; its first octets are sent. */
static void begin_tls(struct client *client)
{
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
    client->tls = SSL_new(context);
    if (client->tls == NULL || !SSL_set_fd(client->tls, client->fd))
        fail("no TLS on", "a connection");
    SSL_set_connect_state(client->tls);
    ERR_clear_error(); /* another client's */
    int done = SSL_do_handshake(client->tls); /* a quick server's answer may be there already */
    if (done <= 0 && SSL_get_error(client->tls, done) != SSL_ERROR_WANT_READ)
        fail("the handshake", "does not begin");
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
    if (context != NULL)
        begin_tls(client);
    if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("logins: epoll_ctl");
}

/* What follows a reply; the session ends after the last of them. */
static void go_on(struct client *client)
{
    char command[64];
    int length = 0;

    switch (client->replies) {
    case 1: length = snprintf(command, sizeof command, "USER user%d\r\n", client->number); break;
    case 2: length = snprintf(command, sizeof command, "PASS " PASSWORD "\r\n"); break;
    case 3: length = snprintf(command, sizeof command, "STAT\r\n"); break;
    case 4: length = snprintf(command, sizeof command, "QUIT\r\n"); break;
    default: return;
    }
    if (client->tls != NULL ? SSL_write(client->tls, command, length) != length
                            : !writen(client->fd, command, (size_t) length))
        die("logins: write");
}

/* Reads as read(2) does; -1 and EAGAIN where TLS has nothing for us yet. */
static ssize_t receive(struct client *client, char *octets, size_t most)
{
    if (client->tls == NULL)
        return read(client->fd, octets, most);
    ERR_clear_error();
    int n = SSL_read(client->tls, octets, (int) most);
    if (n > 0)
        return n;
    errno = EAGAIN;
    return SSL_get_error(client->tls, n) == SSL_ERROR_WANT_READ ? -1 : 0;
}

/* Reads once, and sends what follows a whole reply; returns 1 at the end of the session, -1 when nothing is there. */
static int reads(struct client *client)
{
    ssize_t n = receive(client, client->line + client->length, sizeof client->line - 1 - client->length);
    int on = 1;

    if (n < 0 && errno == EAGAIN)
        return -1;
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
    go_on(client);
    return 0;
}

/* Takes what is there: of TLS all of it, because epoll does not see what OpenSSL keeps. */
static int has_ended(struct client *client)
{
    int how;

    do
        how = reads(client);
    while (how == 0 && client->tls != NULL);
    return how == 1;
}

/* The end of a session that the server has closed. */
static void end(struct client *client)
{
    SSL_free(client->tls);
    client->tls = NULL;
    close(client->fd);
}

static void prepare_tls(void)
{
    context = SSL_CTX_new(TLS_client_method());
    if (context == NULL)
        fail("no", "TLS");
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
}

int main(int argc, char **argv)
{
    struct epoll_event events[MOST_CLIENTS];
    unsigned long sessions = 0;

    if (argc != 4 && argc != 5)
        fail("usage: logins PORT", "CLIENTS SECONDS [tls]");
    if (argc == 5)
        prepare_tls();
    int clients = atoi(argv[2]);
    if (clients < 1 || clients > MOST_CLIENTS)
        fail("CLIENTS is from 1 to 256, not", argv[2]);
    server_at(argv[1]);
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
            end(client);
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
