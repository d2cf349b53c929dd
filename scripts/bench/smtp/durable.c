/* What the file system alone allows: write, fdatasync, rename, fsync of the folder, over and over.

   usage: durable FOLDER PROCESSES SECONDS OCTETS

   Each of PROCESSES delivers files of OCTETS octets to a Maildir of its own below FOLDER, as a server does that syncs what
   it acknowledges and has nothing else to do. Prints how many files there were, and seconds. */
#include "../tcp.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void deliver(int fresh, const char *octets, size_t length, unsigned long number)
{
    char tmp[64], name[64];

    snprintf(tmp, sizeof tmp, "tmp/%lu", number);
    snprintf(name, sizeof name, "new/%lu", number);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        die("durable: open");
    if (!writen(fd, octets, length) || fdatasync(fd) < 0 || close(fd) < 0)
        die("durable: write");
    if (rename(tmp, name) < 0 || fsync(fresh) < 0)
        die("durable: rename");
}

/* One process: how many files it has delivered. */
static unsigned long work(const char *folder, int number, double until, size_t length)
{
    char path[PATH_MAX];
    char *octets = malloc(length);
    unsigned long count = 0;

    if (octets == NULL)
        die("durable: malloc");
    memset(octets, 'x', length);
    snprintf(path, sizeof path, "%s/floor%d", folder, number);
    if (mkdir(path, 0700) < 0 || chdir(path) < 0 || mkdir("tmp", 0700) < 0 || mkdir("new", 0700) < 0)
        die(path);
    int fresh = open("new", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fresh < 0)
        die("durable: new");
    while (now() < until)
        deliver(fresh, octets, length, count++);
    return count;
}

int main(int argc, char **argv)
{
    unsigned long total = 0, count;
    int ends[2];

    if (argc != 5) {
        fprintf(stderr, "usage: durable FOLDER PROCESSES SECONDS OCTETS\n");
        return 1;
    }
    int processes = atoi(argv[2]);
    if (pipe(ends) < 0)
        die("durable: pipe");
    double start = now(), until = start + atof(argv[3]);
    for (int number = 0; number < processes; number++) {
        pid_t pid = fork();
        if (pid < 0)
            die("durable: fork");
        if (pid == 0) {
            count = work(argv[1], number, until, (size_t) atol(argv[4]));
            _exit(!writen(ends[1], (char *) &count, sizeof count));
        }
    }
    for (int number = 0; number < processes; number++) {
        if (read(ends[0], &count, sizeof count) != sizeof count)
            die("durable: a process");
        total += count;
    }
    printf("%lu %.6f\n", total, now() - start);
    return 0;
}
