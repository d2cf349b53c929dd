/* Letters by SMTP, each command after the reply to the one before.

   usage: letters PORT CLIENTS SECONDS OCTETS RECIPIENTS new|kept [tls]

   CLIENTS send at the same time, each one letter after the other as long as there is time, and one at least. A letter
   has about OCTETS octets and RECIPIENTS recipients: client N writes to "userN@red.test", or to the first RECIPIENTS
   users. `new`: a session for each letter; `kept`: one session for all of a client's. Prints how many letters were
   accepted, and seconds. A reply that is not 2xx or 354, or none for 60 s, ends the run with status 1. Addresses are
   taken in turn from 127.1.9.1-250, so that ports do not run out. With `tls` a session begins with a full handshake;
   the certificate is not looked at, and no session is taken up again. */
#include "../tcp.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <time.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif
#define MOST_CLIENTS 256
#define SILENCE 60000 /* ms without any reply: something hangs */

enum step { GREETING, HELLO, MAIL, RCPT, DATA, TEXT, BYE };

struct client {
    int fd, number, recipients;
    enum step step; /* what the next reply answers */
    SSL *tls;       /* none in the clear */
    size_t length;
    char reply[4096];
};

static struct client table[MOST_CLIENTS];
static struct sockaddr_in server = {.sin_family = AF_INET};
static SSL_CTX *context; /* none in the clear */
static unsigned opened;
static int epfd, recipients, is_kept;
static char *text;
static size_t text_length;
static unsigned long accepted;
static double until;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

_Noreturn static void fail(const char *why, const char *what)
{
    fprintf(stderr, "letters: %s %s\n", why, what);
    exit(1);
}

/* A letter as it travels, with the dot that ends it. */
static void compose(size_t octets)
{
    static const char head[] = "From: Charles Hedrick <hedrick@topaz.test>\r\nTo: Levy <levy@red.test>\r\n"
        "Date: Thu, 02 Nov 1995 09:05:07 -0500\r\nMessage-ID: <1.bench@topaz.test>\r\nSubject: meeting\r\n\r\n";
    static const char line[] = "Let's get together Monday at 1pm, or at another time that is as good for all.\r\n";

    text = malloc(octets + sizeof head + sizeof line + 3);
    if (text == NULL)
        die("letters: malloc");
    text_length = sizeof head - 1;
    memcpy(text, head, text_length);
    while (text_length < octets) {
        memcpy(text + text_length, line, sizeof line - 1);
        text_length += sizeof line - 1;
    }
    memcpy(text + text_length, ".\r\n", 3);
    text_length += 3;
}

/* Speaks TLS on a connection from now on. */
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
        die("letters: socket");
    own.sin_addr.s_addr = htonl(0x7f010901u + opened++ % 250);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *) &own, sizeof own) < 0)
        die("letters: bind");
    if (connect(fd, (struct sockaddr *) &server, sizeof server) < 0)
        die("letters: connect");
    client->fd = fd;
    client->step = GREETING;
    client->length = 0;
    if (context != NULL)
        begin_tls(client);
    if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("letters: epoll_ctl");
}

static void say(struct client *client, const char *octets, size_t length)
{
    while (client->tls != NULL && length > 0) {
        ERR_clear_error();
        int n = SSL_write(client->tls, octets, (int) length);
        if (n > 0)
            return;
        struct pollfd ready = {.fd = client->fd, .events = POLLOUT};
        if (SSL_get_error(client->tls, n) != SSL_ERROR_WANT_WRITE || poll(&ready, 1, SILENCE) != 1)
            fail("TLS does not", "write");
    }
    if (!writen(client->fd, octets, length))
        die("letters: write");
}

static void recipient(struct client *client)
{
    char line[64];
    int number = recipients == 1 ? client->number : client->recipients;

    client->recipients++;
    say(client, line, (size_t) snprintf(line, sizeof line, "RCPT TO:<user%d@red.test>\r\n", number));
    client->step = RCPT;
}

static void next(struct client *client, const char *line, enum step step)
{
    say(client, line, strlen(line));
    client->step = step;
}

static void mail(struct client *client)
{
    client->recipients = 0;
    next(client, "MAIL FROM:<hedrick@topaz.test>\r\n", MAIL);
}

/* What follows a good reply. */
static void go_on(struct client *client)
{
    switch (client->step) {
    case GREETING: next(client, "EHLO topaz.test\r\n", HELLO); break;
    case HELLO: mail(client); break;
    case MAIL: recipient(client); break;
    case RCPT:
        if (client->recipients < recipients)
            recipient(client);
        else
            next(client, "DATA\r\n", DATA);
        break;
    case DATA:
        say(client, text, text_length);
        client->step = TEXT;
        break;
    case TEXT:
        accepted++;
        if (is_kept && now() < until)
            mail(client);
        else
            next(client, "QUIT\r\n", BYE);
        break;
    case BYE: break;
    }
}

/* Whether a reply is there to its last line, `NNN text`. */
static int is_whole(const struct client *client)
{
    if (client->length < 4 || client->reply[client->length - 1] != '\n')
        return 0;
    size_t start = client->length - 1;
    while (start > 0 && client->reply[start - 1] != '\n')
        start--;
    return client->reply[start + 3] == ' ';
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
    ssize_t n = receive(client, client->reply + client->length, sizeof client->reply - 1 - client->length);

    if (n < 0 && errno == EAGAIN)
        return -1;
    if (n < 0)
        die("letters: read");
    if (n == 0) {
        if (client->step != BYE)
            fail("the server closed the connection after", client->reply);
        return 1;
    }
    client->length += (size_t) n;
    client->reply[client->length] = 0;
    if (!is_whole(client))
        return 0;
    if (client->reply[0] != '2' && strncmp(client->reply, "354", 3) != 0)
        fail("a reply is", client->reply);
    client->length = 0;
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

    if (argc != 7 && argc != 8)
        fail("usage: letters PORT", "CLIENTS SECONDS OCTETS RECIPIENTS new|kept [tls]");
    if (argc == 8)
        prepare_tls();
    int clients = atoi(argv[2]);
    if (clients < 1 || clients > MOST_CLIENTS)
        fail("CLIENTS is from 1 to 256, not", argv[2]);
    compose((size_t) atol(argv[4]));
    recipients = atoi(argv[5]);
    is_kept = strcmp(argv[6], "kept") == 0;
    inet_pton(AF_INET, "127.0.0.1", &server.sin_addr);
    server.sin_port = htons((uint16_t) atoi(argv[1]));
    epfd = epoll_create1(EPOLL_CLOEXEC);

    double start = now();
    until = start + atof(argv[3]);
    for (int n = 0; n < clients; n++) {
        table[n].number = n;
        begin(&table[n]);
    }
    for (int running = clients; running > 0;) {
        int n = epoll_wait(epfd, events, MOST_CLIENTS, SILENCE);
        if (n < 0 && errno != EINTR)
            die("letters: epoll_wait");
        if (n == 0)
            fail("no reply for 60 s", "");
        for (int i = 0; i < n; i++) {
            struct client *client = events[i].data.ptr;
            if (!has_ended(client))
                continue;
            SSL_free(client->tls);
            client->tls = NULL;
            close(client->fd);
            if (now() < until)
                begin(client);
            else
                running--;
        }
    }
    printf("%lu %.6f\n", accepted, now() - start);
    return 0;
}
