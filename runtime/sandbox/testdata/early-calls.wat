;; Makes every host call from weft_buffer, and refuses the buffer unless each is
;; denied: reply and annotate and state with 3, config with -1.
(module
  (import "weft" "reply" (func $reply (param i32 i32) (result i32)))
  (import "weft" "annotate" (func $annotate (param i32 i32 i32 i32) (result i32)))
  (import "weft" "config" (func $config (param i32 i32) (result i32)))
  (import "weft" "response" (func $response (param i32 i32) (result i32)))
  (import "weft" "state" (func $state (param i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 3)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32)
    ;; the pointers are outside: a denied call doesn't look at them
    (if (i32.ne (call $reply (i32.const -9) (i32.const 9)) (i32.const 3)) (then (return (i32.const 0))))
    (if (i32.ne (call $annotate (i32.const -9) (i32.const 9) (i32.const -9) (i32.const 9)) (i32.const 3)) (then (return (i32.const 0))))
    (if (i32.ne (call $config (i32.const -9) (i32.const 9)) (i32.const -1)) (then (return (i32.const 0))))
    (if (i32.ne (call $response (i32.const -9) (i32.const 9)) (i32.const -1)) (then (return (i32.const 0))))
    (if (i64.ne (call $state (i32.const -9) (i32.const 9) (i32.const -9) (i32.const 9)) (i64.const 0x300000000)) (then (return (i32.const 0))))
    (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32) (i32.const 1)))
