"""Host functions: every type both ways, wrong answers, what they raise, and what a caller may touch."""

import math
import re
import struct
from typing import Any

import pytest

import coop
from tests.engine.wat import call, in_child, module

BOTH = pytest.mark.parametrize("parks", [True, False], ids=["parks", "fast"])
WASM = {"i32": "i32", "u32": "i32", "i64": "i64", "u64": "i64", "f32": "f32", "f64": "f64"}


def through(kinds: list[str], parks: bool, *args: Any) -> tuple[tuple[Any, ...], Any]:
    """Send values through a guest to a host function that returns them; what it saw, and what came back."""
    seen: list[tuple[Any, ...]] = []

    @coop.host_function("h", "f", params=kinds, results=kinds, parks=parks)
    def f(_caller: coop.Caller, *values: Any) -> Any:
        seen.append(values)
        return values[0] if len(kinds) == 1 else values

    types = " ".join(WASM[kind] for kind in kinds)
    gets = " ".join(f"(local.get {i})" for i in range(len(kinds)))
    text = f"""(module (import "h" "f" (func $f (param {types}) (result {types})))
        (func (export "go") (param {types}) (result {types}) (call $f {gets})))"""
    back = call(text, *args, imports=(f,))
    return seen[0], back


@BOTH
@pytest.mark.parametrize(
    ("kind", "value", "seen", "back"),
    [
        ("i32", -1, -1, -1),
        ("i32", 2**32 - 1, -1, -1),
        ("i32", 2**31 - 1, 2**31 - 1, 2**31 - 1),
        ("i32", -(2**31), -(2**31), -(2**31)),
        ("u32", -1, 2**32 - 1, -1),
        ("u32", 2**31, 2**31, -(2**31)),
        ("i64", -1, -1, -1),
        ("i64", 2**63 - 1, 2**63 - 1, 2**63 - 1),
        ("i64", -(2**63), -(2**63), -(2**63)),
        ("u64", -1, 2**64 - 1, -1),
        ("u64", 2**63, 2**63, -(2**63)),
        ("f32", 1.5, 1.5, 1.5),
        ("f32", -0.0, -0.0, -0.0),
        ("f32", math.inf, math.inf, math.inf),
        ("f64", 0.1, 0.1, 0.1),
        ("f64", -math.inf, -math.inf, -math.inf),
        ("f64", 3, 3.0, 3.0),
    ],
)
def test_every_type_arrives_and_returns(kind: str, value: Any, seen: Any, back: Any, parks: bool):
    assert through([kind], parks, value) == ((seen,), back)


@BOTH
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_a_number_that_is_none_arrives_and_returns(kind: str, parks: bool):
    (seen,), back = through([kind], parks, math.nan)
    assert math.isnan(seen)
    assert math.isnan(back)


@BOTH
def test_many_values_of_mixed_types_keep_their_places(parks: bool):
    kinds = ["i32", "f64", "u64", "f32", "i64", "u32", "i32", "f64"]
    values = (1, 2.5, 3, 4.5, -5, 6, -7, 8.25)
    assert through(kinds, parks, *values) == (values, values)


@BOTH
def test_a_function_without_parameters_and_results_is_just_called(parks: bool):
    calls: list[int] = []

    @coop.host_function("h", "f", parks=parks)
    def f(_caller: coop.Caller) -> None:
        calls.append(1)

    call('(module (import "h" "f" (func $f)) (func (export "go") (call $f) (call $f)))', imports=(f,))
    assert calls == [1, 1]


def answer(results: list[str], value: Any, parks: bool) -> Any:
    @coop.host_function("h", "f", results=results, parks=parks)
    def f(_caller: coop.Caller) -> Any:
        return value

    types = " ".join(WASM[kind] for kind in results)
    text = f"""(module (import "h" "f" (func $f (result {types})))
      (func (export "go") (result {types}) (call $f)))"""
    return call(text, imports=(f,))


@BOTH
@pytest.mark.parametrize(
    ("results", "value", "says"),
    [
        (["i32"], None, "i32 wanted, not NoneType"),
        (["i32"], "7", "i32 wanted, not str"),
        (["i32"], 1.0, "i32 wanted, not float"),
        (["i32"], 2**32, "does not fit into i32"),
        (["i32"], -(2**31) - 1, "does not fit into i32"),
        (["u32"], 2**32, "does not fit into u32"),
        (["i64"], 2**64, "does not fit into i64"),
        (["u64"], -(2**63) - 1, "does not fit into u64"),
        (["f32"], 1e300, "does not fit into f32"),
        (["f32"], "1", "f32 wanted, not str"),
        (["f64"], 10**400, "does not fit into f64"),
        (["f64"], True, "f64 wanted, not bool"),
        (["i32", "i32"], (1,), "declared are 2 results"),
        (["i32", "i32"], (1, 2, 3), "declared are 2 results"),
        (["i32", "i32"], 5, "declared are 2 results"),
        (["i32", "i32"], None, "declared are 2 results"),
        (["i32", "i32"], (1, "2"), "i32 wanted, not str"),
        ([], 5, "declared are 0 results"),
    ],
)
def test_a_wrong_answer_is_an_error_that_says_so(results: list[str], value: Any, says: str, parks: bool):
    with pytest.raises(TypeError, match=says) as caught:
        answer(results, value, parks)
    assert "host function h.f returned" in str(caught.value)


class Unshown:
    def __repr__(self) -> str:
        raise KeyError("not shown")


@pytest.mark.parametrize("parks", [True, False])
@pytest.mark.parametrize(
    ("value", "shown"),
    [(1 << 20_000, "0x1000"), (Unshown(), "<Unshown>"), ([1] * 1000, "[1, 1, ")],
    ids=["large", "unshown", "long"],
)
@pytest.mark.parametrize("kind", ["i32", "f64"])
def test_what_cannot_be_shown_or_is_too_long_is_a_short_error_all_the_same(
    kind: str, value: Any, shown: str, parks: bool
):
    host = coop.host_function("h", "f", results=[kind], parks=parks)(lambda caller: value)
    text = f"""(module (import "h" "f" (func $f (result {kind})))
      (func (export "go") (param {kind}) (result {kind}) (call $f)))"""
    with pytest.raises(TypeError, match=f"h.f returned {re.escape(shown)}") as caught:
        call(text, 1, imports=(host,))
    assert len(str(caught.value)) < 200
    with pytest.raises(coop.LinkError, match=rf"go, argument 1: .*(not fit into {kind}|{kind} wanted)"):
        call(text, value, imports=(host,))


@BOTH
@pytest.mark.parametrize(("value", "back"), [(2**32 - 1, -1), (-1, -1), (True, 1)])
def test_an_answer_may_be_given_in_either_sign(value: int, back: int, parks: bool):
    assert answer(["i32"], value, parks) == back
    assert answer(["u32"], value, parks) == back


@BOTH
@pytest.mark.parametrize(
    "kind", [KeyError, KeyboardInterrupt, SystemExit, GeneratorExit, coop.Cancelled, MemoryError]
)
def test_what_a_host_function_raises_comes_out_as_itself(kind: type[BaseException], parks: bool):
    error = kind("from the host")

    @coop.host_function("h", "f", parks=parks)
    def f(_caller: coop.Caller) -> None:
        raise error

    with pytest.raises(kind) as caught:
        call('(module (import "h" "f" (func $f)) (func (export "go") (call $f)))', imports=(f,))
    assert caught.value is error


class Empty(Exception):
    """An error that counts as false."""

    def __len__(self) -> int:
        return 0


@BOTH
def test_an_error_that_counts_as_false_comes_out_too(parks: bool):
    @coop.host_function("h", "f", parks=parks)
    def f(_caller: coop.Caller) -> None:
        raise Empty

    with pytest.raises(Empty):
        call('(module (import "h" "f" (func $f)) (func (export "go") (call $f)))', imports=(f,))


@BOTH
def test_after_an_error_in_a_host_function_the_guest_has_ended(parks: bool):
    @coop.host_function("h", "f", parks=parks)
    def f(_caller: coop.Caller) -> None:
        raise KeyError

    def main() -> None:
        guest = coop.Guest(
            module('(module (import "h" "f" (func $f)) (func (export "go") (call $f)))'), imports=[f]
        )
        with pytest.raises(KeyError):
            guest.call("go")
        with pytest.raises(coop.CoopError, match="has ended"):
            guest.call("go")

    coop.run(main)


def test_other_guests_run_while_a_host_function_waits():
    log: list[str] = []

    @coop.host_function("h", "slow")
    def slow(_caller: coop.Caller) -> None:
        log.append("waits")
        while "fast" not in log:
            coop.sleep(0.001)
        log.append("goes on")

    @coop.host_function("h", "fast", parks=False)
    def fast(_caller: coop.Caller) -> None:
        log.append("fast")

    m = module(
        """(module (import "h" "slow" (func $slow)) (import "h" "fast" (func $fast))
          (func (export "slow") (call $slow)) (func (export "fast") (call $fast)))"""
    )

    def main() -> None:
        with coop.TaskGroup() as group:
            group.spawn(coop.Guest(m, imports=[slow, fast]).call, "slow")
            while not log:
                coop.pause()
            group.spawn(coop.Guest(m, imports=[slow, fast]).call, "fast")

    coop.run(main)
    assert log == ["waits", "fast", "goes on"]


def test_a_host_function_may_call_another_guest_that_waits_too():
    @coop.host_function("h", "nap", results=["i32"])
    def nap(_caller: coop.Caller) -> int:
        coop.sleep(0.0001)
        return 20

    inner = module(
        """(module (import "h" "nap" (func $nap (result i32)))
          (func (export "go") (result i32) (i32.add (call $nap) (call $nap))))"""
    )

    @coop.host_function("h", "f", results=["i32"])
    def f(_caller: coop.Caller) -> int:
        with coop.Guest(inner, imports=[nap]) as guest:
            return int(guest.call("go")) + 2

    text = """(module (import "h" "f" (func $f (result i32))) (import "h" "nap" (func $nap (result i32)))
      (func (export "go") (result i32) (i32.add (i32.add (call $nap) (call $f)) (call $nap))))"""
    assert call(text, imports=(f, nap)) == 82


def test_a_host_function_may_not_call_the_guest_that_called_it():
    @coop.host_function("h", "f")
    def f(caller: coop.Caller) -> None:
        with pytest.raises(coop.Busy):
            caller.guest.call("go")

    call('(module (import "h" "f" (func $f)) (func (export "go") (call $f)))', imports=(f,))


@pytest.mark.parametrize("kind", ["v128", "externref", "int", ""])
def test_a_type_that_cannot_be_declared_is_refused(kind: str):
    with pytest.raises(ValueError, match="cannot be declared"):
        coop.host_function("h", "f", params=[kind])(lambda _caller: None)


def test_two_functions_under_one_name_are_refused():
    @coop.host_function("h", "f")
    def f(_caller: coop.Caller) -> None:
        pass

    with pytest.raises(coop.LinkError, match=r"h\.f is provided already"):
        call('(module (func (export "go")))', imports=(f, f))


def test_missing_imports_are_named_all_at_once_and_wrong_types_with_both_types():
    @coop.host_function("h", "f", params=["i64"])
    def f(_caller: coop.Caller, _x: int) -> None:
        pass

    text = """(module (import "h" "f" (func (param i32))) (import "h" "gone" (func))
      (import "h" "memory" (memory 1)) (func (export "go")))"""
    with pytest.raises(coop.LinkError) as caught:
        call(text, imports=(f,))
    said = str(caught.value)
    assert "h.f has type (i32) -> (), provided is (i64) -> ()" in said
    assert "h.gone is not provided" in said
    assert "h.memory is not provided" in said


@pytest.mark.parametrize("name", ["f", "g" * 90_000])
def test_an_error_of_linking_stays_short_whatever_a_module_imports(name: str):
    f = coop.host_function("h", "f")(lambda caller: None)
    imports = f'(import "h" "{name}" (func {"(param i64)" * 900}))' * 50
    with pytest.raises(coop.LinkError, match="30 more imports are wrong") as caught:
        call(f"(module {imports})", imports=(f,))
    assert str(caught.value).count(f"import h.{name[:900]}") == 20
    assert len(str(caught.value)) < 30_000


def test_callables_that_compare_equal_are_still_told_apart():
    class Says:
        def __init__(self, value: int) -> None:
            self.value = value

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Says)

        def __hash__(self) -> int:
            return 1

        def __call__(self, _caller: coop.Caller) -> int:
            return self.value

    text = '(module (import "h" "f" (func $f (result i32))) (func (export "go") (result i32) (call $f)))'

    def main() -> list[int]:
        m, said = module(text), []
        for value in (1, 2):
            with coop.Guest(m, imports=[coop.HostFunction("h", "f", (), ("i32",), Says(value))]) as guest:
                said.append(guest.call("go"))
        return said

    assert coop.run(main) == [1, 2]


def test_a_guest_that_waits_for_its_connection_keeps_its_functions_meanwhile():
    in_child(
        """
def function(value):
    return coop.host_function("h", "f", results=["i32"])(lambda caller: value)

import socket
look_up, may_answer = socket.getaddrinfo, threading.Event()

def look_up_late(*args, flags=0, **kwargs):
    if not flags & socket.AI_NUMERICHOST:
        may_answer.wait()
    return look_up(*args, flags=flags, **kwargs)

socket.getaddrinfo = look_up_late

def many(module):
    for i in range(100):
        with coop.Guest(module, imports=[function(i)]) as guest:
            assert guest.call("go") == i
    may_answer.set()

def main():
    text = '(module (import "h" "f" (func $f (result i32))) (func (export "go") (result i32) (call $f)))'
    module = coop.Module.from_bytes(text)
    listener = coop.listen("127.0.0.1:0")
    place = f"localhost:{listener.address[1]}"
    others = coop.spawn(many, module)  # it runs while the name is looked up
    with coop.Guest(module, imports=[function(5)], connections=[place]) as guest:
        guest.start()
        assert others.is_done
        assert guest.call("go") == 5

coop.run(main)
"""
    )


# -- the caller's memory

TOUCH = """(module (import "h" "touch" (func $touch)) (memory (export "memory") 1 3)
  (data (i32.const 65530) "abcdef")
  (func (export "go") (call $touch))
  (func (export "grow_between") (call $touch) (drop (memory.grow (i32.const 1))) (call $touch)))"""


def touching(act: Any, name: str = "go", parks: bool = False) -> None:
    @coop.host_function("h", "touch", parks=parks)
    def touch(caller: coop.Caller) -> None:
        act(caller.memory)

    call(TOUCH, name=name, imports=(touch,))


@BOTH
def test_memory_is_read_and_written_up_to_its_last_byte(parks: bool):
    def act(memory: coop.Memory) -> None:
        assert len(memory) == 65536
        assert memory.read(65530, 6) == b"abcdef"
        assert memory.read(65536, 0) == b""
        memory.write(65534, b"yz")
        assert memory.read(65530, 6) == b"abcdyz"
        memory.pack(struct.Struct("<IH"), 65530, 7, 9)
        assert memory.unpack(struct.Struct("<IH"), 65530) == (7, 9)
        memory.slice(0, 2)[:] = b"ok"
        assert memory.read(0, 3) == b"ok\0"

    touching(act, parks=parks)


@pytest.mark.parametrize(
    "act",
    [
        lambda memory: memory.read(65530, 7),
        lambda memory: memory.read(65537, 0),
        lambda memory: memory.read(-1, 1),
        lambda memory: memory.read(0, -1),
        lambda memory: memory.read(2**32 - 1, 2),
        lambda memory: memory.read(2**64, 1),
        lambda memory: memory.write(65530, b"1234567"),
        lambda memory: memory.slice(-2, 1),
        lambda memory: memory.slice(3, -2),
        lambda memory: memory.unpack(struct.Struct("<Q"), 65530),
        lambda memory: memory.pack(struct.Struct("<Q"), 65530, 1),
        lambda memory: memory.check(65536, 1),
    ],
)
def test_an_access_beyond_the_memory_is_out_of_bounds_and_changes_nothing(act: Any):
    def checked(memory: coop.Memory) -> None:
        with pytest.raises(coop.OutOfBounds):
            act(memory)
        assert memory.read(65530, 6) == b"abcdef"

    touching(checked)


def test_memory_that_grew_between_two_calls_is_all_there():
    sizes: list[int] = []

    def act(memory: coop.Memory) -> None:
        sizes.append(len(memory))
        memory.write(sizes[-1] - 1, b"x")
        assert memory.read(sizes[-1] - 2, 2) == b"\0x" or len(sizes) == 1

    touching(act, "grow_between")
    assert sizes == [65536, 131072]


def test_a_stale_view_never_makes_an_access_short():
    def act(memory: coop.Memory) -> None:
        # Nobody has looked at the size since the guest grew its memory.
        calls.append(1)
        if len(calls) == 2:
            assert len(memory.slice(65530, 100)) == 100
            assert memory.read(65530, 8) == b"abcdef\0\0"

    calls: list[int] = []
    touching(act, "grow_between")
    assert calls == [1, 1]


def test_data_of_any_shape_is_written_as_bytes():
    def act(memory: coop.Memory) -> None:
        memory.write(0, memoryview(struct.pack("<2I", 1, 2)).cast("I"))
        assert memory.read(0, 8) == struct.pack("<2I", 1, 2)

    touching(act)


def test_a_guest_without_memory_has_none_to_touch():
    @coop.host_function("h", "f", parks=False)
    def f(caller: coop.Caller) -> None:
        assert len(caller.memory) == 0
        with pytest.raises(coop.OutOfBounds):
            caller.memory.read(0, 1)

    call('(module (import "h" "f" (func $f)) (func (export "go") (call $f)))', imports=(f,))


def test_something_else_exported_as_memory_is_no_memory():
    @coop.host_function("h", "f", parks=False)
    def f(caller: coop.Caller) -> None:
        assert len(caller.memory) == 0

    call(
        '(module (import "h" "f" (func $f)) (func (export "memory")) (func (export "go") (call $f)))',
        imports=(f,),
    )


def test_a_pointer_that_leads_nowhere_is_an_error_that_a_host_may_expect():
    @coop.host_function("h", "show", params=["u32"])
    def show(caller: coop.Caller, pointer: int) -> None:
        caller.memory.read(pointer, 4)

    text = """(module (import "h" "show" (func $show (param i32))) (memory (export "memory") 1)
      (func (export "go") (call $show (i32.const -2))))"""

    def main() -> None:
        with pytest.raises(coop.CoopError, match="4 bytes at 0xfffffffe end beyond its 65536 bytes"):
            coop.Guest(coop.Module.from_bytes(text), imports=[show]).call("go")

    coop.run(main)
