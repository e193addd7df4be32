"""Nothing outside a directory is reached by a path, with either resolver and with a hostile neighbour."""

import errno
import fcntl
import os
import signal
import stat
import textwrap
import time
from collections.abc import Callable

import pytest

from coop.fs.contain import (
    RESOLVE,
    Resolver,
    by_openat2,
    by_walk,
    open_beneath,
    parent_beneath,
    stat_beneath,
)
from tests.children import run_child, start_child

HAS_OPENAT2 = RESOLVE is by_openat2
READ = os.O_RDONLY
CREATE = os.O_CREAT | os.O_WRONLY
LONG = "x" * 255

LINKS = {
    "to_f": "f",
    "to_f_slash": "f/",
    "to_dir": "dir",
    "to_dir_slash": "dir/",
    "to_new": "new",
    "to_new_slash": "new/",
    "to_dots": "dir/..",
    "to_secret": "../secret",
    "to_root_by_name": "../root/f",
    "up": "..",
    "to_etc": "/etc",
    "to_proc": "/proc/self/root",
    "loop": "loop",
    "ping": "pong",
    "pong": "ping",
    "dir/back": "../f",
    "dir/sub/far": "../../..",
    **{f"chain{n}": f"chain{n - 1}" if n else "f" for n in range(42)},
}


@pytest.fixture(
    params=[
        pytest.param(by_openat2, marks=pytest.mark.skipif(not HAS_OPENAT2, reason="no openat2 here")),
        by_walk,
        None,
    ],
    ids=["openat2", "walk", "default"],
)
def resolve(request) -> Resolver | None:
    """A resolver of its own, and what is used: a path of one name needs none."""
    return request.param


@pytest.fixture
def root(tmp_path):
    """A directory with files and links, and beside it what must not be reached."""
    (tmp_path / "secret").write_bytes(b"outside")
    root = tmp_path / "root"
    (root / "dir" / "sub").mkdir(parents=True)
    (root / "f").write_bytes(b"inside")
    (root / LONG).write_bytes(b"long")
    (root / "é").write_bytes(b"accent")
    os.mkfifo(root / "fifo")
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
    return root


@pytest.fixture
def dirfd(root):
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def reached(fd: int, root) -> str:
    """What a descriptor names, seen from the directory; closes it."""
    try:
        return os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), root)
    finally:
        os.close(fd)


def refusal(call: Callable[..., object], *args, **kwargs) -> str:
    with pytest.raises(OSError) as caught:
        call(*args, **kwargs)
    return errno.errorcode[caught.value.errno]


REACHED = {
    "f": "f",
    "./f": "f",
    "dir//sub/../../f": "f",
    "dir": "dir",
    "dir/": "dir",
    "dir/.": "dir",
    "dir/..": ".",
    "dir/sub/../..": ".",
    ".": ".",
    "././/": ".",
    LONG: LONG,
    "é": "é",
    "to_f": "f",
    "to_dir": "dir",
    "to_dir/": "dir",
    "to_dir/sub": "dir/sub",
    "to_dir/../f": "f",
    "to_dir_slash": "dir",
    "to_dots": ".",
    "to_dots/f": "f",
    "dir/back": "f",
    "chain39": "f",
}


@pytest.mark.parametrize(("path", "name"), REACHED.items())
def test_a_path_inside_is_opened(path, name, root, dirfd, resolve):
    fd = open_beneath(dirfd, path.encode(), READ, follow=True, resolve=resolve)
    assert reached(fd, root) == name


@pytest.mark.parametrize(("path", "name"), REACHED.items())
def test_a_path_inside_is_examined(path, name, root, dirfd, resolve):
    found = stat_beneath(dirfd, path.encode(), follow=True, resolve=resolve)
    assert os.path.samestat(found, (root / name).stat())


REFUSED = {
    b"..": "EPERM",
    b"../": "EPERM",
    b"..//": "EPERM",
    b"./..": "EPERM",
    b"../secret": "EPERM",
    b"../root/f": "EPERM",
    b"dir/../..": "EPERM",
    b"dir/../../secret": "EPERM",
    b"dir/sub/../../../secret": "EPERM",
    b"dir/sub/../../../root/f": "EPERM",
    b"to_dir/../../secret": "EPERM",
    b"/": "EPERM",
    b"//": "EPERM",
    b"/f": "EPERM",
    b"/etc/passwd": "EPERM",
    b"to_secret": "EPERM",
    b"to_root_by_name": "EPERM",
    b"up": "EPERM",
    b"up/secret": "EPERM",
    b"up/root/f": "EPERM",
    b"dir/sub/far": "EPERM",
    b"dir/sub/far/secret": "EPERM",
    b"to_etc": "EPERM",
    b"to_etc/passwd": "EPERM",
    b"to_proc": "EPERM",
    b"to_proc/etc/passwd": "EPERM",
    b"": "ENOENT",
    b" ": "ENOENT",
    b"none": "ENOENT",
    b"none/": "ENOENT",
    b"none/../f": "ENOENT",
    b"none/../../secret": "ENOENT",
    b"to_new": "ENOENT",
    b"to_new_slash": "ENOENT",
    b"f/": "ENOTDIR",
    b"f/.": "ENOTDIR",
    b"f/..": "ENOTDIR",
    b"f/x": "ENOTDIR",
    b"to_f/": "ENOTDIR",
    b"to_f_slash": "ENOTDIR",
    b"loop": "ELOOP",
    b"loop/x": "ELOOP",
    b"ping": "ELOOP",
    b"chain40": "ELOOP",
    b"chain41/": "ELOOP",
    b"f\0": "EINVAL",
    b"\0": "EINVAL",
    b"f\0/../../secret": "EINVAL",
    b"\xff": "EILSEQ",
    b"dir/\xc3": "EILSEQ",
    b"\xed\xa0\x80": "EILSEQ",
    b"x" * 256: "ENAMETOOLONG",
    b"dir/" + b"x" * 256: "ENAMETOOLONG",
    b"x" * 256 + b"/f": "ENAMETOOLONG",
    b"./" * 2047 + b"..": "ENAMETOOLONG",
}


@pytest.mark.parametrize(("path", "error"), REFUSED.items())
def test_a_bad_path_gets_the_error_native_wasmtime_gives(path, error, dirfd, resolve):
    assert refusal(open_beneath, dirfd, path, READ, follow=True, resolve=resolve) == error
    assert refusal(stat_beneath, dirfd, path, follow=True, resolve=resolve) == error


def test_the_longest_path_is_taken(root, dirfd, resolve):
    path = b"./" * 2047 + b"f"
    assert reached(open_beneath(dirfd, path, READ, follow=True, resolve=resolve), root) == "f"


@pytest.mark.parametrize("name", ["to_f", "to_dir", "to_new", "to_secret", "to_etc", "to_proc", "up", "loop"])
def test_a_final_link_that_may_not_be_followed_is_named_as_such(name, dirfd, resolve):
    path = name.encode()
    assert refusal(open_beneath, dirfd, path, READ, follow=False, resolve=resolve) == "ELOOP"
    directory = READ | os.O_DIRECTORY
    assert refusal(open_beneath, dirfd, path, directory, follow=False, resolve=resolve) == "ELOOP"
    assert stat.S_ISLNK(stat_beneath(dirfd, path, follow=False, resolve=resolve).st_mode)


def test_a_walk_gives_up_where_links_make_a_path_of_thousands_of_components(root, dirfd):
    """Every component costs system calls, while the whole thread waits."""
    (root / "e").mkdir()
    for n in range(3):
        (root / f"long{n}").symlink_to("e/../" * 800 + f"long{n + 1}")
    (root / "long3").mkdir()
    for path in (b"long1", b"long2"):
        os.close(open_beneath(dirfd, path, READ, follow=True, resolve=by_walk))
    assert refusal(open_beneath, dirfd, b"long0", READ, follow=True, resolve=by_walk) == "ELOOP"


def test_a_parent_is_given_up_where_links_make_a_path_of_thousands_of_components(root, dirfd, resolve):
    for n in range(3):
        (root / f"long{n}").symlink_to("./" * 2000 + f"long{n + 1}")
    with parent_beneath(dirfd, b"long1", follow=True, resolve=resolve) as parent:
        assert parent.name == b"long3"
    assert refused_parent(dirfd, b"long0", resolve) == "ELOOP"


def refused_parent(dirfd: int, path: bytes, resolve: Resolver | None) -> str:
    with pytest.raises(OSError) as caught, parent_beneath(dirfd, path, follow=True, resolve=resolve):
        pass
    return errno.errorcode[caught.value.errno]


def test_all_links_on_the_way_to_a_parent_count_together(root, dirfd, resolve):
    """Those to its directory, and those from one last name to the next."""
    for n in range(30):
        (root / f"in{n}").symlink_to(f"in{n - 1}" if n else "dir")
    for n in range(12):
        (root / "dir" / f"last{n}").symlink_to(f"last{n - 1}" if n else "end")
    with parent_beneath(dirfd, b"in29/last9", follow=True, resolve=resolve) as parent:
        assert (reached(os.dup(parent.fd), root), parent.name) == ("dir", b"end")
    assert refused_parent(dirfd, b"in29/last10", resolve) == "ELOOP"
    with parent_beneath(dirfd, b"in29/none", follow=True, resolve=resolve) as parent:
        assert parent.name == b"none"


def test_the_way_to_a_parent_is_resolved_once_and_walked_once(root, dirfd):
    """Whatever the links at its end, each of which might lead through the longest of paths."""
    asked = []

    def counting(*args):
        asked.append(args)
        return RESOLVE(*args)

    for path in (b"chain0", b"chain39", b"to_dir/back"):
        asked.clear()
        with parent_beneath(dirfd, path, follow=True, resolve=counting) as parent:
            assert parent.name == b"f"
        assert len(asked) == 1


def test_a_link_before_a_slash_is_followed_all_the_same(root, dirfd, resolve):
    assert reached(open_beneath(dirfd, b"to_dir/", READ, follow=False, resolve=resolve), root) == "dir"
    assert refusal(open_beneath, dirfd, b"up/", READ, follow=False, resolve=resolve) == "EPERM"


def test_a_file_is_no_directory(dirfd, resolve):
    for follow in (True, False):
        call = (open_beneath, dirfd, b"f", READ | os.O_DIRECTORY)
        assert refusal(*call, follow=follow, resolve=resolve) == "ENOTDIR"


@pytest.mark.parametrize("name", ["f", "no/such", "", "/etc", ".."])
def test_a_negative_directory_is_not_the_working_directory(name, resolve):
    for dirfd in (-1, -100):
        path = name.encode()
        assert refusal(open_beneath, dirfd, path, READ, follow=True, resolve=resolve) == "EBADF"


def test_a_file_as_the_directory_is_refused(root, resolve):
    with (root / "f").open() as file:
        for path in (b"f", b".", b".."):
            call = (open_beneath, file.fileno(), path, READ)
            assert refusal(*call, follow=True, resolve=resolve) == "ENOTDIR"


def test_a_directory_opened_by_path_alone_will_do(root, resolve):
    dirfd = os.open(root, os.O_PATH)
    try:
        assert reached(open_beneath(dirfd, b"dir/back", READ, follow=True, resolve=resolve), root) == "f"
    finally:
        os.close(dirfd)


MAGIC = [
    "root",
    "root/etc",
    "cwd",
    "cwd/tests",
    "exe",
    "ns/mnt",
    "fd/{fd}",
    "fd/{fd}/f",
    "task/{pid}/root/etc",
]


@pytest.mark.parametrize("path", MAGIC)
def test_no_magic_link_of_proc_is_followed(path, root, resolve):
    outside = os.open(root, READ)
    proc = os.open("/proc/self", READ)
    try:
        named = path.format(fd=outside, pid=os.getpid()).encode()
        error = refusal(open_beneath, proc, named, READ, follow=True, resolve=resolve)
        assert error in {"ELOOP", "EPERM", "ENOENT"}
        assert refusal(stat_beneath, proc, named, follow=True, resolve=resolve) == error
    finally:
        os.close(proc)
        os.close(outside)


def test_an_open_gives_a_private_descriptor_that_never_blocks(dirfd, resolve):
    fd = open_beneath(dirfd, b"fifo", READ, follow=True, resolve=resolve)
    try:
        assert not os.get_inheritable(fd)
        assert not os.get_blocking(fd)
    finally:
        os.close(fd)


def test_a_fifo_without_a_reader_says_so_at_once(dirfd, resolve):
    assert refusal(open_beneath, dirfd, b"fifo", os.O_WRONLY, follow=True, resolve=resolve) == "ENXIO"


def test_a_fifo_is_examined_without_being_opened(dirfd, resolve):
    assert stat.S_ISFIFO(stat_beneath(dirfd, b"fifo", follow=True, resolve=resolve).st_mode)


def test_a_leased_file_is_busy_and_not_something_to_try_again(root, dirfd, resolve):
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        with (root / "f").open() as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            assert refusal(open_beneath, dirfd, b"f", os.O_WRONLY, follow=True, resolve=resolve) == "EBUSY"
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    finally:
        signal.signal(signal.SIGIO, before)


def test_a_new_file_gets_the_mode_asked_for_and_no_special_bits(root, dirfd, resolve):
    os.close(open_beneath(dirfd, b"dir/new", CREATE, 0o6700, follow=True, resolve=resolve))
    assert stat.S_IMODE((root / "dir" / "new").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (b"new/", "EISDIR"),
        (b"f/", "EISDIR"),
        (b"dir", "EISDIR"),
        (b"dir/", "EISDIR"),
        (b"dir/.", "EISDIR"),
        (b".", "EISDIR"),
        (b"to_new_slash", "EISDIR"),
        (b"none/new", "ENOENT"),
        (b"f/new", "ENOTDIR"),
        (b"..", "EPERM"),
        (b"../", "EPERM"),
        (b"../new", "EPERM"),
        (b"/new", "EPERM"),
        (b"up", "EPERM"),
        (b"up/new", "EPERM"),
        (b"to_secret", "EPERM"),
        (b"x" * 256, "ENAMETOOLONG"),
    ],
)
def test_nothing_is_created_where_it_may_not_be(path, error, root, dirfd, resolve):
    before = sorted(os.walk(root.parent))
    assert refusal(open_beneath, dirfd, path, CREATE, follow=True, resolve=resolve) == error
    assert sorted(os.walk(root.parent)) == before


def test_creating_through_a_dangling_link_makes_its_target(root, dirfd, resolve):
    os.close(open_beneath(dirfd, b"to_new", CREATE, follow=True, resolve=resolve))
    assert (root / "new").is_file()
    assert (root / "to_new").is_symlink()


@pytest.mark.parametrize("follow", [True, False])
@pytest.mark.parametrize("name", ["to_new", "f", "dir", ".", "to_secret", "to_etc", "up", "loop"])
def test_an_exclusive_create_never_goes_through_what_exists(name, follow, root, dirfd, resolve):
    call = (open_beneath, dirfd, name.encode(), CREATE | os.O_EXCL)
    assert refusal(*call, follow=follow, resolve=resolve) == "EEXIST"
    assert not (root / "new").exists()


def test_a_create_without_following_stops_at_a_dangling_link(root, dirfd, resolve):
    assert refusal(open_beneath, dirfd, b"to_new", CREATE, follow=False, resolve=resolve) == "ELOOP"
    assert not (root / "new").exists()


def test_create_and_directory_together_create_nothing(root, dirfd, resolve):
    call = (open_beneath, dirfd, b"new", CREATE | os.O_DIRECTORY)
    assert refusal(*call, follow=True, resolve=resolve) == "EINVAL"
    assert not (root / "new").exists()


def test_truncation_reaches_a_file_inside_and_none_outside(root, dirfd, resolve):
    os.close(open_beneath(dirfd, b"to_f", os.O_WRONLY | os.O_TRUNC, follow=True, resolve=resolve))
    assert (root / "f").read_bytes() == b""
    call = (open_beneath, dirfd, b"to_secret", os.O_WRONLY | os.O_TRUNC)
    assert refusal(*call, follow=True, resolve=resolve) == "EPERM"
    assert refusal(*call, follow=False, resolve=resolve) == "ELOOP"
    assert (root.parent / "secret").read_bytes() == b"outside"


PARENTS = {
    b"f": (".", b"f", False),
    b"none": (".", b"none", False),
    b"none/": (".", b"none", True),
    b"dir/sub//": ("dir", b"sub", True),
    b"dir//none": ("dir", b"none", False),
    b"to_dir/none": ("dir", b"none", False),
    b"to_f": (".", b"to_f", False),
    b"to_secret": (".", b"to_secret", False),
    b"dir/.": ("dir", b".", False),
    b"dir/..": (".", b".", False),
    b"dir/sub/../": ("dir", b".", True),
    b".": (".", b".", False),
}


@pytest.mark.parametrize(("path", "expected"), PARENTS.items())
def test_a_parent_is_the_directory_and_the_name_in_it(path, expected, root, dirfd, resolve):
    with parent_beneath(dirfd, path, resolve=resolve) as parent:
        assert (reached(os.dup(parent.fd), root), parent.name, parent.slash) == expected


PARENTS_BEHIND_LINKS = {
    b"to_f": (".", b"f", False),
    b"to_new": (".", b"new", False),
    b"to_dir/": (".", b"dir", True),
    b"to_dir_slash": (".", b"dir", True),
    b"to_dir/back": (".", b"f", False),
    b"to_dots": (".", b".", False),
    b"none": (".", b"none", False),
    b"chain39": (".", b"f", False),
}


@pytest.mark.parametrize(("path", "expected"), PARENTS_BEHIND_LINKS.items())
def test_a_parent_behind_links_is_where_the_last_one_leads(path, expected, root, dirfd, resolve):
    with parent_beneath(dirfd, path, follow=True, resolve=resolve) as parent:
        assert (reached(os.dup(parent.fd), root), parent.name, parent.slash) == expected


@pytest.mark.parametrize(
    ("path", "follow", "error"),
    [
        (b"..", False, "EPERM"),
        (b"../secret", False, "EPERM"),
        (b"up/secret", False, "EPERM"),
        (b"dir/../..", False, "EPERM"),
        (b"/secret", False, "EPERM"),
        (b"f/x", False, "ENOTDIR"),
        (b"none/x", False, "ENOENT"),
        (b"", False, "ENOENT"),
        (b"f\0", False, "EINVAL"),
        (b"\xff", False, "EILSEQ"),
        (b"up", True, "EPERM"),
        (b"to_secret", True, "EPERM"),
        (b"to_etc", True, "EPERM"),
        (b"dir/sub/far", True, "EPERM"),
        (b"loop", True, "ELOOP"),
        (b"chain41", True, "ELOOP"),
    ],
)
def test_a_parent_outside_is_refused(path, follow, error, dirfd, resolve):
    def ask() -> None:
        with parent_beneath(dirfd, path, follow=follow, resolve=resolve):
            pass

    assert refusal(ask) == error


def test_a_parent_is_closed_when_its_user_fails(dirfd, resolve):
    with pytest.raises(ZeroDivisionError), parent_beneath(dirfd, b"dir/sub", resolve=resolve) as parent:
        raise ZeroDivisionError
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(parent.fd)


# --- a hostile process beside us -------------------------------------------------------------------

EXCHANGE = """
    import ctypes, os, sys
    rename = ctypes.CDLL(None, use_errno=True).renameat2
    one, two = (name.encode() for name in sys.argv[1:])
    def swap():
        if rename(-100, one, -100, two, 2):
            sys.exit(os.strerror(ctypes.get_errno()))
    swap()
    print("swapping", flush=True)
    while True:
        swap()
"""

RACE_S = 2.0


def while_swapping(one, two, step: Callable[[], None]) -> None:
    """Repeat `step` for a while, with another process exchanging two names as fast as it can."""
    with start_child(["-c", textwrap.dedent(EXCHANGE), str(one), str(two)]) as child:
        assert child.stdout.readline() == b"swapping\n"
        end = time.monotonic() + RACE_S
        while time.monotonic() < end:
            step()
        assert child.poll() is None


def test_a_directory_swapped_for_a_link_lets_nobody_out(root, dirfd, resolve):
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"outside")
    (root / "spot").mkdir()
    (root / "spot" / "file").write_bytes(b"inside")
    (root / "link").symlink_to("../outside")
    forbidden = (outside / "file").stat()
    seen = set()

    def step() -> None:
        try:
            fd = open_beneath(dirfd, b"spot/file", READ, follow=True, resolve=resolve)
            seen.add(os.read(fd, 100))
            os.close(fd)
            os.close(open_beneath(dirfd, b"spot/made", CREATE, follow=True, resolve=resolve))
            found = stat_beneath(dirfd, b"spot/file", follow=False, resolve=resolve)
            assert not os.path.samestat(found, forbidden)
            with parent_beneath(dirfd, b"spot/file", resolve=resolve) as parent:
                found = os.stat(parent.name, dir_fd=parent.fd, follow_symlinks=False)
                assert not os.path.samestat(found, forbidden)
        except OSError as error:
            seen.add(errno.errorcode[error.errno])

    while_swapping(root / "spot", root / "link", step)
    assert seen == {b"inside", "EPERM"}
    assert os.listdir(outside) == ["file"]


def test_a_final_file_swapped_for_a_link_lets_nobody_out(root, dirfd, resolve):
    (root / "spot").write_bytes(b"inside")
    (root / "link").symlink_to("../secret")
    forbidden = (root.parent / "secret").stat()
    seen = set()

    def step() -> None:
        try:
            fd = open_beneath(dirfd, b"spot", os.O_RDWR | os.O_CREAT, follow=True, resolve=resolve)
            seen.add(os.read(fd, 100))
            os.close(fd)
            found = stat_beneath(dirfd, b"spot", follow=True, resolve=resolve)
            assert not os.path.samestat(found, forbidden)
        except OSError as error:
            seen.add(errno.errorcode[error.errno])

    while_swapping(root / "spot", root / "link", step)
    assert seen - {"ELOOP"} == {b"inside", "EPERM"}  # ELOOP: the link came between two steps of the walk


def test_a_directory_moved_up_while_it_is_left_lets_nobody_out(root, dirfd, resolve):
    # b is two levels deep: moved up by one while the path goes through it, its second `..` leads outside.
    (root / "a" / "b").mkdir(parents=True)
    (root / "b").mkdir()
    (root / "secret").write_bytes(b"inside")
    seen = set()

    def step() -> None:
        try:
            fd = open_beneath(dirfd, b"a/b/../../secret", READ, follow=True, resolve=resolve)
            seen.add(os.read(fd, 100))
            os.close(fd)
        except OSError as error:
            seen.add(errno.errorcode[error.errno])

    while_swapping(root / "a" / "b", root / "b", step)
    assert b"inside" in seen
    assert seen <= {b"inside", "EPERM"}


def test_renames_elsewhere_do_not_make_a_path_fail(root, dirfd, resolve):
    # A rename anywhere makes the kernel give up at the next `..`; this path has too many to be lucky.
    path = b"dir/sub/../../" * 200 + b"f"
    contents = set()

    def step() -> None:
        fd = open_beneath(dirfd, path, READ, follow=True, resolve=resolve)
        contents.add(os.read(fd, 100))
        os.close(fd)

    while_swapping(root / "to_f", root / "to_dir", step)
    assert contents == {b"inside"}


# --- which resolver is used ------------------------------------------------------------------------

SECCOMP = """
    import ctypes, errno, os, struct, sys
    code, how = getattr(errno, sys.argv[1]), sys.argv[2]
    # The system call's number is the first word of what a filter sees.
    rules = [(0x20, 0, 0, 0), (0x15, 0, 1, 437), (0x06, 0, 0, 0x50000 | code), (0x06, 0, 0, 0x7FFF0000)]
    rules = b"".join(struct.pack("=HBBI", *rule) for rule in rules)
    class Program(ctypes.Structure):
        _fields_ = [("count", ctypes.c_ushort), ("rules", ctypes.c_char_p)]
    def forbid():
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.byref(Program(4, rules)), 0, 0):
            sys.exit(os.strerror(ctypes.get_errno()))
    if how == "before":
        forbid()
    from coop.fs import contain
    print(contain.RESOLVE.__name__)
    if how == "after":
        forbid()
    fd = os.open(sys.argv[3], os.O_RDONLY)
    os.close(contain.open_beneath(fd, b"dir/back", os.O_RDONLY, follow=True))
    try:
        contain.open_beneath(fd, b"up/secret", os.O_RDONLY, follow=True)
    except PermissionError as error:
        print(errno.errorcode[error.errno])
"""


@pytest.mark.parametrize("code", ["ENOSYS", "EPERM"])
def test_a_sandbox_without_openat2_is_noticed_at_the_start(code, root):
    done = run_child(["-c", textwrap.dedent(SECCOMP), code, "before", str(root)])
    assert done.stdout.split() == [b"by_walk", b"EPERM"]


@pytest.mark.skipif(not HAS_OPENAT2, reason="no openat2 here")
def test_a_sandbox_entered_later_is_survived(root):
    done = run_child(["-c", textwrap.dedent(SECCOMP), "ENOSYS", "after", str(root)])
    assert done.stdout.split() == [b"by_openat2", b"EPERM"]


def test_a_deep_path_does_not_use_up_descriptors(root):
    code = """
        import os, resource, sys
        from coop.fs import contain
        fd = os.open(sys.argv[1], os.O_RDONLY)
        here = os.dup(fd)
        for _ in range(300):
            os.mkdir("d", dir_fd=here)
            down = os.open("d", os.O_PATH, dir_fd=here)
            os.close(here)
            here = down
        os.close(here)
        resource.setrlimit(resource.RLIMIT_NOFILE, (fd + 4, fd + 4))
        path = b"d/" * 300 + b"../" * 300 + b"f"
        print(os.read(contain.open_beneath(fd, path, os.O_RDONLY, follow=True, resolve=contain.by_walk), 100))
    """
    done = run_child(["-c", textwrap.dedent(code), str(root)])
    assert done.stdout == b"b'inside'\n"
