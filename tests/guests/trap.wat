;; Traps in $innermost, called by $middle, called by $outermost.
(module
  (memory (export "memory") 1)
  (func $innermost (unreachable))
  (func $middle (call $innermost))
  (func $outermost (export "trap") (call $middle))
  (func $start (export "_start") (call $outermost)))
