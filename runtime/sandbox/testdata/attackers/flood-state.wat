;; Asks state for a key without an end.
(module
  (import "weft" "state" (func $state (param i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\08\01\1a\01k") ;; StateRequest{op: get, key: "k"}
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then
        (loop $again
          (drop (call $state (i32.const 16) (i32.const 5) (i32.const 40000) (i32.const 1000)))
          (br $again))))
    (i32.const 0)))
