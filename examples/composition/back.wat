;; Answers with the square of a number, after as many milliseconds as the number says.
(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $pollable-there))
    (export "pollable" (type $p (eq $pollable-there)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $after (canon lower (func $clock "subscribe-duration")))
  (core func $drop (canon resource.drop $pollable))
  (core module $m
    (import "wasi" "block" (func $block (param i32)))
    (import "wasi" "after" (func $after (param i64) (result i32)))
    (import "wasi" "drop" (func $drop (param i32)))
    (func (export "square") (param $n i32) (result i32)
      (local $moment i32)
      (local.set $moment (call $after (i64.mul (i64.extend_i32_u (local.get $n)) (i64.const 1000000))))
      (call $block (local.get $moment))
      (call $drop (local.get $moment))
      (i32.mul (local.get $n) (local.get $n))))
  (core instance $i (instantiate $m (with "wasi" (instance
    (export "block" (func $block)) (export "after" (func $after)) (export "drop" (func $drop))))))
  (func $square (param "n" u32) (result u32) (canon lift (core func $i "square")))
  (instance $slow (export "square" (func $square)))
  (export "demo:math/slow" (instance $slow)))
