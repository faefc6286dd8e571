;; Answers "well" to whatever comes.
(module
  (import "weft" "reply" (func $reply (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\0a\06\0a\04well") ;; Reply{text: {content: "well"}}
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32)
    (drop (call $reply (i32.const 16) (i32.const 8)))
    (i32.const 1)))
