;; Imports a memory.
(module
  (import "env" "memory" (memory 1))
  (export "memory" (memory 0))
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32) (i32.const 0)))
