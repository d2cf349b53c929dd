/* A thread for each client, detached, as tcpserv01 of the textbook's chapter on threads. */
#include "tcp.h"

#include <pthread.h>
#include <stdint.h>

static void *doit(void *arg)
{
    int connfd = (int) (intptr_t) arg;

    pthread_detach(pthread_self());
    str_echo(connfd);
    close(connfd);
    return NULL;
}

int main(int argc, char **argv)
{
    int listenfd = tcp_listen(argc, argv);

    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        pthread_t tid;
        struct sockaddr_in cliaddr;
        socklen_t clilen = sizeof cliaddr;
        int connfd = accept(listenfd, (struct sockaddr *) &cliaddr, &clilen);
        if (connfd < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            die("accept");
        }
        errno = pthread_create(&tid, NULL, doit, (void *) (intptr_t) connfd);
        if (errno != 0)
            die("pthread_create");
    }
}
