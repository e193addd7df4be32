"""What each function refuses on any file system: the errno, and the arguments that get it."""

from collections.abc import Callable, Iterator
from typing import Any

from tests.wasip1.places import ALL, ALL_OF_DIR, CREAT, DIRECTORY, EXCL, READ, SEEK, TRUNC, WRITE
from tests.wasip1.script import END, EVENTS, IOVS, OUT, SUBS, Script, clock_sub, fd_sub

STREAM, TOP, FILE, ONLY_READ, SUB, BARE_FILE, BARE_DIR, NO_SEEK, NONE = 0, 3, 4, 5, 6, 7, 8, 9, 99
"""The descriptors of every case: stdin, the directory, `f` for everything, `f` for reading, `dir`, `f` and
`dir` without any right, `f` without the right to seek, and none."""

GOOD, FAR = IOVS, IOVS + 16
"""An iovec of 8 bytes, and one of an address outside memory."""

Arguments = tuple[Any, ...]
Case = tuple[str, Arguments]


def prepare(guest: Script, *, read_only: bool = False) -> None:
    """Open the descriptors, and lay out the iovecs; what is read-only is not opened for writing."""
    writing = 0 if read_only else WRITE
    opened = [
        guest.open(3, b"f", rights=ALL & ~WRITE | writing),
        guest.open(3, b"f", rights=ALL & ~WRITE),
        guest.open(3, b"dir", oflags=DIRECTORY, rights=ALL_OF_DIR),
        guest.open(3, b"f", rights=0),
        guest.open(3, b"dir", oflags=DIRECTORY, rights=0),
        guest.open(3, b"f", rights=READ | writing),
    ]
    assert opened == [FILE, ONLY_READ, SUB, BARE_FILE, BARE_DIR, NO_SEEK]
    guest.iovecs((0x2000, 8), (0x2000, 8), (END - 4, 8))


# -- cases that all calls with a path have


def of_paths(shape: Callable[[int, Any], Arguments], *, without: str = "") -> Iterator[Case]:
    """The cases of one descriptor and one path; `shape` puts them where the call wants them."""
    cases: list[tuple[str, int, Any]] = [
        *[("BADF", NONE, b"f"), ("BADF", 2**32 - 1, b"f")],
        *[
            ("NOTDIR", STREAM, b"f"),
            ("NOTDIR", FILE, b"f"),
            ("NOTDIR", TOP, b"f/x"),
            ("NOTDIR", TOP, b"f/x/y"),
        ],
        *[("PERM", TOP, path) for path in (b"..", b"../secret", b"../n", b"/n", b"up/n", b"dir/../../n")],
        ("PERM", SUB, b"../f"),
        *[("NOENT", TOP, b""), ("NOENT", TOP, b"nothing/n"), ("NOENT", TOP, b"dangling/n")],
        ("LOOP", TOP, b"loop/n"),
        *[
            ("NAMETOOLONG", TOP, b"n" * 256),
            ("NAMETOOLONG", TOP, b"n/" * 2048),
            ("NAMETOOLONG", TOP, (0, END)),
        ],
        *[("ILSEQ", TOP, b"\xff"), ("ILSEQ", TOP, b"n\xc3")],
        *[("INVAL", TOP, b"\0"), ("INVAL", TOP, b"f\0")],
        ("NOTCAPABLE", BARE_DIR, b"n"),
        *[("FAULT", TOP, where) for where in ((END, 1), (END - 1, 2), (1, 2**32 - 1), (2**32 - 1, 1))],
    ]
    for error, fd, path in cases:
        if error not in without:
            yield error, shape(fd, path)


def flat(*arguments: Any) -> Arguments:
    """Arguments with a pair of numbers, which stands for an address and a length, taken apart."""
    found: list[Any] = []
    for argument in arguments:
        found += argument if isinstance(argument, tuple) else [argument]
    return tuple(found)


def opening(
    fd: int, path: Any, *, lookup: int = 1, oflags: int = 0, rights: int = READ, fdflags: int = 0
) -> Arguments:
    """The arguments of path_open."""
    return flat(fd, lookup, path, oflags, rights, rights, fdflags, OUT)


N = b"n"
CASES: dict[str, list[Case]] = {
    "path_create_directory": [
        *of_paths(flat),
        *[("EXIST", (TOP, path)) for path in (b"f", b"dir", b"dir/", b"to_f", b"dangling", b".")],
    ],
    "path_remove_directory": [
        *of_paths(flat),
        *[("NOTEMPTY", (TOP, path)) for path in (b"full", b"full/", b"dir")],
        *[("NOTDIR", (TOP, path)) for path in (b"f", b"to_dir", b"dangling")],
        *[("INVAL", (TOP, path)) for path in (b".", b"empty/.")],
        ("NOENT", (TOP, b"nothing")),
    ],
    "path_unlink_file": [
        *of_paths(flat, without="PERM"),
        *[("PERM", (TOP, b"../secret")), ("PERM", (TOP, b"up/secret"))],
        *[("ISDIR", (TOP, path)) for path in (b"empty", b"empty/", b".", b"dir/..")],
        *[("NOENT", (TOP, b"nothing")), ("NOTDIR", (TOP, b"f/")), ("NOTDIR", (TOP, b"to_f/"))],
    ],
    "path_rename": [
        *of_paths(lambda fd, path: flat(fd, path, TOP, b"to")),
        *of_paths(lambda fd, path: flat(TOP, b"f", fd, path)),
        *[("ISDIR", (TOP, b"f", TOP, b"empty")), ("NOTDIR", (TOP, b"empty", TOP, b"f"))],
        *[("NOTDIR", (TOP, b"f", TOP, b"new/")), ("NOTDIR", (TOP, b"empty", TOP, b"to_dir"))],
        *[("NOTEMPTY", (TOP, b"empty", TOP, b"full")), ("NOTEMPTY", (TOP, b"empty", TOP, b"dir"))],
        *[("NOENT", (TOP, b"nothing", TOP, N)), ("NOENT", (TOP, b"f", SUB, b""))],
        *[("INVAL", (TOP, b"dir", TOP, b"dir/n")), ("INVAL", (TOP, b"dir", SUB, b"sub/n"))],
        *[("BUSY", (TOP, b".", TOP, N)), ("BUSY", (TOP, b"empty", TOP, b"."))],
    ],
    "path_link": [
        *of_paths(lambda fd, path: flat(fd, 0, path, TOP, b"to")),
        *of_paths(lambda fd, path: flat(TOP, 0, b"f", fd, path)),
        *[("EXIST", (TOP, 0, b"f", TOP, new)) for new in (b"f", b"dir/g", b"dir", b"to_f", b"dangling")],
        *[("PERM", (TOP, 0, b"dir", TOP, N)), ("PERM", (TOP, 0, b"empty/", TOP, N))],
        *[("INVAL", (TOP, flag, b"f", TOP, N)) for flag in (1, 2, 2**31)],
        *[("NOENT", (TOP, 0, b"nothing", TOP, N)), ("NOTDIR", (TOP, 0, b"f/", TOP, N))],
        ("NOENT", (TOP, 0, b"f", TOP, b"n/")),
    ],
    "path_symlink": [
        *of_paths(lambda fd, path: flat(b"target", fd, path)),
        *[("EXIST", (b"target", TOP, path)) for path in (b"f", b"dir", b"to_f", b"dangling")],
        *[("PERM", (b"/etc/passwd", TOP, N)), ("NOENT", (b"", TOP, N)), ("ILSEQ", (b"\xff", TOP, N))],
        *[("INVAL", (b"a\0b", TOP, N)), ("NAMETOOLONG", (b"t" * 4096, TOP, N))],
        *[("FAULT", (END, 1, TOP, N)), ("NAMETOOLONG", (0, END, TOP, N))],
    ],
    "path_readlink": [
        *of_paths(lambda fd, path: flat(fd, path, 0x2000, 64, OUT)),
        *[("INVAL", (TOP, path, 0x2000, 64, OUT)) for path in (b"f", b"dir", b".", b"to_dir/")],
        ("NOENT", (TOP, b"nothing", 0x2000, 64, OUT)),
        *[("FAULT", (TOP, b"to_f", END - 63, 64, OUT)), ("FAULT", (TOP, b"to_f", 0x2000, 64, END - 3))],
        ("FAULT", (TOP, b"to_f", 1, 2**32 - 1, OUT)),
    ],
    "path_filestat_get": [
        *of_paths(lambda fd, path: flat(fd, 0, path, OUT)),
        *[("NOENT", (TOP, 0, b"nothing", OUT)), ("NOENT", (TOP, 1, b"dangling", OUT))],
        *[
            ("LOOP", (TOP, 1, b"loop", OUT)),
            ("PERM", (TOP, 1, b"out", OUT)),
            ("NOTDIR", (TOP, 0, b"f/", OUT)),
        ],
        *[("INVAL", (TOP, flag, b"f", OUT)) for flag in (2, 3, 2**31)],
        ("FAULT", (TOP, 0, b"f", END - 63)),
    ],
    "path_filestat_set_times": [
        *of_paths(lambda fd, path: flat(fd, 0, path, 1, 2, 5)),
        *[("NOENT", (TOP, 0, b"nothing", 1, 2, 5)), ("NOENT", (TOP, 1, b"dangling", 1, 2, 5))],
        *[("LOOP", (TOP, 1, b"loop", 1, 2, 5)), ("PERM", (TOP, 1, b"out", 1, 2, 5))],
        *[("INVAL", (TOP, 0, b"f", 1, 2, flags)) for flags in (3, 7, 12, 15, 16, 2**15)],
        *[("INVAL", (TOP, lookup, b"f", 1, 2, 5)) for lookup in (2, 3)],
    ],
    "path_open": [
        *of_paths(opening),
        *of_paths(lambda fd, path: opening(fd, path, oflags=1, rights=WRITE)),
        *[("NOENT", opening(TOP, b"nothing")), ("NOENT", opening(TOP, b"dangling"))],
        *[("EXIST", opening(TOP, path, oflags=5)) for path in (b"f", b"dir", b"to_f", b"dangling")],
        *[("ISDIR", opening(TOP, b"dir", rights=WRITE)), ("ISDIR", opening(TOP, b"n/", oflags=1))],
        *[("ISDIR", opening(TOP, b"dir", oflags=8)), ("ISDIR", opening(TOP, b"dir", oflags=1))],
        *[("LOOP", opening(TOP, b"loop")), ("LOOP", opening(TOP, b"to_f", lookup=0))],
        *[("NOTDIR", opening(TOP, b"f", oflags=2)), ("NOTDIR", opening(TOP, b"f/"))],
        *[("INVAL", opening(TOP, N, oflags=3)), ("INVAL", opening(TOP, N, oflags=17))],
        *[("INVAL", opening(TOP, N, lookup=2, oflags=1)), ("INVAL", opening(TOP, N, oflags=1, fdflags=32))],
        *[("PERM", opening(TOP, b"out")), ("PERM", opening(TOP, b"up/secret", oflags=8, rights=WRITE))],
        ("FAULT", (TOP, 1, N, 1, WRITE, 0, 0, END - 3)),
    ],
}

# -- cases of one descriptor


def of_files(*rest: Any, right: bool = True) -> Iterator[Case]:
    """The cases of a call for regular files alone."""
    yield from [("BADF", (fd, *rest)) for fd in (NONE, STREAM, TOP, 2**32 - 1)]
    if right:
        yield "NOTCAPABLE", (BARE_FILE, *rest)


CASES |= {
    "fd_advise": [
        *of_files(0, 1, 0),
        *[("INVAL", (FILE, 0, 1, advice)) for advice in (6, 7, 2**32 - 1)],
        *[
            ("INVAL", (FILE, *part, 0))
            for part in ((2**63, 0), (2**64 - 1, 1), (2**63 - 1, 1), (1, 2**64 - 1))
        ],
    ],
    "fd_allocate": [
        *of_files(0, 1),
        ("BADF", (ONLY_READ, 0, 10)),
        *[("INVAL", (FILE, *part)) for part in ((0, 0), (2**63, 1), (2**63 - 1, 1), (1, 2**64 - 1))],
    ],
    "fd_sync": [
        *[("BADF", (fd,)) for fd in (NONE, STREAM)],
        *[("NOTCAPABLE", (fd,)) for fd in (BARE_FILE, BARE_DIR)],
    ],
    "fd_filestat_set_size": [
        *of_files(1),
        *[("INVAL", (FILE, size)) for size in (2**63, 2**64 - 1)],
        ("INVAL", (ONLY_READ, 1)),
    ],
    "fd_filestat_set_times": [
        *[("BADF", (fd, 1, 2, 5)) for fd in (NONE, STREAM)],
        *[("NOTCAPABLE", (fd, 1, 2, 5)) for fd in (BARE_FILE, BARE_DIR)],
        *[("INVAL", (fd, 1, 2, flags)) for fd in (FILE, TOP) for flags in (3, 7, 12, 15, 16, 2**15)],
    ],
    "fd_filestat_get": [
        ("BADF", (NONE, OUT)),
        *[("NOTCAPABLE", (fd, OUT)) for fd in (BARE_FILE, BARE_DIR)],
        *[("FAULT", (FILE, where)) for where in (END - 63, END, 2**32 - 1)],
    ],
    "fd_seek": [
        *[("BADF", (fd, 0, 0, OUT)) for fd in (NONE, TOP, SUB)],
        ("SPIPE", (STREAM, 0, 0, OUT)),
        *[("INVAL", (FILE, 0, whence, OUT)) for whence in (3, 255, 2**32 - 1)],
        *[("INVAL", (FILE, *move, OUT)) for move in ((2**64 - 1, 0), (2**63, 1), (2**64 - 7, 2), (2**63, 2))],
        *[("NOTCAPABLE", (BARE_FILE, 1, 1, OUT)), ("NOTCAPABLE", (NO_SEEK, 0, 0, OUT))],
        *[("FAULT", (FILE, 2, 0, where)) for where in (END - 7, END, 2**32 - 1)],
    ],
    "fd_tell": [
        *[("BADF", (fd, OUT)) for fd in (NONE, TOP)],
        *[("SPIPE", (STREAM, OUT)), ("NOTCAPABLE", (NO_SEEK, OUT)), ("FAULT", (FILE, END - 7))],
    ],
    "fd_pread": [
        *[("BADF", (fd, GOOD, 1, 0, OUT)) for fd in (NONE, TOP, BARE_FILE)],
        *[("SPIPE", (STREAM, GOOD, 1, offset, OUT)) for offset in (0, 2**64 - 1)],
        ("NOTCAPABLE", (NO_SEEK, GOOD, 1, 0, OUT)),
        *[("INVAL", (FILE, GOOD, 1, offset, OUT)) for offset in (2**63, 2**64 - 1, 2**63 - 8)],
        *[("INVAL", (FILE, GOOD, 2, 2**63 - 16, OUT)), ("INVAL", (FILE, GOOD, 0, 2**63, OUT))],
        *[("FAULT", (FILE, GOOD, 1, 0, END - 3)), ("FAULT", (FILE, END - 7, 1, 0, OUT))],
        *[("FAULT", (FILE, FAR, 1, 0, OUT)), ("FAULT", (FILE, GOOD, 3, 0, OUT))],
        ("FAULT", (FILE, END - 8 * 1023, 2**32 - 1, 0, OUT)),
    ],
    "fd_readdir": [
        *[("BADF", (fd, 0x2000, 64, 0, OUT)) for fd in (NONE, STREAM, FILE)],
        ("NOTCAPABLE", (BARE_DIR, 0x2000, 64, 0, OUT)),
        *[("INVAL", (TOP, 0x2000, 64, cookie, OUT)) for cookie in (2**63, 2**64 - 1)],
        *[("FAULT", (TOP, END - 63, 64, 0, OUT)), ("FAULT", (TOP, 0x2000, 64, 0, END - 3))],
        *[("FAULT", (TOP, 1, 2**32 - 1, 0, OUT)), ("FAULT", (TOP, END + 1, 0, 0, OUT))],
    ],
    "fd_close": [("BADF", (fd,)) for fd in (10, NONE, 2**32 - 1)],
    "fd_renumber": [
        *[("BADF", (fd, to)) for fd in (10, NONE, 2**32 - 1) for to in (FILE, NONE, 2**32 - 1)],
        *[("BADF", (fd, to)) for fd in (FILE, TOP, STREAM) for to in (10, NONE, 2**32 - 1)],
    ],
    "fd_fdstat_get": [("BADF", (NONE, OUT)), ("FAULT", (FILE, END - 23)), ("FAULT", (STREAM, 2**32 - 1))],
    "fd_fdstat_set_flags": [
        ("BADF", (NONE, 0)),
        *[("INVAL", (FILE, flags)) for flags in (32, 2**16, 2**31)],
        *[("NOTSUP", (FILE, flags)) for flags in (2, 8, 16)],
        *[("NOTCAPABLE", (fd, 4)) for fd in (BARE_FILE, BARE_DIR)],
    ],
    "fd_fdstat_set_rights": [
        ("BADF", (NONE, 0, 0)),
        *[("NOTCAPABLE", (BARE_FILE, READ, 0)), ("NOTCAPABLE", (BARE_DIR, 0, READ))],
        *[
            ("NOTCAPABLE", (FILE, ALL, 0)),
            ("NOTCAPABLE", (FILE, 2**63, 0)),
            ("NOTCAPABLE", (TOP, 0, 2**64 - 1)),
        ],
        ("NOTCAPABLE", (STREAM, SEEK, 0)),
    ],
    "fd_prestat_get": [
        *[("BADF", (fd, OUT)) for fd in (NONE, STREAM, FILE, SUB)],
        *[("FAULT", (TOP, where)) for where in (END - 7, 2**32 - 1)],
    ],
    "fd_prestat_dir_name": [
        *[("BADF", (fd, 0x2000, 64)) for fd in (NONE, STREAM, FILE, SUB)],
        *[("NAMETOOLONG", (TOP, 0x2000, 0)), ("FAULT", (TOP, END, 1)), ("FAULT", (TOP, 2**32 - 1, 9))],
    ],
}
CASES["fd_pwrite"] = [
    *[case for case in CASES["fd_pread"] if case[1][0] != NO_SEEK],
    *[("NOTCAPABLE", (NO_SEEK, GOOD, 1, 0, OUT)), ("BADF", (ONLY_READ, GOOD, 1, 0, OUT))],
]
CASES["fd_datasync"] = CASES["fd_sync"]
CASES["fd_read"] = [
    *[("BADF", (fd, GOOD, 1, OUT)) for fd in (NONE, TOP, SUB, BARE_FILE, 2**32 - 1)],
    *[("FAULT", (FILE, GOOD, 1, END - 3)), ("FAULT", (FILE, END - 7, 1, OUT))],
    *[("FAULT", (FILE, FAR, 1, OUT)), ("FAULT", (FILE, GOOD, 3, OUT))],
    ("FAULT", (FILE, END - 8 * 1023, 2**32 - 1, OUT)),
]
CASES["fd_write"] = [*CASES["fd_read"], ("BADF", (ONLY_READ, GOOD, 1, OUT))]

# -- cases of the process, which has one argument and one entry in its environment


def of_two_places(first: int, second: int) -> list[Case]:
    """The cases of a call that stores so many bytes at each of two places."""
    return [("FAULT", (where, OUT)) for where in (END - first + 1, END, 2**32 - 1)] + [
        ("FAULT", (OUT, where)) for where in (END - second + 1, END, 2**32 - 1)
    ]


ARGS, ENV = ("one",), {"KEY": "value"}

CASES |= {
    "args_get": of_two_places(8, 4),
    "args_sizes_get": of_two_places(4, 4),
    "environ_get": of_two_places(4, 10),
    "environ_sizes_get": of_two_places(4, 4),
    "clock_res_get": [
        *[("INVAL", (clock, OUT)) for clock in (4, 255, 2**32 - 1)],
        *[("FAULT", (clock, where)) for clock in range(4) for where in (END - 7, END, 2**32 - 1)],
    ],
    "clock_time_get": [
        *[("INVAL", (clock, 0, OUT)) for clock in (4, 255, 2**32 - 1)],
        *[("FAULT", (clock, 0, where)) for clock in range(4) for where in (END - 7, END, 2**32 - 1)],
    ],
    "random_get": [("FAULT", part) for part in ((END - 1, 2), (END + 1, 0), (1, 2**32 - 1), (2**32 - 1, 1))],
    "proc_raise": [("NOTSUP", (signal,)) for signal in (0, 2, 30, 2**32 - 1)],
    "proc_exit": [],
    "sched_yield": [],
    "poll_oneoff": [
        *[("INVAL", (SUBS, EVENTS, count, OUT)) for count in (0, 65536, 2**32 - 1)],
        *[("FAULT", (END - 47, EVENTS, 1, OUT)), ("FAULT", (SUBS, END - 31, 1, OUT))],
        *[("FAULT", (SUBS, EVENTS, 1, END - 3)), ("FAULT", (SUBS, EVENTS, 65535, OUT))],
    ],
}

IN_EVENTS: list[tuple[str, bytes]] = [
    *[("BADF", fd_sub(0, mode, fd)) for mode in (1, 2) for fd in (NONE, TOP, SUB, BARE_DIR, 2**32 - 1)],
    *[("NOTCAPABLE", fd_sub(0, mode, BARE_FILE)) for mode in (1, 2)],
    *[("INVAL", clock_sub(0, 0, clock=clock)) for clock in (2, 3, 4, 2**32 - 1)],
    *[("INVAL", clock_sub(0, 0, flags=2)), ("INVAL", fd_sub(0, 3, FILE)), ("INVAL", fd_sub(0, 255, FILE))],
]
"""What poll_oneoff refuses in the event of one subscription, which is all that is wrong with the call."""

# -- cases of what may only be read

CHANGES: list[tuple[str, Arguments]] = [
    *[("path_create_directory", (fd, N)) for fd in (TOP, SUB)],
    ("path_remove_directory", (TOP, b"empty")),
    *[("path_unlink_file", (TOP, b"f")), ("path_unlink_file", (SUB, b"g"))],
    *[("path_rename", (TOP, b"f", TOP, new)) for new in (N, b"f")],
    ("path_rename", (SUB, b"g", TOP, N)),
    ("path_link", (TOP, 0, b"f", TOP, N)),
    ("path_symlink", (b"f", TOP, N)),
    ("path_filestat_set_times", (TOP, 0, b"f", 1, 2, 5)),
    ("path_filestat_set_times", (TOP, 1, b"to_f", 1, 2, 10)),
    *[("path_open", opening(TOP, N, oflags=CREAT, rights=rights)) for rights in (READ, WRITE)],
    ("path_open", opening(TOP, N, oflags=CREAT | EXCL)),
    *[("path_open", opening(TOP, b"f", rights=rights)) for rights in (WRITE, READ | WRITE)],
    ("path_open", opening(TOP, b"f", oflags=TRUNC, rights=WRITE)),
    ("path_open", opening(TOP, b"dir/g", oflags=TRUNC)),
    ("fd_filestat_set_size", (ONLY_READ, 1)),
    *[("fd_filestat_set_times", (fd, 1, 2, 5)) for fd in (ONLY_READ, SUB)],
    ("fd_filestat_set_times", (TOP, 1, 2, 10)),
    ("fd_allocate", (ONLY_READ, 0, 100)),
]
"""Calls that change something; where all may only be read they get ROFS."""
