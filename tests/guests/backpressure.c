/* Owes one client far more than it takes, and echoes to another all the while.
 *
 * The listener is fd 3. To the first client that comes go 64 MiB, in which the byte
 * at offset i is i modulo 251; what the second one sends is sent back. Standard error
 * tells "blocked" when the first client took no more for the first time, and "done"
 * when it has everything. Ends with 0 when both are through.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTENER = 3, TAKER = 0, TALKER = 1 };

#define OWED (64L << 20)
#define PERIOD 251
#define PIECE 65536

/* The descriptor of one that is through is -1. */
static struct pollfd clients[2];

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Waits for a client, though the listener does not. */
static int accept_one(void) {
    for (;;) {
        struct pollfd listener = {.fd = LISTENER, .events = POLLIN};
        int fd = accept4(LISTENER, NULL, NULL, SOCK_NONBLOCK);
        if (fd >= 0)
            return fd;
        if (errno != EAGAIN && errno != EINTR)
            die("accept");
        if (poll(&listener, 1, -1) < 0 && errno != EINTR)
            die("poll");
    }
}

static int leave(int which) {
    close(clients[which].fd);
    clients[which].fd = -1;
    return 0;
}

/* Sends the taker all it takes; 0 when it has everything. It goes on until a send
 * falls short: one that stops earlier may never see that, since a socket stops
 * being writable to poll() while there is still a little room. */
static int feed(void) {
    static char pattern[PIECE + PERIOD];
    static long sent;
    static int told;
    if (sent == 0)
        for (long i = 0; i < PIECE + PERIOD; i++)
            pattern[i] = (char)(i % PERIOD);

    while (sent < OWED) {
        long size = OWED - sent < PIECE ? OWED - sent : PIECE;
        ssize_t n = send(clients[TAKER].fd, pattern + sent % PERIOD, (size_t)size, 0);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            die("send to the taker");
        if (n > 0)
            sent += n;
        if (n < size) {
            if (!told)
                fputs("blocked\n", stderr);
            told = 1;
            return 1;
        }
    }
    fprintf(stderr, "done %ld\n", sent);
    return leave(TAKER);
}

/* Echoes to the talker what it sent; 0 when it has left. Its messages are small and
 * it reads each answer, so a send always finds room. */
static int echo(void) {
    char buffer[4096];
    ssize_t n = recv(clients[TALKER].fd, buffer, sizeof buffer, 0);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 1 : leave(TALKER);
    if (n == 0)
        return leave(TALKER);
    if (send(clients[TALKER].fd, buffer, (size_t)n, 0) != n)
        die("send to the talker");
    return 1;
}

int main(void) {
    if (fcntl(LISTENER, F_SETFL, O_NONBLOCK) != 0)
        die("listener");
    clients[TAKER] = (struct pollfd){.fd = accept_one(), .events = POLLOUT};
    clients[TALKER] = (struct pollfd){.fd = accept_one(), .events = POLLIN};

    int taking = 1, talking = 1;
    while (taking || talking) {
        /* wasi-libc's poll passes by no entry, so those that are through stay out. */
        int first = taking ? TAKER : TALKER, last = talking ? TALKER : TAKER;
        clients[TAKER].revents = clients[TALKER].revents = 0;
        if (poll(clients + first, (nfds_t)(last - first + 1), -1) < 0 && errno != EINTR)
            die("poll");
        if (talking && clients[TALKER].revents)
            talking = echo();
        if (taking && clients[TAKER].revents)
            taking = feed();
    }
    return 0;
}
