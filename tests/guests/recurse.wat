;; Calls itself until the stack ends. The addition afterwards keeps it from being a jump.
(module
  (memory (export "memory") 1)
  (func $recurse (export "recurse") (param $depth i32) (result i32)
    (i32.add (i32.const 1) (call $recurse (i32.add (local.get $depth) (i32.const 1)))))
  (func (export "_start") (drop (call $recurse (i32.const 0)))))
