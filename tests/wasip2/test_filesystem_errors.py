"""What wasi:filesystem refuses, and with which error-code; what was refused has changed nothing."""

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import coop
from coop.wasip2.filesystem.errorcode import ERROR_CODE, error_code
from coop.wit import parse_type
from coop.wit.types import Enum
from tests.wasip2.places import NAMES, PRELUDE

PATH_CALLS = {
    "stat": "root.stat_at({follow}, {path})",
    "hash": "root.metadata_hash_at({follow}, {path})",
    "times": "root.set_times_at({follow}, {path}, NOW, NOW)",
    "open": "root.open_at({follow}, {path}, NOTHING, R)",
    "link from": "root.link_at({follow}, {path}, root, 'new')",
}
"""Calls that may follow a link at the end of a path."""

NAME_CALLS = {
    "readlink": "root.readlink_at({path})",
    "unlink": "root.unlink_file_at({path})",
    "rmdir": "root.remove_directory_at({path})",
    "mkdir": "root.create_directory_at({path})",
    "symlink": "root.symlink_at('f', {path})",
    "rename from": "root.rename_at({path}, root, 'new')",
    "rename to": "root.rename_at('f', root, {path})",
    "link to": "root.link_at(STAY, 'f', root, {path})",
    "create": "root.open_at(STAY, {path}, O.CREATE, W)",
}
"""Calls that act on the name itself."""

ESCAPES = {
    "..": "not-permitted",
    "../secret": "not-permitted",
    "dir/../../secret": "not-permitted",
    "/": "not-permitted",
    "/f": "not-permitted",
    "up/secret": "not-permitted",
    "dir/../up/secret": "not-permitted",
    "to_dir/../../secret": "not-permitted",
    "": "no-entry",
    "f\0": "invalid",
    "\0": "invalid",
    "n" * 256: "name-too-long",
    "dir/" * 1100 + "g": "name-too-long",
    "f/x": "not-directory",
    "nothing/x": "no-entry",
    "loop/x": "loop",
}
"""Paths that no call takes, and what every call says of them."""


def every_call(path: str, follow: str = "STAY", calls: dict[str, str] | None = None) -> list[str]:
    chosen = {**PATH_CALLS, **NAME_CALLS} if calls is None else calls
    return [each.format(follow=follow, path=repr(path)) for each in chosen.values()]


@pytest.mark.parametrize("follow", ["STAY", "FOLLOW"])
@pytest.mark.parametrize("path", ESCAPES, ids=lambda path: ascii(path)[1:20])
def test_a_path_that_cannot_be_is_refused_by_every_call(path, follow, place):
    calls = every_call(path, follow)
    answers = dict(zip(calls, place.ask(*calls), strict=True))
    # What a slash or dots at the end name is a directory, and some calls see that first.
    assert {call: answer for call, answer in answers.items() if answer != ESCAPES[path]} == {}
    assert place.names() == NAMES


@pytest.mark.parametrize("path", ["out", "up"])
def test_a_link_that_leads_out_is_not_followed(path, place):
    assert set(place.ask(*every_call(path, "FOLLOW", PATH_CALLS))) == {"not-permitted"}
    assert place.ask(
        f"named(root.stat_at(STAY, {path!r}).type)", f"root.open_at(STAY, {path!r}, NOTHING, R)"
    ) == [
        "symbolic-link",
        "loop",
    ]


def test_an_absolute_link_of_the_hosts_is_neither_followed_nor_read(host_place):
    os.symlink("/etc/passwd", host_place.root / "abs")
    answers = host_place.ask(*every_call("abs", "FOLLOW", PATH_CALLS), "root.readlink_at('abs')")
    assert set(answers) == {"not-permitted"}


def test_a_link_in_the_middle_is_followed_in_any_case(place):
    assert place.ask("named(root.stat_at(STAY, 'to_dir/g').type)", "root.readlink_at('dir/../to_f')") == [
        "regular-file",
        "f",
    ]


@pytest.mark.parametrize(
    ("path", "codes"),
    [
        ("f/", {"not-directory"}),
        ("to_f/", {"not-directory"}),
        ("loop/", {"loop", "not-directory"}),
    ],
)
def test_a_slash_asks_for_a_directory(path, codes, place):
    asked = every_call(path, "FOLLOW", PATH_CALLS) + every_call(path, calls={"rmdir": NAME_CALLS["rmdir"]})
    assert set(place.ask(*asked)) <= codes
    assert place.ask(
        "named(root.stat_at(STAY, 'dir/').type)", "named(root.stat_at(STAY, 'to_dir/').type)"
    ) == [
        "directory",
        "directory",
    ]


CASES = {
    "open": [
        ("no-entry", "opened('none')"),
        ("no-entry", "opened('dangling')"),
        ("loop", "opened('loop')"),
        ("loop", "root.open_at(STAY, 'to_f', NOTHING, R)"),
        ("loop", "root.open_at(STAY, 'to_dir', O.DIRECTORY, R)"),
        ("exist", "opened('f', W, O.CREATE | O.EXCLUSIVE)"),
        ("exist", "opened('dangling', W, O.CREATE | O.EXCLUSIVE)"),
        ("is-directory", "opened('dir', W)"),
        ("is-directory", "opened('dir', RW, O.DIRECTORY)"),
        ("is-directory", "opened('dir', R, O.CREATE)"),
        ("is-directory", "opened('dir', R, O.TRUNCATE)"),
        ("is-directory", "opened('new/', W, O.CREATE)"),
        ("not-directory", "opened('f', R, O.DIRECTORY)"),
        ("not-directory", "opened('x', R, below=opened('f'))"),
        ("invalid", "opened('dir', R, O.DIRECTORY | O.CREATE)"),
        ("invalid", "opened('dir', R, O.DIRECTORY | O.TRUNCATE)"),
        ("invalid", "opened('dir', R, O.DIRECTORY | O.EXCLUSIVE)"),
    ],
    "names": [
        ("exist", "root.create_directory_at('f')"),
        ("exist", "root.create_directory_at('dangling')"),
        ("exist", "root.symlink_at('f', 'dir')"),
        ("exist", "root.link_at(STAY, 'f', root, 'dir')"),
        ("no-entry", "root.create_directory_at('none/new')"),
        ("no-entry", "root.unlink_file_at('none')"),
        ("no-entry", "root.rename_at('none', root, 'new')"),
        ("no-entry", "root.symlink_at('', 'new')"),
        ("not-permitted", "root.symlink_at('/etc', 'new')"),
        ("is-directory", "root.unlink_file_at('dir')"),
        ("is-directory", "root.rename_at('f', root, 'dir')"),
        ("not-directory", "root.remove_directory_at('f')"),
        ("not-directory", "root.remove_directory_at('to_dir')"),
        ("not-directory", "root.rename_at('dir', root, 'f')"),
        ("not-directory", "root.unlink_file_at('f/')"),
        ("not-empty", "root.remove_directory_at('dir')"),
        ("not-empty", "root.rename_at('dir', root, 'full')"),
        ("invalid", "root.rename_at('dir', root, 'dir/sub/new')"),
        ("invalid", "root.remove_directory_at('dir/.')"),
        ("invalid", "root.readlink_at('f')"),
        ("invalid", "root.readlink_at('dir')"),
        ("busy", "root.rename_at('.', root, 'new')"),
        ("not-permitted", "root.link_at(STAY, 'dir', root, 'new')"),
        ("not-permitted", "root.link_at(FOLLOW, 'to_dir', root, 'new')"),
        ("no-entry", "root.link_at(FOLLOW, 'dangling', root, 'new')"),
    ],
    "a file is no directory": [
        ("not-directory", f"opened('f').{call.format(follow='STAY', path=repr('x')).removeprefix('root.')}")
        for call in (*PATH_CALLS.values(), *NAME_CALLS.values())
    ]
    + [
        ("not-directory", "opened('f').read_directory()"),
        ("not-directory", "root.rename_at('f', opened('f'), 'new')"),
        ("not-directory", "root.link_at(STAY, 'f', opened('f'), 'new')"),
    ],
    "a directory is no file": [
        ("bad-descriptor", "root.read(1, 0)"),
        ("bad-descriptor", "root.write(b'x', 0)"),
        ("bad-descriptor", "root.read_via_stream(0)"),
        ("bad-descriptor", "root.write_via_stream(0)"),
        ("bad-descriptor", "root.append_via_stream()"),
        ("bad-descriptor", "root.advise(0, 0, types.Advice.NORMAL)"),
        ("bad-descriptor", "root.set_size(0)"),
    ],
    "ranges that no file has": [
        ("invalid", "opened('f').read(1, (1 << 63) - 1)"),
        ("invalid", "opened('f').read(1, (1 << 64) - 1)"),
        ("invalid", "opened('f').write(b'x', (1 << 63) - 1)"),
        ("invalid", "opened('f').write(b'', 1 << 63)"),
        ("invalid", "opened('f').set_size(1 << 63)"),
        ("invalid", "opened('f').advise(1, (1 << 63) - 1, types.Advice.NORMAL)"),
        ("invalid", "opened('f').advise((1 << 64) - 1, (1 << 64) - 1, types.Advice.NORMAL)"),
    ],
}


@pytest.mark.parametrize("group", CASES)
def test_what_cannot_be_done_is_refused(group, place):
    answers = place.ask(*(expression for _, expression in CASES[group]))
    said = [(answer, expression) for answer, (_, expression) in zip(answers, CASES[group], strict=True)]
    assert said == CASES[group]
    assert place.names() == NAMES
    assert (place.read(b"f"), place.names(b"dir")) == (b"inside", ["g", "sub"])


READ_ONLY = [
    *(
        NAME_CALLS[each].format(path=repr("new"))
        for each in ("mkdir", "symlink", "link to", "rename to", "create")
    ),
    *(call.format(path=repr("f")) for call in (NAME_CALLS["unlink"], NAME_CALLS["rename from"])),
    "root.remove_directory_at('empty')",
    "root.set_times_at(STAY, 'f', NOW, NOW)",
    "root.set_times(NOW, NOW)",
    "opened('f', W)",
    "opened('f', RW)",
    "opened('f', R, O.TRUNCATE)",
    "opened('dir', MUTATE)",
    "opened('f', R).set_size(0)",
    "opened('f', R).set_times(NOW, NOW)",
    "opened('dir', R).set_times(NOW, NOW)",
    "opened('sub', MUTATE, below=opened('dir', R))",
    "opened('dir', R).create_directory_at('new')",
]


def test_a_read_only_directory_is_not_changed_by_any_call(place):
    answers = place.ask(*READ_ONLY, read_only=True)
    assert {call: each for call, each in zip(READ_ONLY, answers, strict=True) if each != "read-only"} == {}
    assert place.names() == NAMES
    assert place.read(b"f") == b"inside"


def test_a_read_only_directory_is_read_as_any(place):
    answers = place.ask(
        "opened('f', R).read(9, 0)",
        "opened('f', R).read_via_stream(0).read(9)",
        "root.readlink_at('to_f')",
        "len(listed(root))",
        "root.sync()",
        "opened('f', R).advise(0, 1, types.Advice.RANDOM)",
        read_only=True,
    )
    assert answers == [(b"inside", False), b"inside", "f", len(NAMES), "ok", "ok"]


def test_what_is_there_is_opened_though_it_might_have_been_created(place):
    assert place.ask("opened('f', R, O.CREATE).read(9, 0)", read_only=True) == [(b"inside", False)]


def test_nothing_goes_from_or_to_a_read_only_directory(place, tmp_path):
    spare = coop.MemDir({"g": b""}, guest="/other", read_only=True)
    answers = place.ask(
        "root.rename_at('f', other, 'g')",
        "other.rename_at('g', root, 'f')",
        "root.link_at(STAY, 'f', other, 'h')",
        "other.link_at(STAY, 'g', root, 'h')",
        before="other = preopens.get_directories()[1][0]",
        dirs=(spare,),
    )
    assert answers == ["read-only"] * 4


def test_nothing_goes_from_one_file_system_to_another(place):
    answers = place.ask(
        "root.rename_at('f', other, 'g')",
        "other.link_at(STAY, 'g', root, 'h')",
        before="other = preopens.get_directories()[1][0]",
        dirs=(coop.MemDir({"g": b""}, guest="/other"),),
    )
    assert answers == ["cross-device"] * 2


# -- what a host refuses


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Have the kernel refuse to write files longer than that, as a quota of the process."""
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, was[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_that_would_be_too_long_is_refused_by_every_call(host_place, python):
    calls = (
        "f.write(b'x', 1 << 20)",
        "f.set_size((1 << 20) + 1)",
        "f.write_via_stream(1 << 20).blocking_write_and_flush(b'x')",
    )
    text = f"result = [{', '.join(f'tried(lambda: {each})' for each in calls)}]"

    def act(run):
        run(PRELUDE + "f = opened('f')")
        with no_file_longer_than(1 << 20):
            return run(text)

    answers = python(act, dirs=[host_place.grant()])
    assert answers == ["file-too-large", "file-too-large", ("failed", "file-too-large")]
    assert host_place.read(b"f") == b"inside"


def test_what_the_host_forbids_is_refused(host_place):
    if os.geteuid() == 0:
        pytest.skip("nothing is forbidden to root")
    (host_place.root / "f").chmod(0)
    assert host_place.ask("opened('f')") == ["access"]


def test_a_name_that_is_no_text_is_left_out_and_a_link_to_one_is_not_read(host_place):
    root = os.fsencode(host_place.root)
    os.mkdir(root + b"/\xff")
    os.symlink(b"\xff", root + b"/odd")
    assert host_place.ask("sorted(name for name, _ in listed(root))", "root.readlink_at('odd')") == [
        sorted([*NAMES, "odd"]),
        "illegal-byte-sequence",
    ]


def test_a_listing_the_host_cannot_give_is_an_error(host_place, monkeypatch):
    """A disk that fails is made up."""

    def fail(fd, buffer):
        raise OSError(errno.EIO, "bad sector")

    monkeypatch.setattr("coop.fs.dirents.getdents", fail)
    assert host_place.ask("root.read_directory().read_directory_entry()") == ["io"]


# -- the table


def test_every_error_of_the_host_has_a_code():
    """What has the same meaning in both is that, and whatever else there is is `io`."""
    kind = parse_type(ERROR_CODE)
    assert isinstance(kind, Enum)
    assert len(set(kind.names)) == 37
    codes = {name: error_code(OSError(number, "")) for number, name in errno.errorcode.items()}
    assert set(codes.values()) == set(kind.names)
    assert [codes[each] for each in ("ENOSYS", "ENOTSUP", "EMFILE", "ENOTCONN")] == [
        "unsupported",
        "unsupported",
        "insufficient-memory",
        "io",
    ]
    assert [error_code(OSError(number, "")) for number in (0, -1, 9999)] == ["io"] * 3
    assert error_code(OSError("no number")) == "io"
