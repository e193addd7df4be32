/* Uses `wasi_unstable` beside the preview 1 of its C library, on the same descriptors.
 *
 * The records are written as C structures in the order of the witx text, so that the compiler says where
 * each field lies. argv[1] names a file below the first directory.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OLD(name) __attribute__((import_module("wasi_unstable"), import_name(#name))) int old_##name

struct clock {
    uint64_t identifier;
    uint32_t id;
    uint64_t timeout, precision;
    uint16_t flags;
};

struct subscription {
    uint64_t userdata;
    uint8_t tag;
    union {
        struct clock clock;
        uint32_t fd;
    };
};

struct event {
    uint64_t userdata;
    uint16_t error;
    uint8_t type;
    uint64_t nbytes;
    uint16_t flags;
};

struct filestat {
    uint64_t dev, ino;
    uint8_t filetype;
    uint32_t nlink;
    uint64_t size, atim, mtim, ctim;
};

struct iovec0 {
    const void *data;
    uint32_t length;
};

_Static_assert(sizeof(struct subscription) == 56, "subscription");
_Static_assert(offsetof(struct subscription, clock.timeout) == 32, "timeout");
_Static_assert(offsetof(struct subscription, fd) == 16, "fd");
_Static_assert(sizeof(struct event) == 32, "event");
_Static_assert(sizeof(struct filestat) == 56, "filestat");
_Static_assert(offsetof(struct filestat, nlink) == 20, "nlink");

OLD(poll_oneoff)(const struct subscription *, struct event *, uint32_t, uint32_t *);
OLD(fd_filestat_get)(int, struct filestat *);
OLD(path_filestat_get)(int, int, const char *, uint32_t, struct filestat *);
OLD(fd_seek)(int, int64_t, int, uint64_t *);
OLD(fd_write)(int, const struct iovec0 *, uint32_t, uint32_t *);
OLD(fd_close)(int);

static int bad;

static void check(const char *what, int holds) {
    printf("%s: %s\n", what, holds ? "yes" : "NO");
    bad |= !holds;
}

static int same(const struct filestat *old, const struct stat *now) {
    return old->dev == now->st_dev && old->ino == now->st_ino && old->nlink == now->st_nlink &&
           old->size == (uint64_t)now->st_size && old->filetype == 4 &&
           old->mtim == (uint64_t)now->st_mtim.tv_sec * 1000000000 + (uint64_t)now->st_mtim.tv_nsec;
}

int main(int argc, char **argv) {
    struct filestat old, by_path;
    struct stat now;
    uint64_t at;
    int fd = open(argv[1], O_RDONLY);
    if (argc != 2 || fd < 0 || fstat(fd, &now) != 0) {
        perror("open");
        return 1;
    }
    check("filestat of a descriptor of the other snapshot", old_fd_filestat_get(fd, &old) == 0 && same(&old, &now));
    check("filestat by a path", old_path_filestat_get(3, 1, argv[1], strlen(argv[1]), &by_path) == 0 &&
                                    memcmp(&old, &by_path, sizeof old) == 0);
    check("to the end", old_fd_seek(fd, 0, 1, &at) == 0 && at == old.size && lseek(fd, 0, SEEK_CUR) == (off_t)at);
    check("back from here", old_fd_seek(fd, -1, 0, &at) == 0 && at == old.size - 1);
    check("to the start", old_fd_seek(fd, 2, 2, &at) == 0 && at == 2);

    struct subscription subs[2] = {{.userdata = 7, .tag = 0}, {.userdata = 8, .tag = 1}};
    struct event events[2];
    uint32_t count = 0;
    subs[0].clock = (struct clock){.identifier = ~0ull, .id = 1, .timeout = 1000000};
    check("sleep", old_poll_oneoff(subs, events, 1, &count) == 0 && count == 1 && events[0].userdata == 7);
    subs[1].fd = fd;
    subs[0].clock.timeout = ~0ull;
    check("poll", old_poll_oneoff(subs, events, 2, &count) == 0 && count == 1 && events[0].userdata == 8 &&
                      events[0].type == 1 && events[0].error == 0);

    check("close", old_fd_close(fd) == 0 && fcntl(fd, F_GETFL) < 0);
    fflush(stdout);
    uint32_t written = 0;
    struct iovec0 text = {"written by the old one\n", 23};
    return old_fd_write(1, &text, 1, &written) != 0 || written != 23 || bad;
}
