;; Refuses to start, with a reason.
(module
  (import "weft" "fail" (func $fail (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "no moon tonight")
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32) (i32.const 0))
  (func (export "weft_start") (result i32)
    (call $fail (i32.const 16) (i32.const 15))
    (i32.const 7)))
