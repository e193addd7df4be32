/* What opening and looking up say of paths: absolute ones, dots, slashes, symbolic links, names. */
#include "facts.h"

__attribute__((import_module("wasi_snapshot_preview1"), import_name("path_open"))) int32_t
open_raw(fd_t dir, int32_t lookup, const char *path, size_t length, int32_t oflags, uint64_t rights,
         uint64_t inherited, int32_t flags, fd_t *fd);

static void interesting_paths(fd_t dir) {
    works("make a directory", __wasi_path_create_directory(dir, "dir"));
    works("make one in it", __wasi_path_create_directory(dir, "dir/nested"));
    works("make a file", make_file(dir, "dir/nested/file"));
    answer("an absolute path", opening(dir, 0, "/dir/nested/file", 0), "PERM NOTCAPABLE");
    works("dots and slashes inside", opening(dir, 0, "dir/.//nested/../../dir/nested/../nested///./file", 0));
    fd_t fd;
    answer("a NUL at the end", (errno_t)open_raw(dir, 0, "dir/nested/file\0", 16, 0, 0, 0, 0, &fd),
           "INVAL ILSEQ NOENT");
    answer("a NUL inside", (errno_t)open_raw(dir, 0, "dir/\0nested/file", 16, 0, 0, 0, 0, &fd),
           "INVAL ILSEQ NOENT");
    answer("a file and a slash", opening(dir, 0, "dir/nested/file/", 0), "NOTDIR NOENT");
    answer("a file and slashes", opening(dir, 0, "dir/nested/file///", 0), "NOTDIR NOENT");
    works("a directory and a slash", opening(dir, 0, "dir/nested/", 0));
    works("a directory and slashes", opening(dir, 0, "dir/nested///", 0));
    answer("too many dots", opening(dir, 0, "dir/nested/../../../interesting_paths/dir/nested/file", 0),
           "PERM NOTCAPABLE");
    answer("dots alone", opening(dir, 0, "..", 0), "PERM NOTCAPABLE");
    answer("dots at the end", opening(dir, 0, "dir/../..", 0), "PERM NOTCAPABLE");
    answer("dots behind what is no directory", opening(dir, 0, "dir/nested/file/..", 0), "NOTDIR NOENT");
    answer("dots behind what is not there", opening(dir, 0, "none/..", 0), "NOENT");
    works("a dot", opening(dir, 0, ".", 0));
    works("a dot and a slash", opening(dir, 0, "./", 0));
    works("unlink", __wasi_path_unlink_file(dir, "dir/nested/file"));
    works("remove", __wasi_path_remove_directory(dir, "dir/nested"));
    works("remove", __wasi_path_remove_directory(dir, "dir"));
}

static void names(fd_t dir) {
    char name[258];
    memset(name, 'n', sizeof name);
    name[255] = 0;
    works("a name of 255 bytes", make_file(dir, name));
    works("unlink it", __wasi_path_unlink_file(dir, name));
    name[255] = 'n', name[256] = 0;
    answer("make a name of 256 bytes", make_file(dir, name), "NAMETOOLONG");
    answer("look for one", opening(dir, 0, name, 0), "NAMETOOLONG");
    answer("make a directory of it", __wasi_path_create_directory(dir, name), "NAMETOOLONG");
    char *path = malloc(5001);
    for (int i = 0; i < 5000; i++)
        path[i] = i % 2 ? '/' : 'd';
    path[5000] = 0;
    answer("a path of 5 000 bytes", opening(dir, 0, path, 0), "NAMETOOLONG NOENT");
    free(path);
    answer("no name at all", opening(dir, 0, "", 0), "NOENT INVAL");
    told_errno("a directory without a name", __wasi_path_create_directory(dir, ""));
    told_errno("unlink without a name", __wasi_path_unlink_file(dir, ""));
    told_errno("bytes that are no UTF-8", make_file(dir, "\xff\xfe"));
    works("a name of Greek letters", make_file(dir, "\xce\xb1\xce\xb2"));
    works("unlink it", __wasi_path_unlink_file(dir, "\xce\xb1\xce\xb2"));
    works("a name of a space", make_file(dir, " "));
    works("unlink it", __wasi_path_unlink_file(dir, " "));
    works("a name of a backslash", make_file(dir, "a\\b"));
    works("unlink it", __wasi_path_unlink_file(dir, "a\\b"));
}

static void nofollow_errors(fd_t dir) {
    works("make a directory", __wasi_path_create_directory(dir, "target"));
    works("a link to it", __wasi_path_symlink("target", dir, "symlink"));
    answer("open it as a directory", opening(dir, 0, "symlink", O(DIRECTORY)), "LOOP NOTDIR");
    answer("open it", opening(dir, 0, "symlink", 0), "LOOP ACCES");
    works("follow it to a directory", opening(dir, FOLLOW, "symlink", O(DIRECTORY)));
    works("unlink it", __wasi_path_unlink_file(dir, "symlink"));
    works("remove the directory", __wasi_path_remove_directory(dir, "target"));
    works("make a file", make_file(dir, "target"));
    works("a link to it", __wasi_path_symlink("target", dir, "symlink"));
    answer("open the link as a directory", opening(dir, 0, "symlink", O(DIRECTORY)), "LOOP NOTDIR");
    answer("open the link", opening(dir, 0, "symlink", 0), "LOOP");
    answer("follow it to a directory", opening(dir, FOLLOW, "symlink", O(DIRECTORY)), "NOTDIR");
    works("unlink the file", __wasi_path_unlink_file(dir, "target"));
    works("unlink the link", __wasi_path_unlink_file(dir, "symlink"));
}

static void dangling_symlink(fd_t dir) {
    works("a link to nothing", __wasi_path_symlink("target", dir, "symlink"));
    answer("open it as a directory", opening(dir, 0, "symlink", O(DIRECTORY)), "NOTDIR LOOP");
    answer("open it as a file", opening(dir, 0, "symlink", 0), "LOOP");
    answer("follow it", opening(dir, FOLLOW, "symlink", 0), "NOENT");
    answer("make it, not following", opening(dir, 0, "symlink", O(CREAT)), "LOOP");
    answer("make it anew", opening(dir, FOLLOW, "symlink", O(CREAT) | O(EXCL)), "EXIST");
    works("unlink it", __wasi_path_unlink_file(dir, "symlink"));
}

static void symlink_loop(fd_t dir) {
    works("a link to itself", __wasi_path_symlink("symlink", dir, "symlink"));
    answer("open it", opening(dir, 0, "symlink", 0), "LOOP");
    answer("follow it", opening(dir, FOLLOW, "symlink", 0), "LOOP");
    answer("through it", opening(dir, 0, "symlink/file", 0), "LOOP");
    works("unlink it", __wasi_path_unlink_file(dir, "symlink"));
}

static void symlink_create(fd_t dir) {
    works("make a file", make_file(dir, "target"));
    works("a link to it", __wasi_path_symlink("target", dir, "symlink"));
    works("follow it", opening(dir, FOLLOW, "symlink", 0));
    works("unlink it", __wasi_path_unlink_file(dir, "symlink"));
    works("unlink the file", __wasi_path_unlink_file(dir, "target"));
    works("make a directory", __wasi_path_create_directory(dir, "target"));
    works("a link to it", __wasi_path_symlink("target", dir, "symlink"));
    works("follow it", opening(dir, FOLLOW, "symlink", O(DIRECTORY)));
    works("make a file behind it", make_file(dir, "symlink/file"));
    works("unlink that", __wasi_path_unlink_file(dir, "target/file"));
    works("unlink it", __wasi_path_unlink_file(dir, "symlink"));
    works("remove the directory", __wasi_path_remove_directory(dir, "target"));
    answer("a link to the host's root", __wasi_path_symlink("/", dir, "symlink"), "PERM NOTCAPABLE");
    works("a link that leads out", __wasi_path_symlink("../../..", dir, "out"));
    answer("follow it", opening(dir, FOLLOW, "out", 0), "PERM NOTCAPABLE");
    answer("through it", opening(dir, 0, "out/file", O(CREAT)), "PERM NOTCAPABLE");
    works("unlink it", __wasi_path_unlink_file(dir, "out"));
    told_errno("a link to nothing at all", __wasi_path_symlink("", dir, "empty"));
}

static void path_symlink_trailing_slashes(fd_t dir) {
    answer("to nothing, with a slash", __wasi_path_symlink("source", dir, "target/"), "NOENT");
    works("without", __wasi_path_symlink("source", dir, "target"));
    works("unlink", __wasi_path_unlink_file(dir, "target"));
    works("make a directory", __wasi_path_create_directory(dir, "target"));
    answer("over it, with a slash", __wasi_path_symlink("source", dir, "target/"), "EXIST");
    answer("over it", __wasi_path_symlink("source", dir, "target"), "EXIST");
    works("remove it", __wasi_path_remove_directory(dir, "target"));
    works("make a file", make_file(dir, "target"));
    answer("over it, with a slash", __wasi_path_symlink("source", dir, "target/"), "NOTDIR EXIST");
    answer("over it", __wasi_path_symlink("source", dir, "target"), "EXIST");
    works("unlink it", __wasi_path_unlink_file(dir, "target"));
    told_errno("a target with a slash", __wasi_path_symlink("source/", dir, "target"));
    told_errno("unlink it", __wasi_path_unlink_file(dir, "target"));
}

static void readlink_of(fd_t dir) {
    uint8_t text[10] = {0};
    size_t length;
    works("make a file", make_file(dir, "target"));
    works("a link to it", __wasi_path_symlink("target", dir, "symlink"));
    works("read it", __wasi_path_readlink(dir, "symlink", text, sizeof text, &length));
    number("its length", length, 6);
    holds("its text", memcmp(text, "target\0\0\0\0", 10) == 0);
    memset(text, 0, sizeof text);
    works("read four bytes of it", __wasi_path_readlink(dir, "symlink", text, 4, &length));
    number("their count", length, 4);
    holds("their text", memcmp(text, "targ\0\0", 6) == 0);
    told_errno("read no byte of it", __wasi_path_readlink(dir, "symlink", text, 0, &length));
    answer("read a file", __wasi_path_readlink(dir, "target", text, sizeof text, &length), "INVAL");
    answer("read nothing", __wasi_path_readlink(dir, "none", text, sizeof text, &length), "NOENT");
    works("unlink the file", __wasi_path_unlink_file(dir, "target"));
    works("unlink the link", __wasi_path_unlink_file(dir, "symlink"));
}

static void path_exists(fd_t dir) {
    works("make a directory", __wasi_path_create_directory(dir, "subdir"));
    works("make a file", make_file(dir, "subdir/file"));
    works("a link to the file", __wasi_path_symlink("subdir/file", dir, "link1"));
    works("a link to the directory", __wasi_path_symlink("subdir", dir, "link2"));
    number("the directory", stat_at(dir, 0, "subdir").filetype, __WASI_FILETYPE_DIRECTORY);
    number("following", stat_at(dir, FOLLOW, "subdir").filetype, __WASI_FILETYPE_DIRECTORY);
    number("the file", stat_at(dir, 0, "subdir/file").filetype, __WASI_FILETYPE_REGULAR_FILE);
    number("following", stat_at(dir, FOLLOW, "subdir/file").filetype, __WASI_FILETYPE_REGULAR_FILE);
    number("link to the file", stat_at(dir, 0, "link1").filetype, __WASI_FILETYPE_SYMBOLIC_LINK);
    number("following", stat_at(dir, FOLLOW, "link1").filetype, __WASI_FILETYPE_REGULAR_FILE);
    number("link to the directory", stat_at(dir, 0, "link2").filetype, __WASI_FILETYPE_SYMBOLIC_LINK);
    number("following", stat_at(dir, FOLLOW, "link2").filetype, __WASI_FILETYPE_DIRECTORY);
    number("a slash follows", stat_at(dir, 0, "link2/").filetype, __WASI_FILETYPE_DIRECTORY);
    number("size of a link", stat_at(dir, 0, "link1").size, 11);
    works("unlink", __wasi_path_unlink_file(dir, "link1"));
    works("unlink", __wasi_path_unlink_file(dir, "link2"));
    works("unlink", __wasi_path_unlink_file(dir, "subdir/file"));
    works("remove", __wasi_path_remove_directory(dir, "subdir"));
}

static void path_open_missing(fd_t dir) {
    answer("what is not there", opening(dir, 0, "file", 0), "NOENT");
    answer("below what is not there", opening(dir, 0, "none/file", O(CREAT)), "NOENT");
}

static void path_open_create_existing(fd_t dir) {
    works("make a file", opening(dir, 0, "file", O(CREAT) | O(EXCL)));
    answer("make it anew", opening(dir, 0, "file", O(CREAT) | O(EXCL)), "EXIST");
    works("make it if need be", opening(dir, 0, "file", O(CREAT)));
    works("unlink it", __wasi_path_unlink_file(dir, "file"));
    told_errno("make a file and a slash", opening(dir, 0, "file/", O(CREAT)));
    told_errno("make a directory so", opening(dir, 0, "dir", O(CREAT) | O(DIRECTORY)));
    works("make a directory", __wasi_path_create_directory(dir, "dir"));
    answer("make a file of it anew", opening(dir, 0, "dir", O(CREAT) | O(EXCL)), "EXIST");
    answer("make it again", __wasi_path_create_directory(dir, "dir"), "EXIST");
    works("remove it", __wasi_path_remove_directory(dir, "dir"));
    works("make one and a slash", __wasi_path_create_directory(dir, "dir/"));
    works("remove it", __wasi_path_remove_directory(dir, "dir"));
    answer("make the root", __wasi_path_create_directory(dir, "."), "EXIST INVAL");
    answer("make its parent", __wasi_path_create_directory(dir, ".."), "PERM NOTCAPABLE");
}

static void path_open_dirfd_not_dir(fd_t dir) {
    fd_t fd = opened("make a file", dir, "file", O(CREAT), 0);
    answer("open below it", opening(fd, 0, "foo", O(CREAT)), "NOTDIR NOTCAPABLE");
    answer("make a directory below it", __wasi_path_create_directory(fd, "foo"), "NOTDIR NOTCAPABLE");
    works("close it", __wasi_fd_close(fd));
    answer("below a closed one", opening(fd, 0, "foo", 0), "BADF");
    works("unlink it", __wasi_path_unlink_file(dir, "file"));
}

static void path_open_nonblock(fd_t dir) {
    fd_t fd;
    works("a directory", open_with(dir, 0, ".", 0, 0, 0, __WASI_FDFLAGS_NONBLOCK, &fd));
    works("close it", __wasi_fd_close(fd));
}

/* What the calls of a path are tried on, below a directory that is made anew for each of them. */
typedef errno_t try_t(fd_t dir, const char *path);

static errno_t look(fd_t dir, const char *path) {
    __wasi_filestat_t stat;
    return __wasi_path_filestat_get(dir, 0, path, &stat);
}

static errno_t look_through(fd_t dir, const char *path) {
    __wasi_filestat_t stat;
    return __wasi_path_filestat_get(dir, FOLLOW, path, &stat);
}

static errno_t set_times(fd_t dir, const char *path) {
    return __wasi_path_filestat_set_times(dir, 0, path, 1, 1, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM);
}

static errno_t read_link(fd_t dir, const char *path) {
    uint8_t text[10];
    size_t length;
    return __wasi_path_readlink(dir, path, text, sizeof text, &length);
}

static errno_t open_it(fd_t dir, const char *path) { return opening(dir, 0, path, 0); }
static errno_t open_through(fd_t dir, const char *path) { return opening(dir, FOLLOW, path, 0); }
static errno_t open_directory(fd_t dir, const char *path) { return opening(dir, 0, path, O(DIRECTORY)); }
static errno_t symlink_at(fd_t dir, const char *path) { return __wasi_path_symlink("t", dir, path); }
static errno_t link_to(fd_t dir, const char *path) { return __wasi_path_link(dir, 0, "other", dir, path); }
static errno_t link_from(fd_t dir, const char *path) { return __wasi_path_link(dir, 0, path, dir, "spare"); }
static errno_t rename_to(fd_t dir, const char *path) { return __wasi_path_rename(dir, "other", dir, path); }
static errno_t move_to(fd_t dir, const char *path) { return __wasi_path_rename(dir, "empty", dir, path); }
static errno_t rename_from(fd_t dir, const char *path) {
    return __wasi_path_rename(dir, path, dir, "spare");
}

static const struct {
    const char *name;
    try_t *run;
} TRIES[] = {
    {"look", look},
    {"look through", look_through},
    {"set times", set_times},
    {"read link", read_link},
    {"open", open_it},
    {"open through", open_through},
    {"open directory", open_directory},
    {"create", make_file},
    {"make directory", __wasi_path_create_directory},
    {"symlink", symlink_at},
    {"link to", link_to},
    {"link from", link_from},
    {"rename to", rename_to},
    {"rename from", rename_from},
    {"move a directory to", move_to},
    {"unlink", __wasi_path_unlink_file},
    {"remove directory", __wasi_path_remove_directory},
};

static void make_names(fd_t dir) {
    bool failed = make_file(dir, "file") || make_file(dir, "other") ||
                  __wasi_path_create_directory(dir, "dir") || __wasi_path_create_directory(dir, "empty") ||
                  __wasi_path_symlink("file", dir, "link") || __wasi_path_symlink("dir", dir, "dirlink") ||
                  __wasi_path_symlink("nothing", dir, "dangling") ||
                  __wasi_path_symlink("loop", dir, "loop") || __wasi_path_symlink("..", dir, "out");
    if (failed)
        say("make the names", "no", "yes");
}

static void remove_names(fd_t dir) {
    static const char *const NAMES[] = {"file",     "other", "dir", "empty", "link",    "dirlink",
                                        "dangling", "loop",  "out", "none",  "nothing", "spare"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (__wasi_path_unlink_file(dir, NAMES[i]))
            (void)__wasi_path_remove_directory(dir, NAMES[i]);
}

static void try_all(fd_t dir, const char *label, const char *path) {
    char what[64];
    for (size_t i = 0; i < sizeof TRIES / sizeof *TRIES; i++) {
        make_names(dir);
        snprintf(what, sizeof what, "%s: %s", label, TRIES[i].name);
        told_errno(what, TRIES[i].run(dir, path));
        remove_names(dir);
    }
}

static void trailing_slashes(fd_t dir) {
    static const char *const PATHS[] = {"file/",    "dir/",      "none/", "link/",
                                        "dirlink/", "dangling/", "loop/", "out/"};
    for (size_t i = 0; i < sizeof PATHS / sizeof *PATHS; i++)
        try_all(dir, PATHS[i], PATHS[i]);
}

static void strange_names(fd_t dir) {
    static const char *const PATHS[] = {"",      ".",      "./",    "..",     "/",         "/x",
                                        "../x",  "dir/.",  "dir/..", "dir/./", "none/name", "file/name",
                                        "out/x", "dirlink"};
    for (size_t i = 0; i < sizeof PATHS / sizeof *PATHS; i++)
        try_all(dir, *PATHS[i] ? PATHS[i] : "empty", PATHS[i]);
    try_all(dir, "no UTF-8", "\xff");
    try_all(dir, "no UTF-8 below", "dir/\xc3");
    char name[257];
    memset(name, 'n', sizeof name);
    name[256] = 0;
    try_all(dir, "256 bytes", name);
}

int main(int argc, char **argv) {
    static const struct group GROUPS[] = {
        {"interesting_paths", interesting_paths},
        {"names", names},
        {"nofollow_errors", nofollow_errors},
        {"dangling_symlink", dangling_symlink},
        {"symlink_loop", symlink_loop},
        {"symlink_create", symlink_create},
        {"path_symlink_trailing_slashes", path_symlink_trailing_slashes},
        {"readlink", readlink_of},
        {"path_exists", path_exists},
        {"path_open_missing", path_open_missing},
        {"path_open_create_existing", path_open_create_existing},
        {"path_open_dirfd_not_dir", path_open_dirfd_not_dir},
        {"path_open_nonblock", path_open_nonblock},
        {"trailing_slashes", trailing_slashes},
        {"strange_names", strange_names},
        {0, 0},
    };
    return run_groups(GROUPS, argc, argv);
}
