"""Random calls on directories and files, each list made here and by native wasmtime, which must agree.

Run as `python -m tests.fuzz.native_calls SECONDS [SEED]`.  Each seed is some lists of calls, which one guest
makes (calls.c): natively, on a directory of the host, and on one in memory.

1. Each call has the same errno and the same results in all three, unless `excuse` knows why not.
2. What is left of a directory of the host is the same, too: names, modes, sizes, links, bytes, times set.
3. A list that shows a difference is made shorter as long as it shows one, and told in words.
"""

import os
import random
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import coop
from coop.wasip1.abi import Filetype
from coop.wasip1.errno import Errno
from tests.fuzz.seeds import play
from tests.guestbuild import c_guest, native_wasmtime

PROGRAM = Path(__file__).parent / "calls.c"
LISTS, CALLS = 25, 40
"""How many lists a seed is, and of how many calls."""

#: What a list begins with: directories, files and links, made by calls as well.
FURNITURE = (
    *(f"path_create_directory a ={name}" for name in ("d", "d/s", "e", "full")),
    *("path_open 0 a 0 =f 1 64 64 0", "fd_write s0 =inside", "fd_close s0"),
    *("path_open 0 a 0 =d/g 1 64 64 0", "fd_write s0 =deeper", "fd_close s0"),
    *("path_open 0 a 0 =full/x 1 64 64 0", "path_open 0 b 0 =h 1 64 64 0", "fd_close s0"),
    *(
        f"path_symlink ={to} a ={name}"
        for name, to in (("lf", "f"), ("ld", "d"), ("llf", "lf"), ("lld", "ld"))
    ),
    *(f"path_symlink ={to} a ={name}" for name, to in (("gone", "none"), ("loop", "loop"), ("up", ".."))),
    *(f"path_symlink ={to} a ={name}" for name, to in (("out", "../x"), ("dot", "."), ("d/lup", "../f"))),
    *(f"path_symlink ={to} a ={name}" for name, to in (("slf", "f/"), ("sld", "d/"), ("d/up", ".."))),
)
FEW = (b"n1", b"n2", b"d", b"e", b"f", b"l", b"d/n1", b"e/n1", b"n1/n2")
"""Names of which a list has only so many that its calls meet."""
MANY = (
    *(
        b"f",
        b"d",
        b"d/g",
        b"d/s",
        b"e",
        b"full",
        b"full/x",
        b"lf",
        b"ld",
        b"llf",
        b"lld",
        b"gone",
        b"loop",
        b"up",
    ),
    *(
        b"out",
        b"dot",
        b"d/lup",
        b"slf",
        b"sld",
        b"d/up",
        b"ld/g",
        b"ld/s",
        b"n1",
        b"n2",
        b"d/n1",
        b"ld/n1",
        b"h",
    ),
)
ODD = (
    *(
        b"",
        b".",
        b"..",
        b"./.",
        b"n" * 255,
        b"n" * 256,
        b" ",
        b"a\\b",
        b"\xce\xb1",
        b"d/../f",
        b"d/..",
        b"f/..",
    ),
    *(
        b"d/../../a/f",
        b"none/..",
        b"ld/..",
        b"ld/../f",
        b"up/f",
        b"dot/dot/d",
        b"slf/x",
        b"/f",
        b"/etc/passwd",
    ),
    *(
        b"d/" * 300 + b"x",
        b"./" * 2040 + b"f",
        b"e/..",
        b"d/s/.",
        b"...",
        b"d//g",
        b"d/./g",
        b"loop/x",
        b"gone/x",
    ),
    *(
        b"out/x",
        b"sld/g",
        b"d/up/f",
        b"d/up/d/g",
        b"d/lup/x",
        b"D",
        b"\x7f",
        b"up/../f",
        b"d/up/../f",
        b"lld/lup",
    ),
)
ALL, READ, WRITE, READDIR = (1 << 29) - 1, 1 << 1, 1 << 6, 1 << 14
TIMES = (0, 1, 10**9, 123_456_789, 10**17 + 999)
SIZES = (0, 0, 1, 5, 8, 100, 4096, 1 << 20)
FAR = (0, 0, 1, 5, 100, -1, -5, -100, 1 << 31)

Chance = random.Random


class Difference(NamedTuple):
    """Where two hosts differ, in a list of calls: at one of them, or in what they left (behind the last)."""

    at: int
    there: str
    here: str


class Finding(Exception):
    """Something that must not be."""


# -- the lists


def text(data: bytes) -> str:
    """Spell bytes as calls.c reads them."""
    return "=" + "".join(chr(b) if 0x20 < b < 0x7F and b != 0x25 else f"%{b:02x}" for b in data)


def path(chance: Chance, *, slash: bool = False) -> str:
    """Return a path; where wasmtime has its own mind on a slash at the end, none has one but for `slash`."""
    kind = chance.random()
    found = chance.choice(FEW if kind < 0.5 else MANY if kind < 0.8 else ODD)
    if kind > 0.9:
        found = chance.choice(MANY) + b"/" + chance.choice(FEW)
    if slash and chance.random() < 0.1:
        found += chance.choice((b"/", b"//", b"/.", b"/.."))
    return text(found)


def directory(chance: Chance) -> str:
    """Return a descriptor for a path to begin at."""
    return chance.choice(("a",) * 16 + ("b",) * 2 + ("s0", "s1", "s2", "s3", "999"))


def file(chance: Chance) -> str:
    """Return a descriptor, of a file most times."""
    return chance.choice(("s0", "s1", "s2", "s3") * 4 + ("a", "999"))


def opening(chance: Chance) -> str:
    """Return a call that opens something: for writing if it makes or cuts it, as wasmtime does anyway."""
    create, only, exclusive, cut = 1, 2, 4, 8
    slot, follow = chance.randrange(4), chance.choice((0, 1, 1))
    if chance.random() < 0.3:
        name = chance.choice(("=d", "=e", "=n1", "=ld"))
        return f"path_open {slot} a {follow} {name} {only} {ALL & ~WRITE} {ALL} 0"
    makes = (create, create, create | exclusive, create | cut, cut)
    oflags = chance.choice((0, 0, 0, *makes, only, exclusive, only | cut, only | exclusive))
    rights = chance.choice((ALL, ALL, ALL & ~WRITE, ALL & ~READ & ~READDIR))
    rights |= WRITE if oflags & (create | cut) else 0
    where = f"{directory(chance)} {follow} {path(chance, slash=True)}"
    return f"path_open {slot} {where} {oflags} {rights} {ALL} {chance.choice((0, 0, 0, 1))}"


def data(chance: Chance) -> str:
    return text(bytes(chance.choice(b"abcdefgh") for _ in range(chance.choice((0, 1, 3, 10)))))


def times(chance: Chance) -> str:
    return f"{chance.choice(TIMES)} {chance.choice(TIMES)} {chance.choice((1, 2, 4, 8, 5, 10, 9, 6))}"


SHAPES: dict[str, Callable[[Chance], str]] = {
    "path_create_directory": lambda c: f"{directory(c)} {path(c, slash=True)}",
    "path_remove_directory": lambda c: f"{directory(c)} {path(c)}",
    "path_unlink_file": lambda c: f"{directory(c)} {path(c, slash=True)}",
    "path_rename": lambda c: f"{directory(c)} {path(c)} {directory(c)} {path(c)}",
    "path_link": lambda c: f"{directory(c)} 0 {path(c, slash=True)} {directory(c)} {path(c, slash=True)}",
    "path_symlink": lambda c: f"{path(c)} {directory(c)} {path(c, slash=True)}",
    "path_readlink": lambda c: f"{directory(c)} {path(c, slash=True)} {c.choice((0, 1, 3, 100))}",
    "path_filestat_get": lambda c: f"{directory(c)} {c.randrange(2)} {path(c)}",
    "path_filestat_set_times": lambda c: f"{directory(c)} {c.randrange(2)} {path(c, slash=True)} {times(c)}",
    "fd_filestat_get": file,
    "fd_filestat_set_size": lambda c: f"{file(c)} {c.choice(SIZES)}",
    "fd_filestat_set_times": lambda c: f"{file(c)} {times(c)}",
    "fd_read": lambda c: f"{file(c)} {c.choice((0, 1, 4, 100))}",
    "fd_pread": lambda c: f"{file(c)} {c.choice((0, 1, 4, 100))} {c.choice(SIZES)}",
    "fd_write": lambda c: f"{file(c)} {data(c)}",
    "fd_pwrite": lambda c: f"{file(c)} {data(c)} {c.choice(SIZES)}",
    "fd_seek": lambda c: f"{file(c)} {c.choice(FAR)} {c.randrange(3)}",
    "fd_tell": file,
    "fd_advise": lambda c: f"{file(c)} {c.choice(SIZES)} {c.choice(SIZES)} {c.randrange(6)}",
    "fd_sync": file,
    "fd_datasync": file,
    "fd_fdstat_get": file,
    "fd_fdstat_set_flags": lambda c: f"{file(c)} {c.choice((0, 1, 4, 5))}",
    "fd_close": lambda c: f"s{c.randrange(4)}",
    "fd_renumber": lambda c: f"s{c.randrange(4)} s{c.randrange(4)}",
    "fd_readdir": lambda c: (
        f"{c.choice((file(c), 'a', 'a', 'b'))} {c.choice((0, 23, 24, 26, 30, 50, 300))} 0"
    ),
}
OFTEN = ("path_rename", "path_link", "path_symlink", "path_unlink_file", "fd_write", "path_create_directory")
NAMES = (*SHAPES, *OFTEN)


def calls_of(chance: Chance) -> list[str]:
    """Return one list."""
    calls = list(FURNITURE)
    for _ in range(CALLS):
        if chance.random() < 0.25:
            calls.append(opening(chance))
        else:
            name = chance.choice(NAMES)
            calls.append(f"{name} {SHAPES[name](chance)}")
    return [*calls, *(f"path_filestat_get a 0 {text(name)}" for name in (*FEW, *MANY)), "fd_readdir a 300 0"]


def excuse(call: str, there: str, here: str) -> str | None:
    """Return why native wasmtime answers otherwise; None: it must not."""
    name, first = call.split(" ")[:2]
    errnos = there.partition(" ")[0], here.partition(" ")[0]
    if name == "path_symlink" and (first == "=" or first.startswith("=/")) and _SUCCESS not in errnos:
        return "the target is wrong, and so may the path be: either is told"
    if name.startswith("path_") and errnos == (_BADF, _NOTDIR):
        return "to a descriptor that is no directory every call has the same answer here"
    if name in _OF_DIRECTORIES and errnos == (_BADF, _SUCCESS):
        return "natively a directory is no file for these calls; on Linux it is"
    if name == "fd_fdstat_get" and there.startswith(_A_DIRECTORY) and here.startswith(_A_DIRECTORY):
        return "natively a directory has no flags; on Linux it has"
    if name == "fd_readdir" and (there, here) == (f'{_SUCCESS} "..:3" ".:3"', _SUCCESS):
        return "natively a directory that was removed still has its dots; on Linux it has no entry"
    if name in {"path_rename", "path_link"} and errnos[1] == _XDEV:
        return "two directories in memory are two file systems"
    return None


_SUCCESS, _BADF, _NOTDIR, _XDEV = (
    str(int(errno)) for errno in (Errno.SUCCESS, Errno.BADF, Errno.NOTDIR, Errno.XDEV)
)
_A_DIRECTORY = f"{_SUCCESS} type {Filetype.DIRECTORY:d} "
_OF_DIRECTORIES = ("fd_sync", "fd_datasync", "fd_fdstat_set_flags", "fd_filestat_set_times")


# -- the hosts


@cache
def program() -> Path:
    return c_guest(PROGRAM)


@cache
def module() -> coop.Module:
    return coop.Module.from_file(program())


def said(lists: Sequence[Sequence[str]]) -> bytes:
    """Return what the guest reads; each list has two directories, the first ones from descriptor 3 on."""
    return "".join(
        f"== {3 + 2 * number}\n" + "".join(f"{call}\n" for call in calls)
        for number, calls in enumerate(lists)
    ).encode()


def answers(out: bytes) -> list[list[str]]:
    return [part.splitlines() for part in out.decode().split("==\n")[1:]]


def folders(top: Path, lists: Sequence[Any]) -> list[tuple[str, Path]]:
    """Make the directories of some lists; each has a name for the guest."""
    found = [(f"/{name}{number}", top / f"{number}" / name) for number in range(len(lists)) for name in "ab"]
    for _, folder in found:
        folder.mkdir(parents=True)
    return found


def natively(lists: Sequence[Sequence[str]], top: Path) -> list[list[str]]:
    command = [str(native_wasmtime()), "run"]
    for name, folder in folders(top, lists):
        command += ["--dir", f"{folder}::{name}"]
    done = subprocess.run(
        [*command, str(program())], input=said(lists), capture_output=True, check=False, timeout=60
    )
    return answers(done.stdout)


def on_coop(lists: Sequence[Sequence[str]], dirs: Sequence[Any]) -> list[list[str]]:
    out, err = bytearray(), bytearray()
    guest = coop.Guest(module(), dirs=dirs, stdin=said(lists), stdout=out, stderr=err)
    assert (coop.run(guest.run), err) == (0, b"")
    return answers(bytes(out))


def left(top: Path) -> list[tuple[object, ...]]:
    """Return what lies below a directory of the host."""
    found: list[tuple[object, ...]] = []
    for folder, folder_names, file_names in os.walk(os.fsencode(top)):
        for name in folder_names + file_names:
            full = os.path.join(folder, name)
            is_link, found_stat = os.path.islink(full), os.lstat(full)
            is_file = stat.S_ISREG(found_stat.st_mode)
            size = found_stat.st_size if is_file else 0
            held = os.readlink(full) if is_link else Path(os.fsdecode(full)).read_bytes() if is_file else b""
            when = found_stat.st_mtime_ns if found_stat.st_mtime_ns < 10**18 else None
            where = os.path.relpath(full, os.fsencode(top))
            found.append((where, oct(found_stat.st_mode), found_stat.st_nlink, size, held, when))
    return sorted(found, key=repr)


# -- the comparison


def compare(
    calls: Sequence[str], there: Sequence[str], here: Sequence[str]
) -> tuple[Difference | None, bool]:
    """Return the first difference, and whether all that was done since the start was the same."""
    for at, (call, one, other) in enumerate(zip_longest(calls, there, here, fillvalue="nothing")):
        if one != other:
            if excuse(call, one, other) is None:
                return Difference(at, one, other), False
            if call.startswith("fd_filestat_set_times") or other == _XDEV:
                return None, False  # what was done here only
    return None, True


def differences(lists: Sequence[Sequence[str]]) -> list[tuple[str, Difference | None]]:
    """Return what differs in each list, once for a directory of the host and once for one in memory."""
    found: list[tuple[str, Difference | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        native = natively(lists, top / "native")
        real = on_coop(lists, [coop.Dir(path, name) for name, path in folders(top / "real", lists)])
        memory = on_coop(
            lists, [coop.MemDir(guest=f"/{name}{n}") for n in range(len(lists)) for name in "ab"]
        )
        for number, calls in enumerate(lists):
            there = native[number] if number < len(native) else []
            difference, is_same = compare(calls, there, real[number])
            if is_same:
                trees = [left(top / host / f"{number}") for host in ("native", "real")]
                if trees[0] != trees[1]:
                    only = [
                        [each for each in one if each not in other] for one, other in (trees, trees[::-1])
                    ]
                    difference = Difference(len(calls), *map(str, only))
            found.append(("real", difference))
            found.append(("memory", compare(calls, there, memory[number])[0]))
    return found


def shrunk(calls: list[str], kind: str) -> tuple[list[str], Difference]:
    """Leave calls out as long as the rest still shows a difference."""

    def differs(some: list[str]) -> Difference | None:
        return dict(differences([some]))[kind] if some else None

    found = differs(calls)
    if found is None:
        raise Finding(f"lists that stand before this one make it differ:\n{calls}")
    at = len(calls)
    while (at := min(at, len(calls)) - 1) >= 0:
        fewer = calls[:at] + calls[at + 1 :]
        if (difference := differs(fewer)) is not None:
            calls, found = fewer[: difference.at + 1], difference
    return calls, found


def one_run(seed: int) -> None:
    """Make some lists of calls, and compare."""
    chance = random.Random(seed)
    lists = [calls_of(chance) for _ in range(LISTS)]
    for place, (kind, difference) in enumerate(differences(lists)):
        if difference is not None:
            calls, difference = shrunk(lists[place // 2], kind)
            told = "\n".join(f"    {call[:200]}" for call in calls)
            raise Finding(f"{kind}:\n{told}\n  natively: {difference.there}\n  here: {difference.here}")


if __name__ == "__main__":
    play(one_run, float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
