/* What changes directories and times: links, renames, removals, sizes, and what they refuse. */
#include "facts.h"

static const uint64_t LINK_RIGHTS = R(FD_READ) | R(PATH_LINK_SOURCE) | R(PATH_LINK_TARGET) |
                                    R(FD_FILESTAT_GET) | R(PATH_OPEN) | R(PATH_UNLINK_FILE);

static fd_t linked(const char *what, fd_t dir, const char *name, int oflags) {
    fd_t fd;
    works(what, open_with(dir, 0, name, oflags, LINK_RIGHTS, LINK_RIGHTS, 0, &fd));
    return fd;
}

/* That two descriptors are of one file and may do the same; `other` is closed. */
static void same_file(fd_t one, fd_t other) {
    __wasi_filestat_t a, b;
    works("stat one", __wasi_fd_filestat_get(one, &a));
    works("stat the other", __wasi_fd_filestat_get(other, &b));
    holds("same file", a.dev == b.dev && a.ino == b.ino);
    holds("same times", a.atim == b.atim && a.mtim == b.mtim && a.ctim == b.ctim);
    holds("same size and type", a.size == b.size && a.filetype == b.filetype && a.nlink == b.nlink);
    number("names", b.nlink, 2);
    __wasi_fdstat_t x = fdstat_of(one), y = fdstat_of(other);
    holds("same flags", x.fs_flags == y.fs_flags && x.fs_filetype == y.fs_filetype);
    holds("same rights", x.fs_rights_base == y.fs_rights_base);
    holds("same inherited rights", x.fs_rights_inheriting == y.fs_rights_inheriting);
    works("close the other", __wasi_fd_close(other));
}

static void path_link(fd_t dir) {
    fd_t file = linked("make a file", dir, "file", O(CREAT));
    works("link it", __wasi_path_link(dir, 0, "file", dir, "link"));
    same_file(file, linked("open the link", dir, "link", 0));
    works("unlink", __wasi_path_unlink_file(dir, "link"));
    works("make a directory", __wasi_path_create_directory(dir, "subdir"));
    fd_t sub = linked("open it", dir, "subdir", O(DIRECTORY));
    works("link into it", __wasi_path_link(dir, 0, "file", sub, "link"));
    same_file(file, linked("open the link", sub, "link", 0));
    works("close", __wasi_fd_close(file));
    works("unlink", __wasi_path_unlink_file(sub, "link"));
    works("close", __wasi_fd_close(sub));
    works("remove the directory", __wasi_path_remove_directory(dir, "subdir"));
    works("make another file", make_file(dir, "link"));
    answer("over what is there", __wasi_path_link(dir, 0, "file", dir, "link"), "EXIST");
    works("unlink", __wasi_path_unlink_file(dir, "link"));
    answer("over itself", __wasi_path_link(dir, 0, "file", dir, "file"), "EXIST");
    works("make a directory", __wasi_path_create_directory(dir, "link"));
    answer("over a directory", __wasi_path_link(dir, 0, "file", dir, "link"), "EXIST");
    works("remove it", __wasi_path_remove_directory(dir, "link"));
    works("make a directory", __wasi_path_create_directory(dir, "subdir"));
    answer("of a directory", __wasi_path_link(dir, 0, "subdir", dir, "link"), "PERM ACCES");
    works("remove it", __wasi_path_remove_directory(dir, "subdir"));
    answer("to a name with a slash", __wasi_path_link(dir, 0, "file", dir, "link/"), "NOENT");
    told_errno("from a name with a slash", __wasi_path_link(dir, 0, "file/", dir, "link"));
    answer("of what is not there", __wasi_path_link(dir, 0, "none", dir, "link"), "NOENT");
    answer("from outside", __wasi_path_link(dir, 0, "../file", dir, "link"), "PERM NOTCAPABLE");
    answer("to the outside", __wasi_path_link(dir, 0, "file", dir, "../link"), "PERM NOTCAPABLE");
    works("unlink the file", __wasi_path_unlink_file(dir, "file"));
}

static void path_link_of_links(fd_t dir) {
    works("make a file", make_file(dir, "file"));
    works("a link to nothing", __wasi_path_symlink("target", dir, "symlink"));
    works("link that", __wasi_path_link(dir, 0, "symlink", dir, "link"));
    number("it is a link itself", stat_at(dir, 0, "link").filetype, __WASI_FILETYPE_SYMBOLIC_LINK);
    works("unlink", __wasi_path_unlink_file(dir, "symlink"));
    works("unlink", __wasi_path_unlink_file(dir, "link"));
    works("a link to itself", __wasi_path_symlink("symlink", dir, "symlink"));
    works("link that", __wasi_path_link(dir, 0, "symlink", dir, "link"));
    works("unlink", __wasi_path_unlink_file(dir, "symlink"));
    works("unlink", __wasi_path_unlink_file(dir, "link"));
    works("a link to nothing", __wasi_path_symlink("target", dir, "symlink"));
    answer("over it", __wasi_path_link(dir, 0, "file", dir, "symlink"), "EXIST");
    answer("following it", __wasi_path_link(dir, FOLLOW, "symlink", dir, "link"), "INVAL NOENT");
    works("unlink", __wasi_path_unlink_file(dir, "symlink"));
    works("unlink", __wasi_path_unlink_file(dir, "file"));
}

static errno_t renamed(fd_t dir, const char *from, const char *to) {
    return __wasi_path_rename(dir, from, dir, to);
}

/* That what was "source" is "target" now, which must open with some flags. */
static void moved(fd_t dir, int oflags) {
    answer("source is gone", opening(dir, 0, "source", oflags), "NOENT");
    works("target is there", opening(dir, 0, "target", oflags));
}

static void path_rename(fd_t dir) {
    works("make a directory", __wasi_path_create_directory(dir, "source"));
    works("rename it", renamed(dir, "source", "target"));
    moved(dir, O(DIRECTORY));
    works("make another", __wasi_path_create_directory(dir, "source"));
    works("over an empty directory", renamed(dir, "source", "target"));
    moved(dir, O(DIRECTORY));
    works("make another", __wasi_path_create_directory(dir, "source"));
    works("fill the target", make_file(dir, "target/file"));
    answer("over a full directory", renamed(dir, "source", "target"), "NOTEMPTY");
    answer("a directory over a file", renamed(dir, "source", "target/file"), "NOTDIR");
    answer("into itself", renamed(dir, "target", "target/sub"), "INVAL");
    works("unlink", __wasi_path_unlink_file(dir, "target/file"));
    works("remove", __wasi_path_remove_directory(dir, "source"));
    works("remove", __wasi_path_remove_directory(dir, "target"));
    works("make a file", make_file(dir, "source"));
    works("rename it", renamed(dir, "source", "target"));
    moved(dir, 0);
    works("make another", make_file(dir, "source"));
    works("over a file", renamed(dir, "source", "target"));
    moved(dir, 0);
    works("over itself", renamed(dir, "target", "target"));
    works("unlink", __wasi_path_unlink_file(dir, "target"));
    works("make a file", make_file(dir, "source"));
    works("make a directory", __wasi_path_create_directory(dir, "target"));
    answer("a file over a directory", renamed(dir, "source", "target"), "ISDIR");
    answer("what is not there", renamed(dir, "none", "target"), "NOENT");
    answer("to the outside", renamed(dir, "source", "../source"), "PERM NOTCAPABLE");
    answer("from outside", renamed(dir, "../path_rename", "x"), "PERM NOTCAPABLE");
    told_errno("the directory itself", renamed(dir, ".", "x"));
    works("remove", __wasi_path_remove_directory(dir, "target"));
    works("unlink", __wasi_path_unlink_file(dir, "source"));
}

static void path_rename_dir_trailing_slashes(fd_t dir) {
    works("make a directory", __wasi_path_create_directory(dir, "source"));
    works("a slash at the source", renamed(dir, "source/", "target"));
    works("a slash at the target", renamed(dir, "target", "source/"));
    works("both", renamed(dir, "source/", "target/"));
    works("none", renamed(dir, "target", "source"));
    works("remove", __wasi_path_remove_directory(dir, "source"));
}

static void path_rename_file_trailing_slashes(fd_t dir) {
    works("make a file", make_file(dir, "source"));
    answer("a slash at the source", renamed(dir, "source/", "target"), "NOTDIR NOENT");
    answer("a slash at the target", renamed(dir, "source", "target/"), "NOTDIR NOENT");
    answer("both", renamed(dir, "source/", "target/"), "NOTDIR NOENT");
    works("none", renamed(dir, "source", "target"));
    works("unlink", __wasi_path_unlink_file(dir, "target"));
}

static void remove_directory_trailing_slashes(fd_t dir) {
    works("make a directory", __wasi_path_create_directory(dir, "dir"));
    works("remove it", __wasi_path_remove_directory(dir, "dir"));
    works("make it again", __wasi_path_create_directory(dir, "dir"));
    works("remove it with a slash", __wasi_path_remove_directory(dir, "dir/"));
    works("make a file", make_file(dir, "file"));
    answer("remove that", __wasi_path_remove_directory(dir, "file"), "NOTDIR");
    answer("remove that with a slash", __wasi_path_remove_directory(dir, "file/"), "NOTDIR");
    works("unlink it", __wasi_path_unlink_file(dir, "file"));
    answer("what is not there", __wasi_path_remove_directory(dir, "none"), "NOENT");
    told_errno("itself", __wasi_path_remove_directory(dir, "."));
    answer("its parent", __wasi_path_remove_directory(dir, ".."), "PERM NOTCAPABLE");
    works("a link", __wasi_path_symlink("file", dir, "link"));
    answer("remove that", __wasi_path_remove_directory(dir, "link"), "NOTDIR");
    works("unlink it", __wasi_path_unlink_file(dir, "link"));
}

static void remove_nonempty_directory(fd_t dir) {
    works("make a directory", __wasi_path_create_directory(dir, "dir"));
    works("make one in it", __wasi_path_create_directory(dir, "dir/nested"));
    answer("remove the first", __wasi_path_remove_directory(dir, "dir"), "NOTEMPTY");
    works("remove the second", __wasi_path_remove_directory(dir, "dir/nested"));
    works("remove the first", __wasi_path_remove_directory(dir, "dir"));
}

static void unlink_file_trailing_slashes(fd_t dir) {
    works("make a directory", __wasi_path_create_directory(dir, "dir"));
    answer("unlink it", __wasi_path_unlink_file(dir, "dir"), "ISDIR");
    answer("unlink it with a slash", __wasi_path_unlink_file(dir, "dir/"), "ISDIR");
    works("remove it", __wasi_path_remove_directory(dir, "dir"));
    works("make a file", make_file(dir, "file"));
    answer("unlink it with a slash", __wasi_path_unlink_file(dir, "file/"), "NOTDIR");
    works("unlink it", __wasi_path_unlink_file(dir, "file"));
    answer("unlink it again", __wasi_path_unlink_file(dir, "file"), "NOENT");
    answer("unlink outside", __wasi_path_unlink_file(dir, "../x"), "PERM NOTCAPABLE");
}

static void dangling_fd(fd_t dir) {
    works("make a file", make_file(dir, "file"));
    fd_t fd = opened("open it", dir, "file", 0, R(FD_READ) | R(FD_FILESTAT_GET));
    works("unlink it", __wasi_path_unlink_file(dir, "file"));
    number("its size", size_of(fd), 0);
    works("make it again", make_file(dir, "file"));
    works("close the first", __wasi_fd_close(fd));
    works("unlink the second", __wasi_path_unlink_file(dir, "file"));
    works("make a directory", __wasi_path_create_directory(dir, "subdir"));
    fd = opened("open it", dir, "subdir", O(DIRECTORY), 0);
    works("remove it", __wasi_path_remove_directory(dir, "subdir"));
    answer("make a file in it", make_file(fd, "file"), "NOENT NOTCAPABLE");
    works("make it again", __wasi_path_create_directory(dir, "subdir"));
    works("close the first", __wasi_fd_close(fd));
    works("remove the second", __wasi_path_remove_directory(dir, "subdir"));
}

static errno_t set_mtim(fd_t dir, int lookup, const char *path, uint64_t time) {
    return __wasi_path_filestat_set_times(dir, lookup, path, 0, time, __WASI_FSTFLAGS_MTIM);
}

static void path_filestat(fd_t dir) {
    holds("may stat paths", fdstat_of(dir).fs_rights_base & R(PATH_FILESTAT_GET));
    fd_t fd;
    works("make a file", open_with(dir, 0, "file", O(CREAT), R(FD_READ) | R(FD_WRITE), 0,
                                   __WASI_FDFLAGS_APPEND, &fd));
    number("flags", fdstat_of(fd).fs_flags, __WASI_FDFLAGS_APPEND);
    __wasi_filestat_t stat = stat_at(dir, 0, "file");
    number("size", stat.size, 0);
    number("names", stat.nlink, 1);
    works("set mtim", set_mtim(dir, 0, "file", stat.mtim - 100));
    holds("it is set", stat_at(dir, 0, "file").mtim == stat.mtim - 100);
    holds("atim is as it was", stat_at(dir, 0, "file").atim == stat.atim);
    answer("set it twice over",
           __wasi_path_filestat_set_times(dir, 0, "file", 0, 1, __WASI_FSTFLAGS_MTIM | __WASI_FSTFLAGS_MTIM_NOW),
           "INVAL");
    answer("set atim twice over",
           __wasi_path_filestat_set_times(dir, 0, "file", 0, 0, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_ATIM_NOW),
           "INVAL");
    holds("nothing changed", stat_at(dir, 0, "file").mtim == stat.mtim - 100);
    works("set both to now", __wasi_path_filestat_set_times(dir, 0, "file", 0, 0,
                                                            __WASI_FSTFLAGS_MTIM_NOW | __WASI_FSTFLAGS_ATIM_NOW));
    holds("now is later", stat_at(dir, 0, "file").mtim > stat.mtim - 100);
    works("close", __wasi_fd_close(fd));
    works("unlink", __wasi_path_unlink_file(dir, "file"));
    answer("what is not there", set_mtim(dir, 0, "none", 1), "NOENT");
    answer("outside", set_mtim(dir, 0, "..", 1), "PERM NOTCAPABLE");
}

static void symlink_filestat(fd_t dir) {
    works("make a file", make_file(dir, "file"));
    __wasi_filestat_t file = stat_at(dir, 0, "file");
    works("a link to it", __wasi_path_symlink("file", dir, "symlink"));
    __wasi_filestat_t link = stat_at(dir, 0, "symlink");
    works("set the link's mtim", set_mtim(dir, 0, "symlink", link.mtim - 200));
    holds("it is set", stat_at(dir, 0, "symlink").mtim == link.mtim - 200);
    holds("the file's is not", stat_at(dir, 0, "file").mtim == file.mtim);
    holds("nor behind the link", stat_at(dir, FOLLOW, "symlink").mtim == file.mtim);
    works("set the file's through the link", set_mtim(dir, FOLLOW, "symlink", link.mtim - 300));
    holds("it is set", stat_at(dir, 0, "file").mtim == link.mtim - 300);
    holds("the link's is not", stat_at(dir, 0, "symlink").mtim == link.mtim - 200);
    works("unlink", __wasi_path_unlink_file(dir, "symlink"));
    works("unlink", __wasi_path_unlink_file(dir, "file"));
}

static void fd_filestat_set(fd_t dir) {
    fd_t fd = opened("make a file", dir, "file", O(CREAT),
                     R(FD_READ) | R(FD_WRITE) | R(FD_FILESTAT_GET) | R(FD_FILESTAT_SET_SIZE) |
                         R(FD_FILESTAT_SET_TIMES));
    number("size", size_of(fd), 0);
    works("set it", __wasi_fd_filestat_set_size(fd, 100));
    number("size", size_of(fd), 100);
    __wasi_filestat_t before, after;
    works("stat", __wasi_fd_filestat_get(fd, &before));
    works("set mtim", __wasi_fd_filestat_set_times(fd, 5, before.mtim - 100, __WASI_FSTFLAGS_MTIM));
    works("stat", __wasi_fd_filestat_get(fd, &after));
    number("size", after.size, 100);
    holds("mtim is set", after.mtim == before.mtim - 100);
    holds("atim is as it was", after.atim == before.atim);
    works("set both", __wasi_fd_filestat_set_times(fd, 1, 2, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM));
    works("stat", __wasi_fd_filestat_get(fd, &after));
    number("atim", after.atim, 1);
    number("mtim", after.mtim, 2);
    works("make it shorter", __wasi_fd_filestat_set_size(fd, 1));
    number("size", size_of(fd), 1);
    answer("make it longer than there is", __wasi_fd_filestat_set_size(fd, UINT64_MAX), "INVAL FBIG");
    number("size", size_of(fd), 1);
    works("close", __wasi_fd_close(fd));
    works("unlink", __wasi_path_unlink_file(dir, "file"));
}

static void fstflags_validate(fd_t dir) {
    fd_t fd = opened("make a file", dir, "file", O(CREAT), R(FD_READ) | R(FD_FILESTAT_SET_TIMES));
    answer("mtim twice over",
           __wasi_fd_filestat_set_times(fd, 100, 200, __WASI_FSTFLAGS_MTIM | __WASI_FSTFLAGS_MTIM_NOW), "INVAL");
    answer("atim twice over",
           __wasi_fd_filestat_set_times(fd, 100, 200, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_ATIM_NOW), "INVAL");
    works("close", __wasi_fd_close(fd));
    works("unlink", __wasi_path_unlink_file(dir, "file"));
}

int main(int argc, char **argv) {
    static const struct group GROUPS[] = {
        {"path_link", path_link},
        {"path_link_of_links", path_link_of_links},
        {"path_rename", path_rename},
        {"path_rename_dir_trailing_slashes", path_rename_dir_trailing_slashes},
        {"path_rename_file_trailing_slashes", path_rename_file_trailing_slashes},
        {"remove_directory_trailing_slashes", remove_directory_trailing_slashes},
        {"remove_nonempty_directory", remove_nonempty_directory},
        {"unlink_file_trailing_slashes", unlink_file_trailing_slashes},
        {"dangling_fd", dangling_fd},
        {"path_filestat", path_filestat},
        {"symlink_filestat", symlink_filestat},
        {"fd_filestat_set", fd_filestat_set},
        {"fstflags_validate", fstflags_validate},
        {0, 0},
    };
    return run_groups(GROUPS, argc, argv);
}
