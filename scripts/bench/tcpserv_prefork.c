/* Children made beforehand, each blocked in accept on the same listening socket. SIGTERM to the
   parent ends them all, and it waits for them, so that their CPU time is counted with its own. */
#include "tcp.h"

#define CHILDREN 8

static void child_main(int listenfd)
{
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        struct sockaddr_in cliaddr;
        socklen_t clilen = sizeof cliaddr;
        int connfd = accept(listenfd, (struct sockaddr *) &cliaddr, &clilen);
        if (connfd < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            die("accept");
        }
        str_echo(connfd);
        close(connfd);
    }
}

int main(int argc, char **argv)
{
    pid_t pids[CHILDREN];
    sigset_t term;
    int signo, listenfd = tcp_listen(argc, argv);

    for (int i = 0; i < CHILDREN; i++) {
        if ((pids[i] = fork()) < 0)
            die("fork");
        if (pids[i] == 0)
            child_main(listenfd);
    }
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    sigwait(&term, &signo);
    for (int i = 0; i < CHILDREN; i++)
        kill(pids[i], SIGTERM);
    while (wait(NULL) > 0)
        ;
    return 0;
}
