/* The TCP echo guest as a component in C: it opens its own listener.
 *
 *     tcpecho ADDRESS PORT
 *
 * For arguments and output there is preview 1, as in any C program; an adapter
 * makes it WASI 0.2 when the component is put together. Preview 1 cannot open a
 * listener, and the adapter cannot even accept on one, so what has to do with
 * the network is imported from wasi:sockets, wasi:io and so on by hand.
 *
 * How such a function looks in C is laid down by the canonical ABI:
 *
 *  - a handle of a resource is a number, and so is each enum;
 *  - a list of bytes is a pointer and a length;
 *  - a variant is its case's number, then as many numbers as its longest case
 *    has: an ip-socket-address is 12, of which IPv4 uses six;
 *  - what does not fit one number is written where the last argument points.
 *    A result is written as a byte, 0 for ok, and behind it, as aligned as its
 *    largest part has to be, the value or the error;
 *  - a list that a function returns lies in memory that it asks of us, by
 *    cabi_realloc; to free it is our part.
 *
 * Every client has a small buffer. While it is empty we wait for the client to
 * send; while it is not, we wait for the client to take. So a client that does
 * not read holds up itself alone, and one poll is the only place that waits.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMPORT(interface, name) \
    __attribute__((import_module("wasi:" interface "@0.2.12"), import_name(name))) extern

typedef int32_t handle;

struct status { /* result<_, error-code> */
    uint8_t failed, code;
};
struct made { /* result<HANDLE, error-code> */
    uint8_t failed;
    union {
        uint8_t code;
        handle handle;
    };
};
struct accepted { /* result<tuple<tcp-socket, input-stream, output-stream>, error-code> */
    uint8_t failed;
    union {
        uint8_t code;
        struct {
            handle socket, source, sink;
        };
    };
};
struct address { /* result<ip-socket-address, error-code>, as far as IPv4 uses it */
    uint8_t failed;
    union {
        uint8_t code;
        struct {
            uint8_t family;
            _Alignas(4) uint16_t port;
            uint8_t bytes[4];
            uint8_t rest[22]; /* IPv6 is longer */
        };
    } __attribute__((aligned(4)));
};
struct stream_error {
    uint8_t closed; /* 0: it failed, and `why` says more; 1: it has ended */
    handle why;
};
struct bytes { /* result<list<u8>, stream-error> */
    uint8_t failed;
    union {
        struct stream_error error;
        struct {
            uint8_t *start;
            size_t length;
        };
    };
};
struct permit { /* result<u64, stream-error> */
    uint8_t failed;
    union {
        struct stream_error error;
        uint64_t length;
    };
};
struct written { /* result<_, stream-error> */
    uint8_t failed;
    struct stream_error error;
};
struct ready { /* list<u32> */
    uint32_t *start;
    size_t length;
};

IMPORT("sockets/instance-network", "instance-network")
handle instance_network(void);
IMPORT("sockets/tcp-create-socket", "create-tcp-socket")
void create_tcp_socket(int32_t family, struct made *);
IMPORT("sockets/tcp", "[method]tcp-socket.start-bind")
void start_bind(handle, handle network, int32_t family, int32_t port, int32_t, int32_t, int32_t, int32_t,
                int32_t, int32_t, int32_t, int32_t, int32_t, int32_t, struct status *);
IMPORT("sockets/tcp", "[method]tcp-socket.finish-bind")
void finish_bind(handle, struct status *);
IMPORT("sockets/tcp", "[method]tcp-socket.start-listen")
void start_listen(handle, struct status *);
IMPORT("sockets/tcp", "[method]tcp-socket.finish-listen")
void finish_listen(handle, struct status *);
IMPORT("sockets/tcp", "[method]tcp-socket.local-address")
void local_address(handle, struct address *);
IMPORT("sockets/tcp", "[method]tcp-socket.accept")
void accept_client(handle, struct accepted *);
IMPORT("sockets/tcp", "[method]tcp-socket.subscribe")
handle subscribe_socket(handle);
IMPORT("sockets/tcp", "[resource-drop]tcp-socket")
void drop_socket(handle);

IMPORT("io/streams", "[method]input-stream.read")
void stream_read(handle, uint64_t length, struct bytes *);
IMPORT("io/streams", "[method]input-stream.subscribe")
handle subscribe_source(handle);
IMPORT("io/streams", "[resource-drop]input-stream")
void drop_source(handle);
IMPORT("io/streams", "[method]output-stream.check-write")
void check_write(handle, struct permit *);
IMPORT("io/streams", "[method]output-stream.write")
void stream_write(handle, const uint8_t *start, size_t length, struct written *);
IMPORT("io/streams", "[method]output-stream.subscribe")
handle subscribe_sink(handle);
IMPORT("io/streams", "[resource-drop]output-stream")
void drop_sink(handle);
IMPORT("io/error", "[resource-drop]error")
void drop_error(handle);

IMPORT("io/poll", "poll")
void poll_list(const handle *pollables, size_t count, struct ready *); /* "poll" would be wasi-libc's own */
IMPORT("io/poll", "[resource-drop]pollable")
void drop_pollable(handle);

enum { IPV4 = 0, MAX_CLIENTS = 1024, BUFFER = 4096 };

struct client {
    handle socket, source, sink;
    handle can_read, can_write;
    uint8_t *buffer; /* NULL while nothing is owed */
    size_t sent, filled;
};

/* polled[0] is the listener; polled[i] belongs to clients[i]. */
static handle polled[1 + MAX_CLIENTS];
static struct client clients[1 + MAX_CLIENTS];
static size_t count = 1;

/* Memory for what an import returns; realloc() in all but name. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t alignment,
                                                               size_t size) {
    (void)old_size, (void)alignment; /* malloc aligns for the largest of all types */
    void *start = realloc(old, size);
    if (start == NULL && size != 0)
        abort();
    return start;
}

static void must(const char *what, struct status status) {
    if (status.failed) {
        fprintf(stderr, "%s: error-code %d\n", what, status.code);
        exit(1);
    }
}

static handle listen_on(const uint8_t ip[4], int port) {
    struct made made;
    struct status status;
    create_tcp_socket(IPV4, &made);
    must("create-tcp-socket", (struct status){made.failed, made.code});
    start_bind(made.handle, instance_network(), IPV4, port, ip[0], ip[1], ip[2], ip[3], 0, 0, 0, 0, 0, 0, &status);
    must("start-bind", status);
    finish_bind(made.handle, &status);
    must("finish-bind", status);
    start_listen(made.handle, &status);
    must("start-listen", status);
    finish_listen(made.handle, &status);
    must("finish-listen", status);
    return made.handle;
}

static void add_client(handle listener) {
    struct accepted new;
    accept_client(listener, &new);
    if (new.failed) /* the client has gone again */
        return;
    clients[count] = (struct client){
        .socket = new.socket,
        .source = new.source,
        .sink = new.sink,
        .can_read = subscribe_source(new.source),
        .can_write = subscribe_sink(new.sink),
    };
    polled[count] = clients[count].can_read;
    count++;
}

/* What was made of a thing is dropped before it. The last client moves into the
 * gap, so the arrays stay dense. */
static void drop_client(size_t i) {
    struct client *c = &clients[i];
    free(c->buffer);
    drop_pollable(c->can_read);
    drop_pollable(c->can_write);
    drop_source(c->source);
    drop_sink(c->sink);
    drop_socket(c->socket);
    count--;
    clients[i] = clients[count];
    polled[i] = polled[count];
}

/* An error of a stream that failed is a handle too; whether it failed or ended
 * is the same to us. */
static int gone(struct stream_error error) {
    if (!error.closed)
        drop_error(error.why);
    return 0;
}

/* Takes what the client has sent; 0 means that the client is gone. */
static int receive(struct client *c) {
    struct bytes got;
    stream_read(c->source, BUFFER, &got);
    if (got.failed)
        return gone(got.error);
    if (got.length == 0) {
        free(got.start);
        return 1;
    }
    c->buffer = got.start; /* ours by now, and kept until it is sent */
    c->sent = 0;
    c->filled = got.length;
    return 1;
}

/* Gives back as much as the client takes; 0 means that the client is gone. */
static int give_back(struct client *c) {
    struct permit may;
    struct written done;
    check_write(c->sink, &may);
    if (may.failed)
        return gone(may.error);
    size_t length = c->filled - c->sent;
    if (length > may.length)
        length = (size_t)may.length;
    if (length == 0)
        return 1;
    stream_write(c->sink, c->buffer + c->sent, length, &done);
    if (done.failed)
        return gone(done.error);
    c->sent += length;
    if (c->sent == c->filled) {
        free(c->buffer);
        c->buffer = NULL;
    }
    return 1;
}

/* Moves bytes once in each direction; 0 means that the client is gone. */
static int serve(size_t i) {
    struct client *c = &clients[i];
    if (c->buffer == NULL && !receive(c))
        return 0;
    if (c->buffer != NULL && !give_back(c))
        return 0;
    polled[i] = c->buffer == NULL ? c->can_read : c->can_write;
    return 1;
}

int main(int argc, char **argv) {
    unsigned a, b, c, d;
    if (argc != 3 || sscanf(argv[1], "%u.%u.%u.%u", &a, &b, &c, &d) != 4) {
        fprintf(stderr, "usage: tcpecho ADDRESS PORT\n");
        return 2;
    }
    const uint8_t ip[4] = {(uint8_t)a, (uint8_t)b, (uint8_t)c, (uint8_t)d};
    handle listener = listen_on(ip, atoi(argv[2]));
    struct address bound;
    local_address(listener, &bound);
    must("local-address", (struct status){bound.failed, bound.code});
    printf("serving on %s:%d\n", argv[1], bound.port);
    fflush(stdout);

    polled[0] = subscribe_socket(listener);
    for (;;) {
        struct ready ready;
        /* With no room for another client the listener is left out: it would be ready all the while. */
        size_t first = count > MAX_CLIENTS ? 1 : 0;
        poll_list(polled + first, count - first, &ready);
        /* Backwards: what drop_client moves into the gap was served already, and
         * what add_client adds lies behind all that were polled. */
        for (size_t n = ready.length; n-- > 0;) {
            size_t i = ready.start[n] + first;
            if (i == 0)
                add_client(listener);
            else if (!serve(i))
                drop_client(i);
        }
        free(ready.start);
    }
}
