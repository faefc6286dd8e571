;; Logs 100,000 lines.
(module
  (import "weft" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "me again")
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32)
    (local $n i32)
    (local.set $n (i32.const 100000))
    (loop $again
      (call $log (i32.const 1) (i32.const 16) (i32.const 8))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $again (local.get $n)))
    (i32.const 0)))
