;; Replies without an end, each time with as many articles as a reply has room
;; for.
(module
  (import "weft" "reply" (func $reply (param i32 i32) (result i32)))
  (memory (export "memory") 3)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (local $at i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then
        (local.set $at (i32.const 0x10004)) ;; Reply{news: {articles: [{}, {}, …]}}
        (loop $fill
          (i32.store16 (local.get $at) (i32.const 0x000a))
          (local.set $at (i32.add (local.get $at) (i32.const 2)))
          (br_if $fill (i32.lt_u (local.get $at) (i32.const 0x1fff8))))
        (i32.store (i32.const 0x10000) (i32.const 0x03fff432))
        (loop $again
          (drop (call $reply (i32.const 0x10000) (i32.const 0xfff8)))
          (br $again))))
    (i32.const 0)))
