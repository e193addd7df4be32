"""The interface that docs/components.md shows: its code, and a guest that uses it."""

import re

import pytest

import coop
from coop.wit import Err
from tests.children import ROOT

GUEST = """(component
  (import "acme:bank/accounts" (instance $bank
    (export "account" (type $account (sub resource)))
    (export "[constructor]account" (func (param "balance" u64) (result (own $account))))
    (export "[method]account.withdraw"
      (func (param "self" (borrow $account)) (param "amount" u64) (result (result u64 (error string)))))))
  (core module $libc (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $open (canon lower (func $bank "[constructor]account")))
  (core func $withdraw
    (canon lower (func $bank "[method]account.withdraw") (memory $memory) (realloc $realloc)))
  (core module $m
    (import "bank" "open" (func $open (param i64) (result i32)))
    (import "bank" "withdraw" (func $withdraw (param i32 i64 i32)))
    (func (export "go") (param i64 i64) (result i32)
      (call $withdraw (call $open (local.get 0)) (local.get 1) (i32.const 16))
      (i32.const 16)))
  (core instance $m (instantiate $m (with "bank" (instance
    (export "open" (func $open)) (export "withdraw" (func $withdraw))))))
  (func (export "go") (param "balance" u64) (param "amount" u64) (result (result u64 (error string)))
    (canon lift (core func $m "go") (memory $memory))))"""


def test_the_interface_of_one_s_own_works_as_it_stands_there():
    text = (ROOT / "docs" / "components.md").read_text()
    section = text.partition("## An interface of your own\n")[2]
    code = re.search(r"```text\n(from coop.wit.*?)```", section, re.DOTALL)
    assert code is not None

    def main() -> None:
        given = {"coop": coop, "component": coop.Component.from_bytes(GUEST)}
        exec(code[1], given)
        with given["guest"] as guest:
            assert guest.call("", "go", 10, 3) == 7
            with pytest.raises(Err, match="that is more than there is"):
                guest.call("", "go", 10, 11)

    coop.run(main)
