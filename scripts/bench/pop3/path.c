/* A path that takes its time: TCP connections to a server, every octet later by the same delay, each way.

   usage: path SERVER-PORT MICROSECONDS

   Prints `listening on 127.0.0.1:PORT`. A process for each connection; what is on its way is bounded by WAY octets
   in each direction, far more than a window needs at 20 ms. */
#include "pop3.h"

#include <poll.h>

#define WAY (4 << 20)   /* octets on their way */
#define PIECES 8192     /* reads on their way */

struct piece {
    double due;
    size_t length; /* 0: the end of the file */
};

struct direction {
    int from, to, ended;
    char *octets; /* a ring */
    size_t first, count;
    struct piece pieces[PIECES];
    size_t first_piece, piece_count;
    int stuck; /* the receiver takes nothing more just now */
};

static double delay;

/* Reads what is there, if there is room for it. */
static void take(struct direction *way)
{
    size_t begin = (way->first + way->count) % WAY, room = WAY - way->count;

    if (room > WAY - begin)
        room = WAY - begin;
    ssize_t n = recv(way->from, way->octets + begin, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        way->ended = 1, n = 0;
    way->count += (size_t) n;
    way->pieces[(way->first_piece + way->piece_count++) % PIECES] = (struct piece){now() + delay, (size_t) n};
}

/* Passes on what is due. */
static void give(struct direction *way)
{
    way->stuck = 0;
    while (way->piece_count > 0) {
        struct piece *piece = &way->pieces[way->first_piece];
        if (piece->due > now())
            return;
        while (piece->length > 0) {
            size_t part = piece->length < WAY - way->first ? piece->length : WAY - way->first;
            ssize_t n = send(way->to, way->octets + way->first, part, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n < 0 && errno == EAGAIN) {
                way->stuck = 1;
                return;
            }
            if (n < 0)
                _exit(0); /* the receiver is gone */
            piece->length -= (size_t) n;
            way->first = (way->first + (size_t) n) % WAY;
            way->count -= (size_t) n;
        }
        way->first_piece = (way->first_piece + 1) % PIECES;
        if (--way->piece_count == 0 && way->ended)
            shutdown(way->to, SHUT_WR);
    }
}

static int has_room(const struct direction *way)
{
    return !way->ended && way->count < WAY && way->piece_count < PIECES;
}

/* Seconds until something is due, or a long time. */
static double due_in(const struct direction *way)
{
    return way->piece_count == 0 || way->stuck ? 60 : way->pieces[way->first_piece].due - now();
}

static void carry(int client, int upstream)
{
    static struct direction ways[2];

    ways[0].from = ways[1].to = client;
    ways[0].to = ways[1].from = upstream;
    for (int i = 0; i < 2; i++)
        if ((ways[i].octets = malloc(WAY)) == NULL)
            die("path: malloc");
    while (!ways[0].ended || !ways[1].ended || ways[0].piece_count || ways[1].piece_count) {
        struct pollfd fds[2] = {{client, 0, 0}, {upstream, 0, 0}};
        double wait = 60;
        for (int i = 0; i < 2; i++) {
            fds[i].events |= has_room(&ways[i]) ? POLLIN : 0;
            fds[1 - i].events |= ways[i].stuck ? POLLOUT : 0;
            if (due_in(&ways[i]) < wait)
                wait = due_in(&ways[i]);
        }
        for (int i = 0; i < 2; i++)
            if (fds[i].events == 0)
                fds[i].fd = -1; /* a connection that was closed would wake us again and again */
        struct timespec t = {0};
        if (wait > 0) {
            t.tv_sec = (time_t) wait;
            t.tv_nsec = (long) ((wait - (double) t.tv_sec) * 1e9);
        }
        if (ppoll(fds, 2, &t, NULL) < 0 && errno != EINTR)
            die("path: ppoll");
        for (int i = 0; i < 2; i++) {
            if (fds[i].revents & (POLLIN | POLLHUP | POLLERR) && has_room(&ways[i]))
                take(&ways[i]);
            give(&ways[i]);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        fail("usage: path SERVER-PORT", "MICROSECONDS");
    server_at(argv[1]);
    delay = atof(argv[2]) / 1e6;
    signal(SIGCHLD, SIG_IGN); /* no zombies */
    int listenfd = tcp_listen(1, argv);
    for (;;) {
        int on = 1, client = accept(listenfd, NULL, NULL);
        if (client < 0)
            continue;
        if (fork() == 0) {
            close(listenfd);
            setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            carry(client, connected());
            _exit(0);
        }
        close(client);
    }
}
