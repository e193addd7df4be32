/* What has nothing to do with directories: arguments, environment, clocks, random bytes, streams, polls.
 *
 * The host gives the environment "a=text, b=escap \" ing, c=new\nline", in this order.  The group
 * "arguments" expects to be the first argument, and prints those behind it; "exit" ends with 33, and
 * "streams" moves all three streams away, so both come last.
 */
#include "facts.h"

static uint64_t now(__wasi_clockid_t clock) {
    __wasi_timestamp_t time = 0;
    works("time", __wasi_clock_time_get(clock, 0, &time));
    return time;
}

static void environment(fd_t dir) {
    (void)dir;
    size_t count, size;
    works("sizes", __wasi_environ_sizes_get(&count, &size));
    number("variables", count, 3);
    number("bytes", size, sizeof "a=text" + sizeof "b=escap \" ing" + sizeof "c=new\nline");
    uint8_t *names[4], text[64];
    works("get", __wasi_environ_get(names, text));
    holds("the first", strcmp((char *)names[0], "a=text") == 0);
    holds("the second", strcmp((char *)names[1], "b=escap \" ing") == 0);
    holds("the third", strcmp((char *)names[2], "c=new\nline") == 0);
    holds("one behind the other", names[1] == names[0] + 7);
}

static void arguments(fd_t dir) {
    (void)dir;
    size_t count, size;
    works("sizes", __wasi_args_sizes_get(&count, &size));
    told_number("arguments", count - 1);
    uint8_t **names = malloc(count * sizeof *names), *text = malloc(size);
    works("get", __wasi_args_get(names, text));
    size_t length = 0;
    for (size_t i = 0; i < count; i++) {
        length += strlen((char *)names[i]) + 1;
        if (i)
            told("argument", (char *)names[i]);
    }
    number("bytes", size, length);
}

static void clocks(fd_t dir) {
    (void)dir;
    __wasi_timestamp_t resolution = 0, time;
    works("resolution of the monotonic clock", __wasi_clock_res_get(__WASI_CLOCKID_MONOTONIC, &resolution));
    holds("at most a second", resolution > 0 && resolution <= 1000000000);
    works("resolution of the realtime clock", __wasi_clock_res_get(__WASI_CLOCKID_REALTIME, &resolution));
    holds("at most a second", resolution > 0 && resolution <= 1000000000);
    works("a precision", __wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 1, &time));
    uint64_t first = now(__WASI_CLOCKID_MONOTONIC), second = now(__WASI_CLOCKID_MONOTONIC);
    holds("it goes on", first <= second);
    holds("the day is after 2020", now(__WASI_CLOCKID_REALTIME) > 1577836800ull * 1000000000);
}

static void random_bytes(fd_t dir) {
    (void)dir;
    enum { MANY = 1 << 20 };
    uint8_t *bytes = calloc(MANY, 1);
    works("none", __wasi_random_get(bytes, 0));
    number("none written", bytes[0], 0);
    works("a thousand", __wasi_random_get(bytes, 1024));
    works("a million", __wasi_random_get(bytes, MANY));
    int ones = 0;
    for (int i = 0; i < MANY; i++)
        ones += __builtin_popcount(bytes[i]);
    holds("about half of the bits", ones > MANY * 4 - MANY / 16 && ones < MANY * 4 + MANY / 16);
    free(bytes);
}

static void sched_yield_of(fd_t dir) {
    (void)dir;
    works("yield", __wasi_sched_yield());
    works("yield again", __wasi_sched_yield());
}

static void output(fd_t dir) {
    (void)dir;
    size_t done;
    works("write to no descriptor", write_to(1, "", 0, &done));
    answer("write to a closed one", write_to(77, "x", 1, &done), "BADF");
    works("write", write_to(1, "two lines\nof text: \xe2\x88\x80x\xe2\x88\x88\xe2\x84\x9d\n", 30, &done));
    number("bytes", done, 30);
    __wasi_ciovec_t three[3] = {{(uint8_t *)"a", 1}, {(uint8_t *)"", 0}, {(uint8_t *)"b\n", 2}};
    works("write three pieces", __wasi_fd_write(1, three, 3, &done));
    number("bytes", done, 3);
    for (fd_t fd = 0; fd < 3; fd++) {
        __wasi_filestat_t stat;
        __wasi_filesize_t at;
        works("stat a stream", __wasi_fd_filestat_get(fd, &stat));
        number("size", stat.size, 0);
        holds("not a terminal", fdstat_of(fd).fs_filetype != __WASI_FILETYPE_CHARACTER_DEVICE);
        answer("seek in it", __wasi_fd_seek(fd, 0, __WASI_WHENCE_CUR, &at), "SPIPE NOTCAPABLE");
        answer("tell", __wasi_fd_tell(fd, &at), "SPIPE NOTCAPABLE");
        answer("set its size", __wasi_fd_filestat_set_size(fd, 0), "INVAL BADF NOTCAPABLE");
        answer("open below it", opening(fd, 0, "x", 0), "NOTDIR NOTCAPABLE");
    }
    answer("read from the output", read_from(1, &done, 1, &done), "BADF NOTCAPABLE");
    answer("write to the input", write_to(0, "x", 1, &done), "BADF NOTCAPABLE");
}

static __wasi_subscription_t clock_in(uint64_t user, uint32_t clock, uint64_t time, uint16_t flags) {
    return (__wasi_subscription_t){
        .userdata = user,
        .u = {.tag = __WASI_EVENTTYPE_CLOCK, .u.clock = {.id = clock, .timeout = time, .flags = flags}}};
}

static __wasi_subscription_t ready(uint64_t user, uint8_t tag, fd_t fd) {
    return (__wasi_subscription_t){.userdata = user, .u = {.tag = tag, .u.fd_read.file_descriptor = fd}};
}

/* Polls until each of some subscriptions has had its event; their errnos go by user data, from 1. */
static int poll_each(__wasi_subscription_t *subs, size_t count, errno_t *errors, uint8_t *types) {
    for (int rounds = 0; count; rounds++) {
        __wasi_event_t events[8];
        size_t got = 0, kept = 0;
        if (rounds > 20 || __wasi_poll_oneoff(subs, events, count, &got) || got == 0 || got > count)
            return -1;
        for (size_t i = 0; i < got; i++) {
            errors[events[i].userdata] = events[i].error;
            types[events[i].userdata] = events[i].type;
            for (size_t j = 0; j < count; j++)
                if (subs[j].userdata == events[i].userdata)
                    subs[j].userdata = 0;
        }
        for (size_t j = 0; j < count; j++)
            if (subs[j].userdata)
                subs[kept++] = subs[j];
        count = kept;
    }
    return 0;
}

static void poll_oneoff_stdio(fd_t dir) {
    (void)dir;
    __wasi_event_t events[3];
    size_t got = 0;
    __wasi_subscription_t both[2] = {clock_in(1, __WASI_CLOCKID_MONOTONIC, 200000000, 0),
                                     ready(2, __WASI_EVENTTYPE_FD_READ, 0)};
    works("the input or a while", __wasi_poll_oneoff(both, events, 2, &got));
    holds("an event", got >= 1);
    for (size_t i = 0; i < got; i++) {
        number("no error", events[i].error, 0);
        holds("its own type", events[i].type == (events[i].userdata == 1 ? __WASI_EVENTTYPE_CLOCK
                                                                         : __WASI_EVENTTYPE_FD_READ));
    }
    __wasi_subscription_t out[3] = {ready(1, __WASI_EVENTTYPE_FD_WRITE, 1), ready(2, __WASI_EVENTTYPE_FD_WRITE, 2)};
    errno_t errors[3] = {9, 9, 9};
    uint8_t types[3] = {9, 9, 9};
    number("both outputs", (uint64_t)poll_each(out, 2, errors, types), 0);
    holds("no error", errors[1] == 0 && errors[2] == 0);
    holds("their type", types[1] == __WASI_EVENTTYPE_FD_WRITE && types[2] == __WASI_EVENTTYPE_FD_WRITE);
}

static void sleeps(const char *what, uint32_t clock, uint64_t time, uint16_t flags, uint64_t least) {
    __wasi_subscription_t one = clock_in(7, clock, time, flags);
    __wasi_event_t event = {0};
    size_t got = 0;
    __wasi_timestamp_t before = 0, after = 0;
    if (__wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 0, &before))
        before = UINT64_MAX;
    works(what, __wasi_poll_oneoff(&one, &event, 1, &got));
    if (__wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 0, &after))
        after = 0;
    holds("one event of its own", got == 1 && event.userdata == 7 && event.type == __WASI_EVENTTYPE_CLOCK);
    number("no error", event.error, 0);
    holds("long enough", after >= before + least);
}

static void poll_oneoff_clocks(fd_t dir) {
    (void)dir;
    static const uint64_t MS = 1000000;
    sleeps("sleep on the monotonic clock", __WASI_CLOCKID_MONOTONIC, 5 * MS, 0, 5 * MS);
    sleeps("sleep on the realtime clock", __WASI_CLOCKID_REALTIME, 5 * MS, 0, 4 * MS);
    sleeps("no time at all", __WASI_CLOCKID_MONOTONIC, 0, 0, 0);
    sleeps("a time that was", __WASI_CLOCKID_MONOTONIC, 1, __WASI_SUBCLOCKFLAGS_SUBSCRIPTION_CLOCK_ABSTIME, 0);
    sleeps("a day that was", __WASI_CLOCKID_REALTIME, 1, __WASI_SUBCLOCKFLAGS_SUBSCRIPTION_CLOCK_ABSTIME, 0);
    uint64_t start = now(__WASI_CLOCKID_MONOTONIC);
    sleeps("a time that comes", __WASI_CLOCKID_MONOTONIC, start + 5 * MS,
           __WASI_SUBCLOCKFLAGS_SUBSCRIPTION_CLOCK_ABSTIME, 0);
    holds("it has come", now(__WASI_CLOCKID_MONOTONIC) >= start + 5 * MS);
    __wasi_event_t event;
    size_t got;
    answer("nothing", __wasi_poll_oneoff(NULL, &event, 0, &got), "INVAL");
    int woken = 0;
    for (int i = 0; i < 1000; i++) {
        __wasi_subscription_t one = clock_in(7, __WASI_CLOCKID_MONOTONIC, 1, 0);
        woken += __wasi_poll_oneoff(&one, &event, 1, &got) == 0 && got == 1;
    }
    number("a thousand short sleeps", (uint64_t)woken, 1000);
}

static void poll_oneoff_files(fd_t dir) {
    size_t done;
    fd_t out = opened("make a file", ROOT, "poll_oneoff_files/out", O(CREAT), R(FD_WRITE) | R(POLL_FD_READWRITE));
    works("write", write_to(out, "x", 1, &done));
    fd_t in = opened("open it", ROOT, "poll_oneoff_files/out", 0, R(FD_READ) | R(POLL_FD_READWRITE));
    __wasi_subscription_t subs[2] = {ready(1, __WASI_EVENTTYPE_FD_READ, in),
                                     ready(2, __WASI_EVENTTYPE_FD_WRITE, out)};
    errno_t errors[3] = {9, 9, 9};
    uint8_t types[3] = {9, 9, 9};
    number("both", (uint64_t)poll_each(subs, 2, errors, types), 0);
    holds("no error", errors[1] == 0 && errors[2] == 0);
    holds("their type", types[1] == __WASI_EVENTTYPE_FD_READ && types[2] == __WASI_EVENTTYPE_FD_WRITE);
    works("close", __wasi_fd_close(in));
    works("close", __wasi_fd_close(out));
    works("unlink", __wasi_path_unlink_file(dir, "out"));
}

static void poll_oneoff_closed(fd_t dir) {
    (void)dir;
    __wasi_subscription_t subs[2] = {ready(1, __WASI_EVENTTYPE_FD_READ, (fd_t)-1),
                                     ready(2, __WASI_EVENTTYPE_FD_WRITE, (fd_t)-1)};
    __wasi_event_t events[2];
    size_t got = 0;
    /* One may say it of the call or of each event; libc reads both. */
    errno_t error = __wasi_poll_oneoff(subs, events, 2, &got);
    told_errno("no descriptors", error);
    if (!error) {
        number("two events", got, 2);
        holds("each BADF", events[0].error == __WASI_ERRNO_BADF && events[1].error == __WASI_ERRNO_BADF);
    }
}

static void streams(fd_t dir) {
    FILE *said = fopen("streams/said", "w");
    dprintf(2, "moving\n");
    for (fd_t from = 0; from < 3; from++) {
        fd_t to;
        __wasi_fdstat_t stat;
        open_with(dir, 0, "file", O(CREAT), 0, 0, 0, &to);
        fprintf(said, "renumber %d\n", __wasi_fd_renumber(from, to));
        fprintf(said, "is there %d\n", __wasi_fd_fdstat_get(to, &stat));
        fprintf(said, "is gone %d\n", __wasi_fd_fdstat_get(from, &stat) == __WASI_ERRNO_BADF);
        fprintf(said, "unlink %d\n", __wasi_path_unlink_file(dir, "file"));
        if (from == 1)
            dprintf((int)to, "streams: still the output\n");
    }
    fclose(said);
    exit(wrong);
}

static void exit_33(fd_t dir) {
    (void)dir;
    __wasi_proc_exit(33);
}

int main(int argc, char **argv) {
    static const struct group GROUPS[] = {
        {"environment", environment},
        {"clocks", clocks},
        {"random", random_bytes},
        {"sched_yield", sched_yield_of},
        {"output", output},
        {"poll_oneoff_stdio", poll_oneoff_stdio},
        {"poll_oneoff_clocks", poll_oneoff_clocks},
        {"poll_oneoff_files", poll_oneoff_files},
        {"poll_oneoff_closed", poll_oneoff_closed},
        {"streams", streams},
        {"exit", exit_33},
        {0, 0},
    };
    if (argc > 1 && strcmp(argv[1], "arguments") == 0) {
        group = argv[1];
        arguments(ROOT);
        return wrong;
    }
    return run_groups(GROUPS, argc, argv);
}
