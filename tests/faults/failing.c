// Makes one system call of a process fail: preloaded, it stands before libc's own functions.
//
// While armed it counts the calls that pass, and the one whose number was given fails with an errno,
// or moves fewer bytes than it was asked to.  Python arms it through ctypes.
//
// What it says must be something that a kernel could say.  So:
// - close() closes and then fails, as Linux does: the number is gone either way.
// - Whoever is told "would block", or given fewer bytes than there are, by a descriptor that is watched
//   edge-triggered, may rightly wait for the next edge.  So one is made: the registration is renewed,
//   and the kernel reports again what is ready.
// - An eventfd moves its eight bytes or is interrupted, and nothing else.
// - Calls that decide nothing (futexes, clocks) pass uncounted, and memory does: Python asks for it anywhere,
//   and wasmtime asks the kernel without libc.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SHORT = -1, KEPT = 4096, WATCHED = 4096 };

static atomic_int armed;
static atomic_long counted;
static long wanted;
static int how;            // an errno, or SHORT
static long takes;         // how many failures in a row, from the wanted one on
static const char *volatile failed;
static const char *names[KEPT];
static __thread int exempt;

// -- what Python calls

// Count from zero; the call number `nth` (from 1; 0: none) and `in_a_row` - 1 more fail in the way `with`.
void fail_arm(long nth, int with, long in_a_row) {
    counted = 0;
    wanted = nth;
    how = with;
    takes = in_a_row;
    failed = NULL;
    memset(names, 0, sizeof names);
    atomic_store(&armed, 1);
}

// Let everything pass again, and return how many calls were counted.
long fail_disarm(void) {
    atomic_store(&armed, 0);
    return counted;
}

// Let the calls of this thread pass uncounted, or not; for the other end of a wire.
void fail_exempt(int is_exempt) { exempt = is_exempt; }

// The name of the call that failed, or NULL.
const char *fail_name(void) { return failed; }

// The name of the call number `nth` since the last arming, or NULL.
const char *fail_counted(long nth) { return nth > 0 && nth < KEPT ? names[nth] : NULL; }

// -- who is next

static int is_hit(const char *name, int can_be_short) {
    if (exempt || !atomic_load_explicit(&armed, memory_order_relaxed)) return 0;
    long number = atomic_fetch_add(&counted, 1) + 1;
    if (number < KEPT) names[number] = name;
    if (number < wanted || number >= wanted + takes || !wanted) return 0;
    if (how == SHORT && !can_be_short) return 0;
    failed = name;
    return how;
}

// -- the next edge

static struct { int epfd, is_set; struct epoll_event event; } watched[WATCHED];
static char is_eventfd[WATCHED];
static int (*real_fstat)(int, struct stat *);

// As `is_hit`, for what moves bytes by a descriptor.  A file on a disk never says "would block", unless
// it was asked to by RWF_NOWAIT, which only the calls that end in a 2 can do.
static int is_hit_on(int fd, const char *name, size_t size) {
    struct stat found;
    if (armed && how == EAGAIN && name[strlen(name) - 1] != '2') {
        if (!real_fstat) *(void **)&real_fstat = dlsym(RTLD_NEXT, "fstat");
        if (real_fstat(fd, &found) == 0 && S_ISREG(found.st_mode)) return 0;
    }
    if (fd >= 0 && fd < WATCHED && is_eventfd[fd] && how != EINTR) return 0;
    return is_hit(name, size > 1);
}

static int (*real_epoll_ctl)(int, int, int, struct epoll_event *);

static void renew(int fd) {
    if (fd >= 0 && fd < WATCHED && watched[fd].is_set)
        real_epoll_ctl(watched[fd].epfd, EPOLL_CTL_MOD, fd, &watched[fd].event);
}

static void note(int epfd, int op, int fd, struct epoll_event *event) {
    if (fd < 0 || fd >= WATCHED) return;
    watched[fd].is_set = op != EPOLL_CTL_DEL;
    if (op != EPOLL_CTL_DEL) watched[fd].epfd = epfd, watched[fd].event = *event;
}

// -- the functions

#define REAL(ret, name, params) \
    static ret (*real_##name) params; \
    if (!real_##name) real_##name = (ret(*) params)dlsym(RTLD_NEXT, #name)

// A call that fails with -1 and has no count to shorten.
#define PLAIN(ret, name, params, args) \
    ret name params { \
        REAL(ret, name, params); \
        int with = is_hit(#name, 0); \
        if (with) { errno = with; return (ret)-1; } \
        return real_##name args; \
    }

// A call on `fd` that moves at most `size` bytes.
#define MOVES(ret, name, params, args) \
    ret name params { \
        REAL(ret, name, params); \
        int with = is_hit_on(fd, #name, size); \
        if (with) renew(fd); \
        if (with == SHORT) size = (size + 1) / 2; \
        else if (with) { errno = with; return (ret)-1; } \
        return real_##name args; \
    }

// The same for a list of buffers, of which only half of the first one that is not empty is left.
static size_t total(const struct iovec *vector, int count) {
    size_t sum = 0;
    for (int i = 0; i < count; i++) sum += vector[i].iov_len;
    return sum;
}

static struct iovec halved(const struct iovec *vector, int count) {
    for (int i = 0; i < count; i++)
        if (vector[i].iov_len) return (struct iovec){vector[i].iov_base, (vector[i].iov_len + 1) / 2};
    return (struct iovec){0};
}

#define VECTORED(name, params, args) \
    ssize_t name params { \
        REAL(ssize_t, name, params); \
        int with = is_hit_on(fd, #name, total(vector, count)); \
        struct iovec half; \
        if (with) renew(fd); \
        if (with == SHORT) half = halved(vector, count), vector = &half, count = 1; \
        else if (with) { errno = with; return -1; } \
        return real_##name args; \
    }

// Fails by its result and not by errno.
#define TELLING(name, params, args) \
    int name params { \
        REAL(int, name, params); \
        int with = is_hit(#name, 0); \
        return with ? with : real_##name args; \
    }

#define BOTH_SIZES(macro, ret, name, params, args) \
    macro(ret, name, params, args) \
    macro(ret, name##64, params, args)
#define BOTH_VECTORED(name, other, params, args) \
    VECTORED(name, params, args) \
    VECTORED(other, params, args)

MOVES(ssize_t, read, (int fd, void *to, size_t size), (fd, to, size))
MOVES(ssize_t, write, (int fd, const void *from, size_t size), (fd, from, size))
BOTH_SIZES(MOVES, ssize_t, pread, (int fd, void *to, size_t size, off_t at), (fd, to, size, at))
BOTH_SIZES(MOVES, ssize_t, pwrite, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at))
VECTORED(readv, (int fd, const struct iovec *vector, int count), (fd, vector, count))
VECTORED(writev, (int fd, const struct iovec *vector, int count), (fd, vector, count))
BOTH_VECTORED(preadv, preadv64, (int fd, const struct iovec *vector, int count, off_t at),
              (fd, vector, count, at))
BOTH_VECTORED(pwritev, pwritev64, (int fd, const struct iovec *vector, int count, off_t at),
              (fd, vector, count, at))
BOTH_VECTORED(preadv2, preadv64v2, (int fd, const struct iovec *vector, int count, off_t at, int flags),
              (fd, vector, count, at, flags))
BOTH_VECTORED(pwritev2, pwritev64v2, (int fd, const struct iovec *vector, int count, off_t at, int flags),
              (fd, vector, count, at, flags))
MOVES(ssize_t, recv, (int fd, void *to, size_t size, int flags), (fd, to, size, flags))
MOVES(ssize_t, recvfrom, (int fd, void *to, size_t size, int flags, struct sockaddr *who, socklen_t *length),
      (fd, to, size, flags, who, length))
MOVES(ssize_t, send, (int fd, const void *from, size_t size, int flags), (fd, from, size, flags))
MOVES(ssize_t, sendto,
      (int fd, const void *from, size_t size, int flags, const struct sockaddr *who, socklen_t length),
      (fd, from, size, flags, who, length))

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL(ssize_t, sendmsg, (int, const struct msghdr *, int));
    int with = is_hit_on(fd, "sendmsg", total(message->msg_iov, message->msg_iovlen));
    if (with) renew(fd);
    if (with > 0) { errno = with; return -1; }
    if (!with) return real_sendmsg(fd, message, flags);
    struct msghdr mine = *message;
    struct iovec half = halved(mine.msg_iov, mine.msg_iovlen);
    mine.msg_iov = &half, mine.msg_iovlen = 1;
    return real_sendmsg(fd, &mine, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    REAL(ssize_t, recvmsg, (int, struct msghdr *, int));
    int with = is_hit_on(fd, "recvmsg", total(message->msg_iov, message->msg_iovlen));
    if (with) renew(fd);
    if (with > 0) { errno = with; return -1; }
    if (!with) return real_recvmsg(fd, message, flags);
    struct iovec *all = message->msg_iov, half = halved(all, message->msg_iovlen);
    size_t count = message->msg_iovlen;
    message->msg_iov = &half, message->msg_iovlen = 1;
    ssize_t done = real_recvmsg(fd, message, flags);
    message->msg_iov = all, message->msg_iovlen = count;
    return done;
}

// Opening takes a mode only now and then; passing one on that nobody gave harms nobody.
#define OPENS(name, first, given) \
    int name first { \
        va_list list; \
        va_start(list, flags); \
        mode_t mode = va_arg(list, mode_t); \
        va_end(list); \
        REAL(int, name, first); \
        int with = is_hit(#name, 0); \
        if (with) { errno = with; return -1; } \
        return real_##name given; \
    }
OPENS(open, (const char *path, int flags, ...), (path, flags, mode))
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode))
OPENS(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode))
OPENS(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, mode))

int close(int fd) {
    REAL(int, close, (int));
    int with = is_hit("close", 0);
    if (fd >= 0 && fd < WATCHED) watched[fd].is_set = is_eventfd[fd] = 0;
    int done = real_close(fd);
    if (with && done == 0) { errno = with; return -1; }
    return done;
}

#define CONTROLS(name, command_type) \
    int name(int fd, command_type command, ...) { \
        va_list list; \
        va_start(list, command); \
        void *argument = va_arg(list, void *); \
        va_end(list); \
        REAL(int, name, (int, command_type, ...)); \
        int with = is_hit(#name, 0); \
        if (with) { errno = with; return -1; } \
        return real_##name(fd, command, argument); \
    }
CONTROLS(fcntl, int)
CONTROLS(fcntl64, int)
CONTROLS(ioctl, unsigned long)

int fstat(int fd, struct stat *out) {
    if (!real_fstat) *(void **)&real_fstat = dlsym(RTLD_NEXT, "fstat");
    int with = is_hit("fstat", 0);
    if (with) { errno = with; return -1; }
    return real_fstat(fd, out);
}
PLAIN(int, fstat64, (int fd, struct stat64 *out), (fd, out))
PLAIN(int, stat, (const char *path, struct stat *out), (path, out))
PLAIN(int, stat64, (const char *path, struct stat64 *out), (path, out))
PLAIN(int, lstat, (const char *path, struct stat *out), (path, out))
PLAIN(int, lstat64, (const char *path, struct stat64 *out), (path, out))
PLAIN(int, fstatat, (int dir, const char *path, struct stat *out, int flags), (dir, path, out, flags))
PLAIN(int, fstatat64, (int dir, const char *path, struct stat64 *out, int flags), (dir, path, out, flags))
BOTH_SIZES(PLAIN, off_t, lseek, (int fd, off_t at, int whence), (fd, at, whence))
PLAIN(int, fsync, (int fd), (fd))
PLAIN(int, fdatasync, (int fd), (fd))
BOTH_SIZES(PLAIN, int, ftruncate, (int fd, off_t size), (fd, size))
BOTH_SIZES(PLAIN, int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
TELLING(posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size))
TELLING(posix_fallocate64, (int fd, off_t at, off_t size), (fd, at, size))
TELLING(posix_fadvise, (int fd, off_t at, off_t size, int advice), (fd, at, size, advice))
TELLING(posix_fadvise64, (int fd, off_t at, off_t size, int advice), (fd, at, size, advice))
PLAIN(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
PLAIN(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
PLAIN(int, renameat, (int dir, const char *path, int to, const char *new), (dir, path, to, new))
PLAIN(int, renameat2, (int dir, const char *path, int to, const char *new, unsigned flags),
      (dir, path, to, new, flags))
PLAIN(int, linkat, (int dir, const char *path, int to, const char *new, int flags),
      (dir, path, to, new, flags))
PLAIN(int, symlinkat, (const char *target, int dir, const char *path), (target, dir, path))
PLAIN(ssize_t, readlinkat, (int dir, const char *path, char *out, size_t size), (dir, path, out, size))
PLAIN(int, utimensat, (int dir, const char *path, const struct timespec times[2], int flags),
      (dir, path, times, flags))
PLAIN(int, futimens, (int fd, const struct timespec times[2]), (fd, times))
PLAIN(ssize_t, getdents64, (int fd, void *out, size_t size), (fd, out, size))

PLAIN(int, epoll_create1, (int flags), (flags))
PLAIN(int, epoll_wait, (int epfd, struct epoll_event *events, int count, int ms), (epfd, events, count, ms))
// A signal ends a look only where nothing was found.
#define LOOKS(name, params, args, without_waiting) \
    int name params { \
        REAL(int, name, params); \
        int with = is_hit(#name, 0); \
        int found = with == EINTR ? real_##name without_waiting : 0; \
        if (found > 0) return found; \
        if (with) { errno = with; return -1; } \
        return real_##name args; \
    }
static const struct timespec no_time;
LOOKS(poll, (struct pollfd *fds, nfds_t count, int ms), (fds, count, ms), (fds, count, 0))
LOOKS(ppoll, (struct pollfd *fds, nfds_t count, const struct timespec *time, const sigset_t *mask),
      (fds, count, time, mask), (fds, count, &no_time, mask))
int eventfd(unsigned value, int flags) {
    REAL(int, eventfd, (unsigned, int));
    int with = is_hit("eventfd", 0);
    if (with) { errno = with; return -1; }
    int fd = real_eventfd(value, flags);
    if (fd >= 0 && fd < WATCHED) is_eventfd[fd] = 1;
    return fd;
}
PLAIN(int, accept, (int fd, struct sockaddr *who, socklen_t *length), (fd, who, length))
PLAIN(int, shutdown, (int fd, int which), (fd, which))
PLAIN(int, socket, (int family, int type, int protocol), (family, type, protocol))
PLAIN(int, socketpair, (int family, int type, int protocol, int out[2]), (family, type, protocol, out))
PLAIN(int, bind, (int fd, const struct sockaddr *who, socklen_t length), (fd, who, length))
PLAIN(int, listen, (int fd, int backlog), (fd, backlog))
PLAIN(int, connect, (int fd, const struct sockaddr *who, socklen_t length), (fd, who, length))
PLAIN(int, getsockname, (int fd, struct sockaddr *who, socklen_t *length), (fd, who, length))
PLAIN(int, getpeername, (int fd, struct sockaddr *who, socklen_t *length), (fd, who, length))
PLAIN(int, getsockopt, (int fd, int level, int option, void *value, socklen_t *length),
      (fd, level, option, value, length))
PLAIN(int, setsockopt, (int fd, int level, int option, const void *value, socklen_t length),
      (fd, level, option, value, length))
PLAIN(int, dup, (int fd), (fd))
PLAIN(int, dup2, (int fd, int to), (fd, to))
PLAIN(int, dup3, (int fd, int to, int flags), (fd, to, flags))
PLAIN(int, pipe2, (int out[2], int flags), (out, flags))
PLAIN(ssize_t, getrandom, (void *to, size_t size, unsigned flags), (to, size, flags))
PLAIN(int, timer_create, (clockid_t clock, struct sigevent *event, timer_t *out), (clock, event, out))
TELLING(pthread_create,
        (pthread_t *out, const pthread_attr_t *attributes, void *(*start)(void *), void *given),
        (out, attributes, start, given))

// Told "would block", whoever accepts waits for the next edge as well.
int accept4(int fd, struct sockaddr *who, socklen_t *length, int flags) {
    REAL(int, accept4, (int, struct sockaddr *, socklen_t *, int));
    int with = is_hit("accept4", 0);
    if (with) { renew(fd), errno = with; return -1; }
    return real_accept4(fd, who, length, flags);
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event) {
    if (!real_epoll_ctl) *(void **)&real_epoll_ctl = dlsym(RTLD_NEXT, "epoll_ctl");
    int with = is_hit("epoll_ctl", 0);
    if (with) { errno = with; return -1; }
    int done = real_epoll_ctl(epfd, op, fd, event);
    if (done == 0) note(epfd, op, fd, event);
    return done;
}

static const char *named(long number) {
    switch (number) {
    case SYS_getdents64: return "getdents64";
    case SYS_utimensat: return "utimensat";
    case SYS_renameat2: return "renameat2";
    case SYS_fallocate: return "fallocate";
    case 437: return "openat2";
    case 441: return "epoll_pwait2";
    default: return NULL;
    }
}

long syscall(long number, ...) {
    va_list list;
    long a[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    REAL(long, syscall, (long, ...));
    const char *name = named(number);
    int with = name ? is_hit(name, 0) : 0;
    if (with) { errno = with; return -1; }
    return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
