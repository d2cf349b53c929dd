/* One client after the other: what every other design is compared with. */
#include "tcp.h"

int main(int argc, char **argv)
{
    int listenfd = tcp_listen(argc, argv);

    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int connfd = accept(listenfd, NULL, NULL);
        if (connfd < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            die("accept");
        }
        str_echo(connfd);
        close(connfd);
    }
}
