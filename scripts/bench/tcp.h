/* What all the servers here have in common: listen, str_echo, and words on failure. */
#ifndef TCP_H
#define TCP_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAXLINE 4096
#define BACKLOG 4096

/* `what: reason` on standard error, and the end. */
_Noreturn static inline void die(const char *what)
{
    perror(what);
    exit(1);
}

/* socket, bind, listen on 127.0.0.1: the port of the command line, or any. Prints which. */
static inline int tcp_listen(int argc, char **argv)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t len = sizeof addr;
    int on = 1, listenfd = socket(AF_INET, SOCK_STREAM, 0);

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    addr.sin_port = htons(argc > 1 ? (unsigned short) atoi(argv[1]) : 0);
    if (listenfd < 0)
        die("socket");
    if (setsockopt(listenfd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        die("setsockopt");
    if (bind(listenfd, (struct sockaddr *) &addr, sizeof addr) < 0)
        die("bind");
    if (listen(listenfd, BACKLOG) < 0)
        die("listen");
    if (getsockname(listenfd, (struct sockaddr *) &addr, &len) < 0)
        die("getsockname");
    printf("listening on 127.0.0.1:%d\n", ntohs(addr.sin_port));
    fflush(stdout);
    return listenfd;
}

/* signal() as it should be: the handler stays, and slow calls are taken up again. */
static inline void on_signal(int signo, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};

    sigemptyset(&action.sa_mask);
    if (sigaction(signo, &action, NULL) < 0)
        die("sigaction");
}

/* All n bytes; 0 when the peer does not take them. */
static inline int writen(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t written = write(fd, bytes, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return 0;
        bytes += written;
        n -= (size_t) written;
    }
    return 1;
}

/* Sends back what it reads, until the client has nothing more to say. */
static inline void str_echo(int sockfd)
{
    char line[MAXLINE];
    ssize_t n;

    for (;;) {
        n = read(sockfd, line, sizeof line);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || !writen(sockfd, line, (size_t) n))
            return;
    }
}

#endif
