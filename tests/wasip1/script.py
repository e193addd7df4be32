"""A guest without a program of its own: Python calls WASI functions as the guest, one after the other.

Each function of the snapshot is exported by a wrapper that does nothing but call it, so a call
takes the whole way: wasm, shim, fiber, park.  Memory is laid out and compared as bytes.
"""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import coop
from coop.engine import ImportTable
from coop.wasip1.abi import EVENT, SUBSCRIPTION
from coop.wasip1.errno import Errno
from coop.wasip1.imports import SNAPSHOT1

WASM_TYPE = {"u32": "i32", "u64": "i64", "i64": "i64"}
BITS = {"u32": 32, "u64": 64, "i64": 64}

PAGE = 65536
PAGES = 2
END = PAGE * PAGES
"""The first address outside memory."""

GUARD = b"\xa5"
OUT, IOVS, DATA, SUBS, EVENTS = 0x40, 0x100, 0x1000, 0x8000, 0x10000
"""Where the helpers below put results, iovec arrays, bytes, subscriptions and events."""

POLLERS = ("hostpoll", "oneoff", "pollset")


def wat(table: ImportTable = SNAPSHOT1) -> str:
    """The module's text: every function imported, and exported again under its own name."""
    imports, wrappers = [], []
    for raw in table.imports:
        params = " ".join(WASM_TYPE[kind] for kind in raw.params)
        result = "(result i32)" if raw.results else ""
        given = " ".join(f"(local.get {i})" for i in range(len(raw.params)))
        imports.append(f'(import "{table.module}" "{raw.name}" (func ${raw.name} (param {params}) {result}))')
        wrappers.append(f'(func (export "{raw.name}") (param {params}) {result} (call ${raw.name} {given}))')
    return "\n".join(
        [
            "(module",
            *imports,
            '(import "test" "meet" (func $meet))',
            f'(memory (export "memory") {PAGES})',
            '(func (export "meet") (call $meet))',
            '(func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))',
            '(func (export "trap") unreachable)',
            *wrappers,
            ")",
        ]
    )


class Script:
    """One such guest.  Calls return the errno by its name; `call` gives the bare number."""

    def __init__(self, *, module: coop.Module | None = None, **options: Any) -> None:
        self.guest = coop.Guest(module or MODULE(), imports=[meet], **options)
        self.guest.call("meet")
        self.memory = _met.pop().memory
        self.memory.write(0, GUARD * END)

    def __enter__(self) -> "Script":
        return self

    def __exit__(self, *_: object) -> None:
        self.guest.close()

    def call(self, name: str, *numbers: int) -> Any:
        """Call a function with unsigned numbers, as a guest passes them."""
        kinds = SIGNATURES[name]
        assert len(kinds) == len(numbers), name
        return self.guest.call(name, *(signed(n, BITS[k]) for n, k in zip(numbers, kinds, strict=True)))

    def __getattr__(self, name: str) -> Callable[..., str]:
        if name not in SIGNATURES:
            raise AttributeError(name)
        return lambda *numbers: Errno(self.call(name, *numbers)).name

    # -- memory

    def put(self, at: int, data: bytes) -> int:
        """Write bytes and return their length."""
        self.memory.write(at, data)
        return len(data)

    def got(self, at: int, length: int) -> bytes:
        """Read bytes."""
        return self.memory.read(at, length)

    def u16(self, at: int = OUT) -> int:
        return int.from_bytes(self.got(at, 2), "little")

    def u32(self, at: int = OUT) -> int:
        return int.from_bytes(self.got(at, 4), "little")

    def u64(self, at: int = OUT) -> int:
        return int.from_bytes(self.got(at, 8), "little")

    def image(self) -> bytes:
        """All of memory."""
        return self.got(0, END)

    def only_changed(self, at: int, data: bytes) -> bool:
        """Whether memory is guard bytes everywhere but for `data` at `at`."""
        return self.image() == GUARD * at + data + GUARD * (END - at - len(data))

    # -- the usual calls, with their arguments laid out

    def iovecs(self, *vecs: tuple[int, int]) -> tuple[int, int]:
        """Lay out an iovec array; returns its address and count."""
        self.put(IOVS, b"".join(struct.pack("<II", *vec) for vec in vecs))
        return IOVS, len(vecs)

    def read(self, fd: int, size: int = 4096) -> bytes | str:
        """fd_read: the bytes, or the errno's name."""
        error = self.fd_read(fd, *self.iovecs((DATA, size)), OUT)
        return error if error != "SUCCESS" else self.got(DATA, self.u32())

    def write(self, fd: int, data: bytes) -> int | str:
        """fd_write: the count, or the errno's name."""
        error = self.fd_write(fd, *self.iovecs((DATA, self.put(DATA, data))), OUT)
        return error if error != "SUCCESS" else self.u32()

    def recv(self, fd: int, size: int = 4096, flags: int = 0) -> bytes | str:
        """sock_recv: the bytes, or the errno's name."""
        error = self.sock_recv(fd, *self.iovecs((DATA, size)), flags, OUT, OUT + 8)
        return error if error != "SUCCESS" else self.got(DATA, self.u32())

    def send(self, fd: int, data: bytes, flags: int = 0) -> int | str:
        """sock_send: the count, or the errno's name."""
        error = self.sock_send(fd, *self.iovecs((DATA, self.put(DATA, data))), flags, OUT)
        return error if error != "SUCCESS" else self.u32()

    def accept(self, fd: int = 3, flags: int = 0) -> int | str:
        """sock_accept: the descriptor, or the errno's name."""
        error = self.sock_accept(fd, flags, OUT)
        return error if error != "SUCCESS" else self.u32()

    def open(
        self,
        fd: int,
        path: bytes,
        *,
        lookup: int = 1,
        oflags: int = 0,
        rights: int = (1 << 1) | (1 << 21) | (1 << 27),
        fdflags: int = 0,
    ) -> int | str:
        """path_open, for reading and polling unless told: the descriptor, or the errno's name."""
        error = self.path_open(fd, lookup, DATA, self.put(DATA, path), oflags, rights, rights, fdflags, OUT)
        return error if error != "SUCCESS" else self.u32()

    def fdstat(self, fd: int) -> tuple[int, int, int, int]:
        """fd_fdstat_get: filetype, flags, rights and inheriting rights."""
        assert self.fd_fdstat_get(fd, DATA) == "SUCCESS"
        filetype, flags, base, inheriting = struct.unpack("<BxH4xQQ", self.got(DATA, 24))
        return filetype, flags, base, inheriting

    def poll(self, *subs: bytes) -> list[tuple[int, str, int, int, int]] | str:
        """poll_oneoff: userdata, errno's name, type, bytes and flags of each event; or the errno's name."""
        self.put(SUBS, b"".join(subs))
        error = self.poll_oneoff(SUBS, EVENTS, len(subs), OUT)
        return error if error != "SUCCESS" else self.events(self.u32())

    def events(self, count: int) -> list[tuple[int, str, int, int, int]]:
        """What lies in the event buffer."""
        found = struct.iter_unpack("<QHB5xQH6x", self.got(EVENTS, 32 * count))
        return [
            (userdata, Errno(errno).name, kind, size, flags) for userdata, errno, kind, size, flags in found
        ]


def signed(number: int, bits: int) -> int:
    """Wasm knows no signs, and the caller's side takes signed ones."""
    return number - (1 << bits) if number >= 1 << (bits - 1) else number


def clock_sub(userdata: int, timeout: int, *, clock: int = 1, flags: int = 0, precision: int = 0) -> bytes:
    """A clock's subscription; `flags` 1 is an absolute time."""
    packed = SUBSCRIPTION.pack(userdata, 0, clock, timeout, flags)
    return packed[:32] + precision.to_bytes(8, "little") + packed[40:]


def fd_sub(userdata: int, kind: int, fd: int) -> bytes:
    """A subscription of a descriptor to read (1) or to write (2)."""
    return SUBSCRIPTION.pack(userdata, kind, fd, 0, 0)


def run(module: coop.Module, *args: str, poller: str = "hostpoll", **options: Any) -> tuple[int, str, str]:
    """Run a guest to its end: exit code, stdout and stderr."""
    out, err = bytearray(), bytearray()
    guest = coop.Guest(module, args=args, stdout=out, stderr=err, **options)
    code = coop.run(guest.run, poller=poller)
    return code, out.decode(), err.decode()


def loaded(path: Path) -> coop.Module:
    """A module from a file, loaded once and instantiated once; for fixtures of a wider scope than a test.

    wasmtime makes a descriptor for the image of a module's memory when it is first
    instantiated, which a test that looks for leaks must find there already.
    """
    found = _loaded.get(path)
    if found is None:
        found = _loaded[path] = coop.Module.from_file(path)

        def instantiate() -> None:
            with coop.Guest(found) as guest, pytest.raises(coop.LinkError):
                guest.call("no such export")

        coop.run(instantiate)
    return found


def scripted(act: Callable[[Script], Any], *, poller: str = "hostpoll", **options: Any) -> Any:
    """Run `act` on a new script guest as the main task of a run, and return its result."""

    def main() -> Any:
        with Script(**options) as script:
            return act(script)

    return coop.run(main, poller=poller)


_made: list[coop.Module] = []
_loaded: dict[Path, coop.Module] = {}
_met: list[coop.Caller] = []


@coop.host_function("test", "meet", parks=False)
def meet(caller: coop.Caller) -> None:
    """Let the script see its guest's memory."""
    _met.append(caller)


def MODULE() -> coop.Module:  # noqa: N802 - made once, on first use
    if not _made:
        _made.append(coop.Module.from_bytes(wat(), name="script"))
    return _made[0]


SIGNATURES: dict[str, Sequence[str]] = {raw.name: raw.params for raw in SNAPSHOT1.imports}

assert (SUBSCRIPTION.size, EVENT.size) == (48, 32)
