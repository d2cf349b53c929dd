/* Fetches one file and tells how fast: the client of all servers.
 *
 *   get PORT NAME FILE BLKSIZE WINDOW SECONDS
 *
 * Reads with UDP_GRO, so that it keeps up with whatever a server sends. Stops after SECONDS if the
 * file is not through by then, but not before the first block. Compares what came with FILE, after the clock has stopped.
 * Prints: octets, seconds, the block size and the window that were granted, acknowledgements that
 * were repeated. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tftp.h"

static struct {
    int s, answered;
    struct sockaddr_in peer;
    unsigned block, window, in_window, asked_block, asked_window;
    uint64_t last; /* the block that was received last, in order, not wrapped */
    uint64_t octets, size;
    unsigned char *copy;
    int done, gap;
    unsigned repeated;
} t;

static void send_ack(void)
{
    unsigned char p[4];
    put16(p, ACK);
    put16(p + 2, t.last & 0xffff);
    if (sendto(t.s, p, 4, 0, (struct sockaddr *)&t.peer, sizeof t.peer) < 0)
        die("send");
    t.in_window = 0;
}

static void data(const unsigned char *p, size_t n)
{
    if (get16(p + 2) != ((t.last + 1) & 0xffff)) {
        if (!t.gap) {
            t.gap = 1;
            t.repeated++;
            send_ack();
        }
        return;
    }
    n -= 4;
    if (n > t.block || t.octets + n > t.size)
        fail("more came than there is");
    memcpy(t.copy + t.octets, p + 4, n);
    t.octets += n;
    t.last++;
    t.gap = 0;
    t.done = n < t.block;
    if (++t.in_window == t.window || t.done)
        send_ack();
}

static void packet(const unsigned char *p, size_t n)
{
    if (n < 4)
        return;
    if (get16(p) == DATA)
        data(p, n);
    else if (get16(p) == OACK && t.last == 0) {
        read_oack(p, n, &t.block, &t.window);
        send_ack();
    } else if (get16(p) == ERROR)
        fail((const char *)p + 4);
}

/* One read: up to 64 KiB of packets of one length, the last of which may be shorter. */
static void receive(void)
{
    static unsigned char buffer[65536];
    char control[CMSG_SPACE(sizeof(int))];
    struct sockaddr_in from;
    struct iovec io = {buffer, sizeof buffer};
    struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &io, .msg_iovlen = 1,
                       .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(t.s, &m, 0);
    if (n < 0)
        die("recv");
    size_t piece = n;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO)
            piece = *(int *)CMSG_DATA(c);
    if (!t.answered) {
        t.peer = from;
        t.answered = 1;
    } else if (from.sin_port != t.peer.sin_port)
        return;
    for (size_t at = 0; at < (size_t)n && !t.done; at += piece)
        packet(buffer + at, at + piece > (size_t)n ? n - at : piece);
}

static void again(const unsigned char *asked, size_t n)
{
    t.repeated++;
    if (t.answered)
        send_ack();
    else if (sendto(t.s, asked, n, 0, (struct sockaddr *)&t.peer, sizeof t.peer) < 0)
        die("send");
}

int main(int argc, char **argv)
{
    unsigned char asked[512];
    if (argc != 7)
        fail("usage: get PORT NAME FILE BLKSIZE WINDOW SECONDS");
    int on = 1, fd = open(argv[3], O_RDONLY), silence = 0;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        die(argv[3]);
    t.size = st.st_size;
    t.copy = mmap(0, t.size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    const unsigned char *original = mmap(0, t.size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (t.copy == MAP_FAILED || original == MAP_FAILED)
        die("mmap");
    t.s = datagrams();
    setsockopt(t.s, SOL_UDP, UDP_GRO, &on, sizeof on);
    t.peer = loopback(atoi(argv[1]));
    t.block = 512;
    t.window = 1;
    double seconds = atof(argv[6]);
    size_t n = request(asked, RRQ, argv[2], atoi(argv[4]), atoi(argv[5]));
    double start = now(), end = start + seconds;
    if (sendto(t.s, asked, n, 0, (struct sockaddr *)&t.peer, sizeof t.peer) < 0)
        die("send");
    while (!t.done && (now() < end || t.last == 0)) {
        struct pollfd p = {t.s, POLLIN, 0};
        int ready = poll(&p, 1, 300);
        if (ready > 0) {
            receive();
            silence = 0;
        } else if (++silence == 20)
            fail("the server is silent");
        else
            again(asked, n);
    }
    double took = now() - start;
    if (!t.done) { /* enough was seen */
        static const unsigned char stop[] = "\0\5\0\0enough";
        sendto(t.s, stop, sizeof stop, 0, (struct sockaddr *)&t.peer, sizeof t.peer);
    } else if (t.octets != t.size)
        fail("the end came too early");
    if (memcmp(t.copy, original, t.octets) != 0)
        fail("what came is not the file");
    printf("%llu %.6f %u %u %u\n", (unsigned long long)t.octets, took, t.block, t.window, t.repeated);
    return 0;
}
