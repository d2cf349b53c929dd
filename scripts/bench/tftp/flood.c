/* Requests from addresses that never answer, beside clients that do.
 *
 *   flood PORT NAME FILE BLKSIZE WHAT RATE CLIENTS SECONDS
 *
 * Sends RATE requests a second from ports of 127.64.0.0/10, where nothing is: for the file (WHAT is `file`), for one
 * that is not there (`missing`), or with a mode that is none (`malformed`). Meanwhile CLIENTS at a time fetch the file,
 * each again 50 ms after it had it, and give up after five seconds of silence. Needs a raw socket.
 * Prints: requests sent, files that came whole, files that did not, the median of the seconds for a file. */
#include "clients.h"

enum { TRIES = 5, MOST = 64, HEADERS = 28, FILES = 1 << 16 };
#define PAUSE 0.05

static int raw;
static unsigned char forged[HEADERS + 512];
static size_t forged_size;
static double took[FILES];

/* An IPv4 packet with a datagram; no checksum of the datagram, and the kernel makes that of the packet. */
static void prepare_forged(int port, const char *name, const char *what)
{
    unsigned char *udp = forged + 20, *p = forged + HEADERS;
    int missing = strcmp(what, "missing") == 0, malformed = strcmp(what, "malformed") == 0;
    size_t n = 2;
    put16(p, RRQ);
    n += sprintf((char *)p + n, "%s%s", name, missing ? ".none" : "") + 1;
    n += sprintf((char *)p + n, malformed ? "octets" : "octet") + 1;
    forged_size = HEADERS + n;
    forged[0] = 0x45;
    forged[8] = 64;
    forged[9] = IPPROTO_UDP;
    put16(forged + 2, forged_size);
    put16(udp + 2, port);
    put16(udp + 4, 8 + n);
    uint32_t to = htonl(INADDR_LOOPBACK);
    memcpy(forged + 16, &to, 4);
    if ((raw = socket(AF_INET, SOCK_RAW, IPPROTO_RAW)) < 0)
        die("a raw socket");
}

static void forge(void)
{
    struct sockaddr_in to = loopback(0);
    uint32_t from = htonl(0x7f400000 | (random() & 0x3fffff));
    memcpy(forged + 12, &from, 4);
    put16(forged + 20, 1024 + random() % 64000);
    if (sendto(raw, forged, forged_size, 0, (struct sockaddr *)&to, sizeof to) < 0)
        die("sendto");
}

static int sooner(const void *a, const void *b)
{
    double left = *(const double *)a - *(const double *)b;
    return (left > 0) - (left < 0);
}

int main(int argc, char **argv)
{
    if (argc != 9)
        fail("usage: flood PORT NAME FILE BLKSIZE WHAT RATE CLIENTS SECONDS");
    int port = atoi(argv[1]), many = atoi(argv[7]), whole = 0, failed = 0;
    double rate = atof(argv[6]), sent = 0;
    static struct client all[MOST];
    if (many < 1 || many > MOST)
        fail("too many clients");
    prepare(argv[2], argv[3], atoi(argv[4]), 1);
    prepare_forged(port, argv[2], argv[5]);
    double start = now(), end = start + atof(argv[8]), time = start, again[MOST];
    for (int i = 0; i < many; i++)
        again[i] = start + i * PAUSE / many;
    for (; time < end; time = now()) {
        for (; sent < (time - start) * rate; sent++)
            forge();
        serve(1);
        for (int i = 0; i < many; i++) {
            struct client *c = &all[i];
            if (c->s)
                look(c, time, TRIES);
            if (again[i] == 0 && c->state != WAITS) {
                again[i] = time + PAUSE;
                failed += c->state == FAILED;
                if (c->state == WHOLE && whole < FILES)
                    took[whole++] = c->ended - c->began;
            } else if (again[i] != 0 && time >= again[i]) {
                again[i] = 0;
                begin(c, port);
            }
        }
    }
    qsort(took, whole, sizeof *took, sooner);
    printf("%.0f %d %d %.4f\n", sent, whole, failed, whole ? took[whole / 2] : 0);
    return 0;
}
