;; Annotates without an end.
(module
  (import "weft" "annotate" (func $annotate (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then
        (loop $again
          (drop (call $annotate (i32.const 20000) (i32.const 1024) (i32.const 20000) (i32.const 1024)))
          (br $again))))
    (i32.const 0)))
