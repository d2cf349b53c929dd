/* One session: the time from PASS to the end of a listing.

   usage: list PORT USER COMMAND COUNT [quickack]

   COMMAND is LIST or UIDL. Prints milliseconds. The listing must have COUNT lines. */
#include "pop3.h"

static char buffer[1 << 20];

int main(int argc, char **argv)
{
    char line[LINE], tail[5] = "";
    unsigned long lines = 0;

    if (argc != 5 && argc != 6)
        fail("usage: list PORT USER", "COMMAND COUNT [quickack]");
    server_at(argv[1]);
    quickack = argc == 6;
    int fd = greeted(argv[2]);
    double begin = now();
    enter(fd);
    snprintf(line, sizeof line, "%s\r\n", argv[3]);
    say(fd, line);
    ok(fd, line);
    memcpy(tail, "\0\0\0\r\n", 5); /* an empty listing ends at once */
    while (memcmp(tail, "\r\n.\r\n", 5) != 0) {
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n <= 0)
            fail("the listing broke off", "");
        acknowledge(fd);
        for (const char *at = buffer; (at = memchr(at, '\n', (size_t) (buffer + n - at))); at++)
            lines++;
        size_t kept = n < 5 ? 5 - (size_t) n : 0;
        memmove(tail, tail + 5 - kept, kept);
        memcpy(tail + kept, buffer + n - (5 - kept), 5 - kept);
    }
    printf("%.2f\n", (now() - begin) * 1e3);
    if (lines != strtoul(argv[4], NULL, 10) + 1)
        fail("not as many lines as messages in", argv[3]);
    leave(fd);
    return 0;
}
