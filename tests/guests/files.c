/* Reads, stats and seeks in a file below a directory it was given, and tries to leave it.
 *
 *     files DIRECTORY NAME
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(const char *what) {
    printf("%s: %s\n", what, strerror(errno));
    return 1;
}

static void try_outside(const char *directory, const char *rest) {
    char path[512];
    snprintf(path, sizeof path, "%s%s", directory, rest);
    int fd = open(path, O_RDONLY);
    printf("outside %s: %s\n", path, fd < 0 ? "refused" : "ESCAPED");
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    char path[512], content[256];
    snprintf(path, sizeof path, "%s/%s", argv[1], argv[2]);

    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return failed("open");
    ssize_t n = read(fd, content, sizeof content);
    if (n < 0)
        return failed("read");
    printf("read: %zd bytes: %.*s\n", n, (int)n, content);

    struct stat status;
    if (fstat(fd, &status) != 0)
        return failed("fstat");
    printf("fstat: %lld bytes, regular %d\n", (long long)status.st_size, S_ISREG(status.st_mode) != 0);
    if (stat(path, &status) != 0)
        return failed("stat");
    printf("stat: %lld bytes, regular %d\n", (long long)status.st_size, S_ISREG(status.st_mode) != 0);

    if (lseek(fd, 1, SEEK_SET) != 1)
        return failed("lseek");
    if (read(fd, content, 1) != 1)
        return failed("read");
    printf("second byte: %c\n", content[0]);
    close(fd);

    try_outside(argv[1], "/../outside");
    try_outside(argv[1], "/sub/../../outside");
    try_outside(argv[1], "/link/outside");
    try_outside(argv[1], "/absolute");
    try_outside("", "/etc/passwd");
    return 0;
}
