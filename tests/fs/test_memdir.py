"""Directories in memory: what Python has of them, what they may hold, and who shares them.

What they answer to guests is compared with a directory of the host in `test_memdir_hypothesis`, and by the
suite for every file system.
"""

import errno
import os
import re
import threading
from pathlib import Path

import pytest

import coop
from coop.fs import NOW
from tests.children import run_child
from tests.wasip1.script import DATA, Script, fd_sub, scripted

RW = os.O_RDWR | os.O_CREAT
PIECE = 1 << 16
LAST = (1 << 63) - 1
CREAT = 1
ALL_RIGHTS = (1 << 30) - 1


@pytest.fixture
def opened():
    """Open the directory of a MemDir, and close it after the test."""
    found = []

    def open_(memory: coop.MemDir):
        found.append(memory.open(None))
        return found[-1]

    yield open_
    for each in found:
        each.release()


def refusal(call, *args, **kwargs) -> str:
    with pytest.raises(OSError) as caught:
        call(*args, **kwargs)
    return errno.errorcode[caught.value.errno]


def used(memory: coop.MemDir) -> tuple[int, int]:
    """Entries and bytes, as the value says it of itself."""
    words = repr(memory).split()
    return int(words[2]), int(words[4])


def write(directory, path: bytes, data: bytes, offset: int = 0) -> int:
    file = directory.open(path, RW, follow=True)
    try:
        return file.pwrite([memoryview(data)], offset)
    finally:
        file.release()


# -- the face


def test_contents_are_given_and_had_back():
    contents = {"a": b"1", "empty": {}, "d": {"text": "é", "e": {"f": b""}}}
    had = {"a": b"1", "empty": {}, "d": {"text": "é".encode(), "e": {"f": b""}}}
    assert coop.MemDir(contents).to_dict() == had
    assert coop.MemDir(had).to_dict() == had


def test_names_with_slashes_make_the_directories():
    memory = coop.MemDir({"d/e/f": b"1", "d": {"g": b"2"}, "d/e/h": b"3"})
    assert memory.to_dict() == {"d": {"e": {"f": b"1", "h": b"3"}, "g": b"2"}}


def test_files_are_written_read_named_and_removed():
    memory = coop.MemDir()
    memory.write("d/e/f", "text")
    memory.write("d/a", b"old and long")
    memory.write("d/a", b"new")
    assert (memory.read("d/e/f"), memory.read("d/a")) == (b"text", b"new")
    assert (memory.names(), memory.names("d")) == (["d"], ["a", "e"])
    memory.remove("d/e")
    assert memory.to_dict() == {"d": {"a": b"new"}}
    memory.remove("d")
    assert used(memory) == (0, 0)


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "./a", "a/..", "a\0b", "\ud800"])
def test_a_path_that_cannot_be_is_refused_by_name(path):
    memory = coop.MemDir()
    for call in (memory.read, memory.remove, lambda path: memory.write(path, b"")):
        with pytest.raises(ValueError):
            call(path)
    with pytest.raises(ValueError):
        coop.MemDir({path: b""})
    assert memory.names() == []


@pytest.mark.parametrize(
    ("call", "name", "code"),
    [
        (lambda memory: memory.read("gone"), "gone", "ENOENT"),
        (lambda memory: memory.read("d"), "d", "EISDIR"),
        (lambda memory: memory.read("f/x"), "f/x", "ENOTDIR"),
        (lambda memory: memory.write("d", b""), "d", "EISDIR"),
        (lambda memory: memory.write("f/x", b""), "f/x", "ENOTDIR"),
        (lambda memory: memory.write("n" * 256, b""), "n" * 256, "ENAMETOOLONG"),
        (lambda memory: memory.write("big", bytes(101)), "big", "ENOSPC"),
        (lambda memory: memory.remove("d/gone"), "d/gone", "ENOENT"),
        (lambda memory: memory.names("f"), "f", "ENOTDIR"),
    ],
)
def test_an_error_names_the_path(call, name, code):
    memory = coop.MemDir({"f": b"1", "d": {}}, max_bytes=100)
    with pytest.raises(OSError, match=name) as caught:
        call(memory)
    assert errno.errorcode[caught.value.errno] == code
    assert caught.value.filename == name


@pytest.mark.parametrize(
    ("contents", "error", "name"),
    [
        ({"a": b"", "a/b": b""}, ValueError, "a/b"),
        ({"d": {"a": b"1"}, "d/a": b"2"}, ValueError, "d/a"),
        ({"d": {"e": {"x": 1}}}, TypeError, "d/e/x"),
        ({"d": {"big": bytes(101)}}, OSError, "d/big"),
        ({"d": {"n" * 256: b""}}, OSError, "d/nnn"),
    ],
)
def test_contents_that_cannot_be_are_refused_by_name(contents, error, name):
    with pytest.raises(error, match=name):
        coop.MemDir(contents, max_bytes=100)


@pytest.mark.parametrize("path", [b"a", Path("a"), 7])
def test_what_is_no_text_is_no_path(path):
    memory = coop.MemDir()
    for call in (memory.read, memory.remove, memory.names, lambda path: memory.write(path, b"")):
        with pytest.raises(TypeError, match=rf"{re.escape(repr(path))} in a MemDir: a text wanted"):
            call(path)
    with pytest.raises(TypeError, match="in a MemDir: a text wanted"):
        coop.MemDir({path: b""})


def test_a_path_in_the_place_of_contents_is_named():
    with pytest.raises(TypeError, match=r"^contents: a mapping wanted, not str$"):
        coop.MemDir("/data")


def test_a_limit_below_nothing_is_refused():
    with pytest.raises(ValueError):
        coop.MemDir(max_bytes=-1)


def test_links_are_followed_inside_and_left_out_of_the_contents(opened):
    memory = coop.MemDir({"d/f": b"1"})
    directory = opened(memory)
    for target, path in ((b"d/f", b"in"), (b"../f", b"out"), (b"d", b"dir")):
        directory.symlink(target, path)
    memory.write("in", b"2")
    assert (memory.read("d/f"), memory.read("dir/f"), memory.names("dir")) == (b"2", b"2", ["f"])
    assert refusal(memory.read, "out") == "EPERM"
    assert memory.to_dict() == {"d": {"f": b"2"}}
    memory.remove("dir")
    assert memory.names() == ["d", "in", "out"]


def test_a_path_that_has_thousands_of_components_by_its_links_is_given_up(opened):
    """Nobody else runs while they are gone through."""
    directory = opened(coop.MemDir({"e": {}, "long3": {}}))
    for n in range(3):
        directory.symlink(b"e/../" * 800 + b"long%d" % (n + 1), b"long%d" % n)
    directory.stat_at(b"long1", follow=True)
    for call in (directory.stat_at, directory.open):
        flags = () if call == directory.stat_at else (RW,)
        assert refusal(call, b"long0", *flags, follow=True) == "ELOOP"
    assert refusal(directory.make_directory, b"long0/new") == "ELOOP"


def test_a_file_larger_than_all_that_may_be_stored_is_not_read_whole(opened):
    memory = coop.MemDir({"f": b"1"}, max_bytes=100)
    file = opened(memory).open(b"f", os.O_RDWR, follow=True)
    file.set_size(101)
    assert (refusal(memory.read, "f"), refusal(memory.to_dict)) == ("EFBIG", "EFBIG")
    file.set_size(100)
    assert memory.read("f") == b"1" + bytes(99)
    file.release()


# -- what it may hold


def test_all_the_bytes_may_be_used_and_not_one_more(opened, capsys):
    memory = coop.MemDir({"a": b"1234"}, max_bytes=10)
    directory = opened(memory)
    assert write(directory, b"b", b"123456789") == 6
    for _ in range(3):
        assert refusal(write, directory, b"b", b"x", 6) == "ENOSPC"
    assert write(directory, b"a", b"over") == 4
    assert memory.to_dict() == {"a": b"over", "b": b"123456"}
    assert capsys.readouterr().err == "coop: warning: limit reached limit='max_bytes' value=10\n"


def test_room_is_given_back_by_what_is_cut_or_removed(opened):
    memory = coop.MemDir({"a": bytes(PIECE + 1000)}, max_bytes=PIECE + 1000)
    file = opened(memory).open(b"a", os.O_RDWR, follow=True)
    file.set_size(PIECE + 10)
    assert used(memory) == (1, PIECE + 256)
    file.set_size(10)
    assert used(memory) == (1, 10)
    file.set_size(100)
    assert file.pread([memoryview(bytearray(200))], 0) == 100
    assert used(memory) == (1, 10)
    file.release()
    memory.remove("a")
    assert used(memory) == (0, 0)


def test_a_file_removed_while_open_takes_room_until_it_is_closed(opened):
    memory = coop.MemDir({"d/a": b"1234"})
    directory = opened(memory)
    file, below = directory.open(b"d/a", RW, follow=True), directory.open(b"d", os.O_RDONLY, follow=True)
    directory.unlink(b"d/a")
    directory.remove_directory(b"d")
    assert refusal(below.make_directory, b"new") == "ENOENT"
    assert below.entries(0, 1000) == []
    assert file.try_write([memoryview(b"56789")]) == 5
    assert (file.stat().nlink, used(memory), memory.names()) == (0, (2, 5), [])
    file.release()
    below.release()
    assert used(memory) == (0, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda directory, name: directory.make_directory(name),
        lambda directory, name: directory.symlink(b"target", name),
        lambda directory, name: directory.link(b"a", directory, name, follow=False),
        lambda directory, name: write(directory, name, b""),
    ],
    ids=["directory", "symlink", "link", "file"],
)
def test_every_name_is_an_entry(make, opened, capsys):
    memory = coop.MemDir({"a": b""}, max_entries=3, max_bytes=20)
    directory = opened(memory)
    make(directory, b"b")
    make(directory, b"c")
    before = used(memory)
    assert refusal(make, directory, b"d") == "ENOSPC"
    assert (used(memory), memory.names()) == (before, ["a", "b", "c"])
    directory.rename(b"b", directory, b"d")
    assert "max_entries" in capsys.readouterr().err
    for name in memory.names():
        memory.remove(name)
    assert used(memory) == (0, 0)


def test_the_targets_of_links_take_room(opened):
    directory = opened(coop.MemDir(max_bytes=10))
    directory.symlink(b"12345", b"a")
    assert refusal(directory.symlink, b"123456", b"b") == "ENOSPC"


def test_holes_are_free_and_read_as_zeros(opened):
    memory = coop.MemDir(max_bytes=1000)
    file = opened(memory).open(b"f", RW, follow=True)
    file.set_size(LAST)
    assert file.pwrite([memoryview(b"far")], 10 << 30) == 3
    found = bytearray(b"\xff" * 10)
    assert file.pread([memoryview(found)], (10 << 30) - 4) == 10
    assert (bytes(found), used(memory)) == (bytes(4) + b"far" + bytes(3), (1, 256))
    file.release()


def test_many_small_pieces_are_not_free(opened):
    memory = coop.MemDir(max_bytes=1000)
    file = opened(memory).open(b"f", RW, follow=True)
    for index in range(1, 4):
        assert file.pwrite([memoryview(b"x")], index * PIECE) == 1
    assert refusal(file.pwrite, [memoryview(b"x")], 4 * PIECE) == "ENOSPC"
    assert file.stat().size == 3 * PIECE + 1
    file.release()


def test_what_is_allocated_can_be_written_when_nothing_else_can(opened):
    memory = coop.MemDir(max_bytes=3 * PIECE)
    directory = opened(memory)
    file = directory.open(b"f", RW, follow=True)
    file.allocate(100, 2 * PIECE)
    assert file.stat().size == 2 * PIECE + 100
    assert write(directory, b"other", bytes(2 * PIECE)) < 2 * PIECE
    assert refusal(write, directory, b"other", b"x", 2 * PIECE) == "ENOSPC"
    assert file.pwrite([memoryview(bytes(2 * PIECE))], 100) == 2 * PIECE
    file.release()


@pytest.mark.parametrize("length", [1001, 1 << 40, (1 << 63) - 1])
def test_more_than_there_is_room_for_is_not_allocated(length, opened):
    memory = coop.MemDir({"f": b"1"}, max_bytes=1001)
    directory = opened(memory)
    write(directory, b"g", b"x")
    file = directory.open(b"f", os.O_RDWR, follow=True)
    assert refusal(file.allocate, 0, length) == "ENOSPC"
    assert (file.stat().size, used(memory)) == (1, (2, 2))
    file.release()


def test_the_last_position_is_the_largest_number(opened):
    file = opened(coop.MemDir()).open(b"f", RW, follow=True)
    assert file.seek(LAST, os.SEEK_SET) == LAST
    assert refusal(file.seek, 1, os.SEEK_CUR) == "EINVAL"
    assert refusal(file.try_write, [memoryview(b"x")]) == "EFBIG"
    assert file.try_read([memoryview(bytearray(1))]) == 0
    assert refusal(file.pwrite, [memoryview(b"x")], LAST) == "EINVAL"
    assert refusal(file.set_size, LAST + 1) == "EINVAL"
    assert file.stat().size == 0
    file.release()


def test_a_write_of_many_buffers_that_half_fits_says_how_much_did(opened):
    memory = coop.MemDir(max_bytes=5)
    file = opened(memory).open(b"f", RW, follow=True)
    assert file.try_write([memoryview(b"123"), memoryview(b""), memoryview(b"456"), memoryview(b"789")]) == 5
    assert file.seek(0, os.SEEK_CUR) == 5
    file.release()
    assert memory.read("f") == b"12345"


def test_memory_held_is_about_what_is_counted():
    run_child(
        [
            "-c",
            """
import os, coop

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

data = memoryview(bytes(1 << 16))
limit = 32 << 20

def fill(size, keep):
    directory = coop.MemDir(max_bytes=limit).open(None)
    file = directory.open(b"f", os.O_RDWR | os.O_CREAT, follow=True)
    before = resident()
    for index in range(1, 1 << 20):
        try:
            file.pwrite([data[:size]], index << 16)
        except OSError:
            break
        file.set_size((index << 16) + keep)
    assert resident() - before < limit * 1.3, (size, keep, resident() - before)

fill(1, 1)  # where a byte costs most
fill(1 << 16, 33_000)  # where most of what was written is still kept
""",
        ]
    )


def test_what_was_cut_and_removed_leaves_no_memory_behind():
    """Nor does what is left of it keep a table as large as before: it counts as almost nothing."""
    run_child(
        [
            "-c",
            """
import os, tracemalloc, coop

root = coop.MemDir().open(None)
tracemalloc.start()

def left(size, names):
    before, _ = tracemalloc.get_traced_memory()
    kept = []
    for turn in range(3):
        root.make_directory(b"d")
        directory = root.open(b"d", os.O_RDONLY, follow=True)
        file = directory.open(b"f", os.O_RDWR | os.O_CREAT, follow=True)
        for index in range(5_000):
            file.pwrite([memoryview(b"x")], index << 16)
            directory.make_directory(b"%d" % index)
        for end in range(5_000, size, -700):
            file.set_size(end << 16)
        file.set_size(size << 16)
        for index in range(5_000):
            if index not in names:
                directory.remove_directory(b"%d" % index)
        root.rename(b"d", root, b"%d" % root.stat().nlink)
        kept += [file, directory]
    taken = (tracemalloc.get_traced_memory()[0] - before) // 3
    for each in kept:
        each.release()
    return taken

left(0, ())  # what is made once and for all is made
assert left(0, ()) < 6_000
assert left(10, range(0, 5_000, 500)) < 30_000
""",
        ]
    )


def test_a_file_of_many_pieces_is_cut_anywhere(opened):
    memory = coop.MemDir()
    file = opened(memory).open(b"f", RW, follow=True)
    for index in range(0, 400, 2):
        assert file.pwrite([memoryview(b"%03d" % index)], index * PIECE) == 3
    ends = [398 * PIECE + 1, 396 * PIECE, 390 * PIECE + 2, 200 * PIECE + 3, 199 * PIECE, 2 * PIECE + 1, 1]
    counted = [199, 197, 195, 100, 99, 1, 0]  # pieces behind the first; that has three bytes
    for end, pieces in zip(ends, counted, strict=True):
        file.set_size(end)
        assert used(memory) == (1, 256 * pieces + min(end, 3))
    file.set_size(400 * PIECE)
    found = bytearray(400 * PIECE)
    assert file.pread([memoryview(found)], 0) == len(found)
    assert bytes(found) == b"0" + bytes(len(found) - 1)
    file.release()


def test_a_write_of_nothing_moves_no_position(opened):
    file = opened(coop.MemDir({"f": b"123"})).open(b"f", os.O_RDWR | os.O_APPEND, follow=True)
    assert (file.try_write([memoryview(b"")]), file.seek(0, os.SEEK_CUR)) == (0, 0)
    assert (file.try_write([memoryview(b"4")]), file.seek(0, os.SEEK_CUR)) == (1, 4)
    file.release()


# -- directories


def test_a_cookie_survives_every_change(opened):
    memory = coop.MemDir({f"n{i:03}": b"" for i in range(600)})
    directory = opened(memory)
    seen, cookie = [], 0
    for step in range(1000):
        entries = directory.entries(cookie, 0)
        if not entries:
            break
        seen += [entry.name for entry in entries]
        cookie = entries[-1].next
        directory.unlink(b"n%03d" % step if step < 250 else b"new%d" % (step - 250))  # behind the reader
        write(directory, b"new%d" % step, b"")
        if step < 100:
            directory.rename(b"new%d" % step, directory, b"n%03d" % (400 + step))  # over one still to come
            write(directory, b"new%d" % step, b"")
    stayed = [b"n%03d" % i for i in range(250, 600)]
    assert [name for name in seen if name in stayed] == stayed
    assert len(set(seen)) == len(seen)


def test_a_long_directory_is_read_in_time_that_grows_with_what_is_read(opened):
    count = 100_000
    memory = coop.MemDir({str(i): b"" for i in range(count)}, max_entries=count)
    directory = opened(memory)
    seen, cookie = 0, 0
    while entries := directory.entries(cookie, 4096):
        assert len(entries) < 4096 // 24 + 2
        seen += len(entries)
        cookie = entries[-1].next
    assert seen == count + 2


@pytest.mark.parametrize(("cookie", "count"), [(1, 3), (2, 2), (3, 1), (4, 0), (1 << 40, 0), (LAST, 0)])
def test_a_cookie_nobody_gave_leads_on_from_there(cookie, count, opened):
    assert len(opened(coop.MemDir({"a": b"", "b": b""})).entries(cookie, 1000)) == count


@pytest.mark.parametrize("cookie", [-1, 1 << 63, (1 << 64) - 1])
def test_a_cookie_that_cannot_be_is_refused(cookie, opened):
    assert refusal(opened(coop.MemDir()).entries, cookie, 1000) == "EINVAL"


def test_the_entry_above_has_no_number_from_outside(opened):
    directory = opened(coop.MemDir({"d": {}}))
    below = directory.open(b"d", os.O_RDONLY, follow=True)
    dot, dots = below.entries(0, 1000)
    assert (dot.name, dots.name, dot.ino, dots.ino) == (b".", b"..", below.stat().ino, below.stat().ino)
    below.release()


@pytest.mark.parametrize("path", [b"..", b"../f", b"e/../../f", b"out", b"out/f", b"f_above"])
def test_nothing_above_an_open_directory_is_reached_from_it(path, opened):
    root = opened(coop.MemDir({"f": b"1", "d": {"e": {}}}))
    below = root.open(b"d", os.O_RDONLY, follow=True)
    below.symlink(b"..", b"out")
    below.symlink(b"../f", b"f_above")
    assert refusal(below.open, path, os.O_RDONLY, follow=True) == "EPERM"
    assert refusal(below.stat_at, path, follow=True) == "EPERM"
    assert refusal(below.open, path, os.O_RDWR | os.O_CREAT, follow=True) == "EPERM"
    below.release()


def test_a_removed_directory_keeps_none_of_those_that_it_was_in(opened):
    """They are counted nowhere, and a guest could make a chain of them as long as it likes."""
    memory = coop.MemDir({"x": {}})
    root = opened(memory)
    held = root.open(b"x", os.O_RDONLY, follow=True)
    gone = []
    for _ in range(3):
        root.make_directory(b"p")
        root.rename(b"x", root, b"p/x")
        gone.append(held._node.parent)
        root.remove_directory(b"p/x")
        root.rename(b"p", root, b"x")
        held.release()
        held = root.open(b"x", os.O_RDONLY, follow=True)
    root.remove_directory(b"x")
    assert all(node.parent is root._node for node in (held._node, *gone))
    assert used(memory) == (1, 0)
    held.release()


def test_below_a_removed_directory_there_is_nothing(opened):
    root = opened(coop.MemDir({"p": {"d": {}}}))
    removed = root.open(b"p/d", os.O_RDONLY, follow=True)
    root.remove_directory(b"p/d")
    assert refusal(removed.stat_at, b"..", follow=True) == "EPERM"
    assert refusal(removed.stat_at, b"e/..", follow=True) == "ENOENT"
    assert refusal(removed.make_directory, b"e") == "ENOENT"
    assert refusal(root.rename, b"p", removed, b"p") == "ENOENT"  # as on Linux: it is inside of nothing
    removed.release()


def test_files_of_two_directories_are_never_the_same_one(opened):
    first, second = opened(coop.MemDir({"f": b""})), opened(coop.MemDir({"f": b""}))
    one, other = first.stat_at(b"f", follow=True), second.stat_at(b"f", follow=True)
    assert (one.dev, one.ino) != (other.dev, other.ino)
    assert refusal(first.link, b"f", second, b"g", follow=True) == "EXDEV"
    assert refusal(first.rename, b"f", second, b"g") == "EXDEV"


def test_times_tell_of_reads_writes_and_changes(opened):
    memory = coop.MemDir({"f": b"1"})
    directory = opened(memory)
    file = directory.open(b"f", os.O_RDWR, follow=True)
    file.set_times(1, 2)
    file.try_write([memoryview(b"2")])
    written = file.stat()
    assert written.atime_ns == 1 < written.mtime_ns == written.ctime_ns
    file.try_read([memoryview(bytearray(1))])
    read = file.stat()
    assert read.atime_ns >= written.mtime_ns == read.mtime_ns
    directory.link(b"f", directory, b"g", follow=True)
    linked = file.stat()
    assert (linked.mtime_ns, linked.ctime_ns >= read.ctime_ns, linked.nlink) == (read.mtime_ns, True, 2)
    file.set_times(NOW, None)
    assert file.stat().atime_ns >= linked.ctime_ns
    file.release()


def test_a_tree_of_any_depth_is_walked_shown_and_dropped():
    run_child(
        [
            "-c",
            """
import gc, os, coop

memory = coop.MemDir()
directory = root = memory.open(None)
for _ in range(50_000):
    directory.make_directory(b"d")
    below = directory.open(b"d", os.O_RDONLY, follow=True)
    if directory is not root:
        directory.release()
    directory = below
directory.open(b"f", os.O_RDWR | os.O_CREAT, follow=True).release()
assert root.stat_at(b"d/" * 2000, follow=True)
try:
    root.rename(b"d", directory, b"x")
except OSError as error:
    assert error.errno == 22, error
shown, depth = memory.to_dict(), 0
while "d" in shown:
    shown, depth = shown["d"], depth + 1
assert depth == 50_000
other = coop.MemDir(memory.to_dict())
del other
gc.collect()
memory.remove("d")
directory.release()
root.release()
assert "0 entries, 0 bytes" in repr(memory)
""",
        ]
    )


# -- guests


def run_guest(memory: coop.MemDir, act) -> object:
    return scripted(act, dirs=[memory])


def test_what_one_guest_leaves_the_next_one_finds_and_python_sees():
    memory = coop.MemDir({"in": b"from python"}, guest="/tmp")

    def first(guest):
        fd = guest.open(3, b"out", oflags=CREAT, rights=ALL_RIGHTS)
        return guest.read(guest.open(3, b"in")), guest.write(fd, b"from a guest")

    assert run_guest(memory, first) == (b"from python", 12)
    assert memory.read("out") == b"from a guest"
    memory.write("out", b"from python again")
    assert run_guest(memory, lambda guest: guest.read(guest.open(3, b"out"))) == b"from python again"


def test_two_guests_share_one_at_the_same_time():
    memory = coop.MemDir({"f": b"0"})

    def main():
        with Script(dirs=[memory]) as one, Script(dirs=[memory]) as two:
            fd = one.open(3, b"f", rights=ALL_RIGHTS)
            assert one.write(fd, b"1") == 1
            assert two.read(two.open(3, b"f")) == b"1"
            assert two.path_unlink_file(3, DATA, two.put(DATA, b"f")) == "SUCCESS"
            assert one.write(fd, b"2") == 1
            assert used(memory) == (1, 2)
        assert used(memory) == (0, 0)

    coop.run(main)


def test_a_guest_that_is_dropped_gives_back_what_it_held():
    memory = coop.MemDir()

    def act(guest):
        guest.write(guest.open(3, b"f", oflags=CREAT, rights=ALL_RIGHTS), b"123")
        assert guest.path_unlink_file(3, DATA, guest.put(DATA, b"f")) == "SUCCESS"
        assert used(memory) == (1, 3)
        with pytest.raises(coop.GuestTrap):
            guest.guest.call("trap")

    run_guest(memory, act)
    assert used(memory) == (0, 0)


def test_a_read_only_one_is_read_by_guests_and_written_by_python():
    memory = coop.MemDir({"f": b"1"}, read_only=True)

    def act(guest):
        return guest.open(3, b"new", oflags=CREAT, rights=ALL_RIGHTS), guest.read(guest.open(3, b"f"))

    assert run_guest(memory, act) == ("ROFS", b"1")
    memory.write("f", b"2")
    assert run_guest(memory, act) == ("ROFS", b"2")


def test_a_file_in_memory_is_ready_at_once():
    memory = coop.MemDir({"f": b"12345"})

    def act(guest):
        fd = guest.open(3, b"f", rights=ALL_RIGHTS)
        return guest.poll(fd_sub(1, 1, fd), fd_sub(2, 2, fd))

    assert [event[:3] for event in run_guest(memory, act)] == [(1, "SUCCESS", 1), (2, "SUCCESS", 2)]


def test_threads_may_share_one():
    memory = coop.MemDir(max_bytes=1000)
    errors = []

    def work(name):
        try:
            directory = memory.open(None)
            for turn in range(300):
                write(directory, name, bytes(turn % 40))
                directory.rename(name, directory, b"new" + name)
                directory.unlink(b"new" + name)
            directory.release()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(b"%d" % i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (errors, used(memory)) == ([], (0, 0))


def test_who_looks_at_frames_keeps_no_file_from_growing(opened, kept_frames):
    memory = coop.MemDir({"a": b"x"})
    directory = opened(memory)
    assert memory.read("a") == b"x"
    write(directory, b"a", b"y", 1)
    assert memory.read("a") == b"xy"
