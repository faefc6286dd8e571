;; Has data where its memory ends.
(module
  (memory (export "memory") 1)
  (data (i32.const 65535) "ab")
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32) (i32.const 0)))
