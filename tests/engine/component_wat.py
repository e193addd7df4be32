"""Components from text, for tests: an interface of the host's, a core module, and what is lifted from it."""

from collections.abc import Mapping, Sequence
from typing import Any

import coop
from coop.engine.component import Component
from coop.wasip2 import Guest
from coop.wit import Interface

HOST = "acme:host/host"
"""The interface that a component made here imports."""

_LIBC = """
  (core module $libc
    (memory (export "memory") 2)
    (global $top (mut i32) (i32.const 4096))
    (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32)
      (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
      (global.set $top (i32.add (local.get $at) (local.get $new)))
      (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
        (then (drop (memory.grow (i32.add (i32.div_u (local.get $new) (i32.const 65536)) (i32.const 1))))))
      (if (local.get $old)
        (then (memory.copy (local.get $at) (local.get $old) (local.get $size))))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
"""

_LIBC += """
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
"""

_OPTIONS = "(memory $memory) (realloc $realloc)"


def _id(name: str) -> str:
    """Return the identifier of a function: `[method]r.go` is $method-r.go."""
    return "$" + name.replace("[", "").replace("]", "-")


def text(
    members: str = "",
    *,
    lower: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    body: str = "",
    lift: Mapping[str, str] | None = None,
    host: str = HOST,
    before: str = "",
    core: str = "",
    after: str = "",
) -> str:
    """Return the text of a component.

    members -- what the host's interface exports, in WAT
    lower   -- its functions that the module may call, with their core types
    drop    -- its resources that the module may drop, each as $drop-name
    body    -- the module, which has the memory and `realloc` of a small libc
    lift    -- the module's functions that are exported, with their component types
    before, core, after -- component fields before the module, among what it imports, and at the end
    """
    lower, lift = lower or {}, lift or {}
    out = ["(component"]
    if members:
        out.append(f'(import "{host}" (instance $host {members}))')
    out += [f'(alias export $host "{name}" (type ${name}))' for name in drop]
    out += [before, _LIBC]
    out += [f'(core func {_id(name)} (canon lower (func $host "{name}") {_OPTIONS}))' for name in lower]
    out += [f"(core func $drop-{name} (canon resource.drop ${name}))" for name in drop]
    given = {**lower, **{f"drop-{name}": "(param i32)" for name in drop}}
    names = " ".join(f'(export "{name}" (func {_id(name)}))' for name in given)
    imports = " ".join(f'(import "h" "{name}" (func {_id(name)} {kind}))' for name, kind in given.items())
    out.append(f"(core instance $h {names} {core})")
    out.append(
        f'(core module $main (import "libc" "memory" (memory 1)) {imports}'
        f' (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32))) {body})'
    )
    out.append(
        '(core instance $main (instantiate $main (with "libc" (instance $libc)) (with "h" (instance $h))))'
    )
    for name, kind in lift.items():
        out.append(f'(alias core export $main "{name}" (core func $the-{name}))')
        out.append(f'(func (export "{name}") {kind} (canon lift (core func $the-{name}) {_OPTIONS}))')
    return "\n".join([*out, after, ")"])


def component(wat: str, name: str = "app") -> Component:
    """Compile WAT, not cached."""
    return Component.from_bytes(wat, name=name, cache=False)


def call(
    wat: str | Component,
    name: str,
    *args: Any,
    imports: Sequence[Interface] = (),
    limits: coop.Limits | None = None,
    interface: str = "",
) -> Any:
    """Call one export of a guest of its own, in a run of its own."""
    made = component(wat) if isinstance(wat, str) else wat

    def main() -> Any:
        with Guest(made, imports=imports, limits=limits) as guest:
            return guest.call(interface, name, *args)

    return coop.run(main)
