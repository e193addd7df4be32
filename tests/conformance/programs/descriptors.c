/* What is done with descriptors as such: numbers, rights, pre-opened directories, reading directories.
 *
 * It needs a second pre-opened directory, at 4, which it loses.
 */
#include "facts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const fd_t SPARE = 4;

static void renumber(fd_t dir) {
    fd_t from = opened("make a file", dir, "file1", O(CREAT), R(FD_READ) | R(FD_WRITE));
    __wasi_fdstat_t was = fdstat_of(from);
    fd_t to = opened("make another", dir, "file2", O(CREAT), R(FD_READ) | R(FD_WRITE));
    works("renumber", __wasi_fd_renumber(from, to));
    answer("close the old number", __wasi_fd_close(from), "BADF");
    __wasi_fdstat_t is = fdstat_of(to);
    holds("same type and flags", was.fs_filetype == is.fs_filetype && was.fs_flags == is.fs_flags);
    holds("same rights", was.fs_rights_base == is.fs_rights_base);
    holds("same inherited rights", was.fs_rights_inheriting == is.fs_rights_inheriting);
    answer("onto a closed number", __wasi_fd_renumber(to, from), "BADF");
    answer("from a closed number", __wasi_fd_renumber(from, to), "BADF");
    answer("from no number", __wasi_fd_renumber((fd_t)-1, to), "BADF");
    answer("onto no number", __wasi_fd_renumber(to, (fd_t)-1), "BADF");
    works("onto itself", __wasi_fd_renumber(to, to));
    works("close", __wasi_fd_close(to));
    works("unlink", __wasi_path_unlink_file(dir, "file1"));
    works("unlink", __wasi_path_unlink_file(dir, "file2"));
}

static void overwrite_preopen(fd_t dir) {
    __wasi_filestat_t old, new;
    fd_t fd;
    works("open the directory once more",
          open_with(dir, 0, ".", O(DIRECTORY), R(FD_FILESTAT_GET), 0, 0, &fd));
    works("stat", __wasi_fd_filestat_get(fd, &old));
    works("renumber it over a pre-opened one", __wasi_fd_renumber(fd, SPARE));
    works("stat", __wasi_fd_filestat_get(SPARE, &new));
    holds("it is that one", old.dev == new.dev && old.ino == new.ino);
    number("old number", fdstat_of(fd).fs_filetype, 254);
    __wasi_prestat_t prestat;
    told_errno("is it pre-opened", __wasi_fd_prestat_get(SPARE, &prestat));
}

static void close_preopen(fd_t dir) {
    works("close it", __wasi_fd_close(SPARE));
    __wasi_fdstat_t stat;
    __wasi_prestat_t prestat;
    answer("it is closed", __wasi_fd_fdstat_get(SPARE, &stat), "BADF");
    answer("nor pre-opened", __wasi_fd_prestat_get(SPARE, &prestat), "BADF");
    number("what was opened by it is open", fdstat_of(dir).fs_filetype, __WASI_FILETYPE_DIRECTORY);
}

static void dir_fd_op_failures(fd_t dir) {
    static const char *const NO = "ISDIR BADF NOTCAPABLE";
    __wasi_filestat_t stat;
    __wasi_prestat_t prestat;
    uint8_t name[16] = {0}, data[128] = {0};
    size_t done;
    __wasi_filesize_t at;
    fd_t fd;
    __wasi_fdstat_t root = fdstat_of(ROOT);
    works("open the root", open_with(ROOT, 0, ".", O(DIRECTORY), root.fs_rights_base,
                                     root.fs_rights_inheriting, 0, &fd));
    works("stat it", __wasi_fd_filestat_get(fd, &stat));
    number("type", stat.filetype, __WASI_FILETYPE_DIRECTORY);
    works("its name", __wasi_fd_prestat_get(ROOT, &prestat));
    number("length", prestat.u.dir.pr_name_len, 1);
    answer("into no buffer", __wasi_fd_prestat_dir_name(ROOT, name, 0), "INVAL NAMETOOLONG");
    works("into a long buffer", __wasi_fd_prestat_dir_name(ROOT, name, 2));
    holds("no more than the name", name[0] == '/' && name[1] == 0);
    answer("the name of what is not pre-opened", __wasi_fd_prestat_get(dir, &prestat), "BADF");
    answer("read", read_from(fd, data, 128, &done), NO);
    answer("pread", read_at(fd, data, 128, 0, &done), NO);
    answer("write", write_to(fd, data, 128, &done), NO);
    answer("pwrite", write_at(fd, data, 128, 0, &done), NO);
    answer("seek from here", __wasi_fd_seek(fd, 0, __WASI_WHENCE_CUR, &at), NO);
    answer("seek from the start", __wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at), NO);
    answer("seek from the end", __wasi_fd_seek(fd, 0, __WASI_WHENCE_END, &at), NO);
    answer("tell", __wasi_fd_tell(fd, &at), NO);
    answer("allocate", __wasi_fd_allocate(fd, 0, 1), NO);
    answer("set the size", __wasi_fd_filestat_set_size(fd, 0), "ISDIR INVAL BADF NOTCAPABLE");
    works("close", __wasi_fd_close(fd));
}

static void directory_seek(fd_t dir) {
    __wasi_filesize_t at;
    works("make a directory", __wasi_path_create_directory(dir, "sub"));
    fd_t fd = opened("open it, to seek in it", dir, "sub", O(DIRECTORY), R(FD_SEEK));
    answer("seek", __wasi_fd_seek(fd, 0, __WASI_WHENCE_CUR, &at), "ISDIR NOTCAPABLE BADF");
    __wasi_fdstat_t stat = fdstat_of(fd);
    number("type", stat.fs_filetype, __WASI_FILETYPE_DIRECTORY);
    holds("may not seek", (stat.fs_rights_base & R(FD_SEEK)) == 0);
    works("close", __wasi_fd_close(fd));
    works("remove", __wasi_path_remove_directory(dir, "sub"));
}

static void path_open_preopen(fd_t dir) {
    static const uint64_t BASE =
        R(PATH_CREATE_DIRECTORY) | R(PATH_CREATE_FILE) | R(PATH_LINK_SOURCE) | R(PATH_LINK_TARGET) |
        R(PATH_OPEN) | R(FD_READDIR) | R(PATH_READLINK) | R(PATH_RENAME_SOURCE) | R(PATH_RENAME_TARGET) |
        R(PATH_SYMLINK) | R(PATH_REMOVE_DIRECTORY) | R(PATH_UNLINK_FILE) | R(PATH_FILESTAT_GET) |
        R(PATH_FILESTAT_SET_TIMES) | R(FD_FILESTAT_GET) | R(FD_FILESTAT_SET_TIMES);
    static const uint64_t INHERITED =
        BASE | R(FD_DATASYNC) | R(FD_READ) | R(FD_SEEK) | R(FD_FDSTAT_SET_FLAGS) | R(FD_SYNC) | R(FD_TELL) |
        R(FD_WRITE) | R(FD_ADVISE) | R(FD_ALLOCATE) | R(FD_FILESTAT_SET_SIZE) | R(POLL_FD_READWRITE);
    (void)dir;
    __wasi_prestat_t prestat;
    works("pre-opened", __wasi_fd_prestat_get(ROOT, &prestat));
    number("as a directory", prestat.tag, __WASI_PREOPENTYPE_DIR);
    __wasi_fdstat_t stat = fdstat_of(ROOT);
    number("rights that lack", BASE & ~stat.fs_rights_base, 0);
    number("inherited rights that lack", INHERITED & ~stat.fs_rights_inheriting, 0);
    fd_t fd;
    works("with the same rights",
          open_with(ROOT, 0, ".", 0, stat.fs_rights_base, stat.fs_rights_inheriting, 0, &fd));
    works("close", __wasi_fd_close(fd));
    works("with no rights", opening(ROOT, 0, ".", 0));
    works("with no rights, as a directory", opening(ROOT, 0, ".", O(DIRECTORY)));
    fd = opened("to read", ROOT, ".", O(DIRECTORY), R(FD_READ));
    works("close", __wasi_fd_close(fd));
    answer("to read and write", open_with(ROOT, 0, ".", O(DIRECTORY), R(FD_READ) | R(FD_WRITE), 0, 0, &fd),
           "ISDIR");
    answer("to write", open_with(ROOT, 0, ".", 0, R(FD_WRITE), 0, 0, &fd), "ISDIR");
    answer("to cut it", open_with(ROOT, 0, ".", O(TRUNC), 0, 0, 0, &fd), "ISDIR");
}

/* Not every host has rights that can be dropped; one that has none says so. */
static bool has_rights(fd_t fd) {
    __wasi_fdstat_t stat = fdstat_of(fd);
    return __wasi_fd_fdstat_set_rights(fd, stat.fs_rights_base, stat.fs_rights_inheriting) !=
           __WASI_ERRNO_NOTSUP;
}

static void fd_fdstat_set_rights(fd_t dir) {
    static const uint64_t SOME = R(FD_READ) | R(FD_WRITE), MORE = SOME | R(FD_SEEK) | R(FD_TELL);
    if (!has_rights(dir))
        return told("has rights", "no");
    told("has rights", "yes");
    fd_t fd = opened("make a file", dir, "file", O(CREAT), MORE);
    char got[4] = {0};
    size_t done;
    __wasi_filesize_t at;
    works("write", write_to(fd, "abcd", 4, &done));
    works("to the start", __wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
    works("read", read_from(fd, got, 4, &done));
    holds("same", memcmp(got, "abcd", 4) == 0);
    __wasi_fdstat_t stat = fdstat_of(fd);
    works("drop two rights",
          __wasi_fd_fdstat_set_rights(fd, stat.fs_rights_base & ~SOME, stat.fs_rights_inheriting));
    stat = fdstat_of(fd);
    number("they are gone", stat.fs_rights_base & SOME, 0);
    holds("another is not", (stat.fs_rights_base & R(FD_SEEK)) != 0);
    answer("read", read_from(fd, got, 4, &done), "BADF NOTCAPABLE");
    answer("write", write_to(fd, got, 4, &done), "BADF NOTCAPABLE");
    works("seek", __wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
    answer("take them again",
           __wasi_fd_fdstat_set_rights(fd, stat.fs_rights_base | MORE, stat.fs_rights_inheriting | MORE),
           "NOTCAPABLE");
    works("close", __wasi_fd_close(fd));
    works("unlink", __wasi_path_unlink_file(dir, "file"));
}

static void truncation_rights(fd_t dir) {
    works("make a file", make_file(dir, "file"));
    __wasi_fdstat_t stat = fdstat_of(dir);
    number("type", stat.fs_filetype, __WASI_FILETYPE_DIRECTORY);
    number("flags", stat.fs_flags, 0);
    number("right to set its size", stat.fs_rights_base & R(FD_FILESTAT_SET_SIZE), 0);
    uint64_t base = stat.fs_rights_base, inherited = stat.fs_rights_inheriting;
    bool has = (base & R(PATH_FILESTAT_SET_SIZE)) != 0;
    told("may set sizes by path", has ? "yes" : "no");
    if (has) {
        works("cut the file", opening(dir, 0, "file", O(TRUNC)));
        inherited &= ~R(FD_FILESTAT_SET_SIZE);
        works("drop the inherited right", __wasi_fd_fdstat_set_rights(dir, base, inherited));
        works("cut the file", opening(dir, 0, "file", O(TRUNC)));
        base &= ~R(PATH_FILESTAT_SET_SIZE);
        works("drop the right", __wasi_fd_fdstat_set_rights(dir, base, inherited));
        number("it is gone", fdstat_of(dir).fs_rights_base & R(PATH_FILESTAT_SET_SIZE), 0);
        answer("cut the file", opening(dir, 0, "file", O(TRUNC)), "PERM NOTCAPABLE");
    }
    works("unlink", __wasi_path_unlink_file(dir, "file"));
}

/* Reads entries until the directory ends; returns how many there were, and the last one but one's cookie. */
static int entries_of(fd_t dir, size_t length, uint64_t cookie, uint64_t *before_last) {
    uint8_t buffer[512];
    int count = 0;
    for (;;) {
        size_t used, at = 0;
        if (__wasi_fd_readdir(dir, buffer, length, cookie, &used))
            return -1;
        while (at + sizeof(__wasi_dirent_t) <= used) {
            __wasi_dirent_t entry;
            memcpy(&entry, buffer + at, sizeof entry);
            if (at + sizeof entry + entry.d_namlen > used)
                break;
            at += sizeof entry + entry.d_namlen;
            if (before_last)
                *before_last = cookie;
            cookie = entry.d_next;
            count++;
        }
        if (used < length)
            return count;
    }
}

static bool entry_named(fd_t dir, const char *name, __wasi_dirent_t *entry) {
    uint8_t buffer[512];
    size_t used, at = 0;
    if (__wasi_fd_readdir(dir, buffer, sizeof buffer, 0, &used))
        return false;
    while (at + sizeof *entry <= used) {
        memcpy(entry, buffer + at, sizeof *entry);
        at += sizeof *entry;
        if (entry->d_namlen == strlen(name) && memcmp(buffer + at, name, entry->d_namlen) == 0)
            return true;
        at += entry->d_namlen;
    }
    return false;
}

static void fd_readdir(fd_t dir) {
    __wasi_filestat_t stat;
    __wasi_dirent_t entry;
    uint64_t cookie;
    works("stat", __wasi_fd_filestat_get(dir, &stat));
    number("entries of an empty directory", (uint64_t)entries_of(dir, 256, 0, NULL), 2);
    holds("a dot", entry_named(dir, ".", &entry));
    number("its type", entry.d_type, __WASI_FILETYPE_DIRECTORY);
    holds("its inode", entry.d_ino == stat.ino);
    holds("two dots", entry_named(dir, "..", &entry));
    number("their type", entry.d_type, __WASI_FILETYPE_DIRECTORY);
    works("make a file", make_file(dir, "file"));
    stat = stat_at(dir, 0, "file");
    number("entries", (uint64_t)entries_of(dir, 256, 0, &cookie), 3);
    holds("the file", entry_named(dir, "file", &entry));
    number("its type", entry.d_type, __WASI_FILETYPE_REGULAR_FILE);
    holds("its inode", entry.d_ino == stat.ino);
    number("entries behind the last cookie but one", (uint64_t)entries_of(dir, 256, cookie, NULL), 1);
    number("entries with room for one at a time", (uint64_t)entries_of(dir, 32, 0, NULL), 3);
    works("a link", __wasi_path_symlink("file", dir, "link"));
    holds("the link", entry_named(dir, "link", &entry));
    number("its type", entry.d_type, __WASI_FILETYPE_SYMBOLIC_LINK);
    size_t used = 9;
    uint8_t buffer[8];
    works("into eight bytes", __wasi_fd_readdir(dir, buffer, 8, 0, &used));
    number("used", used, 8);
    works("into none", __wasi_fd_readdir(dir, buffer, 0, 0, &used));
    number("used", used, 0);
    works("unlink", __wasi_path_unlink_file(dir, "link"));
    fd_t fd = opened("open the file", dir, "file", 0, R(FD_READ));
    answer("entries of a file", __wasi_fd_readdir(fd, buffer, 8, 0, &used), "NOTDIR BADF NOTCAPABLE");
    works("close", __wasi_fd_close(fd));
    works("unlink", __wasi_path_unlink_file(dir, "file"));
}

static void fd_readdir_lots(fd_t dir) {
    char name[16];
    int made = 0, gone = 0;
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "file.%d", i);
        made += make_file(dir, name) == 0;
    }
    number("made", (uint64_t)made, 1000);
    number("entries", (uint64_t)entries_of(dir, 256, 0, NULL), 1002);
    number("entries in small pieces", (uint64_t)entries_of(dir, 40, 0, NULL), 1002);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "file.%d", i);
        gone += __wasi_path_unlink_file(dir, name) == 0;
    }
    number("unlinked", (uint64_t)gone, 1000);
    number("entries", (uint64_t)entries_of(dir, 256, 0, NULL), 2);
}

static void fdopendir_with_access(fd_t dir) {
    works("make a file", make_file(dir, "file-0"));
    works("make another", make_file(dir, "file-1"));
    int fd = open("fdopendir_with_access", O_RDONLY | O_DIRECTORY), found = 0;
    holds("open", fd >= 0);
    DIR *entries = fdopendir(fd);
    holds("fdopendir", entries != NULL);
    uint64_t inodes[2] = {0, 0};
    for (struct dirent *entry; (entry = readdir(entries));) {
        if (entry->d_name[0] == '.')
            continue;
        struct stat status;
        holds("fstatat", fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0);
        holds("same inode", status.st_ino == entry->d_ino);
        inodes[found++ & 1] = entry->d_ino;
    }
    number("found", (uint64_t)found, 2);
    holds("two inodes", inodes[0] != inodes[1]);
    number("closedir", (uint64_t)closedir(entries), 0);
    works("unlink", __wasi_path_unlink_file(dir, "file-0"));
    works("unlink", __wasi_path_unlink_file(dir, "file-1"));
}

static void path_open_lots(fd_t dir) {
    works("make a file", make_file(dir, "file"));
    int good = 0;
    for (int i = 0; i < 2000; i++) {
        char data[100];
        size_t done;
        fd_t fd;
        bool writes = i & 1, at = i & 2;
        good += open_with(dir, 0, "file", 0, writes ? R(FD_WRITE) | R(FD_SEEK) : R(FD_READ) | R(FD_SEEK), 0,
                          0, &fd) == 0;
        if (writes)
            good += (at ? write_at(fd, data, 100, 0, &done) : write_to(fd, data, 100, &done)) == 0;
        else
            good += (at ? read_at(fd, data, 100, 0, &done) : read_from(fd, data, 100, &done)) == 0;
        good += __wasi_fd_close(fd) == 0;
    }
    number("calls that worked", (uint64_t)good, 6000);
    works("unlink", __wasi_path_unlink_file(dir, "file"));
}

static void sock_shutdown(fd_t dir) {
    (void)dir;
    answer("of the output", __wasi_sock_shutdown(1, __WASI_SDFLAGS_RD), "NOTSOCK");
    answer("of no descriptor", __wasi_sock_shutdown(99, __WASI_SDFLAGS_RD), "BADF");
    answer("of a directory", __wasi_sock_shutdown(ROOT, __WASI_SDFLAGS_RD), "NOTSOCK");
    holds("through libc", shutdown(STDOUT_FILENO, SHUT_RD) != 0 && errno == ENOTSOCK);
    holds("of nothing through libc", shutdown(99, SHUT_RD) != 0 && errno == EBADF);
}

static void closed(fd_t dir) {
    (void)dir;
    __wasi_fdstat_t stat;
    __wasi_filestat_t filestat;
    size_t done;
    fd_t fd = 99;
    answer("close", __wasi_fd_close(fd), "BADF");
    answer("close no number", __wasi_fd_close((fd_t)-1), "BADF");
    answer("fdstat", __wasi_fd_fdstat_get(fd, &stat), "BADF");
    answer("filestat", __wasi_fd_filestat_get(fd, &filestat), "BADF");
    answer("flags", __wasi_fd_fdstat_set_flags(fd, 0), "BADF");
    answer("rights", __wasi_fd_fdstat_set_rights(fd, 0, 0), "BADF NOTSUP");
    answer("write", write_to(fd, "", 0, &done), "BADF");
    answer("read", read_from(fd, NULL, 0, &done), "BADF");
    answer("sync", __wasi_fd_sync(fd), "BADF");
    answer("datasync", __wasi_fd_datasync(fd), "BADF");
    answer("advise", __wasi_fd_advise(fd, 0, 0, 0), "BADF");
    answer("allocate", __wasi_fd_allocate(fd, 0, 1), "BADF NOTSUP");
}

int main(int argc, char **argv) {
    static const struct group GROUPS[] = {
        {"renumber", renumber},
        {"dir_fd_op_failures", dir_fd_op_failures},
        {"directory_seek", directory_seek},
        {"path_open_preopen", path_open_preopen},
        {"fd_fdstat_set_rights", fd_fdstat_set_rights},
        {"truncation_rights", truncation_rights},
        {"fd_readdir", fd_readdir},
        {"fd_readdir_lots", fd_readdir_lots},
        {"fdopendir_with_access", fdopendir_with_access},
        {"path_open_lots", path_open_lots},
        {"sock_shutdown", sock_shutdown},
        {"closed", closed},
        {"overwrite_preopen", overwrite_preopen},
        {"close_preopen", close_preopen},
        {0, 0},
    };
    return run_groups(GROUPS, argc, argv);
}
