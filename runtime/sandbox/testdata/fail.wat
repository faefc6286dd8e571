;; Gives an error with a reason.
(module
  (import "weft" "fail" (func $fail (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (data (i32.const 16) "no such \1btea")
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then
        (call $fail (i32.const 16) (i32.const 12))
        (return (i32.const 2))))
    (i32.const 0)))
