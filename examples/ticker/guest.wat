;; Prints "tick 1", "tick 2", ... at a fixed interval.
;;
;;     ticker [MILLISECONDS [TICKS]]
;;
;; The interval is a second unless told; without TICKS it goes on for ever.
;;
;; Memory
;;      0 ..  15   results of imports
;;     16 ..  31   one iovec
;;     64 .. 111   a subscription to the clock
;;    128 .. 159   the event that answers it
;;    256 .. 511   the line, "tick " at 256; the digits end at 287
;;   1024 ..       pointers to the arguments, 64 at most
;;   2048 ..       the arguments
(module
  (import "wasi_snapshot_preview1" "args_sizes_get"
    (func $args_sizes_get (param $count i32) (param $size i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get"
    (func $args_get (param $pointers i32) (param $bytes i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock_time_get (param $clock i32) (param $precision i64) (param $result i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param $in i32) (param $out i32) (param $n i32) (param $nevents i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param $fd i32) (param $iovs i32) (param $n i32) (param $size i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))

  (memory (export "memory") 2)
  (data (i32.const 256) "tick ")

  (global $argc (mut i32) (i32.const 0))

  ;; Ends the program if an import answered an errno.
  (func $must (param $errno i32)
    (if (local.get $errno) (then (call $proc_exit (i32.const 1)))))

  ;; Reads the arguments, if they fit.
  (func $read_arguments
    (call $must (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (if (i32.or (i32.gt_u (i32.load (i32.const 0)) (i32.const 64))
                (i32.gt_u (i32.load (i32.const 4)) (i32.const 65536)))
      (then (call $proc_exit (i32.const 2))))
    (global.set $argc (i32.load (i32.const 0)))
    (call $must (call $args_get (i32.const 1024) (i32.const 2048))))

  ;; The number at a position of the command line, or the fallback.
  (func $argument (param $position i32) (param $fallback i64) (result i64)
    (local $at i32)
    (local $digit i32)
    (local $number i64)
    (if (i32.ge_u (local.get $position) (global.get $argc))
      (then (return (local.get $fallback))))
    (local.set $at
      (i32.load offset=1024 (i32.mul (local.get $position) (i32.const 4))))
    (loop $next
      (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
      (if (i32.gt_u (local.get $digit) (i32.const 9)) (then (call $proc_exit (i32.const 2))))
      (local.set $number
        (i64.add (i64.mul (local.get $number) (i64.const 10))
                 (i64.extend_i32_u (local.get $digit))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.load8_u (local.get $at))))
    (if (i64.eqz (local.get $number)) (then (call $proc_exit (i32.const 2))))
    (local.get $number))

  (func $now (result i64)
    (call $must (call $clock_time_get (i32.const 1) (i64.const 1000) (i32.const 0)))
    (i64.load (i32.const 0)))

  ;; Sleeps until a time of the monotonic clock. Of the subscription's bytes, 8 is the kind
  ;; (0: a clock), 16 the clock (1: monotonic), 24 the time, 40 the flags (1: the time is
  ;; absolute). Due times follow from each other, so lateness does not add up.
  (func $sleep_until (param $due i64)
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (local.get $due))
    (i32.store16 (i32.const 104) (i32.const 1))
    (call $must (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 0))))

  ;; Writes "tick N" and a newline to standard output. The digits are made backwards from
  ;; 287 on, then moved behind "tick ".
  (func $print (param $number i64)
    (local $first i32)
    (local $end i32)
    (local $written i32)
    (local.set $first (i32.const 288))
    (loop $next
      (local.set $first (i32.sub (local.get $first) (i32.const 1)))
      (i32.store8 (local.get $first)
        (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $number) (i64.const 10)))))
      (local.set $number (i64.div_u (local.get $number) (i64.const 10)))
      (br_if $next (i64.ne (local.get $number) (i64.const 0))))
    (memory.copy (i32.const 261) (local.get $first) (i32.sub (i32.const 288) (local.get $first)))
    (local.set $end (i32.add (i32.const 261) (i32.sub (i32.const 288) (local.get $first))))
    (i32.store8 (local.get $end) (i32.const 10))
    (local.set $end (i32.add (local.get $end) (i32.const 1)))
    (local.set $written (i32.const 256))
    (loop $more
      (i32.store (i32.const 16) (local.get $written))
      (i32.store (i32.const 20) (i32.sub (local.get $end) (local.get $written)))
      (call $must (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 0)))
      (local.set $written (i32.add (local.get $written) (i32.load (i32.const 0))))
      (br_if $more (i32.lt_u (local.get $written) (local.get $end)))))

  (func (export "_start")
    (local $interval i64)
    (local $last i64)
    (local $due i64)
    (local $count i64)
    (call $read_arguments)
    (local.set $interval
      (i64.mul (call $argument (i32.const 1) (i64.const 1000)) (i64.const 1000000)))
    (local.set $last (call $argument (i32.const 2) (i64.const 0)))
    (local.set $due (call $now))
    (loop $next
      (local.set $due (i64.add (local.get $due) (local.get $interval)))
      (call $sleep_until (local.get $due))
      (local.set $count (i64.add (local.get $count) (i64.const 1)))
      (call $print (local.get $count))
      (br_if $next (i64.ne (local.get $count) (local.get $last))))))
