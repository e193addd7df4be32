;; Asks for memory.
;;   grow(pages)    one request; the old size in pages, or -1
;;   size()         the size now, in pages
;;   _start         a page at a time until refused; traps if 4 GiB were granted
(module
  (memory (export "memory") 1)
  (func (export "grow") (param $pages i32) (result i32) (memory.grow (local.get $pages)))
  (func (export "size") (result i32) (memory.size))
  (func (export "_start")
    (loop $more
      (if (i32.eq (memory.size) (i32.const 65536)) (then (unreachable)))
      (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))))
