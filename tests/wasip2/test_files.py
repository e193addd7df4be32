"""Bytes of files through wasi:filesystem: at an offset, by streams, from a slow disk, of what is no file."""

import ast
import errno
import os
import threading

import pytest

import coop
from coop.fs import closing, hostfile
from coop.wasip2 import Guest
from tests.wasip2.places import PRELUDE


def test_bytes_are_read_and_written_at_any_offset(place):
    code = """
f = opened("f")
result = f.write(b"AB", 4), f.write(b"!", 8), f.read(100, 0), f.read(2, 1), f.read(5, 9), f.read(0, 0)
"""
    assert place.run(code) == (
        2,
        1,
        (b"insiAB\0\0!", False),
        (b"ns", False),
        (b"", True),
        (b"", False),
    )


def test_an_empty_read_says_whether_that_is_the_end(place):
    assert place.ask("opened('f').read(0, 5)", "opened('f').read(0, 6)", "opened('f').read(0, 7)") == [
        (b"", False),
        (b"", True),
        (b"", True),
    ]


def test_a_read_is_cut_to_what_one_call_may_move(place):
    code = """
f = opened("f")
f.write(b"x" * 100_000, 0)
result = len(f.read(1 << 63, 0)[0]), len(f.read(100_000, 50_000)[0])
"""
    assert place.run(code) == (65536, 50_000)
    assert place.run(code, limits=coop.Limits(bytes_per_call=1000)) == (1000, 1000)


def test_a_write_is_cut_to_what_one_call_may_move(place):
    code = "result = opened('f').write(b'0123456789', 0)"
    assert place.run(code, limits=coop.Limits(bytes_per_call=4)) == 4
    assert place.read(b"f") == b"0123de"


def test_a_file_is_cut_and_made_longer(place):
    code = """
f = opened("f")
f.set_size(2)
f.set_size(4)
result = f.read(10, 0), f.stat().size
"""
    assert place.run(code) == ((b"in\0\0", False), 4)


def test_a_file_is_created_cut_or_left_alone_as_the_open_says(place):
    answers = place.ask(
        "opened('new', RW, O.CREATE).write(b'1', 0)",
        "opened('new', RW, O.CREATE).read(9, 0)",
        "opened('new', RW, O.CREATE | O.EXCLUSIVE)",
        "opened('newer', W, O.CREATE | O.EXCLUSIVE)",
        "opened('f', W, O.TRUNCATE).stat().size",
        "opened('full/x', RW, O.EXCLUSIVE).read(9, 0)",
    )
    assert answers == [1, (b"1", False), "exist", "ok", 0, (b"x", False)]


@pytest.mark.parametrize(
    ("asked", "flags"),
    [
        ("R", ["read"]),
        ("W", ["write"]),
        ("RW", ["read", "write"]),
        ("F(0)", ["read"]),
        ("W | MUTATE", ["write"]),
        ("RW | F.DATA_INTEGRITY_SYNC", ["data-integrity-sync", "read", "write"]),
        ("R | F.FILE_INTEGRITY_SYNC", ["file-integrity-sync", "read"]),
        ("W | F.REQUESTED_WRITE_SYNC", ["requested-write-sync", "write"]),
    ],
)
def test_a_file_has_the_flags_it_was_opened_with(asked, flags, place):
    assert place.run(f"result = flags_of(opened('f', {asked}).get_flags())") == flags


SYNCED = """
f = opened("f", RW | {flag})
with f.{stream} as s:
    s.blocking_write_and_flush(b"at once")
    s.write(b"!")
result = f.write(b"AT", 0), f.read(20, 0)
"""


@pytest.mark.parametrize(
    ("flag", "call"),
    [
        ("F.DATA_INTEGRITY_SYNC", "fdatasync"),
        ("F.FILE_INTEGRITY_SYNC", "fsync"),
        ("F.REQUESTED_WRITE_SYNC", "fsync"),
    ],
)
@pytest.mark.parametrize(
    ("stream", "content"),
    [("write_via_stream(0)", b"AT once!"), ("append_via_stream()", b"ATsideat once!")],
    ids=["write", "append"],
)
def test_others_run_while_a_write_goes_to_the_disk(
    stream, content, flag, call, component, host_place, monkeypatch
):
    syncing, others_ran, threads = threading.Event(), threading.Event(), []
    plain = getattr(os, call)

    def slow(fd):
        threads.append(threading.current_thread())
        syncing.set()
        assert others_ran.wait(30)
        return plain(fd)

    monkeypatch.setattr(hostfile.os, call, slow)
    code = SYNCED.format(flag=flag, stream=stream)
    assert _beside(component, host_place, code, syncing, others_ran) == (2, (content, False))
    assert len(threads) == 3
    assert threading.main_thread() not in threads


def test_what_was_not_opened_for_it_is_neither_read_nor_written(place):
    answers = place.ask(
        "opened('f', W).read(1, 0)",
        "opened('f', W).read_via_stream(0)",
        "opened('f', R).write(b'x', 0)",
        "opened('f', R).write_via_stream(0)",
        "opened('f', R).append_via_stream()",
        "opened('f', R).set_size(0)",
        "opened('g', R, O.CREATE).write(b'x', 0)",
    )
    bad = "bad-descriptor"
    assert answers == [bad, bad, bad, bad, bad, "invalid", bad]
    assert place.read(b"f") == b"inside"


@pytest.mark.parametrize("advice", ["NORMAL", "SEQUENTIAL", "RANDOM", "WILL_NEED", "DONT_NEED", "NO_REUSE"])
def test_every_advice_is_taken(advice, place):
    assert place.ask(f"opened('f', R).advise(0, 0, types.Advice.{advice})") == ["ok"]


# -- streams


def test_streams_of_one_file_have_each_their_own_position(place):
    code = """
f = opened("f")
one, two, out = f.read_via_stream(0), f.read_via_stream(2), f.write_via_stream(1)
out.blocking_write_and_flush(b"N")
got = [one.read(3), two.blocking_read(2), one.blocking_read(9), two.read(9)]
out.blocking_write_and_flush(b"S")
result = got, f.read(9, 0)[0]
"""
    assert place.run(code) == ([b"iNs", b"si", b"ide", b"de"], b"iNSide")


def test_a_stream_ends_where_the_file_does_and_goes_on_when_it_grows(place):
    answers = place.ask(
        "s.read(10)", "s.read(1)", "s.blocking_read(1)", "f.write(b'!', 6)", "s.read(1)", before=STREAM
    )
    assert answers == [b"inside", "closed", "closed", 1, b"!"]


STREAM = "f = opened('f'); s = f.read_via_stream(0)"


def test_a_stream_is_skipped(place):
    assert place.ask("s.skip(2)", "s.blocking_skip(1)", "s.read(9)", before=STREAM) == [2, 1, b"ide"]


def test_nothing_is_asked_of_the_file_by_an_empty_read(place):
    assert place.ask("s.read(0)", "s.read(9)", "s.read(0)", before=STREAM) == [b"", b"inside", b""]


def test_an_appending_stream_writes_at_the_end_wherever_that_is_by_then(place):
    code = """
f = opened("f")
one, two = f.append_via_stream(), f.append_via_stream()
one.blocking_write_and_flush(b"1")
two.blocking_write_and_flush(b"2")
f.set_size(10)
one.blocking_write_and_flush(b"3")
result = f.read(20, 0)[0]
"""
    assert place.run(code) == b"inside12\0\x003"


def test_a_stream_outlives_its_descriptor_and_the_name(place):
    code = """
with opened("f") as f:
    source, sink = f.read_via_stream(0), f.append_via_stream()
root.unlink_file_at("f")
sink.blocking_write_and_flush(b"!")
result = source.blocking_read(10)
"""
    assert place.run(code) == b"inside!"


def test_a_file_is_always_ready(place):
    code = """
f = opened("f")
source, sink = f.read_via_stream(0), f.write_via_stream(0)
result = poll.poll([source.subscribe(), sink.subscribe()]), source.subscribe().ready(), sink.check_write()
"""
    assert place.run(code) == ([0, 1], True, 1 << 20)


def test_what_was_permitted_is_written_at_once(place):
    code = """
sink = opened("f").write_via_stream(1)
sink.check_write()
sink.write(b"xy")
sink.write_zeroes(1)
sink.flush()
result = opened("f").read(9, 0)[0], sink.blocking_flush()
"""
    assert place.run(code) == (b"ixy\0de", None)


def test_one_file_is_spliced_into_another(place):
    code = """
source, sink = opened("f").read_via_stream(0), opened("full/x").append_via_stream()
counts = sink.splice(source, 2), sink.blocking_splice(source, 100)
result = counts, opened("full/x").read(9, 0)[0]
"""
    assert place.run(code) == ((2, 4), b"xinside")


def test_a_stream_beyond_the_last_offset_fails_with_a_code(place):
    answers = place.ask(
        "opened('f').read_via_stream(1 << 63).read(1)",
        "opened('f').read_via_stream((1 << 64) - 1).blocking_read(1)",
        "opened('f').write_via_stream((1 << 64) - 1).blocking_write_and_flush(b'x')",
    )
    assert answers == [("failed", "invalid")] * 3


def test_a_stream_that_failed_is_closed(place):
    answers = place.ask(
        "s.blocking_write_and_flush(b'x')",
        "s.blocking_write_and_flush(b'x')",
        "s.check_write()",
        before="s = opened('f').write_via_stream(1 << 63)",
    )
    assert answers == [("failed", "invalid"), "closed", "closed"]


def test_a_full_memory_says_so_by_every_way_of_writing(python):
    room = coop.MemDir({"f": b"x"}, max_bytes=10_000)
    code = """
f = opened("f")
result = [tried(lambda: f.append_via_stream().blocking_write_and_flush(b"x" * 4096)) for _ in range(3)]
result.append(tried(lambda: f.write(b"x" * 4096, 10_000)))
"""
    answers = python(lambda run: run(PRELUDE + code), dirs=[room])
    full = "insufficient-space"
    assert answers[:2] == ["ok", "ok"]
    assert answers[2:] == [("failed", full), full]


def test_an_error_that_is_not_of_the_system_has_no_code(python):
    """What a function of the host raises is told in words."""

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        python(lambda run: run("stdin.get_stdin().blocking_read(1)"), stdin=fail)


# -- the disk


@pytest.fixture
def misses(monkeypatch) -> list[int]:
    """How often the page cache was asked; it never has anything."""
    asked = []

    def preadv(fd, buffers, offset, flags=0):
        if flags:
            asked.append(fd)
            raise BlockingIOError(errno.EAGAIN, "not in the cache")
        return plain(fd, buffers, offset)

    plain = os.preadv
    monkeypatch.setattr(hostfile.os, "preadv", preadv)
    return asked


def test_a_file_that_is_not_cached_is_read_all_the_same(host_place, misses):
    answers = host_place.ask(
        "f.read(3, 0)",
        "s.read(3)",
        "s.blocking_read(9)",
        "s.read(1)",
        "sink.blocking_splice(f.read_via_stream(4), 9)",
        before=STREAM + "; sink = opened('full/x').append_via_stream()",
    )
    assert answers == [(b"ins", False), b"ins", b"ide", "closed", 2]
    assert (host_place.root / "full/x").read_bytes() == b"xde"
    assert len(misses) >= 5


def test_others_run_while_a_guest_waits_for_the_disk(component, host_place, misses, monkeypatch):
    reading, others_ran = threading.Event(), threading.Event()
    preadv = hostfile.os.preadv

    def slow(fd, buffers, offset, flags=0):
        if not flags and threading.current_thread() is not main:
            reading.set()
            assert others_ran.wait(30)
        return preadv(fd, buffers, offset, flags)

    main = threading.current_thread()
    monkeypatch.setattr(hostfile.os, "preadv", slow)
    assert _beside(component, host_place, "result = opened('f').read(9, 0)", reading, others_ran) == (
        b"inside",
        False,
    )


@pytest.mark.parametrize(("name", "call"), [("sync", "fsync"), ("sync_data", "fdatasync")])
def test_others_run_while_a_guest_waits_for_a_sync(name, call, component, host_place, monkeypatch):
    syncing, others_ran = threading.Event(), threading.Event()
    plain = getattr(os, call)

    def slow(fd):
        syncing.set()
        assert others_ran.wait(30)
        return plain(fd)

    monkeypatch.setattr(hostfile.os, call, slow)
    code = f"result = [tried(each.{name}) for each in (opened('f'), opened('dir', R), root)]"
    assert _beside(component, host_place, code, syncing, others_ran) == ["ok"] * 3


CUT_BY_OPEN = """
opened("f").set_size(100 << 20)
with opened("f", W, O.TRUNCATE) as f:
    result = "ok" if f.stat().size == 0 else "not cut"
"""


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("posix_fadvise", "f = opened('f'); result = tried(lambda: f.advise(0, 0, types.Advice.DONT_NEED))"),
        ("ftruncate", "f = opened('f'); f.set_size(100 << 20); result = tried(lambda: f.set_size(0))"),
        ("ftruncate", CUT_BY_OPEN),
    ],
)
def test_others_run_while_pages_of_a_long_file_are_given_back(call, code, component, host_place, monkeypatch):
    begun, others_ran = threading.Event(), threading.Event()
    plain = getattr(os, call)

    def slow(fd, *given):
        if given[0] == 0:
            begun.set()
            assert others_ran.wait(30)
        return plain(fd, *given)

    monkeypatch.setattr(hostfile.os, call, slow)
    assert _beside(component, host_place, code, begun, others_ran) == "ok"


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("rmdir", "result = tried(lambda: root.remove_directory_at('empty'))"),
        ("rename", "result = tried(lambda: root.rename_at('dir/sub', root, 'empty'))"),
    ],
)
def test_others_run_while_a_large_directory_is_removed(call, code, component, host_place, monkeypatch):
    begun, others_ran = threading.Event(), threading.Event()
    plain = getattr(os, call)

    def slow(*given, **where):
        begun.set()
        assert others_ran.wait(30)
        return plain(*given, **where)

    monkeypatch.setattr(hostfile.os, call, slow)
    monkeypatch.setattr(closing, "LARGE_DIRECTORY", -1)
    assert _beside(component, host_place, code, begun, others_ran) == "ok"


def _beside(component, place, code, begun, others_ran):
    """Run code while another task waits for `begun` and lets it go on: nobody else would."""

    def others():
        while not begun.is_set():
            coop.pause()
        others_ran.set()

    def main():
        task = coop.spawn(others)
        with Guest(component, dirs=[place.grant()]) as guest:
            text = guest.call("", "run", PRELUDE + code)
        task.wait()
        return ast.literal_eval(text)

    return coop.run(main)


def test_a_guest_that_is_cancelled_while_the_disk_is_slow_leaves_nothing_open(
    component, host_place, monkeypatch
):
    helpers, go_on = [], threading.Event()

    def slow(fd):
        helpers.append(threading.current_thread())
        assert go_on.wait(30)

    def main():
        guest = Guest(component, dirs=[host_place.grant()])

        def others():
            while not helpers:
                coop.pause()
            guest.cancel()

        task = coop.spawn(others)
        with pytest.raises(coop.WasCancelled):
            guest.call("", "run", PRELUDE + "f = opened('f'); s = f.read_via_stream(0); f.sync()")
        task.wait()

    monkeypatch.setattr(hostfile.os, "fsync", slow)
    coop.run(main)
    go_on.set()
    helpers[0].join()


def test_what_the_disk_says_of_a_sync_is_told(host_place, monkeypatch):
    def refuse(fd):
        raise OSError(errno.EDQUOT, "full")

    monkeypatch.setattr(hostfile.os, "fsync", refuse)
    assert host_place.ask("opened('f').sync()", "root.sync()", "opened('f').sync_data()") == [
        "quota",
        "quota",
        "ok",
    ]


@pytest.mark.parametrize("name", ["sync", "sync_data"])
def test_a_file_that_is_not_written_may_be_synced(name, place):
    assert place.ask(f"opened('f', R).{name}()", f"root.{name}()") == ["ok", "ok"]


def test_a_guest_that_is_out_of_memory_is_told_so(host_place, monkeypatch):
    def refuse(fd, *rest):
        raise MemoryError

    monkeypatch.setattr(hostfile.os, "pwritev", refuse)
    assert host_place.ask("opened('f').write(b'x', 0)") == ["insufficient-memory"]


# -- what is no file


def test_a_fifo_is_a_stream_and_has_no_offsets(host_place):
    os.mkfifo(host_place.root / "fifo")
    code = """
source = opened("fifo", R).read_via_stream(0)
nothing = source.read(5)
sink, end = opened("fifo", W).write_via_stream(99), opened("fifo", W).append_via_stream()
sink.blocking_write_and_flush(b"one ")
end.blocking_write_and_flush(b"two")
result = nothing, source.blocking_read(99)
"""
    assert host_place.run(code) == (b"", b"one two")


def test_what_only_files_have_is_refused_to_a_fifo(host_place):
    os.mkfifo(host_place.root / "fifo")
    answers = host_place.ask(
        "f.read(1, 0)",
        "f.write(b'x', 0)",
        "f.advise(0, 0, types.Advice.NORMAL)",
        "f.set_size(0)",
        "f.set_times(NOW, NOW)",
        "f.sync()",
        "f.sync_data()",
        "f.read_directory()",
        before="f = opened('fifo')",
    )
    assert answers == ["invalid-seek"] * 2 + ["bad-descriptor"] * 5 + ["not-directory"]


def test_a_fifo_nobody_reads_cannot_be_written(host_place):
    os.mkfifo(host_place.root / "fifo")
    assert host_place.ask("opened('fifo', W)") == ["no-such-device"]


def test_a_device_is_read_and_written_as_it_comes(python):
    code = """
zero, null, full = opened("zero", R), opened("null"), opened("full", W)
sink = null.write_via_stream(0)
sink.blocking_write_and_flush(b"gone")
result = (zero.read_via_stream(7).blocking_read(3), tried(lambda: null.read_via_stream(0).blocking_read(1)),
    tried(lambda: full.append_via_stream().blocking_write_and_flush(b"x")))
"""
    answers = python(lambda run: run(PRELUDE + code), dirs=["/dev"])
    assert answers == (b"\0\0\0", "closed", ("failed", "insufficient-space"))
