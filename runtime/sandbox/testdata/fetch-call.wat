;; Makes one call of fetch, and answers with the status as its outcome.
(module
  (import "weft" "fetch" (func $call (param i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\0a\06orders\12\03GET\1a\02/a")
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32)
    (i32.wrap_i64 (i64.shr_u
      (call $call (i32.const 16) (i32.const 17) (i32.const 40000) (i32.const 1000))
      (i64.const 32)))))
