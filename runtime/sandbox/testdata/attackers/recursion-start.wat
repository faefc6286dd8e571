;; Calls itself from weft_start without an end.
(module
  (memory (export "memory") 1)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func $deeper (call $deeper))
  (func (export "weft_start") (result i32) (call $deeper) (i32.const 0))
  (func (export "weft_handle") (param i32 i32) (result i32) (i32.const 0)))
