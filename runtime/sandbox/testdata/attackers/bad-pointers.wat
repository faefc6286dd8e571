;; Makes one host call with bad pointers. The event's id says which: f, the
;; call's number, the place of a parameter, its value and the value of the next
;; one, in 2, 1, 8 and 8 hex digits. All other parameters are 0. Traps where the
;; host calls any of its exports from within another.
;; The test puts imports and calls in, so that there is one for each host call.
(module
  ;;imports
  (memory (export "memory") 1)
  (data (i32.const 16) "\08\01\1a\01k") ;; StateRequest{op: get, key: "k"}
  (global $inside (mut i32) (i32.const 0))
  (global $place (mut i32) (i32.const 0))
  (global $value (mut i32) (i32.const 0))
  (global $next (mut i32) (i32.const 0))
  (func $enter
    (if (global.get $inside) (then unreachable))
    (global.set $inside (i32.const 1)))
  (func $leave (global.set $inside (i32.const 0)))
  (func (export "weft_abi_1") (call $enter) (call $leave))
  (func (export "weft_start") (result i32) (call $enter) (call $leave) (i32.const 0))
  (func (export "weft_check") (result i32) (call $enter) (call $leave) (i32.const 0))
  (func (export "weft_buffer") (param i32) (result i32) (call $enter) (call $leave) (i32.const 1024))
  (func $hex (param $at i32) (param $digits i32) (result i32)
    (local $v i32) (local $c i32)
    (loop $more
      (local.set $c (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
      (if (i32.gt_u (local.get $c) (i32.const 9)) (then (local.set $c (i32.sub (local.get $c) (i32.const 39)))))
      (local.set $v (i32.or (i32.shl (local.get $v) (i32.const 4)) (local.get $c)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (local.set $digits (i32.sub (local.get $digits) (i32.const 1)))
      (br_if $more (local.get $digits)))
    (local.get $v))
  (func $arg (param $i i32) (result i32)
    (if (i32.eq (local.get $i) (global.get $place)) (then (return (global.get $value))))
    (if (i32.eq (local.get $i) (i32.add (global.get $place) (i32.const 1))) (then (return (global.get $next))))
    (i32.const 0))
  (func $call (param $n i32)
    ;;calls
    unreachable)
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (call $enter)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102))
      (then
        (global.set $place (call $hex (i32.add (local.get $ptr) (i32.const 5)) (i32.const 1)))
        (global.set $value (call $hex (i32.add (local.get $ptr) (i32.const 6)) (i32.const 8)))
        (global.set $next (call $hex (i32.add (local.get $ptr) (i32.const 14)) (i32.const 8)))
        (drop (call $state (i32.const 16) (i32.const 5) (i32.const 0) (i32.const 0))) ;; its response is kept
        (call $call (call $hex (i32.add (local.get $ptr) (i32.const 3)) (i32.const 2)))))
    (call $leave)
    (i32.const 0)))
