"""Components that break every rule, and hosts that do: each ends in an error of Python, never in a crash.

What might end the process runs in a child.
"""

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

import coop
from coop.errors import BadModule, GuestTrap, LimitExceeded, LinkError, WasCancelled
from coop.wasip2 import Guest
from coop.wit import Case, Err, Interface, Later, Ok, Resource, function
from tests.children import run_child
from tests.engine.component_wat import HOST, call, component, text
from tests.engine.wat import in_child

THING = """(export "r" (type $r (sub resource)))
  (export "[constructor]r" (func (result (own $r))))
  (export "[method]r.go" (func (param "self" (borrow $r)) (result u32)))
  (export "take" (func (param "r" (own $r))))
  (export "both" (func (param "a" (own $r)) (param "b" (own $r))))
  (export "mixed" (func (param "a" (borrow $r)) (param "b" (own $r))))
  (export "child" (func (param "r" (borrow $r)) (result (own $r))))
  (export "many" (func (result (list (own $r)))))
  (export "fill" (func (param "r" (own $r)) (param "data" (list u8)) (param "s" (own $r))))
  (export "other" (type $o (sub resource)))
  (export "[constructor]other" (func (result (own $o))))"""

LOWER = {
    "[constructor]r": "(result i32)",
    "[constructor]other": "(result i32)",
    "[method]r.go": "(param i32) (result i32)",
    "take": "(param i32)",
    "both": "(param i32 i32)",
    "mixed": "(param i32 i32)",
    "child": "(param i32) (result i32)",
    "many": "(param i32)",
    "fill": "(param i32 i32 i32 i32)",
}


class Thing(Resource):
    drops = 0

    @function("func() -> u32", parks=False)
    def go(self) -> int:
        assert not self.drops
        return 7

    def drop(self) -> None:
        self.drops += 1


class Other(Resource):
    pass


class Things(Interface):
    """Makes things, and remembers them."""

    name = HOST
    resources = {"r": Thing, "other": Other}  # noqa: RUF012 - as users write it

    def __init__(self) -> None:
        self.made: list[Thing] = []
        self.taken: list[Thing] = []

    @function("func() -> r", name="[constructor]r", parks=False)
    def new(self) -> Thing:
        self.made.append(Thing())
        return self.made[-1]

    @function("func() -> other", name="[constructor]other", parks=False)
    def new_other(self) -> Other:
        return Other()

    @function("func(r: r)", parks=False)
    def take(self, thing: Thing) -> None:
        self.taken.append(thing)

    @function("func(a: r, b: r)", parks=False)
    def both(self, *things: Thing) -> None:
        self.taken += things

    @function("func(a: borrow<r>, b: r)", parks=False)
    def mixed(self, _lent: Thing, thing: Thing) -> None:
        self.taken.append(thing)

    @function("func(r: borrow<r>) -> r", parks=False)
    def child(self, parent: Thing) -> Thing:
        self.made.append(Thing(parent))
        return self.made[-1]

    @function("func() -> list<r>", parks=False)
    def many(self) -> list[Any]:
        return [self.new(), self.new()]

    @function("func(r: r, data: list<u8>, s: r)", parks=False)
    def fill(self, thing: Thing, _data: bytes, other: Thing) -> None:
        self.taken += [thing, other]


def things(body: str, lift: str = "") -> str:
    """A component whose export `go` does `body` with two locals, $a and $b."""
    return text(
        THING,
        lower=LOWER,
        drop=["r", "other"],
        body=f'(func (export "go") (local $a i32) (local $b i32) {body})',
        lift={"go": lift},
    )


NEW_A = "(local.set $a (call $constructor-r))"
NEW_B = "(local.set $b (call $constructor-r))"
GO_A = "(drop (call $method-r.go (local.get $a)))"
DROP_A, DROP_B = "(call $drop-r (local.get $a))", "(call $drop-r (local.get $b))"


def ends(wat: str, host: Interface, **kwargs: Any) -> str:
    """Call `go`, which is to trap, and return the reason."""
    with pytest.raises(GuestTrap) as caught:
        call(wat, "go", imports=[host], **kwargs)
    return caught.value.message


# -- handles


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("(drop (call $method-r.go (i32.const 0)))", "unknown handle index 0"),
        ("(drop (call $method-r.go (i32.const 1)))", "unknown handle index 1"),
        ("(drop (call $method-r.go (i32.const -1)))", "unknown handle index"),
        ("(drop (call $method-r.go (i32.const 0x7fffffff)))", "unknown handle index"),
        ("(call $drop-r (i32.const 77))", "unknown handle index 77"),
        ("(call $take (i32.const 77))", "unknown handle index 77"),
        ("(drop (call $method-r.go (call $constructor-other)))", "handle index 1 used with the wrong type"),
        ("(call $drop-r (call $constructor-other))", "handle index 1 used with the wrong type"),
        (f"{NEW_A} {DROP_A} {GO_A}", "unknown handle index 1"),
        (f"{NEW_A} {DROP_A} {DROP_A}", "unknown handle index 1"),
        (f"{NEW_A} (call $take (local.get $a)) {GO_A}", "unknown handle index 1"),
        (f"{NEW_A} (call $both (local.get $a) (local.get $a))", "unknown handle index 1"),
        (
            f"{NEW_A} (call $mixed (local.get $a) (local.get $a))",
            "cannot remove owned resource while borrowed",
        ),
    ],
)
def test_a_forged_handle_is_a_trap(body: str, says: str):
    host = Things()
    assert says in ends(things(body), host)
    assert [thing.drops for thing in host.made if thing not in host.taken] in ([], [1])


def test_what_was_taken_is_dropped_when_the_other_arguments_are_wrong():
    host = Things()
    ends(things(f"{NEW_A} (call $both (local.get $a) (i32.const 99))"), host)
    assert [thing.drops for thing in host.made] == [1]
    host = Things()
    fill = f"{NEW_A} {NEW_B} (call $fill (local.get $a) (i32.const 0) (i32.const 100) (local.get $b))"
    with pytest.raises(LimitExceeded):
        call(things(fill), "go", imports=[host], limits=coop.Limits(bytes_per_list=99))
    assert [thing.drops for thing in host.made] == [1, 1]
    assert host.taken == []
    call(things(fill), "go", imports=[host])
    assert host.taken == host.made[2:]


def test_a_thing_given_to_a_function_that_nobody_provides_is_dropped_with_the_guest():
    class Less(Things):
        take = None

    host = Less()
    assert f"{HOST} take was called, which nobody provides" in ends(
        things(f"{NEW_A} (call $take (local.get $a))"), host
    )
    assert [thing.drops for thing in host.made] == [1]


def test_a_parent_dropped_before_its_child_is_a_trap():
    host = Things()
    body = f"{NEW_A} (local.set $b (call $child (local.get $a))) {DROP_A}"
    assert "a Thing is given up while 1 made of it are in use" in ends(things(body), host)
    assert [thing.drops for thing in host.made] == [1, 1]


def test_a_parent_may_go_after_its_child():
    host = Things()
    call(
        things(f"{NEW_A} (local.set $b (call $child (local.get $a))) {DROP_B} {DROP_A}"), "go", imports=[host]
    )
    assert [thing.drops for thing in host.made] == [1, 1]


def test_children_are_dropped_before_their_parents_at_the_end():
    order: list[str] = []

    class Named(Thing):
        def __init__(self, label: str, parent: Thing | None) -> None:
            super().__init__(parent)
            self.label = label

        def drop(self) -> None:
            order.append(self.label)

    class Host(Things):
        @function("func() -> list<r>", parks=False)
        def many(self) -> list[Any]:
            parent = Named("parent", None)
            child = Named("child", parent)
            return [Named("grandchild", child), parent, child, Named("alone", None)]

    call(things("(call $many (i32.const 16))"), "go", imports=[Host()])
    assert order == ["alone", "grandchild", "child", "parent"]


def test_a_long_line_of_children_is_dropped_from_its_end():
    drops: list[Thing] = []

    class Kept(Thing):
        def drop(self) -> None:
            drops.append(self)

    class Host(Things):
        @function("func() -> r", name="[constructor]r", parks=False)
        def new(self) -> Thing:
            return Kept()

        @function("func(r: borrow<r>) -> r", parks=False)
        def child(self, parent: Thing) -> Thing:
            self.made.append(Kept(parent))
            return self.made[-1]

    host = Host()
    endless = things(f"{NEW_A} (loop $l (local.set $a (call $child (local.get $a))) (br $l))")
    with pytest.raises(LimitExceeded):
        call(endless, "go", imports=[host], limits=coop.Limits(handles=5000))
    assert drops[:-1] == host.made[-2::-1]


def test_the_end_of_one_guest_frees_the_parent_that_another_has():
    parent = Thing()

    class First(Things):
        @function("func() -> r", name="[constructor]r", parks=False)
        def new(self) -> Thing:
            return Thing(parent)

    class Second(Things):
        @function("func() -> r", name="[constructor]r", parks=False)
        def new(self) -> Thing:
            return parent

    call(things(NEW_A), "go", imports=[First()])
    call(things(NEW_A + DROP_A), "go", imports=[Second()])
    assert parent.drops == 1


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit, RecursionError, MemoryError])
def test_an_error_of_a_drop_ends_the_guest_and_comes_out(raised: type[BaseException]):
    class Bad(Thing):
        def drop(self) -> None:
            raise raised("no")

    class Host(Things):
        @function("func() -> r", name="[constructor]r", parks=False)
        def new(self) -> Thing:
            return Bad()

    with pytest.raises(raised):
        call(things(NEW_A + DROP_A), "go", imports=[Host()])


def test_an_error_of_a_drop_at_the_end_keeps_no_other_from_it():
    class Bad(Thing):
        def drop(self) -> None:
            super().drop()
            raise KeyboardInterrupt

    class Host(Things):
        @function("func() -> list<r>", parks=False)
        def many(self) -> list[Any]:
            self.made += [Thing(), Bad(), Thing()]
            return self.made

    host = Host()
    with pytest.raises(KeyboardInterrupt):
        call(things("(call $many (i32.const 16))"), "go", imports=[host])
    assert [thing.drops for thing in host.made] == [1, 1, 1]


def test_more_handles_than_the_limit_allows_end_the_guest():
    host = Things()
    endless = things(f"(loop $l {NEW_A} (br $l))")
    with pytest.raises(LimitExceeded) as caught:
        call(endless, "go", imports=[host], limits=coop.Limits(handles=10))
    assert caught.value.limit == "handles"
    assert [thing.drops for thing in host.made] == [1] * 10 + [0]
    again = "(br_if $l (i32.lt_u (local.tee $b (i32.add (local.get $b) (i32.const 1))) (i32.const 100)))"
    call(
        things(f"(loop $l {NEW_A} {DROP_A} {again})"), "go", imports=[Things()], limits=coop.Limits(handles=1)
    )


def test_one_object_is_not_given_twice():
    class Host(Things):
        @function("func() -> list<r>", parks=False)
        def many(self) -> list[Any]:
            self.made.append(Thing())
            return self.made * 2

    host = Host()
    with pytest.raises(TypeError, match="a resource that no guest has wanted"):
        call(things("(call $many (i32.const 16))"), "go", imports=[host])
    assert [thing.drops for thing in host.made] == [1]


def test_an_object_that_came_back_may_be_given_again():
    class Host(Things):
        @function("func() -> r", name="[constructor]r", parks=False)
        def new(self) -> Thing:
            return self.taken.pop() if self.taken else super().new()

    host = Host()
    call(things(f"{NEW_A} (call $take (local.get $a)) {NEW_A} {GO_A} {DROP_A}"), "go", imports=[host])
    assert [thing.drops for thing in host.made] == [1]


def test_a_resource_of_the_wrong_class_is_refused_with_both_names():
    class Host(Things):
        @function("func() -> r", name="[constructor]r", parks=False)
        def new(self) -> Any:
            return Other()

    with pytest.raises(
        TypeError, match=rf"\[constructor\]r returned .*: a Thing wanted for {HOST}/r, not .*Other"
    ):
        call(things(NEW_A), "go", imports=[Host()])


def test_a_resource_needs_no_call_of_the_initializer_it_inherits():
    class Own(Thing):
        def __init__(self) -> None:
            self.mine = 1

    class Host(Things):
        @function("func() -> r", name="[constructor]r", parks=False)
        def new(self) -> Thing:
            self.made.append(Own())
            return self.made[-1]

    host = Host()
    call(things(NEW_A + GO_A + DROP_A), "go", imports=[host])
    assert host.made[0].drops == 1


def test_methods_of_a_resource_may_have_any_name():
    called = []

    class Free(Thing):
        def __init__(self) -> None:
            super().__init__()
            self._children = self._parent = self.parent = self.depth = None

        def give(self, *_: Any) -> None:
            called.append("give")

        release = leave = take_back = hold = give

    class Host(Things):
        @function("func() -> r", name="[constructor]r", parks=False)
        def new(self) -> Thing:
            return Free()

    call(things(NEW_A + GO_A + DROP_A + NEW_A), "go", imports=[Host()])
    assert called == []


# -- what Python lends and gives to a guest

LENT = text(
    THING,
    lower=LOWER,
    drop=["r", "other"],
    body="""
    (global $kept (mut i32) (i32.const 0))
    (func (export "use") (param i32) (result i32) (local $n i32)
      (local.set $n (call $method-r.go (local.get 0))) (call $drop-r (local.get 0)) (local.get $n))
    (func (export "keep") (param i32) (global.set $kept (local.get 0)))
    (func (export "late") (param i32) (global.set $kept (local.get 0)) (call $drop-r (local.get 0)))
    (func (export "again") (result i32) (call $method-r.go (global.get $kept)))
    (func (export "trap") (param i32) unreachable)
    (func (export "own") (param i32 i32 i32) (global.set $kept (local.get 0)))
    (func (export "drop-own") (param i32) (result i32)
      (call $drop-r (global.get $kept)) (call $method-r.go (local.get 0)))
    (func (export "give-own") (param i32) (result i32)
      (call $take (global.get $kept)) (call $method-r.go (local.get 0)))
    (func (export "two") (param i32 i32) (call $drop-r (local.get 0)) (call $drop-r (local.get 1)))
    (func (export "give") (param i32) (call $take (local.get 0)))""",
    lift={
        "use": '(param "r" (borrow $r)) (result u32)',
        "keep": '(param "r" (borrow $r))',
        "late": '(param "r" (borrow $r))',
        "again": "(result u32)",
        "trap": '(param "r" (borrow $r))',
        "own": '(param "r" (own $r)) (param "s" (list u32))',
        "drop-own": '(param "r" (borrow $r)) (result u32)',
        "give-own": '(param "r" (borrow $r)) (result u32)',
        "two": '(param "a" (borrow $r)) (param "b" (borrow $r))',
        "give": '(param "r" (borrow $r))',
    },
)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("keep", "borrow handles still remain at the end of the call"),
        ("trap", "wasm `unreachable` instruction executed"),
        ("give", "cannot lift own resource from a borrow"),
    ],
)
def test_a_thing_that_was_lent_is_not_dropped_whatever_the_guest_does(name: str, says: str):
    thing = Thing()
    with pytest.raises(GuestTrap, match=says):
        call(LENT, name, thing, imports=[Things()])
    assert thing.drops == 0


def test_a_borrowed_handle_is_worth_nothing_after_the_call():
    def main() -> None:
        thing = Thing()
        with Guest(component(LENT), imports=[Things()]) as guest:
            assert guest.call("", "use", thing) == 7
            guest.call("", "two", thing, thing)
            guest.call("", "late", thing)
            assert len(guest._instance.handles) == 0  # type: ignore[union-attr]
            with pytest.raises(GuestTrap, match="unknown handle index"):
                guest.call("", "again")
        assert thing.drops == 0

    coop.run(main)


@pytest.mark.parametrize("name", ["drop-own", "give-own"])
def test_a_thing_that_a_guest_owns_and_has_lent_is_not_given_up_before_the_call_is_over(name: str):
    def main() -> None:
        thing, other = Thing(), Thing()
        with Guest(component(LENT), imports=[Things()]) as guest:
            guest.call("", "own", other, [])
            assert guest.call("", "use", other) == 7
            guest.call("", "own", thing, [])
            with pytest.raises(GuestTrap, match="a Thing is given up while it is lent to the guest as well"):
                guest.call("", name, thing)
        assert (thing.drops, other.drops) == (1, 1)

    coop.run(main)


def test_a_wrong_argument_leaves_those_before_it_with_their_owner():
    def main() -> None:
        thing, host = Thing(), Things()
        with Guest(component(LENT), imports=[host]) as guest:
            for _ in range(3):
                with pytest.raises(LinkError, match="argument s: u32 wanted, not 'x'"):
                    guest.call("", "own", thing, [1, "x"])
                assert len(guest._instance.handles) == 0  # type: ignore[union-attr]
            guest.call("", "own", thing, [])
            with pytest.raises(LinkError, match="a resource that no guest has wanted"):
                guest.call("", "own", thing, [])
            assert thing.drops == 0
        assert thing.drops == 1

    coop.run(main)


# -- resources of the guest's own

OWNER = """(component
  (core module $d (import "" "t" (table 1 funcref)) (global $drops (mut i32) (i32.const 0))
    (func (export "drop") (param i32) (global.set $drops (i32.add (global.get $drops) (i32.const 1))))
    (func (export "drops") (result i32) (global.get $drops)))
  (core module $t (table (export "t") 1 funcref))
  (core instance $t (instantiate $t))
  (core instance $d (instantiate $d (with "" (instance $t))))
  (alias core export $d "drop" (core func $drop)) (alias core export $d "drops" (core func $drops))
  (type $r' (resource (rep i32) (dtor (core func $drop))))
  (core func $new (canon resource.new $r')) (core func $rep (canon resource.rep $r'))
  (core func $gone (canon resource.drop $r'))
  (core module $m (import "" "new" (func $new (param i32) (result i32)))
    (import "" "gone" (func $gone (param i32))) (import "" "rep" (func $rep (param i32) (result i32)))
    (func (export "make") (param i32) (result i32) (call $new (local.get 0)))
    (func (export "value") (param i32) (result i32) (local.get 0))
    (func (export "eat") (param i32) (result i32) (local $v i32)
      (local.set $v (call $rep (local.get 0))) (call $gone (local.get 0)) (local.get $v))
    (func (export "both") (param i32 i32)) (func (export "fail") (param i32) unreachable)
    (func (export "mixed") (param i32 i32)) (func (export "own-and-number") (param i32 i32)))
  (core instance $m (instantiate $m (with "" (instance
    (export "new" (func $new)) (export "rep" (func $rep)) (export "gone" (func $gone))))))
  (alias core export $m "make" (core func $make)) (alias core export $m "value" (core func $value))
  (alias core export $m "eat" (core func $eat)) (alias core export $m "both" (core func $both))
  (alias core export $m "mixed" (core func $mixed)) (alias core export $m "fail" (core func $fail))
  (alias core export $m "own-and-number" (core func $number))
  (export $r "r" (type $r'))
  (func (export "[constructor]r") (param "n" u32) (result (own $r)) (canon lift (core func $make)))
  (func (export "[method]r.value") (param "self" (borrow $r)) (result u32) (canon lift (core func $value)))
  (func (export "eat") (param "r" (own $r)) (result u32) (canon lift (core func $eat)))
  (func (export "both") (param "a" (own $r)) (param "b" (own $r)) (canon lift (core func $both)))
  (func (export "mixed") (param "a" (borrow $r)) (param "b" (own $r)) (canon lift (core func $mixed)))
  (func (export "fail") (param "a" (borrow $r)) (canon lift (core func $fail)))
  (func (export "own-and-number") (param "a" (own $r)) (param "b" u32) (canon lift (core func $number)))
  (func (export "drops") (result u32) (canon lift (core func $drops))))"""

OWNER_CHILD = f"""
from tests.engine.component_wat import *
owner = component('''{OWNER}''')

def refused(kind, *args):
    try:
        guest.call("", *args)
    except kind as error:
        return str(error)
    raise AssertionError("not refused")
"""


def test_a_guests_own_resource_is_made_used_and_given_back():
    in_child(
        f"""
{OWNER_CHILD}
def main():
    with Guest(owner) as guest:
        things = [guest.call("", "[constructor]r", i) for i in range(5)]
        assert [guest.call("", "[method]r.value", thing) for thing in things] == list(range(5))
        assert [guest.call("", "eat", thing) for thing in things] == list(range(5))
        assert guest.call("", "drops") == 5
        assert repr(things[0]) == "<GuestResource r>"
coop.run(main)
"""
    )


def test_a_guests_own_resource_is_refused_where_it_does_not_belong():
    in_child(
        f"""
{OWNER_CHILD}
def main():
    global guest
    guest = Guest(owner)
    with guest, Guest(owner) as other:
        one, two = (guest.call("", "[constructor]r", i) for i in range(2))
        foreign = other.call("", "[constructor]r", 9)
        say = refused(coop.LinkError, "eat", foreign)
        assert "a r of this guest wanted, not <GuestResource r>, of another guest" in say, say
        assert "given away" in refused(coop.LinkError, "both", one, one)
        assert "lent" in refused(coop.LinkError, "mixed", one, one)
        assert "u32 wanted" in refused(coop.LinkError, "own-and-number", one, "x")
        assert "GuestResource wanted" in refused(coop.LinkError, "eat", 5)
        assert guest.call("", "eat", one) == 0
        assert "given away" in refused(coop.LinkError, "eat", one)
        assert "given away" in refused(coop.LinkError, "[method]r.value", one)
        guest.call("", "mixed", two, guest.call("", "[constructor]r", 3))
        three = guest.call("", "[constructor]r", 3)
        refused(coop.GuestTrap, "fail", two)
        refused(coop.CoopError, "eat", two)
        guest.close()
        refused(coop.CoopError, "eat", three)
        del two, three
        assert other.call("", "eat", foreign) == 9
    gc.collect()
coop.run(main)
"""
    )


def test_a_handle_may_outlive_its_guest_the_run_and_the_component():
    in_child(
        f"""
{OWNER_CHILD}
left = coop.run(lambda: Guest(owner).call("", "[constructor]r", 1))
del owner
gc.collect()
thread = threading.Thread(target=left.__del__)
thread.start()
thread.join()
del left
gc.collect()
kept = call('''{OWNER}''', "[constructor]r", 5)
"""
    )


# -- what a guest passes that is no value


def passing(kind: str, core: str, body: str) -> str:
    return text(
        f'(type $t {kind}) (export "t" (type $u (eq $t))) (export "f" (func (param "x" $u)))'
        if kind.startswith("(")
        else f'(export "f" (func (param "x" {kind})))',
        lower={"f": f"(param {core})"},
        body=f'(func (export "go") {body})',
        lift={"go": ""},
    )


@pytest.mark.parametrize(
    ("kind", "core", "body", "says"),
    [
        ("(list u8)", "i32 i32", "(call $f (i32.const 0) (i32.const -1))", "out of bounds"),
        ("(list u8)", "i32 i32", "(call $f (i32.const -1) (i32.const 1))", "out of bounds"),
        ("(list u64)", "i32 i32", "(call $f (i32.const 0) (i32.const 0x7fffffff))", "out of bounds|overflow"),
        ("(list u64)", "i32 i32", "(call $f (i32.const 0) (i32.const 0x20000001))", "out of bounds|overflow"),
        ("(list u32)", "i32 i32", "(call $f (i32.const 1) (i32.const 1))", "not aligned"),
        ("string", "i32 i32", "(call $f (i32.const 0) (i32.const -1))", "out of bounds"),
        (
            "string",
            "i32 i32",
            "(i32.store8 (i32.const 9) (i32.const 255)) (call $f (i32.const 9) (i32.const 1))",
            "utf-8",
        ),
        (
            "string",
            "i32 i32",
            "(i32.store (i32.const 8) (i32.const 0x80a0ed)) (call $f (i32.const 8) (i32.const 3))",
            "utf-8",
        ),
        ("char", "i32", "(call $f (i32.const 0xd800))", "char"),
        ("char", "i32", "(call $f (i32.const 0x110000))", "char"),
        ("char", "i32", "(call $f (i32.const -1))", "char"),
        ('(enum "a" "b")', "i32", "(call $f (i32.const 2))", "discriminant"),
        (
            '(variant (case "a") (case "b" u8))',
            "i32 i32",
            "(call $f (i32.const 7) (i32.const 0))",
            "discriminant",
        ),
        ("(option u8)", "i32 i32", "(call $f (i32.const 2) (i32.const 0))", "discriminant"),
        ("(result u8)", "i32 i32", "(call $f (i32.const 2) (i32.const 0))", "discriminant"),
    ],
)
def test_what_is_no_value_is_a_trap_with_its_reason(kind: str, core: str, body: str, says: str):
    class Host(Interface):
        name = HOST

        @function(parks=False)
        def f(self, x: Any) -> None:
            raise AssertionError(x)

    assert re.search(says, ends(passing(kind, core, body), Host()))


@pytest.mark.parametrize(
    ("kind", "body", "seen"),
    [
        ("bool", "(call $f (i32.const 77))", True),
        ("u8", "(call $f (i32.const 0x1ff))", 255),
        ("s8", "(call $f (i32.const 0x1ff))", -1),
        ("u16", "(call $f (i32.const -1))", 65535),
        ('(flags "a" "b")', "(call $f (i32.const -1))", frozenset("ab")),
    ],
)
def test_bits_that_mean_nothing_are_not_looked_at(kind: str, body: str, seen: Any):
    got = []

    class Host(Interface):
        name = HOST

        @function(parks=False)
        def f(self, x: Any) -> None:
            got.append(x)

    call(passing(kind, "i32", body), "go", imports=[Host()])
    assert got == [seen]


LISTS = """
(func (export "bytes") (param $n i32)
  (call $bytes (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $n)) (local.get $n)))
(func (export "again-and-again") (param $n i32) (local $i i32) (local $b i32) (local $t i32)
  (local.set $b (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1048576)))
  (local.set $t
    (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.mul (local.get $n) (i32.const 8))))
  (loop $l
    (i32.store (i32.add (local.get $t) (i32.mul (local.get $i) (i32.const 8))) (local.get $b))
    (i32.store offset=4 (i32.add (local.get $t) (i32.mul (local.get $i) (i32.const 8))) (i32.const 1048576))
    (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
  (call $lists (local.get $t) (local.get $n)))
(func (export "answer") (param $n i32) (result i32)
  (i32.store (i32.const 16) (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $n)))
  (i32.store (i32.const 20) (local.get $n)) (i32.const 16))"""


@pytest.mark.parametrize(
    ("name", "size", "limit"),
    [
        ("bytes", 2000, 1000),
        ("bytes", 100 << 20, None),
        ("again-and-again", 100, None),
        ("answer", 2000, 1000),
        ("answer", 100 << 20, None),
    ],
)
def test_a_list_that_would_take_the_hosts_memory_ends_the_guest(name: str, size: int, limit: int | None):
    in_child(
        f"""
from tests.engine.component_wat import *
from tests.memory import peak
from coop.wit import function

class Host(Interface):
    name = HOST

    @function("func(x: list<u8>)", parks=False)
    def bytes(self, x):
        raise AssertionError(len(x))

    @function("func(x: list<list<u8>>)", parks=False)
    def lists(self, x):
        raise AssertionError(len(x))

made = component(text(
    '(export "bytes" (func (param "x" (list u8)))) (export "lists" (func (param "x" (list (list u8)))))',
    lower={{"bytes": "(param i32 i32)", "lists": "(param i32 i32)"}},
    body='''{LISTS}''',
    lift={{"bytes": '(param "n" u32)', "again-and-again": '(param "n" u32)',
           "answer": '(param "n" u32) (result (list u8))'}}))
try:
    call(made, "{name}", {size}, imports=[Host()], limits=coop.Limits(bytes_per_list={limit}))
except coop.LimitExceeded as error:
    assert error.limit == "bytes_per_list", error
else:
    sys.exit(3)
assert peak() < 600 << 10
"""
    )


def test_a_list_for_the_guest_is_measured_before_there_is_room_for_it():
    eats = text(body='(func (export "go") (param i32 i32))', lift={"go": '(param "x" (list u8))'})
    limits = coop.Limits(bytes_per_list=1000)
    call(eats, "go", bytes(1000), limits=limits)
    with pytest.raises(LimitExceeded, match="bytes_per_list exceeded: a list of 1001 bytes"):
        call(eats, "go", bytes(1001), limits=limits)


@pytest.mark.parametrize(("kind", "size", "most"), [("u32", 4, 1024), ("f64", 8, 1024), ("string", 8, 64)])
def test_elements_that_python_makes_an_object_of_each_count_more_than_numbers(kind, size, most):
    taken = []

    class Host(Interface):
        name = HOST

        @function(f"func(x: list<{kind}>)", parks=False)
        def take(self, x):
            taken.append(len(x))

    made = component(
        text(
            f'(export "take" (func (param "x" (list {kind}))))',
            lower={"take": "(param i32 i32)"},
            body='(func (export "go") (param i32) (call $take (i32.const 8192) (local.get 0)))',
            lift={"go": '(param "n" u32)'},
        )
    )
    limits = coop.Limits(bytes_per_list=32 << 10)
    call(made, "go", most, imports=[Host()], limits=limits)
    with pytest.raises(LimitExceeded, match="bytes_per_list"):
        call(made, "go", most + 1, imports=[Host()], limits=limits)
    assert taken == [most]
    assert size * most < 1 << 16  # all of it lies in the guest's memory


# -- what is too large to be loaded


def _chain(count: int) -> str:
    types = "".join(f"(type $t{i} (option $t{i - 1}))" for i in range(1, count))
    return f'(component (type $t0 (option u8)) {types} (import "f" (func (param "x" $t{count - 1}))))'


def _tree(depth: int, uses: int) -> str:
    types = "".join(f"(type $t{i} (tuple $t{i - 1} $t{i - 1}))" for i in range(1, depth))
    imports = "".join(f'(import "f{i}" (func (param "x" $t{depth - 1})))' for i in range(uses))
    return f"(component (type $t0 (tuple u8 u8)) {types} {imports})"


def _record(fields: int) -> str:
    members = " ".join(f'(field "f{i}" u8)' for i in range(fields))
    uses = '(import "r" (type $s (eq $r))) (import "f" (func (param "x" $s)))'
    return f"(component (type $r (record {members})) {uses})"


def _names(kind: str, count: int) -> str:
    names = " ".join(f'(case "n{i}")' if kind == "variant" else f'"n{i}"' for i in range(count))
    uses = " ".join(f'(export "f{i}" (func (param "x" $s)))' for i in range(200))
    types = f'(type $r ({kind} {names})) (export "r" (type $s (eq $r)))'
    return f'(component (import "a:b/c" (instance {types} {uses})))'


def _long_names(kind: str) -> str:
    long = [f"{'n' * 90_000}{i}" for i in range(10)]
    inner = {"record": '(field "{}" u8)', "variant": '(case "{}")'}.get(kind, '"{}"')
    uses = " ".join(f'(export "f{i}" (func (param "x" $s)))' for i in range(200))
    types = f'(type $r ({kind} {" ".join(map(inner.format, long))})) (export "r" (type $s (eq $r)))'
    return f'(component (import "a:b/c" (instance {types} {uses})))'


def _long_members(inner: str) -> str:
    uses = " ".join(f'(import "a:b/c{i}" (instance (type $i)))' for i in range(200))
    return f"(component (type $i (instance {inner.format('n' * 90_000)})) {uses})"


def _handles(resources: int, uses: int) -> str:
    kinds = " ".join(f'(export "r{i}" (type $r{i} (sub resource)))' for i in range(resources))
    handles = " ".join(f'(param "p{i}" $own)' for i in range(900))
    functions = " ".join(f'(export "f{i}" (func {handles}))' for i in range(uses))
    return f'(component (import "a:b/c" (instance {kinds} (type $own (own $r{resources - 1})) {functions})))'


def _interface(count: int, member: str) -> str:
    return f'(component (import "a:b/c" (instance {" ".join(member.format(i) for i in range(count))})))'


_TOO_LONG = "names of more than 16777216 characters in all"


@pytest.mark.parametrize(
    ("wat", "says"),
    [
        (_chain(10_000), "type nesting is too deep"),
        (_tree(30, 1), "effective type size exceeds the limit"),
        (_tree(15, 12), "more than 100000 types in all signatures"),
        (_names("enum", 9_000), "more than 100000 types in all signatures"),
        (_names("variant", 9_000), "more than 100000 types in all signatures"),
        *((_long_names(kind), _TOO_LONG) for kind in ("record", "variant", "enum", "flags")),
        (_long_members('(export "{}" (func))'), _TOO_LONG),
        (_long_members('(export "f" (func (param "{}" u8)))'), _TOO_LONG),
        (_handles(500, 3), "too many uses of 500 resources"),
        (_record(20_000), "record field size is out of bounds"),
        (_interface(10_001, '(export "f{0}" (func))'), "import a:b/c: more than 10000 imports and exports"),
        (
            _interface(1_001, '(export "r{0}" (type (sub resource)))'),
            "import a:b/c: more than 1000 resources",
        ),
        ("(component " * 5000 + ")" * 5000, "nesting too deep"),
        ("(component " + "(" * 100_000, "expected"),
    ],
    ids=[
        "options",
        "tuples",
        "many tuples",
        "names",
        "cases",
        "long names of fields",
        "long names of cases",
        "long names in enums",
        "long names of flags",
        "long names of functions",
        "long names of parameters",
        "handles",
        "fields",
        "functions",
        "resources",
        "components",
        "parentheses",
    ],
)
def test_what_takes_too_long_to_read_is_refused(wat: str, says: str):
    done = run_child(
        """
import sys, coop
from coop.engine.component import Component
try:
    Component.from_bytes(sys.stdin.read(), cache=False)
except coop.BadModule as error:
    print(error)
""",
        stdin=wat.encode(),
    )
    assert says in done.stdout.decode()


def test_a_type_as_deep_as_may_be_is_read_passed_and_shown():
    depth = 90
    types = "".join(f"(type $t{i} (option $t{i - 1}))" for i in range(1, depth))
    wat = text(
        f'(type $t0 (option u8)) {types} (export "f" (func (result $t{depth - 1})))',
        lower={"f": "(param i32)"},
        body='(func (export "go") (result i32) (call $f (i32.const 64)) (i32.load8_u (i32.const 64)))',
        lift={"go": "(result u32)"},
    )

    class Host(Interface):
        name = HOST

        @function(parks=False)
        def f(self) -> None:
            return None

    assert call(wat, "go", imports=[Host()]) == 0

    class Wrong(Interface):
        name = HOST

        @function("func() -> u8")
        def f(self) -> int:
            return 1

    with pytest.raises(LinkError, match="option<option<"):
        call(wat, "go", imports=[Wrong()])


def test_an_error_of_linking_stays_short_whatever_was_imported():
    more = "".join(f'(import "g{i}" (func (param "x" u8)))' for i in range(500))
    wat = f"{_tree(13, 5).removesuffix(')')} {more})"

    class Root(Interface):
        name = ""

    for i in range(5):
        setattr(Root, f"f{i}", function("func()", parks=False)(lambda self: None))
    for i in range(500):
        setattr(Root, f"g{i}", function("func()", parks=False)(lambda self: None))
    with pytest.raises(LinkError, match="485 more imports are wrong") as caught:
        call(wat, "go", imports=[Root()])
    assert len(str(caught.value)) < 10_000


def test_many_imports_are_linked_without_anybody_providing_them():
    wat = _interface(5000, '(export "f{0}" (func))')
    with pytest.raises(LinkError, match="function go is not exported"):
        call(wat, "go")


def test_a_text_with_too_many_imports_is_a_bad_module():
    with pytest.raises(BadModule, match="more than 10000 imports and exports"):
        component("(component " + "".join(f'(import "f{i}" (func))' for i in range(10_001)) + ")")


# -- realloc, post-return, start


def _allocating(realloc: str, before: str = "") -> str:
    """A component whose `go` takes a list, for which it makes room by `realloc`."""
    return f"""(component (import "{HOST}" (instance $host (export "f" (func))))
      (core func $f (canon lower (func $host "f")))
      (core module $m (import "" "f" (func $f)) (memory (export "memory") 1) {before}
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})
        (func (export "go") (param i32 i32)) (func (export "post") (call $f)) (func (export "none")))
      (core instance $m (instantiate $m (with "" (instance (export "f" (func $f))))))
      (alias core export $m "memory" (core memory $memory))
      (alias core export $m "realloc" (core func $realloc))
      (alias core export $m "go" (core func $go)) (alias core export $m "post" (core func $post))
      (alias core export $m "none" (core func $none))
      (func (export "go") (param "x" (list u8))
        (canon lift (core func $go) (memory $memory) (realloc $realloc)))
      (func (export "posted") (canon lift (core func $none) (post-return (core func $post)))))"""


class Silent(Interface):
    name = HOST
    calls = 0

    @function("func()", parks=False)
    def f(self) -> None:
        type(self).calls += 1


@pytest.mark.parametrize(
    ("realloc", "says"),
    [
        ("unreachable", "unreachable"),
        ("(i32.const -1)", "realloc return: beyond end of memory"),
        ("(i32.const 65530)", "realloc return: beyond end of memory"),
        ("(call $f) (i32.const 8)", "cannot leave component instance"),
    ],
)
def test_a_realloc_that_is_none_is_a_trap(realloc: str, says: str):
    with pytest.raises(GuestTrap, match=says):
        call(_allocating(realloc), "go", bytes(100), imports=[Silent()])


def test_a_realloc_that_never_ends_meets_the_limit():
    with pytest.raises(LimitExceeded):
        call(
            _allocating("(loop $l (br $l)) (i32.const 0)"),
            "go",
            bytes(100),
            imports=[Silent()],
            limits=coop.Limits(cpu_time=0.05),
        )


def test_a_post_return_that_calls_out_is_a_trap():
    with pytest.raises(GuestTrap, match="cannot leave component instance"):
        call(_allocating("(i32.const 8)"), "posted", imports=[Silent()])
    assert Silent.calls == 0


def test_a_start_section_that_traps_ends_the_guest():
    wat = text(body='(func $s unreachable) (start $s) (func (export "go"))', lift={"go": ""})
    with pytest.raises(GuestTrap, match="unreachable"):
        call(wat, "go")


@pytest.mark.parametrize("parks", [False, None, True])
def test_an_error_of_a_host_function_in_a_start_section_comes_out(parks: bool | None):
    class Host(Interface):
        name = HOST

        @function("func()", parks=parks)
        def f(self) -> None:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        call(_allocating("(i32.const 8)", "(start $f)"), "go", b"", imports=[Host()])


def test_a_start_section_may_wait_and_be_cancelled_meanwhile():
    in_child(
        f"""
from tests.engine.component_wat import *
from coop.wit import function
made = component('''{_allocating("(i32.const 8)", "(start $f)")}''')

class Host(Interface):
    name = HOST

    @function("func()")
    def f(self):
        coop.sleep(1000)

def main():
    guests = [Guest(made, imports=[Host()]) for _ in range(20)]
    tasks = [coop.spawn(guest.call, "", "go", b"") for guest in guests]
    coop.sleep(0.01)
    for guest in guests[::2]:
        guest.cancel()
    coop.sleep(0.01)
    assert [task.is_done for task in tasks] == [True, False] * 10
    for guest in guests[1::2]:
        guest.cancel()
    for task in tasks:
        try:
            task.wait()
        except coop.WasCancelled:
            pass

coop.run(main)
"""
    )


# -- host functions that fail

VALUES = """(type $p' (record (field "a" string) (field "b" (list string))))
  (export "p" (type $p (eq $p')))
  (type $v' (variant (case "x" (list $p)) (case "y"))) (export "v" (type $v (eq $v')))
  (export "f" (func (result (list (result $v (error string))))))"""
ASKS = text(
    VALUES,
    lower={"f": "(param i32)"},
    body='(func (export "go") (result i32) (call $f (i32.const 64)) (i32.load (i32.const 68)))',
    lift={"go": "(result u32)"},
)
SIGNATURE = "func() -> list<result<variant {x(list<record {a: string, b: list<string>}>), y}, string>>"


def answering(parks: bool | None, answer: Any) -> Interface:
    """An interface whose function returns, or raises, `answer`."""

    def f(_self: Any) -> Any:
        if isinstance(answer, type):
            raise answer("no")
        if parks is None:
            return coop.wit.Later(lambda: answer)
        return answer

    return type("Host", (Interface,), {"name": HOST, "f": function(SIGNATURE, parks=parks)(f)})()


@pytest.mark.parametrize("parks", [False, None, True])
@pytest.mark.parametrize(
    "raised", [ValueError, KeyboardInterrupt, SystemExit, RecursionError, MemoryError, GeneratorExit]
)
def test_whatever_a_host_function_raises_comes_out(parks: bool | None, raised: type[BaseException]):
    with pytest.raises(raised):
        call(ASKS, "go", imports=[answering(parks, raised)])


@pytest.mark.parametrize("parks", [True, False, None])
@pytest.mark.parametrize("does", ["f", "later", "drop"])
def test_an_error_of_wit_that_is_no_answer_is_not_taken_for_the_guests(does: str, parks: bool | None):
    class Thing(Resource):
        def drop(self) -> None:
            raise Err("not wanted")

    class Host(Interface):
        name = HOST
        resources: ClassVar[dict[str, type[Resource]]] = {"r": Thing}

        @function("func() -> r", parks=parks)
        def f(self) -> Any:
            if does == "f":
                raise Err("not wanted")
            return Later(self.later) if does == "later" and parks is None else Thing()

        def later(self) -> Any:
            raise Err("not wanted")

    wat = text(
        '(export "r" (type $r (sub resource))) (export "f" (func (result (own $r))))',
        lower={"f": "(result i32)"},
        drop=["r"],
        body='(func (export "run") (result i32) (call $drop-r (call $f)) (i32.const 0))',
        after="""(func $run (result (result)) (canon lift (core func $main "run")))
          (instance $run (export "run" (func $run))) (export "wasi:cli/run@0.2.0" (instance $run))""",
    )

    def main() -> None:
        with pytest.raises(
            TypeError, match=r"raised Err\('not wanted'\), which cannot be answered"
        ) as caught:
            Guest(component(wat), imports=[Host()]).run()
        assert caught.value.__cause__ == Err("not wanted")

    coop.run(main)


@pytest.mark.parametrize("parks", [False, None, True])
def test_an_answer_that_goes_wrong_halfway_is_an_error_that_shows_it(parks: bool | None):
    good = Ok(Case("x", [("a", ["b", "c"])]))
    assert call(ASKS, "go", imports=[answering(parks, [good, Err("no"), Ok(Case("y"))])]) == 3
    wrong = [
        5,
        [5],
        [good, 5],
        [good, Ok(Case("z"))],
        [good, Ok(Case("y", 1))],
        [good, Ok(Case("x", [("a", ["b"]), ("a", ["b", 5])]))],
        [good, Ok(Case("x", [("a", ["b"]), ("a",)]))],
        [good, Ok(Case("x", [("a", "b")]))],
        [good, Ok(Case("x", [("\ud800", ["b"])]))],
        [good, Err()],
        [good, Ok()],
        [good, Err(5)],
    ]
    for answer in wrong:
        with pytest.raises(TypeError, match="host function acme:host/host f returned"):
            call(ASKS, "go", imports=[answering(parks, answer)])


@pytest.mark.parametrize("parks", [False, None, True])
def test_an_answer_that_raises_while_it_is_read_is_an_error(parks: bool | None):
    class Torn:
        def __iter__(self) -> Any:
            yield Ok(Case("x", [("a", ["b", "c"])]))
            raise OSError("torn")

    with pytest.raises(OSError, match="torn"):
        call(ASKS, "go", imports=[answering(parks, Torn())])


def test_wrong_answers_leave_no_memory_behind():
    in_child(
        f"""
from tests.engine.component_wat import *
from tests.memory import forget_peak, peak
from coop.wit import *
made = component('''{ASKS}''')

class Host(Interface):
    name = HOST

    @function("{SIGNATURE}")
    def f(self):
        return [Ok(Case("x", [("a" * 100_000, ["b"] * 1000)])), 5]

def once():
    try:
        call(made, "go", imports=[Host()])
    except TypeError:
        pass

for _ in range(30):
    once()
before = forget_peak()
for _ in range(300):
    once()
assert peak() - before < 8 << 10
"""
    )


@pytest.mark.parametrize("parks", [False, None, True])
def test_an_exit_in_a_nested_import_ends_only_the_guest_that_asked_for_it(parks: bool | None):
    made = component(ASKS)

    class Exits(Interface):
        name = HOST

        @function(SIGNATURE, parks=parks)
        def f(self) -> Any:
            raise coop.GuestExit(3)

    class Asks(Interface):
        name = HOST

        @function(SIGNATURE)
        def f(self) -> list[Any]:
            with pytest.raises(coop.GuestExit) as caught:
                with Guest(made, imports=[Exits()]) as inner:
                    inner.call("", "go")
            return [Err(str(caught.value.code))] * 2

    def main() -> None:
        with Guest(made, imports=[Asks()]) as guest:
            assert guest.call("", "go") == 2

    coop.run(main)


# -- Python that runs while values cross the border

TAKES = text(
    THING,
    drop=["r"],
    body='(func (export "go") (param i32 i32 i32 i32))',
    lift={"go": '(param "x" (list u32)) (param "y" (list (own $r)))'},
)


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("coop.sleep(0.05)", b"wants to park"),
        ("coop.pause()", b"wants to yield"),
        ("other.call('', 'go', [1], [Thing()])", b"must not run a guest"),
        ("guest.call('', 'go', [1], [])", b"in a call already"),
        ("guest.close()", b"it is in a call; cancel it"),
        ("guest._instance.close()", b"the guest is in a call; stop it"),
        ("guest.cancel()", b"guest app was cancelled"),
        ("other.close()", b"called 1 0"),
    ],
)
def test_an_iterable_argument_cannot_get_between_a_guest_and_its_call(does: str, says: bytes):
    done = in_child(
        f"""
from tests.engine.component_wat import *
from tests.engine.test_component_hostile import TAKES, Thing, Things
made = component(TAKES)

def main():
    guest = Guest(made, imports=[Things()])
    other = Guest(made, imports=[Things()])
    guest.start()
    other.start()
    one, two = guest._instance, other._instance

    def values():
        {does}
        yield 1

    try:
        guest.call("", "go", values(), [Thing()])
        print("called", len(one.handles), len(two.handles))
    except coop.CoopError as error:
        print(error)
        assert not len(two.handles)
    other.close()
    guest.close()

coop.run(main)
"""
    )
    assert says in done.stdout


@pytest.mark.parametrize("last", [2, "wrong"])
def test_a_guest_that_is_cancelled_while_its_arguments_are_read_ends(last: Any):
    wat = text(body='(func (export "go") (param i32 i32))', lift={"go": '(param "x" (list u32))'})

    def main() -> None:
        guest = Guest(component(wat))

        def values() -> Iterator[Any]:
            guest.cancel()
            yield last

        with pytest.raises(WasCancelled):
            guest.call("", "go", values())
        with pytest.raises(WasCancelled):
            guest.wait()

    coop.run(main)


@pytest.mark.parametrize(
    "does", ["coop.sleep(0.05)", "other.call('', 'go', [1], [])", "guest._instance.close()"]
)
@pytest.mark.parametrize("parks", [False, None, True])
def test_an_iterable_answer_cannot_get_between_a_guest_and_its_call(does: str, parks: bool | None):
    in_child(
        f"""
from tests.engine.component_wat import *
from tests.engine.test_component_hostile import *
guests = []

class Host(Interface):
    name = HOST

    @function(SIGNATURE, parks={parks})
    def f(self):
        guest = guests[0]
        def values():
            {does}
            yield Err("x")
        return coop.wit.Later(values) if {parks} is None else values()

def main():
    global other
    other = Guest(component(TAKES), imports=[Things()])
    other.start()
    with Guest(component(ASKS), imports=[Host()]) as guest:
        guests.append(guest)
        try:
            guest.call("", "go")
        except coop.BugError as error:
            print(error)
        else:
            sys.exit(3)
    other.close()

coop.run(main)
"""
    )


# -- an instance used in an order nobody should use it in


@pytest.mark.parametrize(
    "does",
    [
        "instance.call('', 'go', ())",
        "linkage.close(); instance.start()",
        "instance.start(); instance.start()",
        "instance.start(); linkage.close()",
        "instance.close(); instance.start()",
        "instance.start(); instance.close(); instance.call('', 'go', ())",
        "instance.start(); task = coop.spawn(instance.call, '', 'go', ()); coop.pause(); instance.close()",
        "instance.start(); task = coop.spawn(instance.call, '', 'go', ()); coop.pause(); linkage.close()",
        "instance.start(); action = instance.close; instance.call('', 'go', ())",
        "instance.start(); action = linkage.close; instance.call('', 'go', ())",
    ],
)
def test_an_instance_used_in_the_wrong_order_says_so(does: str):
    in_child(
        f"""
from tests.engine.component_wat import *
from coop.engine import Border, Limits
from coop.engine.component import ComponentInstance, ComponentLinkage
from coop.scheduler import scheduler
from coop.wit import function

class Host(Interface):
    name = HOST

    @function("func()", parks=None)
    def f(self):
        if action is not None:
            action()
        return coop.wit.Later(lambda: coop.sleep(0.01))

action = None
made = component(text('(export "f" (func))', lower={{"f": ""}}, body='(func (export "go") (call $f))',
                      lift={{"go": ""}}))

def main():
    global action
    border = scheduler().resource(Border, lambda: Border(scheduler()))
    linkage = ComponentLinkage(border, made, (Host,))
    instance = ComponentInstance(border, made, linkage, Limits(), [Host()], None)
    try:
        {does}
    except coop.CoopError as error:
        print(error)
    else:
        sys.exit(3)

coop.run(main)
"""
    )


@pytest.mark.parametrize("parks", [False, True])
def test_a_host_function_may_end_other_guests(parks: bool):
    in_child(
        f"""
from tests.engine.component_wat import *
from tests.engine.test_component_hostile import *
from coop.wit import function

class Ends(Things):
    @function("func(r: r)", parks={parks})
    def take(self, thing):
        for guest in idle:
            guest.close()
        for guest in waiting:
            guest.cancel()

class Waits(Things):
    @function("func(r: r)")
    def take(self, thing):
        begun.append(self)
        coop.sleep(1000)

def main():
    global idle, waiting, begun
    begun = []
    made = component(things(NEW_A + NEW_B + "(call $take (local.get $a))"))
    hosts = [Waits() for _ in range(10)]
    waiting = [Guest(made, imports=[host]) for host in hosts]
    idle = [Guest(made, imports=[Things()]) for _ in range(10)]
    tasks = [coop.spawn(guest.call, "", "go") for guest in waiting]
    for guest in idle:
        guest.call("", "go")
    while len(begun) < len(hosts):  # a guest may have to yield on its way there
        coop.pause()
    with Guest(made, imports=[Ends()]) as guest:
        guest.call("", "go")
        guest.call("", "go")
    for task in tasks:
        try:
            task.wait()
        except coop.WasCancelled:
            continue
        sys.exit(3)
    assert all(host.made[1].drops == 1 for host in hosts)

coop.run(main)
"""
    )


@pytest.mark.parametrize(
    "what", ["guest.close()", "other.call('', 'go')", "coop.sleep(0.01)", "coop.run(print)"]
)
def test_a_drop_on_the_guests_fiber_can_neither_park_nor_end_it(what: str):
    in_child(
        f"""
from tests.engine.component_wat import *
from tests.engine.test_component_hostile import *

class Bad(Thing):
    def drop(self):
        {what}

class Host(Things):
    @function("func() -> r", name="[constructor]r", parks=False)
    def new(self):
        return Bad()

def main():
    global guest, other
    other = Guest(component(things(NEW_A)), imports=[Things()])
    other.start()
    guest = Guest(component(things(NEW_A + DROP_A)), imports=[Host()])
    try:
        guest.call("", "go")
    except (coop.BugError, coop.Busy):
        other.close()
        return
    sys.exit(3)

coop.run(main)
"""
    )


def test_a_drop_at_the_end_of_a_guest_may_park_and_call_others():
    in_child(
        """
from tests.engine.component_wat import *
from tests.engine.test_component_hostile import *
done = []

class Slow(Thing):
    def drop(self):
        coop.sleep(0.001)
        other.call("", "go")
        done.append(self)

class Host(Things):
    @function("func() -> r", name="[constructor]r", parks=False)
    def new(self):
        return Slow()

def main():
    global other
    other = Guest(component(things(NEW_A)), imports=[Things()])
    made = component(things(NEW_A + NEW_B))
    bad = component(things(NEW_A + NEW_B + "unreachable"))
    for code, error in ((made, None), (bad, coop.GuestTrap)):
        guest = Guest(code, imports=[Host()])
        try:
            guest.call("", "go")
        except coop.GuestTrap:
            assert error
        guest.close()
    other.close()

coop.run(main)
assert len(done) == 4
"""
    )


# -- in great numbers


def test_what_guests_are_linked_against_goes_only_when_none_of_them_is_left():
    in_child(
        """
from tests.engine.component_wat import *
from tests.engine.test_component_hostile import *
wat = things(NEW_A + "(call $take (local.get $a))")

def host():
    class Own(Things):
        @function("func(r: r)")
        def take(self, thing):
            coop.sleep(0.001)
    return Own()

def main():
    kept = [Guest(component(wat), imports=[host()]) for _ in range(5)]
    for guest in kept:
        guest.start()
    tasks = []
    for _ in range(60):
        guest = Guest(component(wat), imports=[host()])
        tasks.append(coop.spawn(guest.call, "", "go"))
        coop.sleep(0.0001)
        if len(tasks) > 10:
            tasks.pop(0).wait()
        with Guest(component(wat), imports=[host()]) as short:
            short.call("", "go")
    gc.collect()
    for guest in kept:
        guest.call("", "go")
        guest.close()

coop.run(main)
"""
    )


@pytest.mark.parametrize("parks", [None, True])
def test_a_run_may_end_with_many_calls_pending(parks: bool | None):
    in_child(
        f"""
from tests.engine.component_wat import *
from tests.engine.test_component_hostile import *
pending = []

class Waits(Things):
    @function("func(r: r)", parks={parks})
    def take(self, thing):
        pending.append(self)  # not all at once: a guest may have to yield on its way here
        wait = lambda: coop.sleep(1000)
        return coop.wit.Later(wait) if {parks} is None else wait()

made = component(things(NEW_A + NEW_B + "(call $take (local.get $a))"))
hosts = [Waits() for _ in range(1000)]

def main():
    for host in hosts:
        coop.spawn(Guest(made, imports=[host]).call, "", "go")
    while len(pending) < len(hosts):
        coop.pause()
    raise SystemExit(7)

try:
    coop.run(main)
except SystemExit as error:
    assert error.code == 7
assert all(host.made[1].drops == 1 for host in hosts)
assert all(host.made[0].drops == 0 for host in hosts)
""",
    )


def test_calls_and_guests_in_great_number_take_no_more_memory_and_no_descriptor():
    in_child(
        """
from tests.engine.component_wat import *
from tests.engine.test_component_hostile import *
from tests.memory import forget_peak, peak
busy = component(things(NEW_A + GO_A + DROP_A + '''(call $many (i32.const 16))
  (call $drop-r (i32.load (i32.load (i32.const 16))))
  (call $drop-r (i32.load offset=4 (i32.load (i32.const 16))))'''))
lent = component(LENT)
owner = component(OWNER)
thing = Thing()

class Host(Things):
    def new(self):
        return Thing()
    new = function("func() -> r", name="[constructor]r", parks=False)(new)

    @function("func() -> list<r>")
    def many(self):
        return [Thing(), Thing()]

def calls(count):
    with Guest(busy, imports=[Host()]) as one, Guest(lent, imports=[Host()]) as two, Guest(owner) as three:
        for _ in range(count):
            one.call("", "go")
            two.call("", "use", thing)
            three.call("", "eat", three.call("", "[constructor]r", 1))

def guests(count):
    for _ in range(count):
        with Guest(busy, imports=[Host()]) as guest:
            guest.call("", "go")

coop.run(lambda: (calls(300), guests(100)))
files, before = len(os.listdir("/proc/self/fd")), forget_peak()
coop.run(lambda: (calls(3000), guests(500)))
assert peak() - before < 8 << 10, (before, peak())
assert len(os.listdir("/proc/self/fd")) == files
""",
    )
