/* One session: RETR of all messages, WINDOW commands in flight, over and over as long as there is time.

   usage: retr PORT USER WINDOW SECONDS [quickack]

   Prints messages, octets and seconds. Each reply must have as many octets as LIST says, then a line with a dot:
   no message here has a line that begins with one. */
#include "pop3.h"

#define MOST 100000 /* messages */

static char buffer[256 << 10];
static size_t sizes[MOST + 1]; /* by message number */
static unsigned long messages;

/* Sizes of all messages. */
static void list(int fd)
{
    char line[LINE];

    say(fd, "LIST\r\n");
    ok(fd, line);
    for (;;) {
        size_t length = 0;
        do {
            if (length == LINE - 1 || read(fd, line + length, 1) != 1)
                fail("LIST broke off", "");
        } while (line[length++] != '\n');
        line[length] = 0;
        unsigned long number;
        if (strcmp(line, ".\r\n") == 0)
            return;
        if (messages == MOST || sscanf(line, "%lu %zu", &number, &sizes[messages + 1]) != 2 || number != ++messages)
            fail("a line of LIST is", line);
    }
}

/* What is expected of a reply that is being read. */
struct reply {
    unsigned long number; /* of its message */
    size_t left;          /* octets of the message; 0 while the first line is read */
    size_t tail;          /* of ".\r\n", those that were seen */
    char line[LINE];
    size_t length;
};

/* Takes what was read; returns how many replies have ended with it. */
static unsigned long take(struct reply *reply, const char *at, size_t n)
{
    unsigned long ended = 0;

    while (n > 0) {
        if (reply->left > 0) {
            size_t part = n < reply->left ? n : reply->left;
            at += part, n -= part, reply->left -= part;
            if (reply->left == 0)
                reply->tail = 3;
        } else if (reply->tail > 0) {
            if (*at != ".\r\n"[3 - reply->tail])
                fail("no line with a dot behind a message of the size of", "LIST");
            at++, n--;
            if (--reply->tail == 0) {
                ended++;
                reply->length = 0;
                reply->number = reply->number % messages + 1;
            }
        } else {
            char octet = *at++;
            n--;
            if (reply->length == LINE - 1)
                fail("a line without an end", "");
            reply->line[reply->length++] = octet;
            if (octet != '\n')
                continue;
            if (strncmp(reply->line, "+OK", 3) != 0)
                fail("a message is refused:", reply->line);
            reply->left = sizes[reply->number];
        }
    }
    return ended;
}

int main(int argc, char **argv)
{
    char commands[64 * 1024];
    struct reply reply = {.number = 1};
    unsigned long sent = 0, done = 0;
    double octets = 0;

    if (argc != 5 && argc != 6)
        fail("usage: retr PORT USER WINDOW", "SECONDS [quickack]");
    server_at(argv[1]);
    quickack = argc == 6;
    unsigned long window = strtoul(argv[3], NULL, 10);
    if (window < 1 || window > 1000)
        fail("WINDOW is from 1 to 1000, not", argv[3]);
    int fd = greeted(argv[2]);
    enter(fd);
    list(fd);
    if (messages == 0)
        fail("there is no message", "");
    double begin = now(), end = begin, until = begin + atof(argv[4]);
    for (;;) {
        size_t length = 0;
        while (sent - done < window && (end < until || sent < messages))
            length += (size_t) sprintf(commands + length, "RETR %lu\r\n", sent++ % messages + 1);
        if (length > 0 && !writen(fd, commands, length))
            die("pop3: write");
        if (sent == done)
            break;
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n <= 0)
            fail("the connection ended", "");
        acknowledge(fd);
        unsigned long before = done;
        done += take(&reply, buffer, (size_t) n);
        for (; before < done; before++)
            octets += (double) sizes[before % messages + 1];
        end = now();
    }
    printf("%lu %.0f %.6f\n", done, octets, end - begin);
    leave(fd);
    return 0;
}
