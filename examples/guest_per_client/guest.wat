;; Copies standard input to standard output until the input ends.
;;
;; Run once per client with both ends on the client's connection, this is an
;; echo server that has never heard of a network. Both calls wait when they must.
;;
;; Memory: 0 the number an import gives back, 8 one iovec, 1024 .. 65535 the buffer.
(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param $fd i32) (param $iovs i32) (param $n i32) (param $size i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param $fd i32) (param $iovs i32) (param $n i32) (param $size i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))

  (memory (export "memory") 1)

  (global $RESULT i32 (i32.const 0))
  (global $IOVEC i32 (i32.const 8))
  (global $BUFFER i32 (i32.const 1024))
  (global $ROOM i32 (i32.const 64512))

  ;; Ends the program if an import answered an errno.
  (func $must (param $errno i32)
    (if (local.get $errno) (then (call $proc_exit (i32.const 1)))))

  (func $set_iovec (param $address i32) (param $size i32)
    (i32.store (global.get $IOVEC) (local.get $address))
    (i32.store offset=4 (global.get $IOVEC) (local.get $size)))

  ;; Returns how many bytes came; 0 is the end of input.
  (func $read (result i32)
    (call $set_iovec (global.get $BUFFER) (global.get $ROOM))
    (call $must
      (call $fd_read (i32.const 0) (global.get $IOVEC) (i32.const 1) (global.get $RESULT)))
    (i32.load (global.get $RESULT)))

  ;; Writes so many bytes of the buffer, in as many calls as it takes.
  (func $write (param $filled i32)
    (local $written i32)
    (loop $more
      (call $set_iovec
        (i32.add (global.get $BUFFER) (local.get $written))
        (i32.sub (local.get $filled) (local.get $written)))
      (call $must
        (call $fd_write (i32.const 1) (global.get $IOVEC) (i32.const 1) (global.get $RESULT)))
      (local.set $written (i32.add (local.get $written) (i32.load (global.get $RESULT))))
      (br_if $more (i32.lt_u (local.get $written) (local.get $filled)))))

  (func (export "_start")
    (local $filled i32)
    (loop $next
      (local.set $filled (call $read))
      (if (local.get $filled)
        (then
          (call $write (local.get $filled))
          (br $next))))))
