/* All clients in one process that never waits for one of them: epoll, non-blocking sockets. */
#include "tcp.h"

#include <fcntl.h>
#include <sys/epoll.h>

#define EVENTS 256

static void watch(int epfd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

/* Every connection that is there. */
static void accept_all(int epfd, int listenfd)
{
    for (;;) {
        int connfd = accept4(listenfd, NULL, NULL, SOCK_NONBLOCK);
        if (connfd >= 0)
            watch(epfd, connfd);
        else if (errno == EAGAIN)
            return;
        else if (errno != EINTR && errno != ECONNABORTED)
            die("accept4");
    }
}

/* One read, one write; a client that does not take its few bytes at once is cut off. */
static void echo_once(int connfd)
{
    char line[MAXLINE];
    ssize_t n = read(connfd, line, sizeof line);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || write(connfd, line, (size_t) n) != n)
        close(connfd); /* which takes it out of the epoll set, too */
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    int listenfd = tcp_listen(argc, argv), epfd = epoll_create1(0);

    signal(SIGPIPE, SIG_IGN);
    if (epfd < 0 || fcntl(listenfd, F_SETFL, O_NONBLOCK) < 0)
        die("epoll_create1");
    watch(epfd, listenfd);
    for (;;) {
        int n = epoll_wait(epfd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listenfd)
                accept_all(epfd, listenfd);
            else
                echo_once(events[i].data.fd);
        }
    }
}
