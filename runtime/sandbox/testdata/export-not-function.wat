;; Exports a global as weft_buffer.
(module
  (memory (export "memory") 1)
  (func (export "weft_abi_1"))
  (global (export "weft_buffer") i32 (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32) (i32.const 0)))
