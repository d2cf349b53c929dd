/* The floor under every forking server: fork, _exit, waitpid, and nothing else. Prints how many a
   second. usage: floor SECONDS [KIB], with KIB KiB of memory touched before. */
#include "tcp.h"

#include <time.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    double begin, seconds = argc > 1 ? atof(argv[1]) : 1;
    size_t touched = argc > 2 ? (size_t) atol(argv[2]) * 1024 : 0;
    char *memory = malloc(touched + 1);
    long forks = 0;

    if (memory == NULL)
        die("malloc");
    memset(memory, 'x', touched + 1);
    begin = now();
    do {
        pid_t pid = fork();
        if (pid < 0)
            die("fork");
        if (pid == 0)
            _exit(memory[0] != 'x');
        if (waitpid(pid, NULL, 0) != pid)
            die("waitpid");
        forks++;
    } while (now() - begin < seconds);
    printf("%.0f\n", (double) forks / (now() - begin));
    return 0;
}
