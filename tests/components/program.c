/* What a C program may ask of preview 1, for the adapter that makes it WASI 0.2: does what its first argument says. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int files(const char *folder) {
    char path[256], content[64] = "";
    struct stat status;
    snprintf(path, sizeof path, "%s/made", folder);
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0666);
    if (fd < 0 || write(fd, "by the guest", 12) != 12)
        return perror("write"), 1;
    if (pread(fd, content, 5, 3) != 5 || fstat(fd, &status) != 0)
        return perror("read"), 1;
    printf("%s, %lld bytes\n", content, (long long)status.st_size);
    close(fd);
    char moved[256];
    snprintf(moved, sizeof moved, "%s/moved", folder);
    printf("rename: %d\n", rename(path, moved));
    printf("mkdir: %d\n", mkdir(path, 0777));
    printf("unlink a directory: %s\n", unlink(path) == 0 ? "done" : strerror(errno));
    snprintf(path, sizeof path, "%s/../outside", folder);
    printf("outside: %s\n", open(path, O_RDONLY) < 0 ? strerror(errno) : "open");
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "args") == 0) {
        for (int i = 2; i < argc; i++)
            printf("[%s]\n", argv[i]);
    } else if (strcmp(what, "env") == 0) {
        for (char **each = environ; *each; each++)
            if (strncmp(*each, "T_", 2) == 0)
                puts(*each);
    } else if (strcmp(what, "exit") == 0) {
        printf("before\n"); /* stdio's buffer is written by exit() */
        fprintf(stderr, "to stderr\n");
        exit(atoi(argv[2]));
    } else if (strcmp(what, "abort") == 0) {
        abort();
    } else if (strcmp(what, "stdin") == 0) {
        char line[256];
        while (fgets(line, sizeof line, stdin))
            printf("%zu: %s", strlen(line), line);
    } else if (strcmp(what, "files") == 0) {
        return files(argv[2]);
    } else if (strcmp(what, "sleep") == 0) {
        struct timespec before, after, nap = {.tv_nsec = 30000000};
        clock_gettime(CLOCK_MONOTONIC, &before);
        nanosleep(&nap, NULL);
        clock_gettime(CLOCK_MONOTONIC, &after);
        long long ns = (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec;
        printf("slept: %d\n", ns >= nap.tv_nsec);
    } else if (strcmp(what, "accept") == 0) {
        printf("accept: %s\n", accept(3, NULL, NULL) < 0 ? strerror(errno) : "a client");
    } else {
        return 2;
    }
    return 0;
}
