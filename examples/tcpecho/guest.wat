;; A TCP echo server in plain WebAssembly text: one instance, many clients.
;;
;; The host opens the listener and hands it in as descriptor 3. Nothing in here
;; ever waits but poll_oneoff, which takes a table of subscriptions ("tell me
;; when this descriptor can be read", "... written") and returns one event for
;; each that came true. Every descriptor is non-blocking: a read or write that
;; cannot go on says AGAIN, and the client goes back to the table.
;;
;; Memory
;;      0 ..   63   scratch: results of imports, one iovec
;;     64 ..  127   what to say when the listener fails
;;   1024 ..        the table: 1 + 1024 subscriptions of 48 bytes
;;  65536 ..        events, room for one per subscription, 32 bytes each
;; 131072 ..        blocks: one per client, 4096 bytes each
;;
;; The table. Slot 0 is the listener, for good. Slots 1 .. $count-1 are the
;; clients, in no order, without gaps: a client that leaves is replaced by the
;; last one. So the table is passed to poll_oneoff as it lies; nothing is
;; rebuilt between two polls, and changing what a client waits for is one store.
;;
;; A block is what we know of a client, and never moves while the client lives:
;;      +0 i32  its descriptor                (of a free block: the next free one)
;;      +4 i32  its slot in the table
;;      +8 i32  bytes of the buffer sent
;;     +12 i32  bytes of the buffer filled    (sent = filled: we owe nothing)
;;     +16      the buffer, 4080 bytes
;; Each subscription carries the address of its block as user data, and poll_oneoff
;; gives user data back in the event. That is the way from an event to a client.
;;
;; A client has one subscription, for reading while we owe it nothing, else for
;; writing. So a client that sends and never reads is not read from either: the
;; kernel's buffers fill up, and it is held up by itself and holds up no one else.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param $in i32) (param $out i32) (param $n i32) (param $nevents i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept"
    (func $sock_accept (param $fd i32) (param $flags i32) (param $result i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv"
    (func $sock_recv (param $fd i32) (param $iovs i32) (param $n i32) (param $flags i32)
                     (param $size i32) (param $roflags i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send"
    (func $sock_send (param $fd i32) (param $iovs i32) (param $n i32) (param $flags i32)
                     (param $size i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags"
    (func $fd_fdstat_set_flags (param $fd i32) (param $flags i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param $fd i32) (param $iovs i32) (param $n i32) (param $size i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))

  ;; 2 pages below the blocks, then 1024 blocks of 4096 bytes: 64 pages.
  (memory (export "memory") 66)
  (data (i32.const 64) "tcpecho: fd 3 is no listener that works\n")

  (global $LISTENER i32 (i32.const 3))
  (global $NONBLOCK i32 (i32.const 4))          ;; a bit of fdflags
  ;; errno
  (global $AGAIN i32 (i32.const 6))
  (global $CONNABORTED i32 (i32.const 13))
  (global $INTR i32 (i32.const 27))
  (global $MFILE i32 (i32.const 33))
  (global $NFILE i32 (i32.const 41))
  ;; kinds of subscription and event
  (global $FD_READ i32 (i32.const 1))
  (global $FD_WRITE i32 (i32.const 2))
  ;; memory
  (global $RESULT i32 (i32.const 0))            ;; a number an import gives back
  (global $ROFLAGS i32 (i32.const 8))
  (global $IOVEC i32 (i32.const 16))            ;; address, length
  (global $TABLE i32 (i32.const 1024))
  (global $SUBSCRIPTION i32 (i32.const 48))
  (global $EVENTS i32 (i32.const 65536))
  (global $EVENT i32 (i32.const 32))
  (global $BLOCKS i32 (i32.const 131072))
  (global $BLOCK i32 (i32.const 4096))
  (global $BUFFER i32 (i32.const 4080))         ;; what a block has left for bytes
  (global $MAX i32 (i32.const 1024))            ;; clients

  (global $count (mut i32) (i32.const 1))       ;; slots in use, the listener's included
  (global $accepting (mut i32) (i32.const 1))   ;; 0 while there is no room for another client
  (global $free (mut i32) (i32.const 0))        ;; first free block; 0 is none
  (global $fresh (mut i32) (i32.const 0))       ;; blocks never used start at this number

  ;; Says on standard error that there is no listener, and ends: without one there is no server.
  (func $fail
    (i32.store (global.get $IOVEC) (i32.const 64))
    (i32.store offset=4 (global.get $IOVEC) (i32.const 40))
    (drop (call $fd_write (i32.const 2) (global.get $IOVEC) (i32.const 1) (global.get $RESULT)))
    (call $proc_exit (i32.const 1)))

  (func $slot_address (param $slot i32) (result i32)
    (i32.add (global.get $TABLE) (i32.mul (local.get $slot) (global.get $SUBSCRIPTION))))

  ;; Writes a whole subscription. Of its 48 bytes, 0 is the user data, 8 the kind,
  ;; 16 the descriptor; the rest is for clocks.
  (func $subscribe (param $slot i32) (param $userdata i32) (param $kind i32) (param $fd i32)
    (local $at i32)
    (local.set $at (call $slot_address (local.get $slot)))
    (i64.store (local.get $at) (i64.extend_i32_u (local.get $userdata)))
    (i32.store offset=8 (local.get $at) (local.get $kind))
    (i32.store offset=16 (local.get $at) (local.get $fd)))

  ;; Changes what a client waits for: its slot's kind.
  (func $wait_for (param $block i32) (param $kind i32)
    (i32.store offset=8
      (call $slot_address (i32.load offset=4 (local.get $block)))
      (local.get $kind)))

  ;; Takes a block from the free ones, else one that no client ever had. The caller knows that one is left.
  (func $new_block (result i32)
    (local $block i32)
    (local.set $block (global.get $free))
    (if (local.get $block)
      (then
        (global.set $free (i32.load (local.get $block)))
        (return (local.get $block))))
    (local.set $block
      (i32.add (global.get $BLOCKS) (i32.mul (global.get $fresh) (global.get $BLOCK))))
    (global.set $fresh (i32.add (global.get $fresh) (i32.const 1)))
    (local.get $block))

  (func $add_client (param $fd i32)
    (local $block i32)
    (local.set $block (call $new_block))
    (i32.store (local.get $block) (local.get $fd))
    (i32.store offset=4 (local.get $block) (global.get $count))
    (i32.store offset=8 (local.get $block) (i32.const 0))
    (i32.store offset=12 (local.get $block) (i32.const 0))
    (call $subscribe (global.get $count) (local.get $block) (global.get $FD_READ) (local.get $fd))
    (global.set $count (i32.add (global.get $count) (i32.const 1))))

  ;; Closes a client's descriptor, closes the gap in the table and frees the block.
  (func $drop_client (param $block i32)
    (local $slot i32)
    (local $last i32)
    (drop (call $fd_close (i32.load (local.get $block))))
    (global.set $count (i32.sub (global.get $count) (i32.const 1)))
    (local.set $slot (i32.load offset=4 (local.get $block)))
    (local.set $last (call $slot_address (global.get $count)))
    ;; Move the last subscription here and tell its block. When the client that
    ;; leaves is the last one, this copies the slot onto itself and harms nothing.
    (memory.copy (call $slot_address (local.get $slot)) (local.get $last) (global.get $SUBSCRIPTION))
    (i32.store offset=4 (i32.load (local.get $last)) (local.get $slot))
    (i32.store (local.get $block) (global.get $free))
    (global.set $free (local.get $block))
    (global.set $accepting (i32.const 1)))

  ;; Takes every client that waits, until the listener says AGAIN or there is no room.
  (func $accept_clients
    (local $errno i32)
    (loop $next
      (if (i32.gt_u (global.get $count) (global.get $MAX))
        (then
          (global.set $accepting (i32.const 0))
          (return)))
      (local.set $errno
        (call $sock_accept (global.get $LISTENER) (global.get $NONBLOCK) (global.get $RESULT)))
      (if (i32.eqz (local.get $errno))
        (then
          (call $add_client (i32.load (global.get $RESULT)))
          (br $next)))
      (if (i32.eq (local.get $errno) (global.get $AGAIN)) (then (return)))
      ;; It left before we came: there may be others behind it.
      (br_if $next (i32.eq (local.get $errno) (global.get $CONNABORTED)))
      (br_if $next (i32.eq (local.get $errno) (global.get $INTR)))
      ;; Out of descriptors: one comes back when a client leaves. To go on asking
      ;; would be to spin, for the listener stays ready all the while.
      (if (i32.or (i32.eq (local.get $errno) (global.get $MFILE))
                  (i32.eq (local.get $errno) (global.get $NFILE)))
        (then
          (global.set $accepting (i32.const 0))
          (return)))
      (call $fail)))

  ;; Sets the one iovec to a part of the block's buffer.
  (func $set_iovec (param $block i32) (param $from i32) (param $size i32)
    (i32.store (global.get $IOVEC)
      (i32.add (i32.add (local.get $block) (i32.const 16)) (local.get $from)))
    (i32.store offset=4 (global.get $IOVEC) (local.get $size)))

  ;; Fills the empty buffer with what the client sent.
  (func $receive (param $block i32) (result i32)
    (local $errno i32)
    (call $set_iovec (local.get $block) (i32.const 0) (global.get $BUFFER))
    (local.set $errno
      (call $sock_recv (i32.load (local.get $block)) (global.get $IOVEC) (i32.const 1) (i32.const 0)
                       (global.get $RESULT) (global.get $ROFLAGS)))
    (if (i32.eqz (local.get $errno))
      (then
        (i32.store offset=8 (local.get $block) (i32.const 0))
        (i32.store offset=12 (local.get $block) (i32.load (global.get $RESULT)))))
    (local.get $errno))

  ;; Sends what we owe; the client may take less than all of it.
  (func $send (param $block i32) (result i32)
    (local $errno i32)
    (local $sent i32)
    (local.set $sent (i32.load offset=8 (local.get $block)))
    (call $set_iovec (local.get $block) (local.get $sent)
      (i32.sub (i32.load offset=12 (local.get $block)) (local.get $sent)))
    (local.set $errno
      (call $sock_send (i32.load (local.get $block)) (global.get $IOVEC) (i32.const 1) (i32.const 0)
                       (global.get $RESULT)))
    (if (i32.eqz (local.get $errno))
      (then
        (i32.store offset=8 (local.get $block)
          (i32.add (local.get $sent) (i32.load (global.get $RESULT))))))
    (local.get $errno))

  (func $owes (param $block i32) (result i32)
    (i32.ne (i32.load offset=8 (local.get $block)) (i32.load offset=12 (local.get $block))))

  ;; Serves a client whose event came: one receive, then sends until all is sent. It
  ;; does not come back for more input, though there may be some: the next poll says
  ;; so, and until then it is the others' turn.
  (func $serve (param $block i32)
    (local $errno i32)
    (if (i32.eqz (call $owes (local.get $block)))
      (then
        (local.set $errno (call $receive (local.get $block)))
        (if (i32.eq (local.get $errno) (global.get $AGAIN)) (then (return)))
        ;; An error, or success with nothing owed, which is the end of input.
        (if (i32.or (local.get $errno) (i32.eqz (call $owes (local.get $block))))
          (then
            (call $drop_client (local.get $block))
            (return)))))
    (loop $more
      (local.set $errno (call $send (local.get $block)))
      (if (i32.eq (local.get $errno) (global.get $AGAIN))
        (then
          (call $wait_for (local.get $block) (global.get $FD_WRITE))
          (return)))
      (if (local.get $errno)
        (then
          (call $drop_client (local.get $block))
          (return)))
      (br_if $more (call $owes (local.get $block))))
    (call $wait_for (local.get $block) (global.get $FD_READ)))

  ;; Acts on one event: user data at 0, an errno at 8. User data 0 is the listener.
  (func $act (param $event i32)
    (local $block i32)
    (local $errno i32)
    (local.set $block (i32.load (local.get $event)))
    (local.set $errno (i32.load16_u offset=8 (local.get $event)))
    (if (i32.eqz (local.get $block))
      (then
        (if (local.get $errno) (then (call $fail)))
        (call $accept_clients)
        (return)))
    ;; The host cannot wait for this descriptor: asking again would spin.
    (if (local.get $errno)
      (then
        (call $drop_client (local.get $block))
        (return)))
    (call $serve (local.get $block)))

  ;; Waits once and acts on every event. A client has one subscription, hence at most
  ;; one event, so dropping clients and reusing blocks in between mixes nothing up.
  (func $turn
    (local $skipped i32)
    (local $errno i32)
    (local $event i32)
    (local $end i32)
    ;; Without room for more clients the listener is left out: the table begins at slot 1.
    (local.set $skipped (i32.eqz (global.get $accepting)))
    (local.set $errno
      (call $poll_oneoff
        (call $slot_address (local.get $skipped))
        (global.get $EVENTS)
        (i32.sub (global.get $count) (local.get $skipped))
        (global.get $RESULT)))
    (if (i32.eq (local.get $errno) (global.get $INTR)) (then (return)))
    (if (local.get $errno) (then (call $proc_exit (i32.const 1))))
    (local.set $event (global.get $EVENTS))
    (local.set $end
      (i32.add (local.get $event) (i32.mul (i32.load (global.get $RESULT)) (global.get $EVENT))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $event) (local.get $end)))
        (call $act (local.get $event))
        (local.set $event (i32.add (local.get $event) (global.get $EVENT)))
        (br $next))))

  (func (export "_start")
    (if (call $fd_fdstat_set_flags (global.get $LISTENER) (global.get $NONBLOCK))
      (then (call $fail)))
    (call $subscribe (i32.const 0) (i32.const 0) (global.get $FD_READ) (global.get $LISTENER))
    (loop $for_ever
      (call $turn)
      (br $for_ever))))
