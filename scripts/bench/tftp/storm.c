/* A room full of machines that boot at once: all ask at the same moment for one file.
 *
 *   storm PORT NAME FILE BLKSIZE WINDOW CLIENTS SECONDS
 *
 * Ends when every client has its file, or after SECONDS. Prints: clients with their file, the seconds after which half
 * of all had it and after which the last one had it (0 where they have it not), packets that were repeated. */
#include "clients.h"

/* More than any loss makes of them in a row. */
enum { TRIES = 1000 };

static int sooner(const void *a, const void *b)
{
    double left = *(const double *)a - *(const double *)b;
    return (left > 0) - (left < 0);
}

int main(int argc, char **argv)
{
    if (argc != 8)
        fail("usage: storm PORT NAME FILE BLKSIZE WINDOW CLIENTS SECONDS");
    int port = atoi(argv[1]), many = atoi(argv[6]), waiting = many, whole = 0;
    struct client *all = calloc(many, sizeof *all);
    double *took = calloc(many, sizeof *took);
    prepare(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]));
    double start = now(), end = start + atof(argv[7]), looked = start;
    for (int i = 0; i < many; i++)
        begin(&all[i], port);
    while (waiting && looked < end) {
        serve(50);
        if (now() < looked + 0.05)
            continue;
        looked = now();
        waiting = 0;
        for (int i = 0; i < many; i++) {
            look(&all[i], looked, TRIES);
            waiting += all[i].state == WAITS;
        }
    }
    for (int i = 0; i < many; i++)
        if (all[i].state == WHOLE)
            took[whole++] = all[i].ended - start;
    qsort(took, whole, sizeof *took, sooner);
    printf("%d %.3f %.3f %lu\n", whole, whole > many / 2 ? took[many / 2] : 0, whole == many ? took[many - 1] : 0, repeated);
    return 0;
}
