/* A process for each client, as tcpserv04 of the textbook. Its SIGCHLD handler also prints a line
   for each child; that is left out, because a printf is not what is to be measured. */
#include "tcp.h"

static void sig_chld(int signo)
{
    int saved = errno;

    (void) signo;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    errno = saved;
}

int main(int argc, char **argv)
{
    struct sockaddr_in cliaddr;
    socklen_t clilen;
    int connfd, listenfd = tcp_listen(argc, argv);

    on_signal(SIGCHLD, sig_chld);
    for (;;) {
        clilen = sizeof cliaddr;
        connfd = accept(listenfd, (struct sockaddr *) &cliaddr, &clilen);
        if (connfd < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            die("accept");
        }
        switch (fork()) {
        case -1:
            die("fork");
        case 0: /* child */
            close(listenfd);
            str_echo(connfd);
            exit(0);
        }
        close(connfd); /* parent */
    }
}
