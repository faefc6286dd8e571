;; Waits a second in poll_oneoff at each event.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32)
    (i64.store (i32.const 40024) (i64.const 1000000000))
    (call $poll (i32.const 40000) (i32.const 41000) (i32.const 1) (i32.const 42000))))
