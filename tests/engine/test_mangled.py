"""Names of functions that refer to their own parts, so that a few bytes stand for gigabytes of text.

wasmtime spells names out in the text of every trap, by C that knows no limit.
"""

import pytest

import coop
from coop.engine.code import to_wasm
from coop.engine.mangled import defused, restored
from tests.engine.wat import in_child, module

BOMBS = """
import resource, wasmtime

def bomb(begin, levels):
    # Each part is eight times the one before, in 28 bytes.
    parts = (f"S{digit}_" for digit in "0123456789ABCDEF"[:levels])
    return begin + "".join(f"S_I{part * 8}E" for part in parts)

# What would be spelled out stays far below what the machine has: the child ends instead.
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (8 << 30), resource.RLIM_INFINITY))
FUNCTION, TYPE = bomb("_Z1fSt4pairIiiE", 12), bomb("FvSt4pairIiiE", 12) + "E"

def end(run):
    try:
        return run()
    except coop.GuestTrap as trap:
        return trap.message, trap.frames[0][:16]
"""

MODULE = '(module (memory (export "memory") 1) (func $"{name}" (export "_start") {body}))'
EXIT = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'


@pytest.mark.parametrize(("name", "shown"), [("FUNCTION", "_Z1fSt4pairIiiES"), ("TYPE", "FvSt4pairIiiES_I")])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("unreachable", "wasm `unreachable` instruction executed"),
        ("(call 0)", "call stack exhausted"),
    ],
)
def test_a_trap_below_a_dear_name_is_told_at_once(name: str, shown: str, body: str, message: str):
    done = in_child(
        BOMBS
        + f"""
text = {MODULE!r}.replace("{{name}}", {name}).replace("{{body}}", {body!r})
coop.run(lambda: print(end(coop.Guest(module(text)).run)))
""",
        timeout=30,
    )
    assert done.stdout.decode() == f"{(message, shown)}\n"


def test_an_exit_below_a_dear_name_is_one():
    done = in_child(
        BOMBS
        + f"""
text = {MODULE!r}.replace("{{name}}", FUNCTION).replace("{{body}}", "(call $exit (i32.const 3))")
text = text.replace("(module", "(module " + {EXIT!r})
coop.run(lambda: print(end(coop.Guest(module(text)).run)))
""",
        timeout=30,
    )
    assert done.stdout == b"3\n"


@pytest.mark.parametrize("depth", [0, 1, 40])
def test_a_component_is_looked_through_however_deep_the_module_lies(depth: int):
    done = in_child(
        BOMBS
        + f"""
text = f'''(component (core module $m (func $"{{FUNCTION}}" (export "go") unreachable))
  (core instance $i (instantiate $m)) (func (export "go") (canon lift (core func $i "go"))))'''
for _ in range({depth}):
    text = f'''(component (component $c {{text[10:]}} (instance $c (instantiate $c))
      (alias export $c "go" (func $f)) (export "go" (func $f)))'''
code = coop.Component.from_bytes(text, cache=False)

def main():
    with coop.ComponentGuest(code) as guest:
        print(end(lambda: guest.call("", "go")))

coop.run(main)
""",
        timeout=60,
    )
    assert done.stdout == b"('wasm `unreachable` instruction executed', '_Z1fSt4pairIiiES')\n"


def test_debug_information_is_not_looked_into_whatever_the_environment_asks_for():
    done = in_child(
        BOMBS
        + f"""
asked = os.environ.get("WASMTIME_BACKTRACE_DETAILS")
text = {MODULE!r}.replace("{{name}}", FUNCTION).replace("{{body}}", "unreachable")
coop.run(lambda: print(asked, end(coop.Guest(module(text)).run)[0], os.environ["WASMTIME_BACKTRACE_DETAILS"]))
""",
        env={"WASMTIME_BACKTRACE_DETAILS": "1"},
        timeout=30,
    )
    assert done.stdout == b"1 wasm `unreachable` instruction executed 1\n"


# -- names


def wasm(*names: str) -> bytes:
    return to_wasm("(module " + "".join(f'(func $"{name}")' for name in names) + ")", "m")


def test_only_long_names_that_refer_to_their_parts_are_changed_and_nothing_else():
    dear = "_ZN" + "S0_" * 60
    rust = "_RINvC1a1b" + "FlEB7_" * 30
    names = ["_ZN3fooS_E", "x_" * 100, dear, "main", rust, "my_application::MY_TEST" + "_xxx" * 30]
    before = wasm(*names)
    after = defused(before)
    assert len(after) == len(before)
    for name in names[:2] + names[3:4]:
        assert name.encode() in after
    assert b"_ZN" + b"S0?" * 60 in after
    assert b"_RINvC1a1b" + b"FlEB7?" * 30 in after
    assert b"my_application::MY_TEST?xxx_xxx" in after
    changed = {(before[i], after[i]) for i in range(len(before)) if before[i] != after[i]}
    assert changed == {(ord("_"), ord("?"))}


@pytest.mark.parametrize(
    "name", ["_ZN" + "S0_" * 60, "a?b", "is_T_empty?" + "x" * 20, "B_" * 80, "T\u00e9_" * 40]
)
def test_what_was_changed_is_shown_as_it_was(name: str):
    changed = defused(wasm(name))
    at = wasm(name).index(name.encode())
    assert restored(changed[at : at + len(name.encode())].decode()) == name


@pytest.mark.parametrize("length", range(100, 200, 3))
def test_a_reference_at_the_begin_of_a_name_is_found_whatever_stands_before(length: int):
    """That is the name's length, which may look like a letter."""
    name = "S_" + "." * (length - 2)
    assert b"S?" + b"." * (length - 2) in defused(wasm(name))


def test_a_long_word_takes_no_longer_than_others():
    """Were it tried from each of its letters on, this would take a quarter of an hour."""
    done = in_child(
        """
names = [letter * 99_000 for letter in "STB"] + ["S" * 50_000 + "_" + "T" * 49_000 + "?"]
functions = "".join(f'(func $"{name}" (call {i + 1}))' for i, name in enumerate(names))
text = f'(module {functions} (func unreachable) (memory (export "memory") 1) (export "_start" (func 0)))'
code = module(text)

def main():
    try:
        coop.Guest(code).run()
    except coop.GuestTrap as trap:
        return [len(frame) for frame in trap.frames]

print(coop.run(main))
""",
        timeout=60,
    )
    assert done.stdout == b"[10, 99002, 99000, 99000, 99000]\n"


BROKEN = b"\0\x11\4name" + b"\1" + b"\xff" * 11
"""A section of names that cannot be read."""


def test_a_section_that_cannot_be_read_hides_none_behind_it():
    whole = wasm("_ZN" + "S0_" * 60)
    assert b"S0?" in defused(whole[:8] + BROKEN + whole[8:])
    done = in_child(
        BOMBS
        + f"""
from coop.engine.code import to_wasm
whole = to_wasm({MODULE!r}.replace("{{name}}", FUNCTION).replace("{{body}}", "unreachable"), "m")
code = coop.Module.from_bytes(whole[:8] + {BROKEN!r} + whole[8:], cache=False)
coop.run(lambda: print(end(coop.Guest(code).run)[0]))
""",
        timeout=30,
    )
    assert done.stdout == b"wasm `unreachable` instruction executed\n"


def test_a_file_without_such_names_is_left_alone():
    before = wasm("main", "_ZN3fooE")
    assert defused(before) is before


@pytest.mark.parametrize("cut", range(1, 120, 7))
def test_a_file_that_is_cut_off_or_disturbed_is_left_to_wasmtime(cut: int):
    whole = wasm("_ZN" + "S_" * 60, "main")
    assert len(defused(whole[:-cut])) == len(whole) - cut
    disturbed = bytearray(whole)
    disturbed[-cut] = 0xFF
    assert len(defused(bytes(disturbed))) == len(whole)


def test_names_of_a_trap_are_shown_as_they_were():
    name = "_Z3fooSt6vectorIiSaIiEE" + "S0_S1_" * 20

    def main() -> tuple[str, ...]:
        with pytest.raises(coop.GuestTrap) as caught:
            coop.Guest(module(f'(module (func $"{name}" (export "_start") unreachable))')).run()
        return caught.value.frames

    assert coop.run(main) == (name,)
