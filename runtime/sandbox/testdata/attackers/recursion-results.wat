;; Calls itself without an end, with a thousand values alive across each call
;; and a thousand results: few instructions, much stack.
(module
  (memory (export "memory") 1)
  (func $many (result
;;* 1000 i64
    )
;;* 1000 (i64.const 0)
    )
  (func $deeper (result
;;* 1000 i64
    )
    (call $many)
    (call $again))
  (func $again
    (call $deeper)
    return)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then (call $again)))
    (i32.const 0)))
