;; Logs through its table, 1,000 times, and calls its own weft_handle through it.
(module
  (import "weft" "log" (func $log (param i32 i32 i32)))
  (type $log (func (param i32 i32 i32)))
  (type $handle (func (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "me again")
  (table 2 funcref)
  (elem (i32.const 0) $log $handle)
  (global $depth (mut i32) (i32.const 0))
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func $handle (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.ne (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then (return (i32.const 0))))
    (call_indirect (type $log) (i32.const 1) (i32.const 16) (i32.const 8) (i32.const 0))
    (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
    (if (i32.ge_u (global.get $depth) (i32.const 1000))
      (then
        (global.set $depth (i32.const 0))
        (return (i32.const 0))))
    (call_indirect (type $handle) (local.get $ptr) (local.get $len) (i32.const 1))))
