/* Task of lab 02: an echo server with a child for each client, in which nobody closes anything.
 *
 * After fork both processes have both descriptors. Let each close what is not its own.
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

static void str_echo(int sockfd)
{
    char buf[4096];
    ssize_t n;

    while ((n = read(sockfd, buf, sizeof buf)) > 0)
        for (ssize_t done = 0, sent; done < n; done += sent)
            if ((sent = write(sockfd, buf + done, n - done)) < 0)
                return;
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
        pid_t pid = fork();
        if (pid < 0)
            err_sys("fork error");
        if (pid == 0) {
            str_echo(connfd);
            exit(0);
        }
    }
}
