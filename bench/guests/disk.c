// Works on a disk without end, and tells the host after each piece of work.
//
//     disk idle   nothing: it sleeps
//     disk sync   writes 64 KiB and has them brought to the disk
//     disk cold   reads a file in pieces of 64 KiB; after each pass the host makes the kernel forget it
//     disk list   lists a directory, 64 KiB of entries a call
//     disk bulk   writes 16 MiB by one call, and cuts the file
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wasi/api.h>

#define BENCH(name) __attribute__((import_module("bench"), import_name(#name))) void name(void)
BENCH(did);     // counts a piece of work
BENCH(forget);  // drops the file from the page cache

enum { PIECE = 1 << 16, BULK = 16 << 20 };
static char buffer[BULK];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int opened(const char *name, int flags) {
    int fd = open(name, flags, 0666);
    if (fd < 0) fail(name);
    return fd;
}

static void from_the_start(int fd) {
    if (lseek(fd, 0, SEEK_SET) != 0) fail("lseek");
}

static void sync_pieces(void) {
    int fd = opened("/synced", O_CREAT | O_WRONLY);
    for (long done = 0;; done += PIECE, did()) {
        if (done % BULK == 0) from_the_start(fd);
        if (write(fd, buffer, PIECE) != PIECE || fsync(fd) != 0) fail("write and sync");
    }
}

static void read_cold(void) {
    int fd = opened("/cold", O_RDONLY);
    for (;; forget(), from_the_start(fd)) {
        ssize_t count;
        while ((count = read(fd, buffer, PIECE)) > 0) did();
        if (count < 0) fail("read");
    }
}

static void list(void) {
    int fd = opened("/many", O_RDONLY | O_DIRECTORY);
    for (;; did()) {
        __wasi_dircookie_t cookie = 0;
        size_t used = PIECE;
        while (used == PIECE) {
            int error = __wasi_fd_readdir(fd, (uint8_t *)buffer, PIECE, cookie, &used);
            if (error != 0) exit(2);
            __wasi_dirent_t entry;
            for (size_t at = 0; at + sizeof entry <= used; at += sizeof entry + entry.d_namlen) {
                memcpy(&entry, buffer + at, sizeof entry);
                if (at + sizeof entry + entry.d_namlen <= used) cookie = entry.d_next;
            }
        }
    }
}

static void bulk(void) {
    int fd = opened("/bulk", O_CREAT | O_WRONLY);
    for (;; did()) {
        if (write(fd, buffer, BULK) != BULK || ftruncate(fd, 0) != 0) fail("write and cut");
        from_the_start(fd);
    }
}

int main(int argc, char **argv) {
    const char *work = argc == 2 ? argv[1] : "";
    if (strcmp(work, "idle") == 0) for (;;) sleep(1000);
    if (strcmp(work, "sync") == 0) sync_pieces();
    if (strcmp(work, "cold") == 0) read_cold();
    if (strcmp(work, "list") == 0) list();
    if (strcmp(work, "bulk") == 0) bulk();
    return 3;
}
