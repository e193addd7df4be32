/* Makes the calls of preview 1 that its input lists, one a line, and prints a line for each: its errno, and
 * what it gave.
 *
 *     == 3                    a new list: its two directories, `a` and `b`, are the descriptors from 3 on
 *     path_open 0 a 1 =sub/f 1 66 66 0
 *     fd_write s0 =text
 *
 * A descriptor is `a`, `b`, a number, or `s0`: the one that was stored in slot 0, which names nothing if that
 * call failed or the descriptor was closed.  Text begins with `=`, and has strange bytes as %XX.  What
 * differs from one run to the next is not printed: numbers of inodes and devices, times of today.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasi/api.h>

#define FROM(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
#define RAW(name, ...) FROM(name) int32_t raw_##name(__VA_ARGS__)
RAW(path_open, int32_t, int32_t, const void *, size_t, int32_t, int64_t, int64_t, int32_t, uint32_t *);
RAW(path_create_directory, int32_t, const void *, size_t);
RAW(path_remove_directory, int32_t, const void *, size_t);
RAW(path_unlink_file, int32_t, const void *, size_t);
RAW(path_rename, int32_t, const void *, size_t, int32_t, const void *, size_t);
RAW(path_link, int32_t, int32_t, const void *, size_t, int32_t, const void *, size_t);
RAW(path_symlink, const void *, size_t, int32_t, const void *, size_t);
RAW(path_readlink, int32_t, const void *, size_t, void *, size_t, size_t *);
RAW(path_filestat_get, int32_t, int32_t, const void *, size_t, void *);
RAW(path_filestat_set_times, int32_t, int32_t, const void *, size_t, int64_t, int64_t, int32_t);
RAW(fd_seek, int32_t, int64_t, int32_t, uint64_t *);
RAW(fd_advise, int32_t, int64_t, int64_t, int32_t);
RAW(fd_fdstat_set_flags, int32_t, int32_t);
RAW(fd_filestat_set_times, int32_t, int64_t, int64_t, int32_t);

enum { SLOTS = 16, ROOM = 70000, LINE = 1 << 16, MOST = 64 };
static const uint32_t NONE = 1000000;
static const uint64_t TODAY = 1000000000000000000; /* nanoseconds; no list sets a time behind it */

static uint32_t slots[SLOTS];
static uint32_t first;
static char *rest;
static uint8_t buffer[ROOM];

struct text {
    size_t size;
    uint8_t data[ROOM];
};

/* -- what a line says */

static const char *word(void) {
    char *found = rest;
    char *end = strchr(rest, ' ');
    rest = end ? end + 1 : rest + strlen(rest);
    if (end)
        *end = 0;
    return found;
}

static uint64_t number(void) { return strtoull(word(), NULL, 0); }

static uint32_t descriptor_of(const char *name) {
    if (*name == 's')
        return slots[atoi(name + 1) % SLOTS];
    if (*name == 'a' || *name == 'b')
        return first + (uint32_t)(*name - 'a');
    return (uint32_t)strtoul(name, NULL, 0);
}

static uint32_t descriptor(void) { return descriptor_of(word()); }

static void forget(const char *name) {
    if (*name == 's')
        slots[atoi(name + 1) % SLOTS] = NONE;
}

static const struct text *text_into(struct text *text) {
    const char *from = word() + 1;
    text->size = 0;
    while (*from && text->size < ROOM) {
        char digits[3] = {0};
        if (*from == '%') {
            memcpy(digits, from + 1, 2);
            text->data[text->size++] = (uint8_t)strtoul(digits, NULL, 16);
            from += 3;
        } else {
            text->data[text->size++] = (uint8_t)*from++;
        }
    }
    return text;
}

static struct text one, other;
static const struct text *text(void) { return text_into(&one); }
static const struct text *second_text(void) { return text_into(&other); }

/* -- what is printed */

static void show_bytes(const uint8_t *data, size_t size) {
    printf(" \"");
    for (size_t i = 0; i < size; i++) {
        if (data[i] > ' ' && data[i] < 127 && data[i] != '"')
            putchar(data[i]);
        else
            printf("%%%02x", data[i]);
    }
    putchar('"');
}

static void show_time(uint64_t time) {
    if (time < TODAY)
        printf(" %llu", (unsigned long long)time);
    else
        printf(" today");
}

static void show_stat(const __wasi_filestat_t *stat) {
    bool is_file = stat->filetype == __WASI_FILETYPE_REGULAR_FILE;
    long long size = is_file ? (long long)stat->size : 0;
    printf(" type %d links %d size %lld", stat->filetype, (int)stat->nlink, size);
    if (is_file) /* when anything else counts as read is up to the host */
        show_time(stat->atim);
    show_time(stat->mtim);
}

static void end(int32_t error) { printf("%d", (int)error); }

/* -- paths */

static void path_open(void) {
    uint32_t slot = (uint32_t)number() % SLOTS, dir = descriptor();
    int32_t lookup = (int32_t)number();
    const struct text *path = text();
    int32_t oflags = (int32_t)number();
    int64_t rights = (int64_t)number(), inherited = (int64_t)number();
    uint32_t fd = NONE;
    int32_t flags = (int32_t)number();
    end(raw_path_open((int32_t)dir, lookup, path->data, path->size, oflags, rights, inherited, flags, &fd));
    if (slots[slot] != NONE)
        (void)!__wasi_fd_close(slots[slot]);
    slots[slot] = fd;
}

static void path_create_directory(void) {
    int32_t dir = (int32_t)descriptor();
    const struct text *path = text();
    end(raw_path_create_directory(dir, path->data, path->size));
}

static void path_remove_directory(void) {
    int32_t dir = (int32_t)descriptor();
    const struct text *path = text();
    end(raw_path_remove_directory(dir, path->data, path->size));
}

static void path_unlink_file(void) {
    int32_t dir = (int32_t)descriptor();
    const struct text *path = text();
    end(raw_path_unlink_file(dir, path->data, path->size));
}

static void path_rename(void) {
    int32_t dir = (int32_t)descriptor();
    const struct text *path = text();
    int32_t to = (int32_t)descriptor();
    const struct text *new = second_text();
    end(raw_path_rename(dir, path->data, path->size, to, new->data, new->size));
}

static void path_link(void) {
    int32_t dir = (int32_t)descriptor(), lookup = (int32_t)number();
    const struct text *path = text();
    int32_t to = (int32_t)descriptor();
    const struct text *new = second_text();
    end(raw_path_link(dir, lookup, path->data, path->size, to, new->data, new->size));
}

static void path_symlink(void) {
    const struct text *target = second_text();
    int32_t dir = (int32_t)descriptor();
    const struct text *path = text();
    end(raw_path_symlink(target->data, target->size, dir, path->data, path->size));
}

static void path_readlink(void) {
    int32_t dir = (int32_t)descriptor();
    const struct text *path = text();
    size_t size = (size_t)number(), used = 0;
    memset(buffer, '#', size + 1);
    end(raw_path_readlink(dir, path->data, path->size, buffer, size, &used));
    show_bytes(buffer, used + 1);
}

static void path_filestat_get(void) {
    int32_t dir = (int32_t)descriptor(), lookup = (int32_t)number();
    const struct text *path = text();
    __wasi_filestat_t stat = {0};
    end(raw_path_filestat_get(dir, lookup, path->data, path->size, &stat));
    show_stat(&stat);
}

static void path_filestat_set_times(void) {
    int32_t dir = (int32_t)descriptor(), lookup = (int32_t)number();
    const struct text *path = text();
    int64_t atim = (int64_t)number(), mtim = (int64_t)number();
    end(raw_path_filestat_set_times(dir, lookup, path->data, path->size, atim, mtim, (int32_t)number()));
}

/* -- files */

static void fd_filestat_get(void) {
    __wasi_filestat_t stat = {0};
    end(__wasi_fd_filestat_get(descriptor(), &stat));
    show_stat(&stat);
}

static void fd_filestat_set_size(void) {
    uint32_t fd = descriptor();
    end(__wasi_fd_filestat_set_size(fd, number()));
}

static void fd_filestat_set_times(void) {
    int32_t fd = (int32_t)descriptor();
    int64_t atim = (int64_t)number(), mtim = (int64_t)number();
    end(raw_fd_filestat_set_times(fd, atim, mtim, (int32_t)number()));
}

static void fd_read(void) {
    uint32_t fd = descriptor();
    __wasi_iovec_t vector = {buffer, (size_t)number()};
    size_t done = 0;
    end(__wasi_fd_read(fd, &vector, 1, &done));
    show_bytes(buffer, done);
}

static void fd_pread(void) {
    uint32_t fd = descriptor();
    __wasi_iovec_t vector = {buffer, (size_t)number()};
    size_t done = 0;
    end(__wasi_fd_pread(fd, &vector, 1, number(), &done));
    show_bytes(buffer, done);
}

static void fd_write(void) {
    uint32_t fd = descriptor();
    const struct text *data = text();
    __wasi_ciovec_t vector = {data->data, data->size};
    size_t done = 0;
    end(__wasi_fd_write(fd, &vector, 1, &done));
    printf(" %zu", done);
}

static void fd_pwrite(void) {
    uint32_t fd = descriptor();
    const struct text *data = text();
    __wasi_ciovec_t vector = {data->data, data->size};
    size_t done = 0;
    end(__wasi_fd_pwrite(fd, &vector, 1, number(), &done));
    printf(" %zu", done);
}

static void fd_seek(void) {
    int32_t fd = (int32_t)descriptor();
    int64_t offset = (int64_t)number();
    uint64_t at = 0;
    end(raw_fd_seek(fd, offset, (int32_t)number(), &at));
    printf(" %llu", (unsigned long long)at);
}

static void fd_tell(void) {
    __wasi_filesize_t at = 0;
    end(__wasi_fd_tell(descriptor(), &at));
    printf(" %llu", (unsigned long long)at);
}

static void fd_advise(void) {
    int32_t fd = (int32_t)descriptor();
    int64_t offset = (int64_t)number(), size = (int64_t)number();
    end(raw_fd_advise(fd, offset, size, (int32_t)number()));
}

static void fd_sync(void) { end(__wasi_fd_sync(descriptor())); }
static void fd_datasync(void) { end(__wasi_fd_datasync(descriptor())); }

/* -- descriptors */

static void fd_fdstat_get(void) {
    __wasi_fdstat_t stat = {0};
    end(__wasi_fd_fdstat_get(descriptor(), &stat));
    printf(" type %d flags %d", stat.fs_filetype, stat.fs_flags);
}

static void fd_fdstat_set_flags(void) {
    int32_t fd = (int32_t)descriptor();
    end(raw_fd_fdstat_set_flags(fd, (int32_t)number()));
}

static void fd_close(void) {
    const char *name = word();
    end(__wasi_fd_close(descriptor_of(name)));
    forget(name);
}

static void fd_renumber(void) {
    const char *from = word();
    uint32_t fd = descriptor_of(from), to = descriptor();
    __wasi_fdstat_t stat;
    if (fd == to || __wasi_fd_fdstat_get(fd, &stat) || __wasi_fd_fdstat_get(to, &stat)) {
        printf("not done"); /* an old wasmtime makes numbers up, or loses them */
        return;
    }
    int32_t error = __wasi_fd_renumber(fd, to);
    end(error);
    if (!error && fd != to)
        forget(from);
}

static int by_text(const void *left, const void *right) { return strcmp(left, right); }

/* Reads on from the cookie of the last whole entry until a buffer is not full, as a C library does. */
static void fd_readdir(void) {
    static char names[MOST][300];
    uint32_t fd = descriptor();
    size_t size = (size_t)number(), used = 0, count = 0, turns = 0;
    uint64_t cookie = number();
    int32_t error;
    do {
        error = __wasi_fd_readdir(fd, buffer, size, cookie, &used);
        for (size_t at = 0; !error && at + sizeof(__wasi_dirent_t) <= used;) {
            __wasi_dirent_t entry;
            memcpy(&entry, buffer + at, sizeof entry);
            at += sizeof entry;
            if (at + entry.d_namlen > used)
                break;
            if (count < MOST)
                snprintf(names[count++], 300, "%.*s:%d", (int)entry.d_namlen, buffer + at, entry.d_type);
            at += entry.d_namlen;
            cookie = entry.d_next;
        }
    } while (!error && used == size && ++turns < 100);
    end(error);
    if (turns >= 100)
        count = 0; /* no entry fits */
    qsort(names, count, sizeof *names, by_text);
    for (size_t i = 0; i < count; i++)
        show_bytes((const uint8_t *)names[i], strlen(names[i]));
}

#define CALL(name) {#name, name}
static const struct {
    const char *name;
    void (*make)(void);
} CALLS[] = {
    CALL(path_open),
    CALL(path_create_directory), CALL(path_remove_directory), CALL(path_unlink_file),
    CALL(path_rename), CALL(path_link), CALL(path_symlink), CALL(path_readlink),
    CALL(path_filestat_get), CALL(path_filestat_set_times),
    CALL(fd_filestat_get), CALL(fd_filestat_set_size), CALL(fd_filestat_set_times),
    CALL(fd_read), CALL(fd_pread), CALL(fd_write), CALL(fd_pwrite),
    CALL(fd_seek), CALL(fd_tell), CALL(fd_advise), CALL(fd_sync), CALL(fd_datasync),
    CALL(fd_fdstat_get), CALL(fd_fdstat_set_flags), CALL(fd_close), CALL(fd_renumber),
    CALL(fd_readdir),
};

static void begin_list(void) {
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i] != NONE)
            (void)!__wasi_fd_close(slots[i]);
        slots[i] = NONE;
    }
    first = (uint32_t)number();
    printf("==\n");
}

static void make(char *line) {
    rest = line;
    const char *name = word();
    if (strcmp(name, "==") == 0) {
        begin_list();
        return;
    }
    for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++) {
        if (strcmp(name, CALLS[i].name) == 0) {
            CALLS[i].make();
            putchar('\n');
            fflush(stdout);
            return;
        }
    }
    printf("no call %s\n", name);
    exit(99);
}

int main(void) {
    static char line[LINE];
    for (int i = 0; i < SLOTS; i++)
        slots[i] = NONE;
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        make(line);
    }
    return 0;
}
