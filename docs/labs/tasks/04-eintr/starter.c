/* Task of lab 04: counts the octets of its standard input, and on SIGUSR1 says how many it has got so far. It
 * does so when the next line comes; it shall do so at once.
 *
 * The check waits for `counting` on standard error, and reads the answers on standard output. To a pipe, printf
 * keeps its text until the buffer is full: without fflush the check would wait in vain.
 */
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

int main(void)
{
    struct sigaction act = { .sa_handler = sig_usr1, .sa_flags = SA_RESTART };
    char buf[4096];
    long total = 0;
    ssize_t n;

    if (sigaction(SIGUSR1, &act, NULL) < 0) {
        perror("sigaction error");
        exit(1);
    }
    fprintf(stderr, "counting\n"); /* from here on it may be asked */
    for ( ; ; ) {
        if (asked) {
            asked = 0;
            printf("so far: %ld\n", total);
            fflush(stdout);
        }
        if ((n = read(STDIN_FILENO, buf, sizeof buf)) < 0) {
            perror("read error");
            exit(1);
        }
        if (n == 0) {
            printf("in all: %ld\n", total);
            exit(0);
        }
        total += n;
    }
}
