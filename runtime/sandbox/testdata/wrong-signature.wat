;; Its weft_handle takes and gives 64-bit numbers.
(module
  (memory (export "memory") 1)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param i64 i64) (result i64) (i64.const 0)))
