/* A TCP echo server in C: one instance, one thread, many clients.
 *
 * The listener is opened by the host and is descriptor 3. Every client has a
 * small buffer. While it is empty we wait for the client to send; while it is
 * not, we wait for the client to take. So a client that does not read holds
 * up itself alone, and poll() is the only place where this program waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTENER = 3, MAX_CLIENTS = 1024, BUFFER = 16384 };

struct client {
    size_t sent, filled; /* bytes sent .. filled of the buffer are still owed */
    char buffer[BUFFER];
};

/* polled[0] is the listener; polled[i] belongs to clients[i]. */
static struct pollfd polled[1 + MAX_CLIENTS];
static struct client *clients[1 + MAX_CLIENTS];
static int count = 1;

/* 0 while there is no room for another client. The listener is then left out of
 * the poll: it would be ready all the while, and wasi-libc takes no entry that
 * asks for nothing. */
static int accepting = 1;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void add_client(int fd) {
    clients[count] = malloc(sizeof *clients[count]);
    if (clients[count] == NULL) {
        close(fd);
        return;
    }
    clients[count]->sent = clients[count]->filled = 0;
    polled[count] = (struct pollfd){.fd = fd, .events = POLLIN};
    count++;
}

/* The last client moves into the gap, so the arrays stay dense. */
static void drop_client(int i) {
    close(polled[i].fd);
    free(clients[i]);
    count--;
    polled[i] = polled[count];
    clients[i] = clients[count];
    accepting = 1;
}

static void accept_clients(void) {
    for (;;) {
        if (count > MAX_CLIENTS) {
            accepting = 0;
            return;
        }
        int fd = accept4(LISTENER, NULL, NULL, SOCK_NONBLOCK);
        if (fd >= 0)
            add_client(fd);
        else if (errno == EAGAIN)
            return;
        else if (errno == EMFILE || errno == ENFILE) {
            accepting = 0;
            return;
        } else if (errno != ECONNABORTED && errno != EINTR)
            die("accept");
    }
}

/* Moves bytes once in each direction; 0 means that the client is gone. */
static int serve(int i) {
    struct client *c = clients[i];
    int fd = polled[i].fd;

    if (c->sent == c->filled) {
        ssize_t n = recv(fd, c->buffer, BUFFER, 0);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (n == 0)
            return 0;
        c->sent = 0;
        c->filled = (size_t)n;
    }
    ssize_t n = send(fd, c->buffer + c->sent, c->filled - c->sent, 0);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return 0;
    if (n > 0)
        c->sent += (size_t)n;
    polled[i].events = c->sent == c->filled ? POLLIN : POLLOUT;
    return 1;
}

int main(void) {
    if (fcntl(LISTENER, F_SETFL, O_NONBLOCK) != 0)
        die("listener, fd 3");
    polled[0] = (struct pollfd){.fd = LISTENER, .events = POLLIN};

    for (;;) {
        int skipped = accepting ? 0 : 1;
        polled[0].revents = 0;
        if (poll(polled + skipped, (nfds_t)(count - skipped), -1) < 0) {
            if (errno == EINTR)
                continue;
            die("poll");
        }
        /* Backwards: what drop_client moves into the gap was served already. */
        for (int i = count - 1; i > 0; i--)
            if (polled[i].revents != 0 && !serve(i))
                drop_client(i);
        if (polled[0].revents & (POLLERR | POLLNVAL)) {
            fputs("listener, fd 3: lost\n", stderr);
            return 1;
        }
        if (polled[0].revents != 0)
            accept_clients();
    }
}
