"""How numbers cross between wasm and Python: by a function written for each signature.

wasmtime hands a host function an array of 16-byte slots (the fast path) or of
32-byte tagged values (a function that may park).  Decoding by a loop over types
costs more than the call; so for each signature one layout and a few lines of Python
are composed once.  For `fd_read`, four u32 and an i32 back, they read:

    def trampoline(env, caller, at):
        try:
            if border.is_silent: border.instance.was_heard()
            a0, a1, a2, a3 = unpack(space, at)
            pack(space, at, call(border.state, a0, a1, a2, a3))
        except BaseException as error:
            return fail(at, error)
        return 0

`space` is all of the address space as bytes: unpacking a layout from it costs a third of
what pointer objects do.  Only addresses that wasmtime has just handed over are used with it.

Wasm does not know signs, so a declaration does: "i32" and "i64" arrive signed, "u32"
and "u64" unsigned, "f32" and "f64" as floats.
"""

import ctypes as C
import struct
from collections.abc import Callable, Sequence
from typing import Any

from coop.slips import brief

WASM_TYPE = {"i32": "i32", "u32": "i32", "i64": "i64", "u64": "i64", "f32": "f32", "f64": "f64"}
"""What may be declared, and the wasm type it stands for."""

KIND = {"i32": 0, "u32": 0, "i64": 1, "u64": 1, "f32": 2, "f64": 3}
"""wasmtime's number for the type in a tagged value."""

_SLOT = {"i32": "i12x", "u32": "I12x", "i64": "q8x", "u64": "Q8x", "f32": "f12x", "f64": "d8x"}
_TAGGED = {
    "i32": "8xi20x",
    "u32": "8xI20x",
    "i64": "8xq16x",
    "u64": "8xQ16x",
    "f32": "8xf20x",
    "f64": "8xd16x",
}
_TAGGED_SIZE = 32
_U64 = struct.Struct("<Q")
_F32, _F64 = struct.Struct("<f"), struct.Struct("<d")
_TAGGED_BYTES = struct.Struct("<Q8s")
_TAGGED_U32 = struct.Struct("<QQ")

space = memoryview((C.c_ubyte * (1 << 56)).from_address(0)).cast("B")
"""All of the address space, writable: the byte at address n is space[n]."""

AGAIN = -1
"""What a raw import answers when the guest has to wait: the shim suspends it and asks again."""

AT_ONCE = -2
"""What a raw import answers when the wait is over already: the shim asks again at once."""

_PLAIN: dict[tuple[str, ...], tuple[str, str, str]] = {
    # results: when an answer is plainly right, how it is stored, as which layout
    (): ("r is None", "", ""),
    ("i32",): ("r.__class__ is int and -0x80000000 <= r <= 0xFFFFFFFF", "r & 0xFFFFFFFF", "<I"),
    ("u32",): ("r.__class__ is int and -0x80000000 <= r <= 0xFFFFFFFF", "r & 0xFFFFFFFF", "<I"),
    ("f64",): ("r.__class__ is float", "r", "<d"),
}


def store_i32(at: int, value: int) -> None:
    """Store an i32 result in the first slot at address `at`."""
    struct.pack_into("<i", space, at, value)


def _layout(kinds: Sequence[str], formats: dict[str, str]) -> struct.Struct:
    return struct.Struct("<" + "".join(formats[kind] for kind in kinds))


def _compile(name: str, source: list[str], scope: dict[str, Any]) -> Callable[[int, int, int], int]:
    lines = [
        "def trampoline(env, caller, at):",
        "    try:",
        "        if border.is_silent: border.instance.was_heard()",
        *(f"        {line}" for line in source),
    ]
    lines += ["    except BaseException as error:", "        return fail(at, error)", "    return 0"]
    exec(compile("\n".join(lines), f"<import {name!r}>", "exec"), scope)
    made: Callable[[int, int, int], int] = scope["trampoline"]
    return made


def _call(subject: str, params: Sequence[str]) -> tuple[list[str], str]:
    """Return the lines that fetch the arguments, and the call."""
    names = [f"a{i}" for i in range(len(params))]
    fetch = [f"{', '.join(names)}, = unpack(space, at)"] if params else []
    return fetch, f"call({', '.join([f'border.{subject}', *names])})"


def compile_raw(
    border: Any, raw: Any, fail: Callable[[int, BaseException], int]
) -> Callable[[int, int, int], int]:
    """Compose the Python half of a raw import, which works on `border.state` and answers an i32 or nothing.

    raw  -- the `RawImport`
    fail -- told of an exception; returns the address of a trap, or 0 after storing a result
    """
    lines, answer = _call("state", raw.params)
    lines.append(f"pack(space, at, {answer})" if raw.results else answer)
    scope = {"border": border, "call": raw.call, "fail": fail, "space": space}
    scope |= {"unpack": _layout(raw.params, _SLOT).unpack_from, "pack": struct.Struct("<i").pack_into}
    return _compile(raw.name, lines, scope)


def compile_fast(
    border: Any,
    call: Callable[..., Any],
    params: Sequence[str],
    results: Sequence[str],
    check: Callable[[Any], Sequence[Any]],
    fail: Callable[[int, BaseException], int],
    name: str,
) -> Callable[[int, int, int], int]:
    """Compose the Python half of a user's function that never parks; its caller is its first argument.

    check -- turns an answer into its values, or raises TypeError; asked unless the answer is plainly right
    """
    lines, answer = _call("instance.caller", params)
    plain, stored, layout = _PLAIN.get(tuple(results), ("False", "", ""))
    lines.append(f"r = {answer}")
    lines.append(f"if not ({plain}): store(at, check(r))")
    if layout:
        lines.append(f"else: pack(space, at, {stored})")

    def store(at: int, values: Sequence[Any]) -> None:
        for i, (kind, value) in enumerate(zip(results, values, strict=True)):
            space[at + i * 16 : at + i * 16 + 8] = pack_value(kind, value)

    scope = {"border": border, "call": call, "fail": fail, "check": check, "store": store, "space": space}
    scope |= {"unpack": _layout(params, _SLOT).unpack_from, "pack": struct.Struct(layout or "<").pack_into}
    return _compile(name, lines, scope)


def make_decoder(params: Sequence[str]) -> Callable[[int], tuple[Any, ...]]:
    """Return a function from the address of tagged values to a tuple of Python values."""
    unpack = _layout(params, _TAGGED).unpack_from
    return lambda at: unpack(space, at)


def make_encoder(results: Sequence[str], check: Callable[[Any], Sequence[Any]]) -> Callable[[int, Any], None]:
    """Return a function that stores a host function's answer as tagged values at an address.

    check -- turns an answer into its values, or raises TypeError
    """
    kinds = tuple(results)

    def encode(at: int, answer: Any) -> None:
        for i, (kind, value) in enumerate(zip(kinds, check(answer), strict=True)):
            _TAGGED_BYTES.pack_into(space, at + i * _TAGGED_SIZE, KIND[kind], pack_value(kind, value))

    if kinds not in {("i32",), ("u32",)}:
        return encode
    tag, pack = KIND["i32"], _TAGGED_U32.pack_into

    def encode_i32(at: int, answer: Any) -> None:
        # By far the commonest signature; what is not plainly right takes the way above, and its words.
        if answer.__class__ is int and -0x80000000 <= answer <= 0xFFFFFFFF:
            pack(space, at, tag, answer & 0xFFFFFFFF)
        else:
            encode(at, answer)

    return encode_i32


def pack_value(kind: str, value: Any) -> bytes:
    """Return a value's 8 bytes as wasm stores them.

    Raises: TypeError if it is of another kind or out of range.
    """
    if kind in ("i32", "u32"):
        return _U64.pack(_integer(kind, value, 32))
    if kind in ("i64", "u64"):
        return _U64.pack(_integer(kind, value, 64))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{kind} wanted, not {type(value).__name__}")
    try:
        return _F64.pack(value) if kind == "f64" else _F32.pack(value) + b"\0\0\0\0"
    except (OverflowError, struct.error):
        raise TypeError(f"{brief(value)} does not fit into {kind}") from None


def check_value(kind: str, value: Any) -> None:
    """Raise TypeError unless `value` can be stored as `kind`."""
    pack_value(kind, value)


def _integer(kind: str, value: Any, bits: int) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{kind} wanted, not {type(value).__name__}")
    if not -(1 << bits - 1) <= value < 1 << bits:
        raise TypeError(f"{brief(value)} does not fit into {kind}")
    return value & (1 << bits) - 1


def unpack_value(kind: str, raw: bytes) -> Any:
    """Return the Python value of 8 stored bytes; i32 and i64 are signed."""
    layout = {"i32": "<i4x", "u32": "<I4x", "i64": "<q", "u64": "<Q", "f32": "<f4x", "f64": "<d"}[kind]
    return struct.unpack(layout, raw)[0]
