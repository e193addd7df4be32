"""Components: loading, linking, calls, and the ends a guest can come to."""

import re
import threading
from pathlib import Path
from typing import Any

import pytest

import coop
from coop.engine.code import to_wasm
from coop.engine.component import Component
from coop.errors import (
    BadModule,
    Busy,
    CoopError,
    GuestTrap,
    LimitExceeded,
    LinkError,
    WasCancelled,
    WrongThread,
)
from coop.wasip2 import Guest
from coop.wit import Err, Interface, Later, function
from coop.wit.interface import Exported
from tests.engine.component_wat import HOST, call, component, text
from tests.engine.wat import in_child, module

SEVEN = text(body='(func (export "go") (result i32) (i32.const 7))', lift={"go": "(result u32)"})

TWICE = '(export "twice" (func (param "x" u32) (result u32)))'
CALLS_TWICE = text(
    TWICE,
    lower={"twice": "(param i32) (result i32)"},
    body='(func (export "go") (param i32) (result i32) (call $twice (call $twice (local.get 0))))',
    lift={"go": '(param "x" u32) (result u32)'},
)

SPINS = text(
    body="""
    (func (export "spin") (loop $l (br $l)))
    (func $deep (export "deep") (call $deep) (call $deep))
    (func (export "grow") (result i32) (memory.grow (i32.const 1000)))
    (func (export "go") (result i32) (i32.const 7))""",
    lift={"spin": "", "deep": "", "grow": "(result s32)", "go": "(result u32)"},
)


def host(parks: bool | None, twice: Any) -> Interface:
    """An interface with one function."""
    made = function("func(x: u32) -> u32", parks=parks)(lambda self, x: twice(x))
    return type("Host", (Interface,), {"name": HOST, "twice": made})()


def refused(wat: str | bytes) -> str:
    with pytest.raises(BadModule) as caught:
        Component.from_bytes(wat, name="app", cache=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- loading


def test_the_second_load_comes_from_the_cache(tmp_path: Path):
    path, compiled = tmp_path / "app.wat", []
    path.write_text(SEVEN)
    for _ in range(2):
        made = Component.from_file(path, cache=tmp_path / "cache", on_compile=lambda: compiled.append(1))
        assert call(made, "go") == 7
    assert compiled == [1]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0asm\x0d\x00\x01\x00", Component),
        (SEVEN, Component),
        (";; a comment\n(; another ;) ( component )", Component),
        (";; " + "a long comment" * 1000 + "\n(component)", Component),
        ("(; a comment (; in another ;) ;) (component)", Component),
        ("(; a ;) ;; b\n (; c ;)" * 1000 + "(component)", Component),
        (b"\0asm\x01\x00\x00\x00", coop.Module),
        ("(module)", coop.Module),
        ("(; (component) ;) (module)", coop.Module),
        ("(;;)" * 100_000 + "(module)", coop.Module),
    ],
    ids=[
        *("component", "text", "comments", "a long comment", "one in another", "many"),
        *("module", "text of a module", "a component in a comment", "very many"),
    ],
)
def test_a_component_is_known_by_its_first_bytes_and_a_text_by_its_first_word(
    data: bytes | str, kind: type, tmp_path: Path
):
    path = tmp_path / "app"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    assert type(coop.load(path, cache=False)) is kind


@pytest.mark.parametrize("data", [b"", b"(;;)" * 100_000 + b"x", b"(;" * 100_000, b"\0asm"], ids=range(4))
def test_what_is_neither_is_refused_in_one_line(data: bytes, tmp_path: Path):
    path = tmp_path / "app"
    path.write_bytes(data)
    with pytest.raises(BadModule, match=re.escape(f"{path}: ")) as caught:
        coop.load(path, cache=False)
    assert "\n" not in str(caught.value)


def test_a_module_is_no_component_and_the_other_way_round():
    assert "this is a core module; a component was expected" in refused("(module)")
    with pytest.raises(BadModule, match="this is a component; a core module was expected"):
        module("(component)")


@pytest.mark.parametrize("version", [b"\x0e\x00\x01\x00", b"\x0d\x00\x02\x00", b"\x0d\x00", b""])
def test_another_version_is_refused_with_its_bytes(version: bytes):
    assert "unknown version" in refused(b"\0asm" + version)


def test_a_component_broken_anywhere_is_refused_or_whole():
    made = to_wasm(SEVEN, "app")
    for end in range(8, len(made), 7):
        try:
            Component.from_bytes(made[:end], cache=False)
        except BadModule:
            continue  # an end between two sections may leave a whole component
    for at in range(8, len(made), 5):
        broken = bytearray(made)
        broken[at] ^= 0xFF
        try:
            Component.from_bytes(bytes(broken), cache=False)
        except BadModule:
            continue
    assert "failed to parse WebAssembly module" in refused(made[:-1])


@pytest.mark.parametrize(
    "kind",
    [
        '(type $t (stream u8)) (import "f" (func (param "x" $t)))',
        '(type $t (future u8)) (import "f" (func (result $t)))',
        '(type $t (list u8 4)) (import "f" (func (param "x" $t)))',
        '(type $t (map u8 u8)) (import "f" (func (param "x" $t)))',
        '(import "f" (func (param "x" error-context)))',
        '(import "f" (func async (param "x" u8)))',
        '(type $t (list (stream u8))) (import "a:b/c" (instance (export "f" (func (param "x" $t)))))',
        '(import "v" (value u32))',
        '(import "m" (core module))',
        '(import "c" (component))',
    ],
)
def test_what_no_host_can_give_is_refused_at_load(kind: str):
    in_child(
        f"""
from tests.engine.component_wat import *
try:
    component('''(component {kind})''')
except coop.BadModule as error:
    print(error)
    assert "\\n" not in str(error)
else:
    sys.exit(3)
"""
    )


def test_a_whole_module_or_component_as_an_import_is_refused_in_words():
    assert "import m is a whole component or module, not an interface" in refused(
        '(component (import "m" (core module)))'
    )
    assert "root-level component imports are not supported" in refused('(component (import "c" (component)))')


# -- linking


@pytest.mark.parametrize("parks", [False, None, True])
def test_an_import_calls_python(parks: bool | None):
    assert call(CALLS_TWICE, "go", 5, imports=[host(parks, lambda x: 2 * x)]) == 20


def test_an_answer_may_come_later():
    def twice(x: int) -> Any:
        return Later(lambda: (coop.sleep(0), 2 * x)[1])

    assert call(CALLS_TWICE, "go", 5, imports=[host(None, twice)]) == 20


def test_an_import_of_another_type_is_named_with_both():
    class Host(Interface):
        name = HOST

        @function("func(x: string) -> u32")
        def twice(self, x: str) -> int:
            return len(x)

    with pytest.raises(LinkError) as caught:
        call(CALLS_TWICE, "go", 5, imports=[Host()])
    assert str(caught.value) == (
        f"app: import {HOST} twice has type func(x: u32) -> u32, provided is func(x: string) -> u32"
    )


def test_what_nobody_provides_ends_the_guest_only_when_it_is_called():
    with_two = text(
        TWICE,
        lower={"twice": "(param i32) (result i32)"},
        body="""(func (export "go") (result i32) (i32.const 7))
                (func (export "bad") (result i32) (call $twice (i32.const 1)))""",
        lift={"go": "(result u32)", "bad": "(result u32)"},
    )
    assert call(with_two, "go") == 7
    with pytest.raises(GuestTrap, match=f"{HOST} twice was called, which nobody provides"):
        call(with_two, "bad")


@pytest.mark.parametrize(
    ("version", "is_right"),
    [("0.2.0", True), ("0.2.12", True), ("0.3.0", False), ("0.20.0", False), ("1.2.0", False)],
)
def test_an_interface_is_right_for_versions_that_begin_as_its_own(version: str, is_right: bool):
    wat = text(
        TWICE,
        lower={"twice": "(param i32) (result i32)"},
        body='(func (export "go") (result i32) (call $twice (i32.const 1)))',
        lift={"go": "(result u32)"},
        host=f"{HOST}@{version}",
    )
    given = host(False, lambda x: 2 * x)
    type(given).version = "0.2"
    if is_right:
        assert call(wat, "go", imports=[given]) == 2
    else:
        with pytest.raises(GuestTrap, match=f"{HOST}@{version} twice was called, which nobody provides"):
            call(wat, "go", imports=[given])


BOTH = """(component
  (import "a:b/c@0.2.1" (instance $one (export "f" (func (result u32)))))
  (import "a:b/c@0.3.0" (instance $two (export "f" (func (result u32)))))
  (core func $one (canon lower (func $one "f"))) (core func $two (canon lower (func $two "f")))
  (core module $m (import "" "one" (func $one (result i32))) (import "" "two" (func $two (result i32)))
    (func (export "go") (result i32) (i32.add (call $one) (i32.mul (i32.const 10) (call $two)))))
  (core instance $i (instantiate $m (with "" (instance
    (export "one" (func $one)) (export "two" (func $two))))))
  (alias core export $i "go" (core func $go))
  (func $go (result u32) (canon lift (core func $go)))
  (instance $out (export "go" (func $go)))
  (export "a:b/out@0.2.1" (instance $out)) (export "a:b/out@0.2.2" (instance $out))
  (export "go" (func $go)))"""


def test_versions_of_one_interface_may_be_imported_at_once():
    class One(Interface):
        name = "a:b/c"
        version = "0.2"
        answer = 1

        @function("func() -> u32", parks=False)
        def f(self) -> int:
            return self.answer

    class Two(One):
        version = "0.3"
        answer = 2

    assert call(BOTH, "go", imports=[One(), Two()]) == 21
    assert call(BOTH, "go", imports=[One(), Two()], interface="a:b/out") == 21
    assert call(BOTH, "go", imports=[One(), Two()], interface="a:b/out@0.2.1") == 21


BETWEEN = """(component
  (import "a:b/c@0.2.1" (instance $host
    (export "r" (type $r (sub resource)))
    (export "[constructor]r" (func (param "n" u32) (result (own $r))))
    (export "[method]r.get" (func (param "self" (borrow $r)) (result u32)))))
  (alias export $host "r" (type $theirs))
  (core func $theirs (canon lower (func $host "[constructor]r")))
  (core func $get (canon lower (func $host "[method]r.get")))
  (core func $drop (canon resource.drop $theirs))
  (type $mine (resource (rep i32)))
  (core func $new (canon resource.new $mine))
  (core module $m
    (import "" "theirs" (func $theirs (param i32) (result i32))) (import "" "drop" (func $drop (param i32)))
    (import "" "get" (func $get (param i32) (result i32)))
    (import "" "new" (func $new (param i32) (result i32)))
    (func (export "new") (param i32) (result i32) (call $new (call $theirs (local.get 0))))
    (func (export "get") (param i32) (result i32) (i32.mul (i32.const 10) (call $get (local.get 0))))
    (func (export "look") (param i32) (result i32) (call $get (local.get 0)) (call $drop (local.get 0))))
  (core instance $i (instantiate $m (with "" (instance (export "theirs" (func $theirs))
    (export "get" (func $get)) (export "drop" (func $drop)) (export "new" (func $new))))))
  (func $make (param "n" u32) (result (own $mine)) (canon lift (core func $i "new")))
  (func $ask (param "self" (borrow $mine)) (result u32) (canon lift (core func $i "get")))
  (func (export "look") (param "r" (borrow $theirs)) (result u32) (canon lift (core func $i "look")))
  (component $Offer
    (import "t" (type $t (sub resource)))
    (import "make" (func $make (param "n" u32) (result (own $t))))
    (import "ask" (func $ask (param "self" (borrow $t)) (result u32)))
    (export $r "r" (type $t))
    (export "[constructor]r" (func $make) (func (param "n" u32) (result (own $r))))
    (export "[method]r.get" (func $ask) (func (param "self" (borrow $r)) (result u32))))
  (instance $offer (instantiate $Offer
    (with "t" (type $mine)) (with "make" (func $make)) (with "ask" (func $ask))))
  (export "a:b/c@0.2.1" (instance $offer)))"""


def test_a_component_may_offer_the_interface_it_uses_with_a_resource_of_its_own():
    in_child(
        f"""
from tests.engine.component_wat import *
from coop.wit import Resource, function

class R(Resource):
    def __init__(self, n):
        super().__init__()
        self.n = n

    @function("func() -> u32")
    def get(self):
        return self.n

class C(Interface):
    name, resources = "a:b/c", {{"r": R}}

    @function("func(n: u32) -> r", name="[constructor]r")
    def new(self, n):
        return R(n)

def main():
    with Guest(component('''{BETWEEN}'''), imports=[C()]) as guest:
        theirs = guest.call("a:b/c", "[constructor]r", 7)
        assert guest.call("a:b/c", "[method]r.get", theirs) == 70
        assert guest.call("", "look", R(5)) == 5
        for wrong in (("", "look", theirs), ("a:b/c", "[method]r.get", R(5))):
            try:
                guest.call(*wrong)
            except coop.LinkError as error:
                assert "wanted for" in str(error)
            else:
                raise AssertionError("not refused")
coop.run(main)
"""
    )


def test_an_interface_that_is_imported_in_many_versions_is_read_once():
    class Counted(Interface):
        name, version = "a:b/c", "0.2"
        reads = 0

        @classmethod
        def exported(cls) -> dict[str, Exported]:
            cls.reads += 1
            return super().exported()

    many = "".join(f'(import "a:b/c@0.2.{i}" (instance (export "f" (func))))' for i in range(1000))
    wat = SEVEN.replace("(component", f"(component {many}", 1)
    assert (call(wat, "go", imports=[Counted()]), Counted.reads) == (7, 1)


def test_functions_that_stand_alone_may_come_from_several_interfaces():
    class One(Interface):
        name = ""

        @function("func() -> u32", parks=False)
        def one(self) -> int:
            return 1

    class Two(One):
        @function("func() -> u32", parks=False)
        def two(self) -> int:
            return 2

        @function("func() -> u32", parks=False)
        def one(self) -> int:
            raise AssertionError("the first interface has it")

    wat = """(component (import "one" (func $one (result u32))) (import "two" (func $two (result u32)))
      (core func $one (canon lower (func $one))) (core func $two (canon lower (func $two)))
      (core module $m (import "" "one" (func $one (result i32))) (import "" "two" (func $two (result i32)))
        (func (export "go") (result i32) (i32.add (call $one) (i32.mul (i32.const 10) (call $two)))))
      (core instance $i (instantiate $m (with "" (instance
        (export "one" (func $one)) (export "two" (func $two))))))
      (func (export "go") (result u32) (canon lift (core func $i "go"))))"""
    assert call(wat, "go", imports=[One(), Two()]) == 21


def test_functions_and_resources_may_stand_alone_in_a_world():
    in_child(
        """
from tests.engine.component_wat import *
from coop.wit import Resource, function
wat = '''(component (import "r" (type $r (sub resource)))
  (import "f" (func $f (result (own $r)))) (import "g" (func $g (param "r" (borrow $r)) (result u32)))
  (core func $f (canon lower (func $f))) (core func $g (canon lower (func $g)))
  (core module $m (import "" "f" (func $f (result i32))) (import "" "g" (func $g (param i32) (result i32)))
    (func (export "go") (result i32) (call $g (call $f))))
  (core instance $i (instantiate $m (with "" (instance (export "f" (func $f)) (export "g" (func $g))))))
  (alias core export $i "go" (core func $go))
  (func (export "go") (result u32) (canon lift (core func $go))))'''

class Thing(Resource):
    value = 5

class Root(Interface):
    name = ""
    resources = {"r": Thing}

    @function("func() -> r")
    def f(self):
        return Thing()

    @function("func(r: borrow<r>) -> u32", parks=False)
    def g(self, r):
        return r.value

assert call(wat, "go", imports=[Root()]) == 5
"""
    )


@pytest.mark.parametrize(
    "inner",
    ['(export "x" (instance (export "f" (func))))', '(export "x" (core module))', '(export "x" (component))'],
)
def test_what_lies_too_deep_in_an_interface_is_a_link_error(inner: str):
    with pytest.raises(LinkError, match="imports instance `a:b/c`"):
        call(f'(component (import "a:b/c" (instance {inner})))', "go")


def test_an_interface_of_types_alone_needs_nobody():
    wat = f"""(component (import "a:b/t@0.2.1" (instance
      (type $e' (enum "a" "b")) (export "e" (type (eq $e'))))) {SEVEN.removeprefix("(component")}"""
    assert call(wat, "go") == 7


# -- calls


@pytest.mark.parametrize(
    ("interface", "name", "args", "says"),
    [
        ("", "gone", (1,), "function gone is not exported; it exports go"),
        ("", "go", (), "go takes 1 arguments, not 0"),
        ("", "go", (1, 2), "go takes 1 arguments, not 2"),
        ("", "go", ("x",), "go, argument x: u32 wanted, not 'x'"),
        ("a:b/c", "go", (1,), "interface a:b/c is not exported; it exports go"),
    ],
)
def test_a_wrong_call_is_a_link_error_in_one_line_and_no_end(
    interface: str, name: str, args: tuple[Any, ...], says: str
):
    def main() -> None:
        with Guest(component(CALLS_TWICE), imports=[host(False, lambda x: 2 * x)]) as guest:
            with pytest.raises(LinkError) as caught:
                guest.call(interface, name, *args)
            assert str(caught.value) == f"app: {says}"
            assert guest.call("", "go", 1) == 4

    coop.run(main)


def test_a_function_of_an_exported_interface_that_is_not_there_is_named():
    with pytest.raises(LinkError, match=r"app: interface a:b/out@0.2.2 has no function gone; it has "):
        call(BOTH, "gone", interface="a:b/out")


def test_guests_of_one_component_share_what_they_are_linked_against():
    made = component(SEVEN)

    def main() -> None:
        guests = [Guest(made) for _ in range(3)]
        assert [guest.call("", "go") for guest in guests] == [7] * 3
        linkages = {id(guest._instance.linkage) for guest in guests if guest._instance}
        assert len(linkages) == 1
        for guest in guests:
            guest.close()

    coop.run(main)


def test_an_ended_guest_is_not_called():
    def main() -> None:
        guest = Guest(component(SEVEN))
        guest.call("", "go")
        guest.close()
        with pytest.raises(CoopError, match="has ended"):
            guest.call("", "go")

    coop.run(main)


def test_a_guest_in_a_call_is_busy():
    refusals = []

    def twice(x: int) -> int:
        with pytest.raises(Busy) as caught:
            guest.call("", "go", x)
        refusals.append(str(caught.value))
        return 2 * x

    guest = Guest(component(CALLS_TWICE), imports=[host(True, twice)])

    def main() -> None:
        with guest:
            assert guest.call("", "go", 1) == 4

    coop.run(main)
    assert len(refusals) == 2


def test_a_guest_is_not_called_from_another_thread():
    caught: list[BaseException] = []

    def main() -> None:
        with Guest(component(SEVEN)) as guest:
            guest.call("", "go")

            def other() -> None:
                try:
                    coop.run(lambda: guest.call("", "go"))
                except BaseException as error:
                    caught.append(error)

            thread = threading.Thread(target=other)
            thread.start()
            thread.join()

    coop.run(main)
    assert [type(error) for error in caught] == [WrongThread]


def test_a_forked_child_is_refused_and_can_load_its_own():
    in_child(
        f"""
from tests.engine.component_wat import *
wat = '''{SEVEN}'''
made = component(wat)

def main():
    with Guest(made) as guest:
        guest.call("", "go")
        child = os.fork()
        if not child:
            try:
                guest.call("", "go")
            except coop.WrongThread:
                os._exit(0)
            os._exit(3)
        assert os.waitpid(child, 0)[1] == 0

coop.run(main)
child = os.fork()
if not child:
    try:
        call(made, "go")
    except coop.WrongThread:
        os._exit(0 if call(wat, "go") == 7 else 4)
    os._exit(5)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    )


# -- ends


def _cancelled_at(step: Any, wat: str, name: str, *args: Any, imports: Any = ()) -> None:
    def main() -> None:
        guest = Guest(component(wat), imports=imports)
        task = coop.spawn(guest.call, "", name, *args)
        step()
        guest.cancel()
        with pytest.raises(WasCancelled):
            task.wait()
        with pytest.raises(WasCancelled):
            guest.call("", name, *args)

    coop.run(main)


@pytest.mark.parametrize("parks", [None, True])
def test_a_guest_is_cancelled_while_a_host_function_waits(parks: bool | None):
    def wait() -> None:
        coop.sleep(1000)

    def twice(_x: int) -> Any:
        return wait() if parks else Later(wait)

    _cancelled_at(lambda: coop.sleep(0.01), CALLS_TWICE, "go", 1, imports=[host(parks, twice)])


def test_a_guest_is_cancelled_while_it_computes():
    _cancelled_at(lambda: coop.sleep(0.03), SPINS, "spin")


def test_a_guest_is_cancelled_before_its_start():
    _cancelled_at(lambda: None, SPINS, "spin")


@pytest.mark.parametrize("limit", ["wall_time", "cpu_time"])
def test_a_guest_that_computes_for_ever_meets_its_limit(limit: str):
    with pytest.raises(LimitExceeded) as caught:
        call(SPINS, "spin", limits=coop.Limits(**{limit: 0.05}))
    assert caught.value.limit == limit


def test_the_limit_of_time_holds_in_a_start_section():
    wat = text(body='(func $s (loop $l (br $l))) (start $s) (func (export "go"))', lift={"go": ""})
    with pytest.raises(LimitExceeded, match="cpu_time"):
        call(wat, "go", limits=coop.Limits(cpu_time=0.05))


def test_a_wait_of_a_host_function_counts_to_the_wall_time():
    slow = host(True, lambda x: coop.sleep(1000))
    with pytest.raises(LimitExceeded) as caught:
        call(CALLS_TWICE, "go", 1, imports=[slow], limits=coop.Limits(wall_time=0.05))
    assert caught.value.limit == "wall_time"


def test_memory_beyond_the_limit_is_not_given():
    assert call(SPINS, "grow", limits=coop.Limits(memory=1 << 20)) == -1
    assert call(SPINS, "grow", limits=coop.Limits(memory=1 << 30)) == 2
    with pytest.raises(LimitExceeded) as caught:
        call(SPINS, "go", limits=coop.Limits(memory=65536))
    assert caught.value.limit == "memory"


def test_endless_recursion_in_a_guest_is_a_trap():
    in_child(
        f"""
from tests.engine.component_wat import *
try:
    call('''{SPINS}''', "deep")
except coop.GuestTrap as error:
    assert "call stack exhausted" in str(error), error
else:
    sys.exit(3)
"""
    )


def test_guests_that_call_guests_through_host_functions_end_in_an_error_of_python():
    in_child(
        f"""
from tests.engine.component_wat import *
from coop.wit import function
made = component('''{CALLS_TWICE}''')
depth = 0

class Host(Interface):
    name = HOST

    @function("func(x: u32) -> u32")
    def twice(self, x):
        global depth
        depth += 1
        with Guest(made, imports=[Host()]) as guest:
            return guest.call("", "go", x)

try:
    call(made, "go", 1, imports=[Host()])
except RecursionError:
    assert depth > 20, depth
else:
    sys.exit(3)
""",
    )


def test_guests_wait_for_another_guest_in_a_host_function():
    inner, outer = component(CALLS_TWICE), component(CALLS_TWICE)

    def main() -> None:
        def slow(x: int) -> int:
            coop.sleep(0.001)
            return x + 1

        with Guest(inner, imports=[host(True, slow)]) as second:
            using: list[int] = []

            def through(x: int) -> int:
                while using:
                    coop.sleep(0.0005)
                using.append(x)
                try:
                    return int(second.call("", "go", x))
                finally:
                    using.clear()

            guests = [Guest(outer, imports=[host(True, through)]) for _ in range(4)]
            tasks = [coop.spawn(guest.call, "", "go", 10 * i) for i, guest in enumerate(guests)]
            assert [task.wait() for task in tasks] == [10 * i + 4 for i in range(4)]
            for guest in guests:
                guest.close()

    coop.run(main)


def test_an_error_of_a_result_is_raised_and_the_guest_lives_on():
    wat = text(
        body="""(func (export "go") (param i32) (result i32) (i32.store8 (i32.const 64) (local.get 0))
                 (i32.store offset=4 (i32.const 64) (i32.const 9)) (i32.const 64))""",
        lift={"go": '(param "x" u32) (result (result u32 (error u32)))'},
    )

    def main() -> None:
        with Guest(component(wat)) as guest:
            assert guest.call("", "go", 0) == 9
            with pytest.raises(Err) as caught:
                guest.call("", "go", 1)
            assert caught.value.value == 9
            assert guest.call("", "go", 0) == 9

    coop.run(main)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"args": "5"}, "args: a list wanted, not str"),
        ({"dirs": "/tmp"}, "dirs: a list wanted, not str"),
        ({"imports": print}, "imports: a list wanted, not builtin_function_or_method"),
        ({"imports": [Interface]}, "imports[0]: an object of a coop.wit.Interface wanted, not type"),
        ({"network": "*"}, "network: a coop.Network wanted, not str"),
        (
            {"component": "x"},
            "component: a coop.Component wanted, not str: coop.Component.from_file loads one",
        ),
        (
            {"component": b""},
            "component: a coop.Component wanted, not bytes: coop.Component.from_bytes makes one",
        ),
    ],
)
def test_a_slip_is_a_type_error_that_names_it(given, says):
    with pytest.raises(TypeError) as caught:
        coop.ComponentGuest(**{"component": coop.Component.from_bytes("(component)"), **given})
    assert str(caught.value) == says


def test_a_module_is_no_component():
    with pytest.raises(TypeError, match=r"not Module, whose guest is a coop\.Guest$"):
        coop.ComponentGuest(coop.Module.from_bytes("(module)"))
