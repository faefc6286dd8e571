;; Answers "fresh" to the first event of an instance. Never returns from the second.
(module
  (import "weft" "reply" (func $reply (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\0a\07\0a\05fresh") ;; Reply{text: {content: "fresh"}}
  (global $used (mut i32) (i32.const 0))
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32)
    (drop (call $reply (i32.const 16) (i32.const 9)))
    (if (global.get $used)
      (then
        (loop $again (br $again))))
    (global.set $used (i32.const 1))
    (i32.const 1)))
