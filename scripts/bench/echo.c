/* For tcpserver, which starts it for each client on descriptors 0 and 1. */
#include "tcp.h"

int main(void)
{
    str_echo(0); /* the socket, as 1 is */
    return 0;
}
