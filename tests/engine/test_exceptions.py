"""Guests that throw exceptions of wasm, as C++ and setjmp do: only where asked for, within the limits."""

import re

import pytest

import coop
from coop.engine.component import Component
from coop.engine.config import engine_for
from tests.children import run_child
from tests.engine.wat import in_child, module

#: `caught` throws its argument and returns what it caught; `thrown` is caught by nobody.
THROWS = """
(module
  (tag $error (param i32))
  (memory (export "memory") 1)
  (func (export "caught") (param $value i32) (result i32)
    (block $caught (result i32)
      (try_table (catch $error $caught) (throw $error (local.get $value)))
      (unreachable)))
  (func (export "thrown") (throw $error (i32.const 1)))
  (func (export "_start")))
"""

#: `churn` keeps one exception, throws `count` others, parks between them, and throws the first again.
CHURNS = """
(module
  (import "host" "pause" (func $pause))
  (tag $error (param i32))
  (memory (export "memory") 1)
  (func $made (param $value i32) (result exnref) (local $found exnref)
    (block $caught (result i32 exnref)
      (try_table (catch_ref $error $caught) (throw $error (local.get $value)))
      (unreachable))
    (local.set $found)
    (drop)
    (local.get $found))
  (func (export "churn") (param $value i32) (param $count i32) (result i32) (local $kept exnref)
    (local.set $kept (call $made (local.get $value)))
    (loop $again
      (drop (call $made (local.get $count)))
      (if (i32.eqz (i32.and (local.get $count) (i32.const 0xfff))) (then (call $pause)))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
    (block $caught (result i32)
      (try_table (catch $error $caught) (throw_ref (local.get $kept)))
      (unreachable))))
"""

#: `go` calls the host again and again, and catches whatever wasm can catch.
CATCHES_ALL = """
(module
  (import "host" "act" (func $act))
  (memory (export "memory") 1)
  (func (export "go")
    (loop $again
      (block $caught (try_table (catch_all $caught) (call $act)))
      (br $again))))
"""

#: Each exception holds the one before it, so none is ever garbage.
KEEPS = """
(module
  (tag $error (param exnref))
  (memory (export "memory") 1)
  (global $last (mut exnref) (ref.null exn))
  (func (export "go")
    (loop $again
      (block $caught (result exnref exnref)
        (try_table (catch_ref $error $caught) (throw $error (global.get $last)))
        (unreachable))
      (global.set $last)
      (drop)
      (br $again))))
"""


@coop.host_function("host")
def pause(caller):
    coop.pause()


def test_exceptions_are_to_be_asked_for_and_who_needs_them_is_told_how():
    with pytest.raises(
        coop.BadModule, match=r"it throws exceptions of wasm.*exceptions=True, or -W exceptions"
    ):
        module(THROWS)

    def main():
        with coop.Guest(module(THROWS, exceptions=True)) as guest:
            found = [guest.call("caught", number) for number in (1, -7)]
            with pytest.raises(coop.GuestTrap, match="an exception that nothing in it catches"):
                guest.call("thrown")
        return found

    assert coop.run(main) == [1, -7]


def test_the_command_runs_a_guest_that_throws_if_asked_to_and_the_doctor_says_so(tmp_path):
    path = tmp_path / "throws.wat"
    path.write_text(THROWS)
    for command in ("run", "doctor"):
        refused = run_child(["-m", "coop", command, str(path)], expect=1)
        told = (refused.stdout + refused.stderr).decode().split()
        assert "-W exceptions" in " ".join(told)
        run_child(["-m", "coop", command, "-W", "exceptions", str(path)])


@pytest.mark.parametrize("dense", [False, True], ids=["roomy", "dense"])
def test_exceptions_live_through_parks_and_collections(dense):
    made = module(CHURNS, exceptions=True, dense=dense)
    tight = coop.Limits(memory=1 << 20)  # far less than what is thrown

    def churn(number):
        with coop.Guest(made, imports=[pause], limits=tight) as guest:
            return guest.call("churn", number, 100_000)

    def main():
        with coop.TaskGroup() as group:
            tasks = [group.spawn(churn, number) for number in range(4)]
        return [task.result for task in tasks]

    assert coop.run(main) == [0, 1, 2, 3]


@pytest.mark.parametrize("dense", [False, True], ids=["roomy", "dense"])
def test_the_exceptions_that_a_guest_keeps_take_no_more_than_its_memory_may(dense):
    in_child(
        f"""
        import resource
        made = module({KEEPS!r}, exceptions=True, dense={dense})

        def main():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for _ in range(3):
                try:
                    coop.Guest(made, limits=coop.Limits(memory=8 << 20)).call("go")
                except coop.GuestTrap as error:
                    assert "as much as the limit of memory" in str(error), error
                else:
                    raise AssertionError("it has an end")
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 << 10

        coop.run(main)
        """
    )


def test_no_guest_catches_what_the_host_raised_or_its_own_end():
    made = module(CATCHES_ALL, exceptions=True)

    @coop.host_function("host", parks=False)
    def act(caller):
        raise LookupError("from the host")

    @coop.host_function("host", name="act")
    def waits(caller):
        coop.sleep(3600)

    def main():
        with pytest.raises(LookupError, match="from the host"):
            coop.Guest(made, imports=[act]).call("go")
        with pytest.raises(TimeoutError), coop.Timeout(0):
            coop.Guest(made, imports=[waits]).call("go")
        exits = CATCHES_ALL.replace(
            '"host" "act" (func $act)', '"wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))'
        )
        exits = exits.replace("(call $act)", "(call $exit (i32.const 7))").replace('"go"', '"_start"')
        return coop.Guest(module(exits, exceptions=True)).run()

    assert coop.run(main) == 7


def test_what_a_module_shares_of_its_exceptions_is_named_and_harms_nobody():
    shares = module(
        """
        (module
          (tag (export "error") (param i32))
          (func (export "keep") (param exnref))
          (func (export "rethrow") (param (ref exn)) (throw_ref (local.get 0)))
          (func (export "none") (result nullexnref) (ref.null noexn))
          (func (export "fine") (result i32) (i32.const 1)))
        """,
        exceptions=True,
    )

    def main():
        with coop.Guest(shares) as guest:
            assert guest.call("fine") == 1
            for name, why in (
                ("error", "is no function"),
                ("keep", "has type exnref"),
                ("rethrow", "has type (ref exn)"),
                ("none", "has type nullexnref"),
            ):
                with pytest.raises(coop.LinkError, match=re.escape(f"{name} {why}")):
                    guest.call(name, *[None] * (name in ("keep", "rethrow")))
        wants = module(
            '(module (import "env" "error" (tag (param i32))) (func (export "_start")))', exceptions=True
        )
        with pytest.raises(coop.LinkError, match=r"env\.error"):
            coop.Guest(wants).run()

    coop.run(main)


def test_guests_that_may_throw_are_refused_while_there_is_room_to_say_so():
    in_child(
        f"""
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (24 << 30, 24 << 30))
        made = module({THROWS!r}, exceptions=True)

        def main():
            alive = []
            try:
                while True:
                    guest = coop.Guest(made)
                    assert guest.call("caught", 5) == 5
                    alive.append(guest)
            except coop.LimitExceeded as error:
                assert error.limit == "guests", error
            assert 1 <= len(alive) <= 3
            alive.pop().close()
            assert coop.Guest(made).call("caught", 6) == 6

        coop.run(main)
        """
    )


def test_engines_for_guests_that_throw_differ_and_so_do_their_entries_in_the_cache(tmp_path):
    assert engine_for(exceptions=True) is not engine_for()
    compiled = []
    text = '(module (func (export "_start")))'
    for exceptions in (False, True, False, True):
        coop.Module.from_bytes(
            text, cache=tmp_path, exceptions=exceptions, on_compile=lambda: compiled.append(1)
        )
    assert len(compiled) == 2


def test_a_component_may_throw():
    text = f"""
    (component
      (core module $m {THROWS.replace("(module", "", 1).strip()[:-1]})
      (core instance $i (instantiate $m))
      (func (export "caught") (param "value" s32) (result s32) (canon lift (core func $i "caught"))))
    """
    with pytest.raises(coop.BadModule, match="-W exceptions"):
        Component.from_bytes(text, cache=False)

    def main():
        with coop.ComponentGuest(Component.from_bytes(text, cache=False, exceptions=True)) as guest:
            return guest.call("", "caught", 42)

    assert coop.run(main) == 42
