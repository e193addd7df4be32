"""What every file system answers: directories of the host, by either resolver, and directories in memory."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from coop.fs import NOW, Dir, Directory, MemDir, RegularFile, contain
from coop.netpoll.contract import READ
from coop.netpoll.openfile import BLOCKED

READS, WRITES, BOTH = os.O_RDONLY, os.O_WRONLY, os.O_RDWR
CREATE = os.O_CREAT | os.O_RDWR
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
NAME_255, NAME_256 = b"x" * 255, b"x" * 256
LAST = (1 << 63) - 1

Make = Callable[..., Directory]


@pytest.fixture(params=["openat2", "walk", "memory"])
def make(request, tmp_path, monkeypatch) -> Iterator[Make]:
    """A function that opens one and the same root directory, empty at first, read-only or not."""
    if request.param == "openat2" and contain.RESOLVE is not contain.by_openat2:
        pytest.skip("no openat2 here")
    if request.param == "walk":
        monkeypatch.setattr(contain, "RESOLVE", contain.by_walk)
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").write_bytes(b"secret")
    memory = MemDir()
    opened = []

    def open_root(*, read_only: bool = False) -> Directory:
        if request.param == "memory":
            memory.read_only = read_only
            grant: Any = memory
        else:
            grant = Dir(tmp_path / "root", read_only=read_only)
        opened.append(grant.open(None))
        return opened[-1]

    yield open_root
    for each in opened:
        each.release()
    assert sorted(os.listdir(tmp_path)) == ["outside", "root"]
    assert (tmp_path / "outside").read_bytes() == b"secret"


@pytest.fixture
def root(make) -> Directory:
    return make()


@pytest.fixture
def tree(root) -> Directory:
    """Files, directories and links, as the tables below name them."""
    for name in (b"d", b"d/sub", b"e"):
        root.make_directory(name)
    for name in (b"f", b"g", b"d/h"):
        put(root, name, b"text of " + name)
    links = {b"lf": b"f", b"ld": b"e", b"full": b"d", b"dang": b"nope", b"up": b"..", b"esc": b"../x"}
    for name, target in {**links, b"loop": b"loop", b"lfs": b"f/"}.items():
        root.symlink(target, name)
    return root


def put(root: Directory, name: bytes, data: bytes) -> None:
    file = root.open(name, CREATE | os.O_TRUNC, follow=True)
    assert file.try_write([memoryview(data)]) == len(data)
    file.release()


def get(root: Directory, name: bytes) -> bytes:
    file = root.open(name, READS, follow=True)
    try:
        return read(file, 1000)
    finally:
        file.release()


def read(file: Any, size: int) -> bytes:
    buffer = bytearray(size)
    count = file.try_read([memoryview(buffer)])
    if count == BLOCKED:  # it is not in the page cache, and there is no task here to wait
        os.pread(file.fd, size, file.seek(0, os.SEEK_CUR))
        count = file.try_read([memoryview(buffer)])
    return bytes(buffer[:count])


def pread(file: RegularFile, size: int, offset: int) -> bytes:
    buffer = bytearray(size)
    count = file.pread([memoryview(buffer)], offset)
    if count == BLOCKED:
        os.pread(file.fd, size, offset)
        count = file.pread([memoryview(buffer)], offset)
    return bytes(buffer[:count])


def pwrite(file: RegularFile, data: bytes, offset: int) -> int:
    return file.pwrite([memoryview(data)], offset)


def names(directory: Directory, room: int = 4096) -> list[bytes]:
    """All names in order, `.` and `..` left out."""
    found, cookie = [], 0
    while entries := directory.entries(cookie, room):
        found += [entry.name for entry in entries]
        cookie = entries[-1].next
    return [name for name in found if name not in {b".", b".."}]


def refusal(call: Callable[..., object], *args, **kwargs) -> str:
    with pytest.raises(OSError) as caught:
        call(*args, **kwargs)
    return errno.errorcode[caught.value.errno]


def state(root: Directory) -> dict[bytes, tuple[object, ...]]:
    """All that is in a tree, by path; enough to see whether anything was changed."""
    found: dict[bytes, tuple[object, ...]] = {}
    todo = [b"."]
    while todo:
        path = todo.pop()
        directory = root.open(path, DIRECTORY, follow=True)
        for name in names(directory):
            below = path + b"/" + name
            stat_ = root.stat_at(below, follow=False)
            found[below] = (stat_.ino, stat_.mode, stat_.nlink, stat_.mtime_ns, stat_.ctime_ns)
            if stat.S_ISDIR(stat_.mode):
                todo.append(below)
        directory.release()
    return found


# -- paths: what every call that takes one refuses

BAD_PATHS = {
    b"": "ENOENT",
    b"/": "EPERM",
    b"/f": "EPERM",
    b"..": "EPERM",
    b"../": "EPERM",
    b"../outside": "EPERM",
    b"d/../..": "EPERM",
    b"d/../../outside": "EPERM",
    b"up/outside": "EPERM",
    b"esc/x": "EPERM",
    b"loop/x": "ELOOP",
    b"f/x": "ENOTDIR",
    b"nope/x": "ENOENT",
    b"\xff": "EILSEQ",
    b"d/\xff": "EILSEQ",
    b"a\0b": "EINVAL",
    NAME_256: "ENAMETOOLONG",
    b"d/" + NAME_256: "ENAMETOOLONG",
    b"d/" * 2048 + b"f": "ENAMETOOLONG",
}

CALLS: dict[str, Callable[[Directory, bytes], object]] = {
    "open": lambda root, path: root.open(path, READS, follow=True),
    "open without following": lambda root, path: root.open(path, READS, follow=False),
    "create": lambda root, path: root.open(path, CREATE, follow=True),
    "create new": lambda root, path: root.open(path, CREATE | os.O_EXCL, follow=True),
    "open a directory": lambda root, path: root.open(path, DIRECTORY, follow=True),
    "stat": lambda root, path: root.stat_at(path, follow=True),
    "stat without following": lambda root, path: root.stat_at(path, follow=False),
    "set times": lambda root, path: root.set_times_at(path, 1, 1, follow=True),
    "set times without following": lambda root, path: root.set_times_at(path, 1, 1, follow=False),
    "read link": lambda root, path: root.read_link(path),
    "make directory": lambda root, path: root.make_directory(path),
    "remove directory": lambda root, path: root.remove_directory(path),
    "unlink": lambda root, path: root.unlink(path),
    "symlink": lambda root, path: root.symlink(b"f", path),
    "rename from": lambda root, path: root.rename(path, root, b"new"),
    "rename to": lambda root, path: root.rename(b"g", root, path),
    "link from": lambda root, path: root.link(path, root, b"new", follow=False),
    "link from, following": lambda root, path: root.link(path, root, b"new", follow=True),
    "link to": lambda root, path: root.link(b"g", root, path, follow=False),
}


@pytest.mark.parametrize("what", CALLS)
def test_a_bad_path_is_refused_and_changes_nothing(what, tree):
    before = state(tree)
    told = {path: refusal(CALLS[what], tree, path) for path in BAD_PATHS}
    assert told == BAD_PATHS
    assert state(tree) == before


@pytest.mark.parametrize("follow", [True, False])
def test_a_link_that_leads_out_is_not_followed(follow, tree):
    told = {name: refusal(tree.open, name, CREATE, follow=True) for name in (b"up", b"esc")}
    assert told == {b"up": "EPERM", b"esc": "EPERM"}
    told = {name: refusal(tree.open, name, READS, follow=False) for name in (b"up", b"esc", b"lf", b"dang")}
    assert set(told.values()) == {"ELOOP"}


def test_the_longest_name_and_one_in_another_script_are_good(tree):
    for name in (NAME_255, "имя é".encode()):
        put(tree, name, b"x")
        tree.rename(name, tree, b"d/" + name)
        assert tree.stat_at(b"d/" + name, follow=True).size == 1
        tree.unlink(b"d/" + name)


# -- what acts on names

OUTCOMES: dict[str, dict[bytes, str]] = {
    "make directory": {
        **dict.fromkeys((b".", b"./", b"d", b"d/", b"f", b"f/", b"lf", b"ld/", b"dang", b"dang/"), "EEXIST"),
        **dict.fromkeys((b"d/.", b"d/..", b"e/.."), "EEXIST"),
        b"new/.": "ENOENT",
    },
    "remove directory": {
        **dict.fromkeys((b"f", b"f/", b"lf", b"lf/", b"ld", b"ld/", b"dang", b"loop"), "ENOTDIR"),
        **dict.fromkeys((b"d", b"d/"), "ENOTEMPTY"),
        **dict.fromkeys((b".", b"d/."), "EINVAL"),
        **dict.fromkeys((b"nope", b"nope/", b"dang/"), "ENOENT"),
        b"loop/": "ELOOP",
        b"up/": "EPERM",
    },
    "unlink": {
        **dict.fromkeys((b"d", b"d/", b"e/", b"ld/", b".", b"d/."), "EISDIR"),
        **dict.fromkeys((b"f/", b"lf/", b"lfs/"), "ENOTDIR"),
        **dict.fromkeys((b"nope", b"nope/", b"dang/"), "ENOENT"),
        b"loop/": "ELOOP",
        b"up/": "EPERM",
    },
    "symlink": {
        **dict.fromkeys((b".", b"./", b"d", b"d/", b"f", b"lf", b"ld/", b"dang", b"up"), "EEXIST"),
        **dict.fromkeys((b"f/", b"lf/"), "ENOTDIR"),
        **dict.fromkeys((b"new/", b"new/.", b"dang/"), "ENOENT"),
        b"loop/": "ELOOP",
        b"up/": "EPERM",
    },
    "read link": {
        **dict.fromkeys((b".", b"f", b"d", b"d/", b"ld/", b"full/", b"d/.."), "EINVAL"),
        **dict.fromkeys((b"f/", b"lf/"), "ENOTDIR"),
        **dict.fromkeys((b"nope", b"dang/"), "ENOENT"),
        b"loop/": "ELOOP",
        b"up/": "EPERM",
    },
    "rename from": {
        **dict.fromkeys((b"f/", b"lf/", b"ld/", b"dang/"), "ENOTDIR"),
        **dict.fromkeys((b".", b"d/.", b"d/.."), "EBUSY"),
        **dict.fromkeys((b"nope", b"nope/"), "ENOENT"),
    },
    "rename to": {
        **dict.fromkeys((b"new/", b"f/", b"lf/", b"ld/", b"dang/", b"up/"), "ENOTDIR"),
        **dict.fromkeys((b"d", b"d/", b"e", b"e/"), "EISDIR"),
        **dict.fromkeys((b".", b"d/.."), "EBUSY"),
    },
    "link from": {
        **dict.fromkeys((b".", b"d", b"d/", b"ld/", b"d/.."), "EPERM"),
        **dict.fromkeys((b"f/", b"lf/", b"lfs/"), "ENOTDIR"),
        **dict.fromkeys((b"nope", b"dang/"), "ENOENT"),
    },
    "link from, following": {
        **dict.fromkeys((b"d", b"ld", b"ld/", b"up"), "EPERM"),
        **dict.fromkeys((b"f/", b"lfs"), "ENOTDIR"),
        **dict.fromkeys((b"nope", b"dang"), "ENOENT"),
        b"loop": "ELOOP",
    },
    "link to": {
        **dict.fromkeys((b"f", b"d", b"d/", b"lf", b"ld/", b"dang", b".", b"./"), "EEXIST"),
        **dict.fromkeys((b"f/", b"lf/"), "ENOTDIR"),
        **dict.fromkeys((b"new/", b"dang/"), "ENOENT"),
        b"loop/": "ELOOP",
        b"up/": "EPERM",
    },
    "stat": {
        **dict.fromkeys((b"nope", b"dang", b"dang/"), "ENOENT"),
        **dict.fromkeys((b"f/", b"lf/", b"lfs"), "ENOTDIR"),
        b"loop": "ELOOP",
    },
    "stat without following": {b"nope": "ENOENT", b"f/": "ENOTDIR", b"dang/": "ENOENT", b"loop/": "ELOOP"},
    "set times": {
        b"nope": "ENOENT",
        b"f/": "ENOTDIR",
        b"lfs": "ENOTDIR",
        b"dang": "ENOENT",
        b"loop": "ELOOP",
    },
    "set times without following": {b"nope": "ENOENT", b"f/": "ENOTDIR", b"loop/": "ELOOP", b"up/": "EPERM"},
    "open": {b"nope": "ENOENT", b"f/": "ENOTDIR", b"dang": "ENOENT", b"loop": "ELOOP"},
    "open a directory": {b"f": "ENOTDIR", b"lf": "ENOTDIR", b"nope": "ENOENT"},
    "create": {b"d": "EISDIR", b"new/": "EISDIR", b"f/": "EISDIR", b".": "EISDIR"},
    "create new": {b"d": "EEXIST", b"f": "EEXIST", b"lf": "EEXIST", b"dang": "EEXIST", b"new/": "EISDIR"},
}


@pytest.mark.parametrize("what", OUTCOMES)
def test_a_call_that_does_not_fit_what_is_there_is_refused_and_changes_nothing(what, tree):
    before = state(tree)
    told = {path: refusal(CALLS[what], tree, path) for path in OUTCOMES[what]}
    assert told == OUTCOMES[what]
    assert state(tree) == before


def test_a_directory_is_made_and_removed_with_a_slash_or_without(root):
    for name in (b"a", b"b/", b"c//"):
        root.make_directory(name)
    assert sorted(names(root)) == [b"a", b"b", b"c"]
    for name in (b"a/", b"b", b"c"):
        root.remove_directory(name)
    assert names(root) == []


def test_unlink_removes_a_link_and_not_what_it_leads_to(tree):
    for name in (b"lf", b"ld", b"dang", b"up", b"loop"):
        tree.unlink(name)
    assert get(tree, b"f") == b"text of f"
    assert sorted(names(tree)) == [b"d", b"e", b"esc", b"f", b"full", b"g", b"lfs"]


def test_a_removed_file_lives_on_while_it_is_open(tree):
    file = tree.open(b"f", BOTH, follow=True)
    tree.unlink(b"f")
    assert read(file, 100) == b"text of f"
    assert file.stat().nlink == 0
    file.release()


def test_in_a_removed_directory_nothing_can_be_made(tree):
    gone = tree.open(b"e", DIRECTORY, follow=True)
    tree.remove_directory(b"e")
    assert refusal(gone.make_directory, b"x") == "ENOENT"
    assert refusal(gone.make_directory, NAME_256) == "ENOENT"
    assert refusal(gone.stat_at, NAME_256, follow=False) == "ENOENT"
    assert refusal(gone.open, b"x", CREATE, follow=True) == "ENOENT"
    assert refusal(tree.link, b"f", gone, b"x", follow=False) == "ENOENT"
    assert gone.entries(0, 1000) == []
    gone.release()


@pytest.mark.parametrize("target", [b"f", b".", b"..", b"../x", b"d/", b"nope/nope", NAME_256, b"a" * 4095])
def test_a_link_keeps_its_target_as_it_was_given(target, root):
    root.symlink(target, b"link")
    assert root.read_link(b"link") == target
    found = root.stat_at(b"link", follow=False)
    assert (stat.S_IFMT(found.mode), found.size) == (stat.S_IFLNK, len(target))


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (b"/", "EPERM"),
        (b"/etc", "EPERM"),
        (b"", "ENOENT"),
        (b"\xff", "EILSEQ"),
        (b"a\0b", "EINVAL"),
        (b"a" * 4096, "ENAMETOOLONG"),
    ],
)
def test_a_target_that_no_path_may_be_is_refused(target, told, root):
    assert refusal(root.symlink, target, b"link") == told
    assert names(root) == []


def test_forty_links_are_followed_and_no_more(root):
    put(root, b"0", b"end")
    for n in range(1, 42):
        root.symlink(str(n - 1).encode(), str(n).encode())
    assert get(root, b"40") == b"end"
    assert refusal(root.open, b"41", READS, follow=True) == "ELOOP"
    assert refusal(root.set_times_at, b"41", 1, 1, follow=True) == "ELOOP"


# -- rename and link

RENAMES = {
    (b"f", b"new"): None,
    (b"f", b"g"): None,
    (b"f", b"lf"): None,
    (b"f", b"dang"): None,
    (b"lf", b"g"): None,
    (b"d", b"new"): None,
    (b"d/", b"new/"): None,
    (b"d", b"e"): None,
    (b"d/", b"e/"): None,
    (b"d/sub", b"new"): None,
    (b"f", b"d/f"): None,
    (b"e", b"d"): "ENOTEMPTY",
    (b"d/sub", b"d"): "ENOTEMPTY",
    (b"d", b"f"): "ENOTDIR",
    (b"d", b"lf"): "ENOTDIR",
    (b"e", b"ld"): "ENOTDIR",
    (b"f", b"e"): "EISDIR",
    (b"f", b"d"): "EISDIR",
    (b"lf", b"e"): "EISDIR",
    (b"f", b"new/"): "ENOTDIR",
    (b"f", b"e/"): "EISDIR",
    (b"f/", b"e/"): "ENOTDIR",
    (b"d/h", b"d/"): "EISDIR",
    (b"f", b"lf/"): "ENOTDIR",
    (b"d", b"ld/"): "ENOTDIR",
    (b"d", b"d/sub/new"): "EINVAL",
    (b"d", b"d/new"): "EINVAL",
    (b"e", b"e/new"): "EINVAL",
}


@pytest.mark.parametrize("pair", RENAMES)
def test_rename_moves_one_thing_over_another_if_they_fit(pair, tree):
    old, new = pair
    before = state(tree)
    if RENAMES[pair] is not None:
        assert refusal(tree.rename, old, tree, new) == RENAMES[pair]
        assert state(tree) == before
        return
    tree.rename(old, tree, new)
    after = state(tree)
    assert b"./" + old.rstrip(b"/") not in after
    assert after[b"./" + new.rstrip(b"/")][0] == before[b"./" + old.rstrip(b"/")][0]


@pytest.mark.parametrize("name", [b"f", b"d", b"e", b"lf", b"dang", b"d/sub"])
def test_a_rename_onto_itself_changes_nothing(name, tree):
    before = state(tree)
    tree.rename(name, tree, name)
    assert {path: seen[0] for path, seen in state(tree).items()} == {p: s[0] for p, s in before.items()}


def test_rename_between_two_names_of_one_file_leaves_both(tree):
    tree.link(b"f", tree, b"new", follow=False)
    tree.rename(b"f", tree, b"new")
    assert get(tree, b"f") == get(tree, b"new") == b"text of f"


def test_names_go_from_one_open_directory_to_another(tree):
    d, e = (tree.open(name, DIRECTORY, follow=True) for name in (b"d", b"e"))
    d.rename(b"h", e, b"moved")
    e.link(b"moved", d, b"other", follow=False)
    assert (names(e), sorted(names(d))) == ([b"moved"], [b"other", b"sub"])
    assert tree.stat_at(b"d/other", follow=False).nlink == 2
    assert refusal(d.rename, b"../f", e, b"x") == "EPERM"
    assert refusal(d.link, b"other", e, b"../x", follow=False) == "EPERM"
    d.release()
    e.release()


def test_a_hard_link_is_the_same_file_and_a_link_may_be_linked_itself(tree):
    tree.link(b"f", tree, b"same", follow=False)
    tree.link(b"lf", tree, b"same_link", follow=False)
    tree.link(b"lf", tree, b"third", follow=True)
    assert tree.stat_at(b"same", follow=False) == tree.stat_at(b"f", follow=False)
    assert tree.stat_at(b"f", follow=False).nlink == 3
    assert tree.read_link(b"same_link") == b"f"


def test_nothing_is_moved_or_linked_into_another_kind_of_file_system(root, tmp_path):
    put(root, b"f", b"x")
    (tmp_path / "root" / "other").mkdir()
    other = (
        Dir(tmp_path / "root" / "other").open(None) if type(root).__name__[0] == "M" else MemDir().open(None)
    )
    assert refusal(root.rename, b"f", other, b"f") == "EXDEV"
    assert refusal(root.link, b"f", other, b"f", follow=False) == "EXDEV"
    assert refusal(other.rename, b"f", root, b"x") == "EXDEV"
    assert names(other) == []
    other.release()


# -- opening

OPENS = [
    (b"f", READS, None),
    (b"f", os.O_CREAT | READS, None),
    (b"new", os.O_CREAT | READS, None),
    (b"new", os.O_CREAT | os.O_EXCL | WRITES, None),
    (b"dang", CREATE, None),
    (b"d", READS, None),
    (b"d/", READS, None),
    (b"ld/", DIRECTORY, None),
    (b"d", WRITES, "EISDIR"),
    (b"d", BOTH, "EISDIR"),
    (b"d", DIRECTORY | os.O_TRUNC, "EISDIR"),
    (b"d", DIRECTORY | os.O_CREAT, "EINVAL"),
    (b"f", DIRECTORY, "ENOTDIR"),
]


@pytest.mark.parametrize(("name", "flags", "told"), OPENS)
def test_open_takes_the_flags_of_linux(name, flags, told, tree):
    before = state(tree)
    if told is None:
        file = tree.open(name, flags, follow=True)
        is_directory = name.rstrip(b"/") in {b"d", b"ld"}
        assert isinstance(file, Directory if is_directory else RegularFile)
        file.release()
    else:
        assert refusal(tree.open, name, flags, follow=True) == told
        assert state(tree) == before


def test_a_file_is_cut_when_it_is_opened_so(tree):
    tree.open(b"lf", WRITES | os.O_TRUNC, follow=True).release()
    assert get(tree, b"f") == b""


def test_a_file_opened_one_way_does_not_go_the_other(tree):
    reader, writer = (tree.open(b"f", flags, follow=True) for flags in (READS, WRITES))
    assert refusal(reader.try_write, [memoryview(b"x")]) == "EBADF"
    assert refusal(reader.pwrite, [memoryview(b"x")], 0) == "EBADF"
    assert refusal(reader.set_size, 0) == "EINVAL"
    assert refusal(reader.allocate, 0, 1) == "EBADF"
    assert refusal(read, writer, 1) == "EBADF"
    assert refusal(pread, writer, 1, 0) == "EBADF"
    reader.release()
    writer.release()
    assert get(tree, b"f") == b"text of f"


def test_a_directory_has_no_bytes(root):
    assert refusal(root.try_read, [memoryview(bytearray(1))]) == "EISDIR"
    assert refusal(root.try_write, [memoryview(b"x")]) == "EISDIR"


# -- read-only


def changes(where: Directory, name: bytes, tree: Directory) -> list[Callable[[], object]]:
    """Everything that would change a read-only directory, or take something out of it."""
    return [
        *(partial(where.open, name, flags, follow=True) for flags in (WRITES, BOTH, os.O_TRUNC, CREATE)),
        partial(where.open, b"new", CREATE, follow=True),
        partial(where.set_times, 1, NOW),
        partial(where.set_times_at, name, 1, 1, follow=True),
        partial(where.make_directory, b"new"),
        partial(where.remove_directory, b"e"),
        partial(where.unlink, name),
        partial(where.symlink, b"x", b"new"),
        partial(where.rename, name, where, b"new"),
        partial(where.rename, name, tree, b"new"),
        partial(tree.rename, b"g", where, b"new"),
        partial(where.link, name, where, b"new", follow=False),
        partial(where.link, name, tree, b"new", follow=True),
        partial(tree.link, b"g", where, b"new", follow=False),
    ]


def test_below_a_read_only_directory_nothing_changes(tree, make):
    before = state(tree)
    locked = make(read_only=True)
    inner = locked.open(b"d", DIRECTORY, follow=True)
    for where, name in ((locked, b"f"), (inner, b"h")):
        assert {refusal(change) for change in changes(where, name, tree)} == {"EROFS"}
    inner.release()
    assert state(tree) == before


def test_a_file_below_a_read_only_directory_is_read_and_synced_and_no_more(tree, make):
    before = state(tree)
    inner = make(read_only=True).open(b"d", DIRECTORY, follow=True)
    file = inner.open(b"h", READS, follow=True)
    told = [refusal(file.set_size, 0), refusal(file.allocate, 0, 9), refusal(file.set_times, 1, 1)]
    assert told == ["EROFS"] * 3
    assert refusal(pwrite, file, b"x", 0) == "EBADF"
    assert refusal(file.try_write, [memoryview(b"x")]) == "EBADF"
    file.sync(data_only=False)
    inner.sync(data_only=False)
    assert read(file, 100) == b"text of d/h"
    file.release()
    inner.release()
    assert state(tree) == before


@pytest.mark.parametrize(
    ("name", "flags", "told"),
    [
        (b"new", os.O_CREAT, "EROFS"),
        (b"dang", os.O_CREAT, "EROFS"),
        (b"f", os.O_CREAT | os.O_EXCL, "EEXIST"),
        (b"dang", os.O_CREAT | os.O_EXCL, "EEXIST"),
        (b"new", os.O_CREAT | os.O_EXCL, "EROFS"),
        (b"d", os.O_CREAT, "EISDIR"),
        (b"d", os.O_CREAT | os.O_DIRECTORY, "EINVAL"),
        (b"up", os.O_CREAT, "EPERM"),
        (b"lf", os.O_CREAT, None),
        (b"f", os.O_CREAT, None),
    ],
)
def test_creating_below_a_read_only_directory_opens_what_is_there(name, flags, told, tree, make):
    locked = make(read_only=True)
    if told is None:
        file = locked.open(name, flags, follow=True)
        assert read(file, 100) == b"text of f"
        file.release()
    else:
        assert refusal(locked.open, name, flags, follow=True) == told


# -- files


@pytest.fixture
def file(root) -> Iterator[RegularFile]:
    opened = root.open(b"file", CREATE, follow=True)
    opened.try_write([memoryview(b"0123456789")])
    opened.seek(0, os.SEEK_SET)
    yield opened
    opened.release()


def test_a_read_and_a_write_move_the_position_and_positioned_ones_do_not(file):
    assert read(file, 4) == b"0123"
    assert pread(file, 4, 8) == b"89"
    assert pwrite(file, b"AB", 1) == 2
    assert file.seek(0, os.SEEK_CUR) == 4
    assert file.try_write([memoryview(b"--"), memoryview(b""), memoryview(b"++")]) == 4
    assert file.seek(0, os.SEEK_CUR) == 8
    assert pread(file, 100, 0) == b"0AB3--++89"


def test_several_buffers_are_filled_in_order_and_no_further(file):
    parts = [bytearray(b"...."), bytearray(b""), bytearray(b"...."), bytearray(b"....")]
    assert file.try_read([memoryview(part) for part in parts]) == 10
    assert parts == [b"0123", b"", b"4567", b"89.."]
    assert file.pread([memoryview(part) for part in parts], 6) == 4
    assert parts == [b"6789", b"", b"4567", b"89.."]


def test_the_end_of_a_file_reads_as_nothing(file):
    assert pread(file, 4, 10) == b""
    assert pread(file, 4, LAST - 4) == b""
    file.seek(1 << 40, os.SEEK_SET)
    assert read(file, 4) == b""


def test_a_file_always_seems_ready(file):
    file.nonblock = True
    assert file.level(READ) == READ
    assert file.poller is None
    assert read(file, 3) == b"012"


def test_a_seek_goes_where_it_is_told_and_never_before_the_start(file):
    assert file.seek(3, os.SEEK_SET) == 3
    assert file.seek(-2, os.SEEK_CUR) == 1
    assert file.seek(-3, os.SEEK_END) == 7
    for offset, whence in (
        (-1, os.SEEK_SET),
        (-8, os.SEEK_CUR),
        (-11, os.SEEK_END),
        (-LAST - 1, os.SEEK_SET),
    ):
        assert refusal(file.seek, offset, whence) == "EINVAL"
    assert file.seek(0, os.SEEK_CUR) == 7


def test_an_appending_file_writes_at_its_end_wherever_it_is_told_to(root, file):
    other = root.open(b"file", WRITES | os.O_APPEND, follow=True)
    file.set_size(12)
    assert other.try_write([memoryview(b"end")]) == 3
    assert pwrite(other, b"!", 0) == 1
    assert pread(file, 100, 0) == b"0123456789\0\0end!"
    other.set_append(append=False)
    assert pwrite(other, b"+", 0) == 1
    assert pread(file, 100, 0) == b"+123456789\0\0end!"
    other.release()


def test_one_write_goes_to_the_end_and_leaves_the_position_alone(root, file):
    assert file.append([memoryview(b"en"), memoryview(b"d")]) == 3
    assert file.seek(0, os.SEEK_CUR) == 0
    file.set_size(14)
    assert file.append([memoryview(b"!")]) == 1
    assert pwrite(file, b"-", 0) == 1
    assert pread(file, 100, 0) == b"-123456789end\0!"
    other = root.open(b"file", os.O_RDONLY, follow=True)
    assert refusal(other.append, [memoryview(b"x")]) == "EBADF"
    other.release()


def test_append_may_be_switched_on(file):
    file.set_append(append=True)
    assert file.try_write([memoryview(b"AB")]) == 2
    assert file.seek(0, os.SEEK_CUR) == 12
    file.set_append(append=False)
    file.seek(0, os.SEEK_SET)
    file.try_write([memoryview(b"x")])
    assert pread(file, 100, 0) == b"x123456789AB"


def test_holes_read_as_zeroes_and_positions_go_beyond_four_gigabytes(file):
    far = (1 << 32) + 5
    assert pwrite(file, b"far", far) == 3
    assert file.stat().size == far + 3
    assert pread(file, 8, far - 5) == b"\0" * 5 + b"far"
    assert pread(file, 4, 9) == b"9\0\0\0"
    assert file.seek(0, os.SEEK_END) == far + 3
    file.set_size(far + 1)
    file.set_size(far + 3)
    assert pread(file, 8, far) == b"f\0\0"


def test_the_size_is_cut_and_grown_and_the_position_stays(file):
    file.seek(8, os.SEEK_SET)
    file.set_size(4)
    assert file.stat().size == 4
    file.set_size(6)
    assert pread(file, 100, 0) == b"0123\0\0"
    assert file.try_write([memoryview(b"x")]) == 1
    assert pread(file, 100, 0) == b"0123\0\0\0\0x"


def test_allocate_makes_a_file_longer_and_never_shorter(file):
    file.allocate(0, 5)
    assert pread(file, 100, 0) == b"0123456789"
    file.allocate(8, 4)
    assert pread(file, 100, 0) == b"0123456789\0\0"
    assert refusal(file.allocate, 0, 0) == "EINVAL"
    assert refusal(file.allocate, 0, 1 << 62) in {"ENOSPC", "EFBIG"}
    assert file.stat().size == 12


WRONG = [-1, -LAST - 1, LAST + 1, 1 << 64]


@pytest.mark.parametrize("number", WRONG)
def test_a_number_that_no_file_has_is_refused_and_changes_nothing(number, file):
    for call in (
        lambda: pread(file, 1, number),
        lambda: pwrite(file, b"x", number),
        lambda: file.set_size(number),
        lambda: file.allocate(number, 1),
        lambda: file.allocate(0, number),
        lambda: file.advise(number, 0, os.POSIX_FADV_NORMAL),
        lambda: file.advise(0, number, os.POSIX_FADV_NORMAL),
        lambda: file.seek(-LAST - 1 if number == -1 else number, os.SEEK_SET),
    ):
        assert refusal(call) == "EINVAL"
    assert pread(file, 100, 0) == b"0123456789"
    assert file.seek(0, os.SEEK_CUR) == 0


def test_a_range_that_ends_behind_the_last_position_is_refused(file):
    assert refusal(file.allocate, LAST, 1) == "EINVAL"
    assert refusal(pwrite, file, b"xx", LAST - 1) in {"EINVAL", "EFBIG"}
    assert refusal(file.seek, LAST, os.SEEK_END) in {"EINVAL", "EOVERFLOW"}
    assert file.stat().size == 10


@pytest.mark.parametrize("advice", range(6))
def test_every_advice_is_taken(advice, file):
    file.advise(0, 0, advice)
    file.advise(5, 100, advice)
    file.sync(data_only=True)
    assert read(file, 100) == b"0123456789"


# -- times


def test_times_are_set_one_by_one(root, file):
    file.set_times(1_000_000_001, 2_000_000_002)
    root.set_times_at(b"file", None, 3_000_000_003, follow=True)
    found = file.stat()
    assert (found.atime_ns, found.mtime_ns) == (1_000_000_001, 3_000_000_003)
    before = found.ctime_ns
    file.set_times(NOW, None)
    found = file.stat()
    assert found.mtime_ns == 3_000_000_003
    assert found.atime_ns >= before - 1_000_000_000
    file.set_times(None, None)
    assert file.stat().mtime_ns == 3_000_000_003


def test_times_of_a_link_are_its_own_unless_it_is_followed(tree):
    tree.set_times_at(b"lf", 1, 2, follow=False)
    tree.set_times_at(b"ld", 3, 4, follow=True)
    tree.set_times_at(b"full/", 5, 6, follow=False)
    tree.set_times_at(b"dang", 7, 8, follow=False)
    mtimes = {name: tree.stat_at(name, follow=False).mtime_ns for name in (b"lf", b"e", b"d", b"dang")}
    assert mtimes == {b"lf": 2, b"e": 4, b"d": 6, b"dang": 8}
    assert all(tree.stat_at(name, follow=False).mtime_ns > 1000 for name in (b"f", b"ld", b"full"))


@pytest.mark.parametrize("follow", [True, False])
def test_times_that_are_left_as_they_are_need_a_name_all_the_same(follow, tree):
    before = state(tree)
    told = {
        b"nope": "ENOENT",
        b"d/nope": "ENOENT",
        b"nope/": "ENOENT",
        b"f/": "ENOTDIR",
        NAME_256: "ENAMETOOLONG",
    }
    assert {path: refusal(tree.set_times_at, path, None, None, follow=follow) for path in told} == told
    for path in (b"f", b"d/", b"lf", b"ld"):
        tree.set_times_at(path, None, None, follow=follow)
    if follow:
        assert refusal(tree.set_times_at, b"dang", None, None, follow=True) == "ENOENT"
    assert state(tree) == before


def test_times_of_a_directory_are_set_through_itself(tree):
    tree.set_times(5, 6)
    assert tree.stat_at(b"d/..", follow=True).mtime_ns == 6
    tree.set_times_at(b".", 7, 8, follow=False)
    assert tree.stat()[5:7] == (7, 8)


@pytest.mark.parametrize("wrong", [-2, -LAST, 1 << 64, 1 << 70])
def test_a_time_that_cannot_be_is_refused(wrong, root, file):
    before = file.stat()
    assert refusal(file.set_times, wrong, None) == "EINVAL"
    assert refusal(file.set_times, None, wrong) == "EINVAL"
    assert refusal(root.set_times_at, b"file", None, wrong, follow=True) == "EINVAL"
    assert file.stat() == before


# -- entries


def test_a_directory_lists_itself_its_parent_and_what_is_in_it(tree):
    entries = {entry.name: entry for entry in tree.entries(0, 4096)}
    there = {b"d", b"e", b"f", b"g", b"lf", b"ld", b"full", b"dang", b"up", b"esc", b"loop", b"lfs"}
    assert set(entries) == there | {b".", b".."}
    for name in there:
        found = tree.stat_at(name, follow=False)
        assert (entries[name].ino, entries[name].mode) == (found.ino, stat.S_IFMT(found.mode))
    assert entries[b"."].ino == entries[b".."].ino == tree.stat().ino
    assert entries[b".."].mode == stat.S_IFDIR


@pytest.mark.parametrize("room", [0, 1, 24, 100, 4096, 1 << 20])
def test_any_room_shows_every_entry_once(room, root):
    wanted = {f"name {n}".encode() for n in range(300)}
    for name in wanted:
        put(root, name, b"")
    found = names(root, room)
    assert len(found) == 300
    assert set(found) == wanted


def test_one_call_gives_what_fits_and_little_more(root):
    for n in range(100):
        put(root, b"%03d" % n, b"")
    assert len(root.entries(0, 0)) == 1
    assert len(root.entries(0, 10 * 27)) <= 12
    assert len(root.entries(0, 1 << 20)) == 102


def test_every_cookie_leads_on_from_its_entry_in_any_order(root):
    for n in range(50):
        put(root, b"%03d" % n, b"")
    entries = root.entries(0, 1 << 20)
    for at in (51, 3, 49, 0, 17, 25, 24, 51):
        assert root.entries(entries[at].next, 1 << 20) == entries[at + 1 :]
    # In steps of one, as with a small buffer, and one back each time, as with one that is full.
    seen = [entries[0]]
    for at in range(51):
        assert root.entries(entries[at].next, 40)[0] == entries[at + 1]
        seen += root.entries(entries[at].next, 0)
    assert seen == entries


def test_a_cookie_survives_changes(root):
    for n in range(400):
        put(root, b"old %d" % n, b"")
    first = root.entries(0, 3000)
    seen = [entry.name for entry in first]
    staying = {b"old %d" % n for n in range(400)}
    for name in seen[5:50]:
        if name in staying:
            root.unlink(name)
    for n in range(100):
        put(root, b"new %d" % n, b"")
    cookie = first[-1].next
    while entries := root.entries(cookie, 500):
        seen += [entry.name for entry in entries]
        cookie = entries[-1].next
    assert len(seen) == len(set(seen))
    assert staying <= set(seen)


def test_a_reader_that_removes_what_it_has_read_ends_with_nothing(root):
    for n in range(500):
        put(root, b"%d" % n, b"")
    cookie = 0
    while entries := root.entries(cookie, 200):
        for entry in entries:
            if entry.name not in {b".", b".."}:
                root.unlink(entry.name)
        cookie = entries[-1].next
    assert names(root) == []


def test_starting_over_shows_what_is_new(root):
    assert names(root) == []
    put(root, b"a", b"")
    assert names(root) == [b"a"]


@pytest.mark.parametrize("cookie", [3, 1 << 31, 1 << 62, LAST, LAST + 1, (1 << 64) - 1, -1])
def test_a_cookie_that_was_never_given_is_harmless(cookie, tree):
    there = {entry.name for entry in tree.entries(0, 4096)}
    if 0 <= cookie <= LAST:
        assert {entry.name for entry in tree.entries(cookie, 4096)} <= there
    else:
        assert refusal(tree.entries, cookie, 4096) == "EINVAL"
    assert {entry.name for entry in tree.entries(0, 4096)} == there
