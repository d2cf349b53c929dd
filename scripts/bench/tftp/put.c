/* Sends one file and tells how fast: the client of all servers that take files.
 *
 *   put PORT NAME FILE BLKSIZE WINDOW SECONDS
 *
 * A window goes out with one sendmmsg(2), with several blocks in each message where UDP_SEGMENT takes
 * them, straight from the file's pages. After SECONDS the file ends where it is: the next block is an
 * empty one, so that every server has a whole file in the end, of as many octets as are printed.
 * Prints: octets, seconds until the last DATA was sent, seconds from then until its ACK, the block
 * size and the window that were granted, blocks that were repeated. */
#include "tftp.h" /* before the others: it asks for sendmmsg(2) */

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { MOST = 64 }; /* blocks of a window; and what the kernel cuts out of one piece */

static struct {
    int s;
    unsigned block, window;
    unsigned together; /* blocks of one message */
    uint64_t acked, sent; /* the last block that was acknowledged, and that was sent */
    uint64_t size;
    const unsigned char *file;
    unsigned repeated;
    double end, last; /* when the file is cut short, and when its last block was sent */
} t;

/* How many blocks there are; the last one is short, or empty. */
static uint64_t blocks(void)
{
    return t.size / t.block + 1;
}

/* The socket cuts what is handed over together into blocks, if it can. */
static void segments(void)
{
    int piece = t.block + 4;
    t.together = 65507 / piece < MOST ? 65507 / piece : MOST;
    if (t.together < 2 || setsockopt(t.s, SOL_UDP, UDP_SEGMENT, &piece, sizeof piece) < 0)
        t.together = 1;
}

static void send_all(struct mmsghdr *m, unsigned count)
{
    for (unsigned at = 0; at < count;) {
        int n = sendmmsg(t.s, m + at, count - at, 0);
        if (n < 0 && errno != ENOBUFS)
            die("send");
        at += n < 0 ? 1 : n; /* one is lost */
    }
}

/* The blocks after the last acknowledged one. */
static void send_window(void)
{
    static unsigned char headers[MOST][4];
    static struct iovec parts[MOST][2];
    static struct mmsghdr messages[MOST];
    if (now() > t.end && t.size > t.sent * t.block)
        t.size = t.sent * t.block;
    uint64_t end = t.acked + t.window;
    if (end > blocks())
        end = blocks();
    if (t.sent > t.acked)
        t.repeated += t.sent - t.acked;
    unsigned count = 0;
    for (uint64_t b = t.acked; b < end; b++, count++) {
        uint64_t at = b * t.block, left = t.size - at;
        put16(headers[count], DATA);
        put16(headers[count] + 2, (b + 1) & 0xffff);
        parts[count][0] = (struct iovec){headers[count], 4};
        parts[count][1] = (struct iovec){(void *)(t.file + at), left < t.block ? left : t.block};
    }
    unsigned n = 0;
    for (unsigned at = 0; at < count; at += t.together, n++) {
        unsigned some = count - at < t.together ? count - at : t.together;
        messages[n].msg_hdr = (struct msghdr){.msg_iov = parts[at], .msg_iovlen = 2 * some};
    }
    send_all(messages, n);
    if (end > t.sent)
        t.sent = end;
    if (end == blocks())
        t.last = now();
}

static void begin(void)
{
    if (t.window > MOST)
        fail("more was granted than asked for");
    segments();
    send_window();
}

static void ack(unsigned number)
{
    uint64_t forward = (number - t.acked) & 0xffff;
    if (forward == 0 || forward > t.sent - t.acked)
        return;
    t.acked += forward;
    if (t.acked < blocks())
        send_window();
}

static void packet(const unsigned char *p, size_t n)
{
    if (n < 4)
        return;
    if (get16(p) == ERROR)
        fail((const char *)p + 4);
    if (t.sent > 0) {
        if (get16(p) == ACK)
            ack(get16(p + 2));
    } else if (get16(p) == OACK) {
        read_oack(p, n, &t.block, &t.window);
        begin();
    } else if (get16(p) == ACK && get16(p + 2) == 0)
        begin();
}

/* Waits for the first answer, and talks to nobody else from then on. */
static void first_answer(int port, const unsigned char *asked, size_t n)
{
    unsigned char p[1024];
    struct sockaddr_in peer = loopback(port);
    for (int tries = 0; tries < 20; tries++) {
        socklen_t length = sizeof peer;
        if (sendto(t.s, asked, n, 0, (struct sockaddr *)&peer, sizeof peer) < 0)
            die("send");
        ssize_t came = recvfrom(t.s, p, sizeof p - 1, 0, (struct sockaddr *)&peer, &length);
        if (came < 0)
            continue;
        p[came] = 0;
        if (connect(t.s, (struct sockaddr *)&peer, sizeof peer) < 0)
            die("connect");
        packet(p, came);
        return;
    }
    fail("the server is silent");
}

int main(int argc, char **argv)
{
    unsigned char p[1024];
    if (argc != 7)
        fail("usage: put PORT NAME FILE BLKSIZE WINDOW SECONDS");
    int fd = open(argv[3], O_RDONLY), silence = 0;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        die(argv[3]);
    t.size = st.st_size;
    t.file = mmap(0, t.size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (t.file == MAP_FAILED)
        die("mmap");
    t.s = datagrams();
    struct timeval wait = {.tv_usec = 300000};
    if (setsockopt(t.s, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) < 0)
        die("SO_RCVTIMEO");
    t.block = 512;
    t.window = 1;
    size_t n = request(p, WRQ, argv[2], atoi(argv[4]), atoi(argv[5]));
    double start = now();
    t.end = start + atof(argv[6]);
    first_answer(atoi(argv[1]), p, n);
    while (t.sent == 0 || t.acked < blocks()) {
        ssize_t came = recv(t.s, p, sizeof p - 1, 0);
        if (came >= 0) {
            p[came] = 0;
            packet(p, came);
            silence = 0;
        } else if (errno != EAGAIN)
            die("recv");
        else if (++silence == 30)
            fail("the server is silent");
        else if (t.sent > 0)
            send_window();
    }
    printf("%llu %.6f %.6f %u %u %u\n", (unsigned long long)t.size, t.last - start, now() - t.last,
           t.block, t.window, t.repeated);
    return 0;
}
