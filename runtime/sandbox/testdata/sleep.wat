;; Waits an hour in poll_oneoff.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then
        (i64.store (i32.const 40024) (i64.const 3600000000000))
        (drop (call $poll (i32.const 40000) (i32.const 41000) (i32.const 1) (i32.const 42000)))))
    (i32.const 0)))
