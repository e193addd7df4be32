;; Runs for ever and calls nothing.
(module
  (memory (export "memory") 1)
  (func $spin (export "spin") (loop $again (br $again)))
  (func (export "_start") (call $spin)))
