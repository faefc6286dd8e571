;; Gives a buffer whose end wraps around.
(module
  (memory (export "memory") 1)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const -1))
  (func (export "weft_handle") (param i32 i32) (result i32) (i32.const 0)))
