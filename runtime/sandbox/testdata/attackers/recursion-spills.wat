;; Calls itself without an end, with a thousand vectors alive across each call.
(module
  (memory (export "memory") 1)
  (func $deeper (param $at i32) (local $all v128)
;;* 1000 (v128.load offset=# (local.get $at))
    (call $deeper (local.get $at))
;;* 999 v128.xor
    local.set $all
    (v128.store (local.get $at) (local.get $all)))
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then (call $deeper (i32.const 0))))
    (i32.const 0)))
