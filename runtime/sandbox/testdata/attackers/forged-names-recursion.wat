;; Exports a global of its own under the name of the stack, and calls itself
;; without an end.
(module
  (memory (export "memory") 1)
  (global (export "weft_stack") (mut i64) (i64.const 0x7fffffffffffffff))
  (func $deeper (call $deeper))
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then
        (call $deeper)))
    (i32.const 0)))
