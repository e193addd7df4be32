/* What C's library makes of preview 1: streams, directories, times, waiting, and the errors of each.
 *
 * Prints one line for each fact; the working directory is the root of what it was given.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const char *group = "";

static void is(const char *what, long long value) { printf("%s: %s: %lld\n", group, what, value); }

/* The result of a call, or its error in words. */
static void did(const char *what, long long value) {
    if (value < 0)
        printf("%s: %s: %s\n", group, what, strerror(errno));
    else
        is(what, value);
    errno = 0;
}

static void text(const char *what, const char *value) { printf("%s: %s: '%s'\n", group, what, value); }

static void pointer(const char *what, const void *value) { did(what, value ? 0 : -1); }

static void streams(void) {
    char line[64] = {0}, part[8] = {0};
    FILE *file = fopen("stream", "w+");
    pointer("fopen w+", file);
    did("fputs", fputs("first line\nsecond line\n", file) >= 0);
    did("fprintf", fprintf(file, "%d %5.2f %s\n", 42, 3.14159, "third"));
    did("ftell", ftell(file));
    did("fseek", fseek(file, 6, SEEK_SET));
    pointer("fgets", fgets(line, sizeof line, file));
    text("line", line);
    did("fread", (long long)fread(part, 1, 6, file));
    text("part", part);
    did("ungetc", ungetc('X', file));
    did("fgetc", fgetc(file));
    did("fseek to the end", fseek(file, -6, SEEK_END));
    int number = 0;
    did("fscanf", fscanf(file, "%5s", line));
    text("word", line);
    did("fseek before the start", fseek(file, -1, SEEK_SET));
    rewind(file);
    did("fscanf of no number", fscanf(file, "%d", &number));
    did("feof", feof(file));
    while (fgetc(file) != EOF)
        ;
    did("feof at the end", feof(file) != 0);
    did("ftruncate", ftruncate(fileno(file), 10));
    did("fclose", fclose(file));
    file = fopen("stream", "a+");
    pointer("fopen a+", file);
    did("fputc", fputc('!', file));
    did("ftell", ftell(file));
    rewind(file);
    pointer("fgets", fgets(line, sizeof line, file));
    text("line", line);
    did("fclose", fclose(file));
    pointer("fopen x", fopen("stream", "wx"));
    file = fopen("stream", "r");
    did("fputs to one for reading", fputs("x", file) < 0 || fflush(file) < 0);
    did("ferror", ferror(file) != 0);
    did("setvbuf", setvbuf(file, NULL, _IONBF, 0));
    did("fclose", fclose(file));
    pointer("fopen what is not there", fopen("none", "r"));
    pointer("fopen below a file", fopen("stream/x", "r"));
    pointer("fopen a directory to write", fopen(".", "w"));
    did("remove", remove("stream"));
    did("remove again", remove("stream"));
}

static void descriptors(void) {
    char got[16] = {0};
    int fd = open("fd", O_CREAT | O_RDWR | O_EXCL, 0644);
    did("open", fd >= 0 ? 0 : -1);
    did("open again", open("fd", O_CREAT | O_RDWR | O_EXCL, 0644));
    struct iovec out[2] = {{"abc", 3}, {"defgh", 5}}, in[2] = {{got, 2}, {got + 2, 6}};
    long long done = 0;
    while (done < 8) { /* a host may take one piece of several */
        ssize_t n = done < 3 ? writev(fd, out, 2) : write(fd, &"defgh"[done - 3], (size_t)(8 - done));
        if (n <= 0)
            break;
        done += n;
    }
    did("written", done);
    did("lseek", lseek(fd, 0, SEEK_SET));
    done = readv(fd, in, 2);
    is("readv read something", done > 0);
    memset(got, 0, sizeof got);
    did("pread", pread(fd, got, 4, 2));
    text("got", got);
    did("pwrite", pwrite(fd, "ZZ", 2, 20));
    did("pread of a hole", pread(fd, got, 4, 17));
    is("zeros", got[0] == 0 && got[1] == 0 && got[2] == 0 && got[3] == 'Z');
    did("posix_fallocate", posix_fallocate(fd, 0, 64));
    did("size", lseek(fd, 0, SEEK_END));
    did("ftruncate", ftruncate(fd, 5));
    did("ftruncate to less than nothing", ftruncate(fd, -1));
    did("fsync", fsync(fd));
    did("fdatasync", fdatasync(fd));
    did("flags", fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK | O_ACCMODE));
    did("append", fcntl(fd, F_SETFL, O_APPEND | O_RDWR));
    did("flags", fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK));
    did("write", write(fd, "end", 3));
    did("size", lseek(fd, 0, SEEK_END));
    did("isatty", isatty(fd));
    did("close", close(fd));
    did("close again", close(fd));
    did("read when closed", read(fd, got, 1));
    did("truncate", truncate("fd", 2));
    struct stat status;
    did("stat", stat("fd", &status));
    is("size", status.st_size);
    is("regular", S_ISREG(status.st_mode));
    is("names", (long long)status.st_nlink);
    did("access", access("fd", R_OK | W_OK));
    did("access what is not there", access("none", F_OK));
    did("unlink", unlink("fd"));
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static void directories(void) {
    did("mkdir", mkdir("dir", 0755));
    did("mkdir again", mkdir("dir", 0755));
    did("mkdir below nothing", mkdir("none/dir", 0755));
    did("mkdir in it", mkdir("dir/sub", 0755));
    int fd = open("dir/file", O_CREAT | O_WRONLY, 0644);
    did("a file in it", fd >= 0 ? 0 : -1);
    did("write", write(fd, "12345", 5));
    did("close", close(fd));
    did("symlink", symlink("file", "dir/soft"));
    did("link", link("dir/file", "dir/hard"));
    struct dirent **entries;
    int count = scandir("dir", &entries, visible, by_name);
    did("scandir", count);
    for (int i = 0; i < count; i++) {
        text("entry", entries[i]->d_name);
        is("type", entries[i]->d_type);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    DIR *open_dir = opendir("dir");
    pointer("opendir", open_dir);
    int all = 0;
    while (readdir(open_dir))
        all++;
    is("entries with dots", all);
    rewinddir(open_dir);
    is("the first again", readdir(open_dir) != NULL);
    did("closedir", closedir(open_dir));
    pointer("opendir of a file", opendir("dir/file"));
    pointer("opendir of nothing", opendir("none"));
    struct stat status;
    did("lstat", lstat("dir/soft", &status));
    is("a link", S_ISLNK(status.st_mode));
    did("stat", stat("dir/soft", &status));
    is("a file", S_ISREG(status.st_mode));
    is("names", (long long)status.st_nlink);
    char target[16] = {0};
    did("readlink", readlink("dir/soft", target, sizeof target));
    text("target", target);
    did("rename", rename("dir/file", "dir/moved"));
    did("stat what was", stat("dir/file", &status));
    did("stat behind the link", stat("dir/soft", &status));
    did("rename over", rename("dir/moved", "dir/hard"));
    did("rename a directory over a file", rename("dir/sub", "dir/hard"));
    did("rename a file over a directory", rename("dir/hard", "dir/sub"));
    did("rmdir of a full one", rmdir("dir"));
    did("rmdir of a file", rmdir("dir/hard"));
    did("unlink of a directory", unlink("dir/sub"));
    for (const char *const *gone = (const char *const[]){"moved", "hard", "soft", "sub", 0}; *gone; gone++) {
        char path[32];
        snprintf(path, sizeof path, "dir/%s", *gone);
        did(*gone, remove(path));
    }
    did("rmdir", rmdir("dir"));
    did("out", open("../../etc/passwd", O_RDONLY));
}

static void times(void) {
    int fd = open("times", O_CREAT | O_WRONLY, 0644);
    struct timespec both[2] = {{1000000000, 123456789}, {1500000000, 987654321}};
    struct stat status;
    did("futimens", futimens(fd, both));
    did("fstat", fstat(fd, &status));
    is("atime", status.st_atim.tv_sec);
    is("its part", status.st_atim.tv_nsec);
    is("mtime", status.st_mtim.tv_sec);
    is("its part", status.st_mtim.tv_nsec);
    both[0].tv_nsec = UTIME_OMIT, both[1].tv_nsec = UTIME_NOW;
    did("utimensat", utimensat(AT_FDCWD, "times", both, 0));
    did("stat", stat("times", &status));
    is("atime as it was", status.st_atim.tv_sec);
    is("mtime is now", status.st_mtim.tv_sec > 1600000000);
    did("utimensat of nothing", utimensat(AT_FDCWD, "none", NULL, 0));
    did("close", close(fd));
    did("unlink", unlink("times"));
    struct timespec before, after, nap = {0, 2000000};
    did("clock_gettime", clock_gettime(CLOCK_MONOTONIC, &before));
    did("nanosleep", nanosleep(&nap, NULL));
    did("clock_gettime", clock_gettime(CLOCK_MONOTONIC, &after));
    is("slept", (after.tv_sec - before.tv_sec) * 1000000000ll + after.tv_nsec - before.tv_nsec >= 2000000);
    did("usleep", usleep(1000));
    struct timeval day;
    did("gettimeofday", gettimeofday(&day, NULL));
    is("time agrees", time(NULL) - day.tv_sec <= 1);
}

static void waiting(void) {
    int fd = open("wait", O_CREAT | O_RDWR, 0644);
    did("write", pwrite(fd, "x", 1, 0));
    struct pollfd polled[2] = {{fd, POLLIN | POLLOUT, 0}, {STDOUT_FILENO, POLLOUT, 0}};
    did("poll", poll(polled, 2, 1000) > 0);
    is("file readable", (polled[0].revents & POLLIN) != 0);
    is("file writable", (polled[0].revents & POLLOUT) != 0);
    polled[0].revents = 0;
    did("poll with no time", poll(polled, 1, 0) > 0);
    did("poll of nothing", poll(NULL, 0, 2));
    struct pollfd none = {999, POLLIN, 0};
    int ready = poll(&none, 1, 0);
    is("poll of a closed one is told", ready < 0 ? errno == EBADF : (none.revents & POLLNVAL) != 0);
    fd_set reads, writes;
    FD_ZERO(&reads);
    FD_ZERO(&writes);
    FD_SET(fd, &reads);
    FD_SET(fd, &writes);
    struct timeval second = {1, 0}, no_time = {0, 0};
    did("select", select(fd + 1, &reads, &writes, NULL, &second) > 0);
    is("readable", FD_ISSET(fd, &reads) != 0);
    is("writable", FD_ISSET(fd, &writes) != 0);
    did("select of nothing", select(0, NULL, NULL, NULL, &no_time));
    did("close", close(fd));
    did("unlink", unlink("wait"));
}

static void input(void) {
    char line[32] = {0};
    pointer("fgets", fgets(line, sizeof line, stdin));
    text("line", line);
    int number = 0;
    did("scanf", scanf("%d", &number));
    is("number", number);
    did("getchar", getchar());
    did("read on", (long long)fread(line, 1, sizeof line, stdin));
    did("feof", feof(stdin) != 0);
    did("isatty", isatty(0));
    did("lseek", lseek(0, 0, SEEK_CUR));
}

static void surroundings(void) {
    char where[64];
    text("getenv", getenv("a") ? getenv("a") : "none");
    pointer("getenv of nothing", getenv("none"));
    text("getcwd", getcwd(where, sizeof where) ? where : "none");
    did("chdir", chdir("none"));
    did("getentropy", getentropy(where, sizeof where));
    did("sched", sysconf(_SC_PAGESIZE));
}

int main(void) {
    static const struct {
        const char *name;
        void (*run)(void);
    } GROUPS[] = {
        {"streams", streams},   {"descriptors", descriptors}, {"directories", directories},
        {"times", times},       {"waiting", waiting},         {"input", input},
        {"surroundings", surroundings},
    };
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof GROUPS / sizeof *GROUPS; i++) {
        group = GROUPS[i].name;
        errno = 0;
        GROUPS[i].run();
    }
    return 7;
}
