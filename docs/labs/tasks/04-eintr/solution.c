/* Task of lab 04, solved: SIGUSR1 is blocked but while ppoll waits, so none is lost.
 *
 * Without SA_RESTART, and with EINTR as a reason to go round, it answers at once too, but for the signal that
 * comes between the look at the flag and read.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile sig_atomic_t asked;

static void sig_usr1(int signo)
{
    (void)signo;
    asked = 1;
}

static void err_sys(const char *what)
{
    perror(what);
    exit(1);
}

int main(void)
{
    struct sigaction act = { .sa_handler = sig_usr1 };
    struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
    sigset_t usr1, none;
    char buf[4096];
    long total = 0;
    ssize_t n;

    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    if (sigprocmask(SIG_BLOCK, &usr1, NULL) < 0)
        err_sys("sigprocmask error");
    if (sigaction(SIGUSR1, &act, NULL) < 0)
        err_sys("sigaction error");
    fprintf(stderr, "counting\n");
    for ( ; ; ) {
        if (asked) {
            asked = 0;
            printf("so far: %ld\n", total);
            fflush(stdout);
        }
        if (ppoll(&input, 1, NULL, &none) < 0) {
            if (errno == EINTR)
                continue; /* to the flag */
            err_sys("ppoll error");
        }
        if ((n = read(STDIN_FILENO, buf, sizeof buf)) < 0)
            err_sys("read error");
        if (n == 0) {
            printf("in all: %ld\n", total);
            exit(0);
        }
        total += n;
    }
}
