;; Speaks only ABIs that the host doesn't know.
(module
  (memory (export "memory") 1)
  (func (export "weft_abi_2"))
  (func (export "weft_abi_9"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32) (i32.const 0)))
