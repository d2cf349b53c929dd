/* The clients: connect, send, read the same back, close; every octet is compared.

   usage: load PORT rate  CLIENTS SECONDS BYTES [PROCESSES]     as many connections as there is time for
          load PORT count CLIENTS CONNECTIONS BYTES [PROCESSES] CONNECTIONS connections
          load PORT hold  CONNECTIONS                           opened, held, then a line on each

   CLIENTS are served at the same time. rate and count print "CONNECTIONS SECONDS". hold prints "held"
   once all are open, and "echoed" after it has read a line on standard input and had its own line
   back on each connection. Anything that is not as it should be ends the run with status 1.

   A client closes as clients do, with close() alone, and its end of the connection stays in TIME_WAIT.
   So that ports do not run out, each process takes its addresses in turn from 127.1.PROCESS.1-250.
   The connect is a blocking one: on loopback it returns at once as long as the backlog has room. */
#include "tcp.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif
#define MOST_CLIENTS 1024
#define MOST_BYTES 65536
#define SILENCE 20000  /* ms without any answer: something hangs */
#define PROBE_EVERY 256 /* hold: connections that are opened blindly */

struct client {
    int fd;
    unsigned serial; /* what it sends begins here in the pattern */
    size_t read;
};

static struct sockaddr_in server = {.sin_family = AF_INET};
static unsigned process, opened;
static size_t bytes;
static char pattern[MOST_BYTES + 256];

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

_Noreturn static void fail(const char *why)
{
    fprintf(stderr, "load: %s\n", why);
    exit(1);
}

/* A connected socket, from the next of this process's addresses. */
static int connect_next(void)
{
    struct sockaddr_in own = {.sin_family = AF_INET};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("load: socket");
    own.sin_addr.s_addr = htonl(0x7f010001u + (process << 8) + opened++ % 250);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *) &own, sizeof own) < 0)
        die("load: bind");
    if (connect(fd, (struct sockaddr *) &server, sizeof server) < 0)
        die("load: connect");
    return fd;
}

/* What a client says: no two that follow each other say the same. */
static const char *words(const struct client *client)
{
    return pattern + client->serial % 251;
}

static void open_and_send(struct client *client)
{
    client->fd = connect_next();
    client->serial = opened;
    client->read = 0;
    if (!writen(client->fd, words(client), bytes))
        die("load: write");
}

/* Reads what is there; true once everything has come back. */
static int answered(struct client *client)
{
    char answer[MOST_BYTES];
    ssize_t n = read(client->fd, answer, bytes - client->read);

    if (n < 0)
        die("load: read");
    if (n == 0)
        fail("the server closed the connection before everything was echoed");
    if (memcmp(answer, words(client) + client->read, (size_t) n) != 0)
        fail("what came back is not what was sent");
    client->read += (size_t) n;
    return client->read == bytes;
}

/* `clients` at a time until `connections` are done or the time is over; gives how many were. */
static unsigned long run(unsigned clients, unsigned long connections, double until)
{
    static struct client table[MOST_CLIENTS];
    struct epoll_event events[MOST_CLIENTS];
    unsigned long done = 0, begun = 0;
    int epfd = epoll_create1(EPOLL_CLOEXEC);

    while (begun < clients && begun < connections) {
        struct client *client = &table[begun++];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
        open_and_send(client);
        if (epoll_ctl(epfd, EPOLL_CTL_ADD, client->fd, &event) < 0)
            die("load: epoll_ctl");
    }
    while (done < begun) {
        int n = epoll_wait(epfd, events, MOST_CLIENTS, SILENCE);
        if (n < 0 && errno != EINTR)
            die("load: epoll_wait");
        if (n == 0)
            fail("no answer for 20 s");
        for (int i = 0; i < n; i++) {
            struct client *client = events[i].data.ptr;
            if (!answered(client))
                continue;
            close(client->fd);
            done++;
            if (begun < connections && now() < until) {
                struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
                begun++;
                open_and_send(client);
                if (epoll_ctl(epfd, EPOLL_CTL_ADD, client->fd, &event) < 0)
                    die("load: epoll_ctl");
            }
        }
    }
    return done;
}

/* The same with one client: no epoll, only what a simple client calls. */
static unsigned long run_alone(unsigned long connections, double until)
{
    struct client client;
    unsigned long done = 0;

    while (done < connections && (done == 0 || now() < until)) {
        open_and_send(&client);
        while (!answered(&client))
            ;
        close(client.fd);
        done++;
    }
    return done;
}

/* The work shared by processes, so that the clients have all processors when they need them. */
static void measure(unsigned processes, unsigned clients, unsigned long connections, double seconds)
{
    unsigned long total = 0, *done = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double begin = now();
    int status;

    if (done == MAP_FAILED)
        die("load: mmap");
    for (process = 0; process < processes; process++) {
        unsigned mine = clients / processes + (process < clients % processes);
        unsigned long share = connections / processes + (process < connections % processes);
        pid_t pid = fork();
        if (pid < 0)
            die("load: fork");
        if (pid == 0) {
            done[process] = mine == 1 ? run_alone(share, begin + seconds)
                                      : run(mine, share, begin + seconds);
            _exit(0);
        }
    }
    while (wait(&status) > 0)
        if (status != 0)
            exit(1);
    for (process = 0; process < processes; process++)
        total += done[process];
    printf("%lu %.6f\n", total, now() - begin);
}

/* A line there and back. */
static void echo_line(struct client *client)
{
    bytes = 64;
    client->read = 0;
    if (!writen(client->fd, words(client), bytes))
        die("load: write");
    while (!answered(client))
        ;
}

/* CLIENTS clients at once. A server takes them in the order they came in, so an echo now and then
   while they are opened keeps the backlog from overflowing: all before are accepted then. */
static void hold(unsigned connections)
{
    struct client *held = calloc(connections, sizeof *held);
    struct rlimit files;
    char line[16];

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (held == NULL || files.rlim_cur < connections + 16)
        fail("not enough descriptors (ulimit -Hn)");
    for (unsigned i = 0; i < connections; i++) {
        held[i].fd = connect_next();
        held[i].serial = opened;
        if (i % PROBE_EVERY == PROBE_EVERY - 1 || i == connections - 1)
            echo_line(&held[i]);
    }
    printf("held\n");
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL)
        fail("standard input ended");
    for (unsigned i = 0; i < connections; i++)
        echo_line(&held[i]);
    printf("echoed\n");
}

int main(int argc, char **argv)
{
    unsigned clients, processes;

    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (char) (i % 251 + i / 251);
    if (argc < 4)
        fail("usage: load PORT rate|count|hold ...");
    server.sin_port = htons((unsigned short) atoi(argv[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    clients = (unsigned) atoi(argv[3]);
    if (strcmp(argv[2], "hold") == 0) {
        hold(clients);
        return 0;
    }
    if (argc < 6 || clients == 0 || clients > MOST_CLIENTS)
        fail("usage: load PORT rate|count CLIENTS SECONDS|CONNECTIONS BYTES [PROCESSES]");
    bytes = (size_t) atol(argv[5]);
    processes = argc > 6 ? (unsigned) atoi(argv[6]) : 1;
    if (bytes == 0 || bytes > MOST_BYTES || processes == 0 || processes > clients)
        fail("BYTES from 1 to 65536, PROCESSES not more than CLIENTS");
    if (strcmp(argv[2], "rate") == 0)
        measure(processes, clients, (unsigned long) -1, atof(argv[4]));
    else if (strcmp(argv[2], "count") == 0)
        measure(processes, clients, (unsigned long) atol(argv[4]), 3600);
    else
        fail("rate, count or hold");
    return 0;
}
