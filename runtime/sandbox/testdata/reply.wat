;; Replies "hi" and annotates tag. For an id that begins with a it takes the reply
;; back, with b it gives an error, with f it traps.
(module
  (import "weft" "reply" (func $reply (param i32 i32) (result i32)))
  (import "weft" "annotate" (func $annotate (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\0a\04\0a\02hi") ;; Reply{text: {content: "hi"}}
  (data (i32.const 32) "tag")
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (local $id i32)
    (drop (call $reply (i32.const 16) (i32.const 6)))
    (drop (call $annotate (i32.const 32) (i32.const 3) (i32.const 16) (i32.const 0)))
    (local.set $id (i32.load8_u offset=2 (local.get $ptr)))
    (if (i32.eq (local.get $id) (i32.const 97)) ;; a: takes it back
      (then (drop (call $reply (i32.const -1) (i32.const 0)))))
    (if (i32.eq (local.get $id) (i32.const 98)) ;; b: an error
      (then (return (i32.const 2))))
    (if (i32.eq (local.get $id) (i32.const 102)) ;; f: a trap
      (then unreachable))
    (i32.const 1)))
