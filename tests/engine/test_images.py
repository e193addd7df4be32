"""The first instance of some code: wasmtime makes an image of its memory, in a file that the kernel seals."""

import pytest

from tests.engine.wat import in_child

GUESTS = """
from tests.engine.unsealed import refuse_seals

MEMORY = '''(memory (export "memory") 2) (data (i32.const 70000) "\\\\07")
  (func (export "go") (result i32) (i32.load8_u (i32.const 70000)))'''
TABLES = "(table 1 funcref)" * 16

def a_module():
    code = coop.Module.from_bytes(f"(module {MEMORY} {TABLES})", name="app", cache=False)
    def call():
        with coop.Guest(code) as guest:
            return guest.call("go")
    return call

def a_component():
    code = coop.Component.from_bytes(f'''(component
      (core module $m {MEMORY}) (core instance $i (instantiate $m))
      (func (export "go") (result u32) (canon lift (core func $i "go"))))''', name="app", cache=False)
    def call():
        with coop.ComponentGuest(code) as guest:
            return guest.call("", "go")
    return call

def refuse(times):
    if not refuse_seals(times):
        print("not to be had")
        sys.exit()
"""


@pytest.mark.parametrize("kind", ["a_module", "a_component"])
def test_an_image_that_the_kernel_does_not_seal_for_a_moment_is_asked_for_again(kind: str):
    done = in_child(
        GUESTS
        + f"""
def main():
    call = {kind}()
    refuse(2)
    print(call(), call())

coop.run(main)
"""
    )
    _skip_if_refused(done.stdout)
    assert done.stdout == b"7 7\n"


@pytest.mark.parametrize("kind", ["a_module", "a_component"])
def test_an_image_that_it_never_seals_is_a_clear_error_and_the_next_guest_may_have_one(kind: str):
    done = in_child(
        GUESTS
        + f"""
def main():
    call = {kind}()
    refuse(3)
    try:
        call()
    except coop.LinkError as error:
        print(error)
    print(call())

coop.run(main)
"""
    )
    _skip_if_refused(done.stdout)
    assert done.stdout == b"app: cannot add seals to the memfd\n7\n"


def _skip_if_refused(said: bytes) -> None:
    if said == b"not to be had\n":
        pytest.skip("no system call may be answered by another process here: seccomp refuses its filter")
