"""The shim: a little wasm module between a guest and the imports that can block.

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
"""

from collections.abc import Collection

from coop.engine.hostfunc import ImportTable, RawImport
from coop.engine.marshal import AGAIN, AT_ONCE, WASM_TYPE

TRY_MODULE = "coop try "
"""Before a table's module, the module under which its shim finds the functions that never block."""


def shim_text(table: ImportTable, names: Collection[str]) -> str:
    """Return the WAT of the shim for those imports of `table`, all of which park, that have these names."""
    functions = [(raw, *_types(raw)) for raw in table.imports if raw.name in names]
    lines = ["(module"]
    lines += [
        f'  (import "{TRY_MODULE}{table.module}" "{raw.name}" (func $try_{raw.name} {params} {results}))'
        for raw, params, results in functions
    ]
    for raw, params, results in functions:
        arguments = " ".join(f"(local.get {i})" for i in range(len(raw.params)))
        lines.append(
            f'  (func ${raw.name} (export "{raw.name}") {params} {results} (local $answer i32)\n'
            f"    (loop $again\n"
            f"      (local.set $answer (call $try_{raw.name} {arguments}))\n"
            f"      (br_if $again (i32.eq (local.get $answer) (i32.const {AT_ONCE})))\n"
            f"      (if (i32.eq (local.get $answer) (i32.const {AGAIN}))\n"
            f"        (then (call $park) (br $again))))\n"
            f"    (local.get $answer))"
        )
    return "\n".join([*lines, "  (func $park))"])


def _types(raw: RawImport) -> tuple[str, str]:
    params = "".join(f" {WASM_TYPE[kind]}" for kind in raw.params)
    results = "".join(f" {WASM_TYPE[kind]}" for kind in raw.results)
    return f"(param{params})", f"(result{results})"
