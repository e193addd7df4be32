"""The shim: a little wasm module between a guest and the imports that answer on its fiber.

    guest --fd_read--> shim --try--> Python, on the fiber: done, or "would block"
                        |
                        +---park---> the guest's fiber is suspended; its task parks
                                     on its own greenlet, and when it is woken the
                                     shim tries again

The loop reads like any park-on-EAGAIN loop, only that it is wasm.  A call that
does not block never pays for the suspension, and the answer "would block" never
reaches the guest.  Where nobody else could run, Python has waited by the time it
answers, and the shim tries again at once.

To park, the shim calls a function that does nothing.  At the entry of each function
wasmtime looks whether the guest's time is over, and with the answer "would block"
goes a deadline that has passed (`Driven.suspend`).  An import that suspends would do the same for twice
the price.  But wasmtime sets the next deadline when it resumes the guest, and a shot
that was to end the slice may be over by then; so the try that follows looks whether
one is still to come (`Driven.was_heard`).

An import that never parks is called through a shim for the same look.  Besides, wasmtime looks only
where a loop begins anew: a guest with a hundred thousand calls one behind the other would have the
thread for all of them, and no limit of time would end it.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from coop.engine.config import Engine
from coop.engine.marshal import AGAIN, AT_ONCE, WASM_TYPE
from coop.engine.module import Module

TRY_MODULE = "coop try "
"""Before a module's name, the module under which its shim finds the functions of Python's."""


class Tried(NamedTuple):
    """A function that a shim stands before.

    parks -- whether it may answer AGAIN or AT_ONCE
    """

    name: str
    params: tuple[str, ...]
    results: tuple[str, ...]
    parks: bool


@lru_cache(maxsize=64)
def shim_module(engine: Engine, module: str, functions: tuple[Tried, ...]) -> Module:
    """Return the shim for functions that guests import from `module`.

    Hosts make functions anew for each guest, as closures, and their shims are alike.
    """
    return Module.from_bytes(
        shim_text(module, functions),
        name="shim",
        max_wasm_stack=engine.wasm_stack,
        dense=engine.dense,
        exceptions=engine.exceptions,
    )


def shim_text(module: str, functions: Sequence[Tried]) -> str:
    """Return the WAT of that shim."""
    lines = ["(module"]
    for i, each in enumerate(functions):
        types = _types(each)
        lines.append(f"  (import {_quoted(TRY_MODULE + module)} {_quoted(each.name)} (func $try{i} {types}))")
    for i, each in enumerate(functions):
        name, arguments = _quoted(each.name), " ".join(f"(local.get {n})" for n in range(len(each.params)))
        lines.append(f"  (func (@name {name}) (export {name}) {_types(each)}")
        lines.append(_PARKING.format(i, arguments) if each.parks else f"    (call $try{i} {arguments}))")
    return "\n".join([*lines, "  (func $park))"])


_PARKING = f"""\
    (local $answer i32)
    (loop $again
      (local.set $answer (call $try{{}} {{}}))
      (br_if $again (i32.eq (local.get $answer) (i32.const {AT_ONCE})))
      (if (i32.eq (local.get $answer) (i32.const {AGAIN}))
        (then (call $park) (br $again))))
    (local.get $answer))"""


def _types(function: Tried) -> str:
    params = "".join(f" {WASM_TYPE[kind]}" for kind in function.params)
    results = "".join(f" {WASM_TYPE[kind]}" for kind in function.results)
    return f"(param{params}) (result{results})"


def _quoted(name: str) -> str:
    """Return a name as WAT has it, whatever is in it."""
    return '"' + "".join(f"\\{byte:02x}" for byte in name.encode()) + '"'
