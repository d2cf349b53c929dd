/* Task of lab 05: a server that says what time it is, in seconds since 1970, and closes first. It shall be
 * possible to start it again at once.
 *
 * The check calls it with one argument, ADDR:PORT (port 0: any that is free), and waits for the line
 * `listening on ADDR:PORT` with the port that it got. To a pipe, printf keeps its text until the buffer is
 * full: without fflush the check would wait in vain.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void err_sys(const char *what)
{
    perror(what);
    exit(1);
}

static struct sockaddr_in address(const char *text)
{
    struct sockaddr_in servaddr = { .sin_family = AF_INET };
    char host[INET_ADDRSTRLEN];
    unsigned short port;

    if (sscanf(text, "%15[0-9.]:%hu", host, &port) != 2 || inet_pton(AF_INET, host, &servaddr.sin_addr) != 1) {
        fprintf(stderr, "usage: server ADDR:PORT\n");
        exit(2);
    }
    servaddr.sin_port = htons(port);
    return servaddr;
}

static void listening(int listenfd)
{
    struct sockaddr_in at;
    socklen_t len = sizeof at;

    if (getsockname(listenfd, (struct sockaddr *)&at, &len) < 0)
        err_sys("getsockname error");
    printf("listening on %s:%d\n", inet_ntoa(at.sin_addr), ntohs(at.sin_port));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct sockaddr_in servaddr = address(argc > 1 ? argv[1] : "127.0.0.1:9877");
    int listenfd, connfd;

    if ((listenfd = socket(AF_INET, SOCK_STREAM, 0)) < 0)
        err_sys("socket error");
    if (bind(listenfd, (struct sockaddr *)&servaddr, sizeof servaddr) < 0)
        err_sys("bind error");
    if (listen(listenfd, 1024) < 0)
        err_sys("listen error");
    listening(listenfd);
    for ( ; ; ) {
        if ((connfd = accept(listenfd, NULL, NULL)) < 0)
            err_sys("accept error");
        dprintf(connfd, "%ld\n", (long)time(NULL));
        close(connfd); /* the first FIN is ours */
    }
}
