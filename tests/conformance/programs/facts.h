/* What the programs of this folder share: they print one line for each fact.
 *
 *     GROUP: WHAT: GOT                       as it should be, or nobody says how it should be
 *     GROUP: WHAT: GOT (wrong: WANTED)       not as preview 1's test suite wants it
 *
 * A program runs the groups that its arguments name, each in a directory of its own below descriptor 3,
 * and ends with 1 if a fact was wrong.  The rights asked for are as narrow as the suite's.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasi/api.h>

#define R(name) __WASI_RIGHTS_##name
#define O(name) __WASI_OFLAGS_##name
#define FOLLOW __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW

typedef __wasi_fd_t fd_t;
typedef __wasi_errno_t errno_t;

static const fd_t ROOT = 3;
/* What a directory of a group may do, and what is opened below it. */
static const uint64_t DIRECTORY_RIGHTS =
    R(FD_FILESTAT_GET) | R(FD_READDIR) | R(PATH_CREATE_FILE) | R(PATH_CREATE_DIRECTORY) |
    R(PATH_REMOVE_DIRECTORY) | R(PATH_OPEN) | R(PATH_UNLINK_FILE) | R(PATH_LINK_SOURCE) |
    R(PATH_LINK_TARGET) | R(PATH_READLINK) | R(PATH_RENAME_SOURCE) | R(PATH_RENAME_TARGET) |
    R(PATH_FILESTAT_GET) | R(PATH_FILESTAT_SET_SIZE) | R(PATH_FILESTAT_SET_TIMES) | R(PATH_SYMLINK);
static const uint64_t INHERITED_RIGHTS =
    R(FD_READ) | R(FD_WRITE) | R(FD_READDIR) | R(FD_FILESTAT_GET) | R(FD_SEEK) | R(PATH_LINK_SOURCE) |
    R(PATH_LINK_TARGET) | R(PATH_OPEN) | R(PATH_UNLINK_FILE) | R(PATH_FILESTAT_GET) |
    R(FD_FDSTAT_SET_FLAGS) | R(FD_SYNC) | R(FD_TELL) | R(FD_ADVISE) | R(FD_ALLOCATE) |
    R(FD_FILESTAT_SET_SIZE) | R(FD_FILESTAT_SET_TIMES);

static const char *const ERRNO[] = {
    "SUCCESS", "2BIG", "ACCES", "ADDRINUSE", "ADDRNOTAVAIL", "AFNOSUPPORT", "AGAIN", "ALREADY", "BADF",
    "BADMSG", "BUSY", "CANCELED", "CHILD", "CONNABORTED", "CONNREFUSED", "CONNRESET", "DEADLK",
    "DESTADDRREQ", "DOM", "DQUOT", "EXIST", "FAULT", "FBIG", "HOSTUNREACH", "IDRM", "ILSEQ", "INPROGRESS",
    "INTR", "INVAL", "IO", "ISCONN", "ISDIR", "LOOP", "MFILE", "MLINK", "MSGSIZE", "MULTIHOP",
    "NAMETOOLONG", "NETDOWN", "NETRESET", "NETUNREACH", "NFILE", "NOBUFS", "NODEV", "NOENT", "NOEXEC",
    "NOLCK", "NOLINK", "NOMEM", "NOMSG", "NOPROTOOPT", "NOSPC", "NOSYS", "NOTCONN", "NOTDIR", "NOTEMPTY",
    "NOTRECOVERABLE", "NOTSOCK", "NOTSUP", "NOTTY", "NXIO", "OVERFLOW", "OWNERDEAD", "PERM", "PIPE",
    "PROTO", "PROTONOSUPPORT", "PROTOTYPE", "RANGE", "ROFS", "SPIPE", "SRCH", "STALE", "TIMEDOUT",
    "TXTBSY", "XDEV", "NOTCAPABLE"};

static const char *group = "";
static int wrong = 0;

/* Whether `got` is one of the words of `wanted`; an empty `wanted` takes anything. */
static bool among(const char *got, const char *wanted) {
    size_t length = strlen(got);
    if (*wanted == 0)
        return true;
    for (const char *word = wanted; word; word = strchr(word, ' ')) {
        word += *word == ' ';
        if (strncmp(word, got, length) == 0 && (word[length] == 0 || word[length] == ' '))
            return true;
    }
    return false;
}

static void say(const char *what, const char *got, const char *wanted) {
    if (among(got, wanted)) {
        printf("%s: %s: %s\n", group, what, got);
    } else {
        printf("%s: %s: %s (wrong: %s)\n", group, what, got, wanted);
        wrong = 1;
    }
    fflush(stdout);
}

/* An errno that must be one of some words. */
static errno_t answer(const char *what, errno_t got, const char *wanted) {
    say(what, got < sizeof ERRNO / sizeof *ERRNO ? ERRNO[got] : "no errno", wanted);
    return got;
}

static errno_t works(const char *what, errno_t got) { return answer(what, got, "SUCCESS"); }

/* A number that must be another one. */
static void number(const char *what, uint64_t got, uint64_t wanted) {
    char g[24], w[24];
    snprintf(g, sizeof g, "%llu", (unsigned long long)got);
    snprintf(w, sizeof w, "%llu", (unsigned long long)wanted);
    say(what, g, w);
}

/* What must hold. */
static void holds(const char *what, bool is) { say(what, is ? "yes" : "no", "yes"); }

/* What nobody prescribes, for a comparison with another host. */
static inline void told(const char *what, const char *got) { say(what, got, ""); }
static inline void told_errno(const char *what, errno_t got) { answer(what, got, ""); }
static inline void told_number(const char *what, uint64_t got) { number(what, got, got); }

/* Opens with all that can be said; -1 if it is refused. */
static errno_t open_with(fd_t dir, int lookup, const char *path, int oflags, uint64_t rights,
                         uint64_t inherited, int flags, fd_t *fd) {
    *fd = (fd_t)-1;
    return __wasi_path_open(dir, lookup, path, oflags, rights, inherited, flags, fd);
}

/* The descriptor of what must open. */
static fd_t opened(const char *what, fd_t dir, const char *path, int oflags, uint64_t rights) {
    fd_t fd;
    works(what, open_with(dir, 0, path, oflags, rights, 0, 0, &fd));
    return fd;
}

/* The errno of opening, and nothing stays open. */
static errno_t opening(fd_t dir, int lookup, const char *path, int oflags) {
    fd_t fd;
    errno_t error = open_with(dir, lookup, path, oflags, 0, 0, 0, &fd);
    return error ? error : __wasi_fd_close(fd);
}

static inline errno_t make_file(fd_t dir, const char *name) { return opening(dir, 0, name, O(CREAT)); }

static inline errno_t write_to(fd_t fd, const void *data, size_t length, size_t *done) {
    __wasi_ciovec_t vector = {data, length};
    *done = 0;
    return __wasi_fd_write(fd, &vector, 1, done);
}

static inline errno_t read_from(fd_t fd, void *data, size_t length, size_t *done) {
    __wasi_iovec_t vector = {data, length};
    *done = 0;
    return __wasi_fd_read(fd, &vector, 1, done);
}

static inline errno_t write_at(fd_t fd, const void *data, size_t length, uint64_t where, size_t *done) {
    __wasi_ciovec_t vector = {data, length};
    *done = 0;
    return __wasi_fd_pwrite(fd, &vector, 1, where, done);
}

static inline errno_t read_at(fd_t fd, void *data, size_t length, uint64_t where, size_t *done) {
    __wasi_iovec_t vector = {data, length};
    *done = 0;
    return __wasi_fd_pread(fd, &vector, 1, where, done);
}

static inline uint64_t size_of(fd_t fd) {
    __wasi_filestat_t stat;
    return __wasi_fd_filestat_get(fd, &stat) ? UINT64_MAX : stat.size;
}

static inline uint64_t position_of(fd_t fd) {
    __wasi_filesize_t at;
    return __wasi_fd_tell(fd, &at) ? UINT64_MAX : at;
}

static inline __wasi_filestat_t stat_at(fd_t dir, int lookup, const char *path) {
    __wasi_filestat_t stat = {.filetype = 255};
    if (__wasi_path_filestat_get(dir, lookup, path, &stat))
        stat.filetype = 254;
    return stat;
}

static inline __wasi_fdstat_t fdstat_of(fd_t fd) {
    __wasi_fdstat_t stat = {.fs_filetype = 255};
    if (__wasi_fd_fdstat_get(fd, &stat))
        stat.fs_filetype = 254;
    return stat;
}

/* A new directory with the group's name, opened with `DIRECTORY_RIGHTS`. */
static fd_t group_directory(void) {
    fd_t fd;
    if (__wasi_path_create_directory(ROOT, group) ||
        open_with(ROOT, 0, group, O(DIRECTORY), DIRECTORY_RIGHTS, INHERITED_RIGHTS, 0, &fd)) {
        say("make a directory", "no", "yes");
        exit(1);
    }
    return fd;
}

struct group {
    const char *name;
    void (*run)(fd_t dir);
};

/* Runs the groups that the arguments name; a directory must be left empty. */
static int run_groups(const struct group *all, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const struct group *one = all;
        while (one->name && strcmp(one->name, argv[i]) != 0)
            one++;
        group = argv[i];
        if (!one->name) {
            say("is there", "no", "yes");
            continue;
        }
        fd_t dir = group_directory();
        one->run(dir);
        works("close the directory", __wasi_fd_close(dir));
        works("remove the directory, left empty", __wasi_path_remove_directory(ROOT, group));
    }
    return wrong;
}
