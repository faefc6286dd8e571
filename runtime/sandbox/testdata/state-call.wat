;; Asks state for the key k, and answers with the status as its outcome.
(module
  (import "weft" "state" (func $state (param i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\08\01\1a\01k") ;; StateRequest{op: get, key: "k"}
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32)
    (i32.wrap_i64 (i64.shr_u
      (call $state (i32.const 16) (i32.const 5) (i32.const 40000) (i32.const 1000))
      (i64.const 32)))))
