// Times file work from inside, and prints the nanoseconds of each part on standard error.
//
//     files bulk PIECE BYTES   write a file piece by piece, then read it again
//     files small COUNT        open, stat and close that many small files
//     files print COUNT        write that many lines, one call each
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char piece[1 << 20];

static long long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void report(const char *what, long long since) {
    fprintf(stderr, "%s %lld\n", what, now() - since);
}

static void bulk(size_t size, long long bytes) {
    int fd = open("/bulk", O_CREAT | O_TRUNC | O_RDWR, 0666);
    if (fd < 0) fail("open");
    // A second pass over the same pages: the first pays for making them, which is the kernel's affair.
    for (int pass = 0; pass < 2; pass++) {
        if (lseek(fd, 0, SEEK_SET) != 0) fail("lseek");
        long long since = now();
        for (long long done = 0; done < bytes; done += size)
            if (write(fd, piece, size) != (ssize_t)size) fail("write");
        if (pass == 1) report("write", since);
    }
    if (lseek(fd, 0, SEEK_SET) != 0) fail("lseek");
    long long since = now();
    for (long long done = 0; done < bytes; done += size)
        if (read(fd, piece, size) != (ssize_t)size) fail("read");
    report("read", since);
    close(fd);
    unlink("/bulk");
}

static void small(int count) {
    char name[64];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "/small%d", i);
        int fd = open(name, O_CREAT | O_WRONLY, 0666);
        if (fd < 0 || write(fd, "x", 1) != 1) fail(name);
        close(fd);
    }
    long long since = now();
    for (int i = 0; i < count; i++) {
        struct stat found;
        snprintf(name, sizeof name, "/small%d", i);
        int fd = open(name, O_RDONLY);
        if (fd < 0 || fstat(fd, &found) != 0 || found.st_size != 1) fail(name);
        close(fd);
    }
    report("small", since);
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "/small%d", i);
        unlink(name);
    }
}

static void print(int count) {
    long long since = now();
    for (int i = 0; i < count; i++)
        if (write(1, "a line of the usual length, no more\n", 36) != 36) fail("write");
    report("print", since);
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "bulk") == 0) bulk(atol(argv[2]), atoll(argv[3]));
    else if (argc == 3 && strcmp(argv[1], "small") == 0) small(atoi(argv[2]));
    else if (argc == 3 && strcmp(argv[1], "print") == 0) print(atoi(argv[2]));
    else return 2;
    return 0;
}
