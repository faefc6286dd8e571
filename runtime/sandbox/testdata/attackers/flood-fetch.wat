;; Makes calls of fetch without an end.
(module
  (import "weft" "fetch" (func $call (param i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\0a\06orders\12\03GET\1a\02/a")
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then
        (loop $again
          (drop (call $call (i32.const 16) (i32.const 17) (i32.const 40000) (i32.const 1000)))
          (br $again))))
    (i32.const 0)))
