/* Task of lab 01, solved: the connected socket knows all four numbers. accept tells two of them, and
 * getsockname the other two.
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
        struct sockaddr_in cliaddr, here;
        socklen_t len = sizeof cliaddr;
        char client[INET_ADDRSTRLEN], server[INET_ADDRSTRLEN];

        if ((connfd = accept(listenfd, (struct sockaddr *)&cliaddr, &len)) < 0)
            err_sys("accept error");
        len = sizeof here;
        if (getsockname(connfd, (struct sockaddr *)&here, &len) < 0)
            err_sys("getsockname error");
        inet_ntop(AF_INET, &cliaddr.sin_addr, client, sizeof client);
        inet_ntop(AF_INET, &here.sin_addr, server, sizeof server);
        dprintf(connfd, "you are %s:%d, I am %s:%d\n", client, ntohs(cliaddr.sin_port),
                server, ntohs(here.sin_port));
        close(connfd);
    }
}
