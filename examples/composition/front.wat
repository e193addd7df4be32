;; Adds the squares of two numbers, which it asks for.
(component
  (import "demo:math/slow" (instance $slow
    (export "square" (func (param "n" u32) (result u32)))))
  (core func $square (canon lower (func $slow "square")))
  (core module $m
    (import "slow" "square" (func $square (param i32) (result i32)))
    (func (export "sum") (param $a i32) (param $b i32) (result i32)
      (i32.add (call $square (local.get $a)) (call $square (local.get $b)))))
  (core instance $i (instantiate $m (with "slow" (instance (export "square" (func $square))))))
  (func (export "sum-of-squares") (param "a" u32) (param "b" u32) (result u32)
    (canon lift (core func $i "sum"))))
