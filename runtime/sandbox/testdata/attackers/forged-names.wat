;; Exports globals of its own under the names of the fuel and the stack, as full
;; as can be, and loops.
(module
  (memory (export "memory") 1)
  (global $fuel (export "weft_fuel") (mut i64) (i64.const 0x7fffffffffffffff))
  (global $stack (export "weft_stack") (mut i64) (i64.const 0x7fffffffffffffff))
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then
        (global.set $fuel (i64.const 0x7fffffffffffffff))
        (global.set $stack (i64.const 0x7fffffffffffffff))
        (loop $l (br $l))))
    (i32.const 0)))
