/* What is done with an open regular file: reading and writing at positions, sizes, flags, advice. */
#include "facts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t BOTH = R(FD_READ) | R(FD_WRITE) | R(FD_FILESTAT_GET) | R(FD_SEEK) | R(FD_TELL);

static void end(fd_t dir, fd_t fd, const char *name) {
    works("close", __wasi_fd_close(fd));
    works("unlink", __wasi_path_unlink_file(dir, name));
}

static void file_allocate(fd_t dir) {
    fd_t fd = opened("make a file", dir, "file", O(CREAT), BOTH | R(FD_ALLOCATE));
    errno_t error = __wasi_fd_allocate(fd, 0, 100);
    if (answer("allocate", error, "SUCCESS NOTSUP") == __WASI_ERRNO_SUCCESS) {
        number("size", size_of(fd), 100);
        works("allocate inside", __wasi_fd_allocate(fd, 10, 10));
        number("size", size_of(fd), 100);
        works("allocate beyond", __wasi_fd_allocate(fd, 90, 20));
        number("size", size_of(fd), 110);
        answer("allocate nothing", __wasi_fd_allocate(fd, 0, 0), "INVAL");
        answer("allocate too much", __wasi_fd_allocate(fd, INT64_MAX, 2), "INVAL FBIG");
        number("size", size_of(fd), 110);
    }
    end(dir, fd, "file");
}

static void fd_advise(fd_t dir) {
    fd_t fd = opened("make a file", dir, "file", O(CREAT), BOTH | R(FD_ADVISE) | R(FD_FILESTAT_SET_SIZE));
    works("make it longer", __wasi_fd_filestat_set_size(fd, 100));
    static const char *const NAMES[] = {"normal", "sequential", "random", "willneed", "dontneed", "noreuse"};
    for (int advice = 0; advice < 6; advice++)
        works(NAMES[advice], __wasi_fd_advise(fd, 10, 50, (__wasi_advice_t)advice));
    works("of everything", __wasi_fd_advise(fd, 0, 0, __WASI_ADVICE_NORMAL));
    number("size", size_of(fd), 100);
    end(dir, fd, "file");
}

static void file_pread_pwrite(fd_t dir) {
    fd_t fd = opened("make a file", dir, "file", O(CREAT), BOTH);
    uint8_t data[4] = {0, 1, 2, 3}, got[4] = {9, 9, 9, 9};
    size_t done;
    works("write", write_at(fd, data, 4, 0, &done));
    number("bytes", done, 4);
    works("read", read_at(fd, got, 4, 0, &done));
    number("bytes", done, 4);
    holds("same", memcmp(got, data, 4) == 0);
    __wasi_ciovec_t out[2] = {{data + 2, 2}, {data, 2}};
    works("write two pieces", __wasi_fd_pwrite(fd, out, 2, 0, &done));
    number("bytes", done, 4);
    memset(got, 9, 4);
    __wasi_iovec_t in[2] = {{got + 2, 2}, {got, 2}};
    works("read two pieces", __wasi_fd_pread(fd, in, 2, 0, &done));
    number("bytes", done, 4);
    holds("same", memcmp(got, data, 4) == 0);
    memset(got, 9, 4);
    works("read at the end", read_at(fd, got, 4, 2, &done));
    number("bytes", done, 2);
    holds("no more than those", got[0] == 0 && got[1] == 1 && got[2] == 9 && got[3] == 9);
    works("write at 2", write_at(fd, data, 2, 2, &done));
    works("read behind the end", read_at(fd, got, 4, 100, &done));
    number("bytes", done, 0);
    number("position", position_of(fd), 0);
    told_errno("read far behind the end", read_at(fd, got, 4, INT64_MAX, &done));
    answer("read before the start", read_at(fd, got, 4, (uint64_t)-1, &done), "INVAL");
    answer("write before the start", write_at(fd, data, 4, (uint64_t)-1, &done), "INVAL FBIG");
    number("size", size_of(fd), 4);
    end(dir, fd, "file");
}

static void pwrite_and_position(fd_t dir) {
    fd_t fd = opened("make a file", dir, "file", O(CREAT), BOTH);
    size_t done;
    works("write nothing at 50", write_at(fd, "", 0, 50, &done));
    number("size", size_of(fd), 0);
    works("write a byte at 50", write_at(fd, "x", 1, 50, &done));
    number("size", size_of(fd), 51);
    number("position", position_of(fd), 0);
    char got[51];
    works("read", read_from(fd, got, 51, &done));
    holds("zeros before it", got[0] == 0 && got[49] == 0 && got[50] == 'x');
    end(dir, fd, "file");
}

static void pwrite_with_append(fd_t dir) {
    fd_t fd;
    size_t done;
    __wasi_filesize_t at;
    works("make a file", open_with(dir, 0, "file", O(CREAT), BOTH, 0, __WASI_FDFLAGS_APPEND, &fd));
    works("write", write_to(fd, "ab", 2, &done));
    works("go to the start", __wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
    works("write", write_to(fd, "cd", 2, &done));
    number("position", position_of(fd), 4);
    number("size", size_of(fd), 4);
    works("write at 0", write_at(fd, "efg", 3, 0, &done));
    number("position", position_of(fd), 4);
    uint64_t size = size_of(fd);
    holds("at the end or at 0", size == 7 || size == 4);
    told_number("size", size);
    end(dir, fd, "file");
}

static void file_seek_tell(fd_t dir) {
    fd_t fd = opened("make a file", dir, "file", O(CREAT), BOTH);
    char data[100] = {0};
    size_t done;
    __wasi_filesize_t at;
    number("position", position_of(fd), 0);
    works("write", write_to(fd, data, 100, &done));
    number("position", position_of(fd), 100);
    works("back by 50", __wasi_fd_seek(fd, -50, __WASI_WHENCE_CUR, &at));
    number("new position", at, 50);
    works("to the start", __wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
    number("new position", at, 0);
    works("beyond the end", __wasi_fd_seek(fd, 1000, __WASI_WHENCE_CUR, &at));
    number("new position", at, 1000);
    answer("before the start", __wasi_fd_seek(fd, -2000, __WASI_WHENCE_CUR, &at), "INVAL");
    number("position", position_of(fd), 1000);
    works("to the end", __wasi_fd_seek(fd, 0, __WASI_WHENCE_END, &at));
    number("new position", at, 100);
    works("before the end", __wasi_fd_seek(fd, -1, __WASI_WHENCE_END, &at));
    number("new position", at, 99);
    answer("before the start from the end", __wasi_fd_seek(fd, -101, __WASI_WHENCE_END, &at), "INVAL");
    answer("a negative start", __wasi_fd_seek(fd, -1, __WASI_WHENCE_SET, &at), "INVAL");
    works("very far", __wasi_fd_seek(fd, 1ll << 40, __WASI_WHENCE_SET, &at));
    number("new position", at, 1ull << 40);
    works("read there", read_from(fd, data, 1, &done));
    number("bytes", done, 0);
    answer("farther than there is", __wasi_fd_seek(fd, INT64_MAX, __WASI_WHENCE_CUR, &at), "INVAL OVERFLOW");
    works("to the start", __wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
    works("read", read_from(fd, data, 100, &done));
    number("bytes", done, 100);
    number("position", position_of(fd), 100);
    end(dir, fd, "file");
}

/* Native wasmtime ends a guest that says one of these. */
static void unknown_values(fd_t dir) {
    fd_t fd = opened("make a file", dir, "file", O(CREAT), BOTH | R(FD_ADVISE) | R(FD_FDSTAT_SET_FLAGS));
    __wasi_filesize_t at;
    __wasi_timestamp_t time;
    answer("advice", __wasi_fd_advise(fd, 0, 0, 6), "INVAL");
    answer("whence", __wasi_fd_seek(fd, 0, 3, &at), "INVAL");
    answer("flags", __wasi_fd_fdstat_set_flags(fd, 0x8000), "INVAL");
    answer("open flags", opening(dir, 0, "file", 0x8000), "INVAL");
    answer("times", __wasi_fd_filestat_set_times(fd, 0, 0, 0x8000), "INVAL NOTCAPABLE");
    answer("a clock", __wasi_clock_time_get(99, 0, &time), "INVAL BADF");
    answer("its resolution", __wasi_clock_res_get(99, &time), "INVAL BADF");
    end(dir, fd, "file");
}

static void file_truncation(fd_t dir) {
    fd_t fd = opened("make a file", dir, "file", O(CREAT), R(FD_WRITE));
    char got[100];
    size_t done;
    works("write", write_to(fd, "to be cut away", 14, &done));
    works("close", __wasi_fd_close(fd));
    fd = opened("cut it", dir, "file", O(CREAT) | O(TRUNC), R(FD_READ) | R(FD_WRITE));
    works("read", read_from(fd, got, 100, &done));
    number("bytes", done, 0);
    end(dir, fd, "file");
}

static void file_unbuffered_write(fd_t dir) {
    fd_t in = opened("make a file, to read", dir, "file", O(CREAT), R(FD_READ));
    fd_t out = opened("open it to write", dir, "file", 0, R(FD_WRITE));
    char got = 0;
    size_t done;
    works("write", write_to(out, "\1", 1, &done));
    number("bytes", done, 1);
    works("read", read_from(in, &got, 1, &done));
    number("bytes", done, 1);
    number("byte", (uint64_t)got, 1);
    works("close", __wasi_fd_close(out));
    end(dir, in, "file");
}

static void file_read_write(fd_t dir) {
    fd_t fd = opened("make a file", dir, "file", O(CREAT), BOTH);
    uint8_t data[4] = {0, 1, 2, 3}, got[4] = {9, 9, 9, 9};
    size_t done;
    __wasi_filesize_t at;
    __wasi_ciovec_t out[2] = {{data, 1}, {data + 1, 3}};
    works("write two pieces", __wasi_fd_write(fd, out, 2, &done));
    number("bytes", done, 4);
    works("to the start", __wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
    __wasi_iovec_t in[3] = {{got, 2}, {got + 2, 0}, {got + 2, 2}};
    works("read three pieces", __wasi_fd_read(fd, in, 3, &done));
    number("bytes", done, 4);
    holds("same", memcmp(got, data, 4) == 0);
    works("read no piece", __wasi_fd_read(fd, in, 0, &done));
    number("bytes", done, 0);
    works("write no piece", __wasi_fd_write(fd, out, 0, &done));
    number("bytes", done, 0);
    works("to 2", __wasi_fd_seek(fd, 2, __WASI_WHENCE_SET, &at));
    works("write nothing", write_to(fd, "", 0, &done));
    number("position", position_of(fd), 2);
    number("size", size_of(fd), 4);
    works("to 50", __wasi_fd_seek(fd, 50, __WASI_WHENCE_SET, &at));
    works("write a byte", write_to(fd, "x", 1, &done));
    number("position", position_of(fd), 51);
    number("size", size_of(fd), 51);
    end(dir, fd, "file");
}

static void file_write(fd_t dir) {
    enum { LENGTH = 1 << 16 };
    char *data = malloc(LENGTH + 1), got[100];
    size_t done;
    __wasi_filesize_t at;
    for (int i = 0; i < LENGTH / 16; i++)
        snprintf(data + 16 * i, 17, "a line: %06d\n\n", i);
    fd_t fd = opened("make a file", dir, "file", O(CREAT), R(FD_WRITE) | R(FD_FILESTAT_GET));
    works("write 64 KiB", write_to(fd, data, LENGTH, &done));
    number("bytes", done, LENGTH);
    number("size", size_of(fd), LENGTH);
    works("close", __wasi_fd_close(fd));
    fd = opened("open it", dir, "file", 0, R(FD_READ) | R(FD_SEEK));
    works("read", read_from(fd, got, 100, &done));
    holds("the start", done == 100 && memcmp(got, data, 100) == 0);
    works("go near the end", __wasi_fd_seek(fd, LENGTH - 100, __WASI_WHENCE_SET, &at));
    works("read", read_from(fd, got, 100, &done));
    holds("the end", done == 100 && memcmp(got, data + LENGTH - 100, 100) == 0);
    end(dir, fd, "file");
    free(data);
}

static void fd_flags_set(fd_t dir) {
    fd_t fd;
    char data[100], got[100];
    size_t done;
    __wasi_filesize_t at;
    works("make a file that appends",
          open_with(dir, 0, "file", O(CREAT), BOTH | R(FD_FDSTAT_SET_FLAGS), 0, __WASI_FDFLAGS_APPEND, &fd));
    for (int round = 0; round < 2; round++) {
        memset(data, 'a' + round, 100);
        works("to the start", __wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
        works("write", write_to(fd, data, 100, &done));
        works("to what was written", __wasi_fd_seek(fd, 100 * round, __WASI_WHENCE_SET, &at));
        works("read", read_from(fd, got, 100, &done));
        holds("same", done == 100 && memcmp(got, data, 100) == 0);
    }
    works("no longer append", __wasi_fd_fdstat_set_flags(fd, 0));
    number("flags", fdstat_of(fd).fs_flags, 0);
    memset(data, 'c', 100);
    works("to the start", __wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
    works("write", write_to(fd, data, 100, &done));
    works("to the start", __wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
    works("read", read_from(fd, got, 100, &done));
    holds("same", done == 100 && memcmp(got, data, 100) == 0);
    number("size", size_of(fd), 200);
    works("append again", __wasi_fd_fdstat_set_flags(fd, __WASI_FDFLAGS_APPEND));
    number("flags", fdstat_of(fd).fs_flags, __WASI_FDFLAGS_APPEND);
    works("to the start", __wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
    works("write", write_to(fd, data, 1, &done));
    number("size", size_of(fd), 201);
    end(dir, fd, "file");
}

static void path_open_read_write(fd_t dir) {
    char got[100];
    size_t done;
    works("make a file", make_file(dir, "file"));
    fd_t fd = opened("open it to read", dir, "file", 0, R(FD_READ));
    uint64_t rights = fdstat_of(fd).fs_rights_base;
    holds("may read", (rights & R(FD_READ)) != 0);
    holds("may not write", (rights & R(FD_WRITE)) == 0);
    works("read", read_from(fd, got, 100, &done));
    number("bytes", done, 0);
    answer("write", write_to(fd, got, 50, &done), "BADF NOTCAPABLE ACCES");
    works("close", __wasi_fd_close(fd));
    fd = opened("open it to write", dir, "file", 0, R(FD_WRITE));
    rights = fdstat_of(fd).fs_rights_base;
    holds("may not read", (rights & R(FD_READ)) == 0);
    holds("may write", (rights & R(FD_WRITE)) != 0);
    answer("read", read_from(fd, got, 100, &done), "BADF NOTCAPABLE ACCES");
    works("write", write_to(fd, got, 50, &done));
    number("bytes", done, 50);
    works("close", __wasi_fd_close(fd));
    fd = opened("open it for both", dir, "file", 0, R(FD_READ) | R(FD_WRITE) | R(FD_FILESTAT_GET));
    rights = fdstat_of(fd).fs_rights_base;
    holds("may read", (rights & R(FD_READ)) != 0);
    holds("may write", (rights & R(FD_WRITE)) != 0);
    works("read", read_from(fd, got, 100, &done));
    number("bytes", done, 50);
    works("write", write_to(fd, got, 25, &done));
    number("size", size_of(fd), 75);
    end(dir, fd, "file");
}

static void file_sync(fd_t dir) {
    fd_t fd = opened("make a file", dir, "file", O(CREAT), R(FD_WRITE) | R(FD_SYNC) | R(FD_DATASYNC));
    size_t done;
    works("write", write_to(fd, "x", 1, &done));
    works("sync", __wasi_fd_sync(fd));
    told_errno("sync the data", __wasi_fd_datasync(fd));
    end(dir, fd, "file");
}

static void isatty_of(fd_t dir) {
    fd_t fd = opened("make a file", dir, "file", O(CREAT), 0);
    number("a terminal", (uint64_t)isatty((int)fd), 0);
    number("type", fdstat_of(fd).fs_filetype, __WASI_FILETYPE_REGULAR_FILE);
    end(dir, fd, "file");
}

static void stat_dev_ino(fd_t dir) {
    works("make a file", make_file(dir, "a"));
    works("make another", make_file(dir, "b"));
    __wasi_filestat_t a = stat_at(dir, 0, "a"), b = stat_at(dir, 0, "b");
    holds("same device", a.dev == b.dev);
    holds("other inode", a.ino != b.ino);
    fd_t fd = opened("open the first", dir, "a", 0, R(FD_FILESTAT_GET));
    __wasi_filestat_t open;
    works("stat it", __wasi_fd_filestat_get(fd, &open));
    holds("same inode", open.ino == a.ino);
    end(dir, fd, "a");
    works("unlink", __wasi_path_unlink_file(dir, "b"));
}

/* The suite's tests in C go through libc, which finds its directories itself. */
static void through_libc(fd_t dir) {
    char got[4] = {0};
    int fd = open("through_libc/file", O_CREAT | O_TRUNC | O_RDWR, 0666);
    holds("make a file", fd > 2);
    number("pwrite", (uint64_t)pwrite(fd, "text", 4, 0), 4);
    number("pread", (uint64_t)pread(fd, got, 3, 1), 3);
    holds("what was written", memcmp(got, "ext", 3) == 0);
    number("position", (uint64_t)lseek(fd, 0, SEEK_CUR), 0);
    number("lseek", (uint64_t)lseek(fd, -1, SEEK_END), 3);
    holds("lseek before the start", lseek(fd, -9, SEEK_CUR) < 0);
    number("close", (uint64_t)close(fd), 0);
    holds("lseek when closed", lseek(fd, 0, SEEK_SET) < 0);
    FILE *file = fopen("through_libc/file", "r");
    holds("fopen", file != NULL);
    number("fgetc", (uint64_t)fgetc(file), 't');
    number("fclose", (uint64_t)fclose(file), 0);
    holds("fopen what is not there", fopen("through_libc/none", "r") == NULL);
    works("unlink", __wasi_path_unlink_file(dir, "file"));
}

int main(int argc, char **argv) {
    static const struct group GROUPS[] = {
        {"file_allocate", file_allocate},
        {"fd_advise", fd_advise},
        {"file_pread_pwrite", file_pread_pwrite},
        {"pwrite_and_position", pwrite_and_position},
        {"pwrite_with_append", pwrite_with_append},
        {"file_seek_tell", file_seek_tell},
        {"unknown_values", unknown_values},
        {"file_truncation", file_truncation},
        {"file_unbuffered_write", file_unbuffered_write},
        {"file_read_write", file_read_write},
        {"file_write", file_write},
        {"fd_flags_set", fd_flags_set},
        {"path_open_read_write", path_open_read_write},
        {"file_sync", file_sync},
        {"isatty", isatty_of},
        {"stat_dev_ino", stat_dev_ino},
        {"through_libc", through_libc},
        {0, 0},
    };
    return run_groups(GROUPS, argc, argv);
}
