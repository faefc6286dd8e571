;; Logs its config, in weft_check and in weft_handle, and refuses one that
;; begins with an exclamation mark.
(module
  (import "weft" "config" (func $config (param i32 i32) (result i32)))
  (import "weft" "log" (func $log (param i32 i32 i32)))
  (import "weft" "fail" (func $fail (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "exclaimed")
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_check") (result i32)
    (call $log (i32.const 0) (i32.const 40000) (call $config (i32.const 40000) (i32.const 20000)))
    (if (i32.eq (i32.load8_u (i32.const 40000)) (i32.const 33))
      (then
        (call $fail (i32.const 16) (i32.const 9))
        (return (i32.const 1))))
    (i32.const 0))
  (func (export "weft_handle") (param i32 i32) (result i32)
    (call $log (i32.const 1) (i32.const 40000) (call $config (i32.const 40000) (i32.const 20000)))
    (i32.const 0)))
