;; Logs a line of 15 MiB without an end.
(module
  (import "weft" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 240)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then
        (loop $again
          (call $log (i32.const 1) (i32.const 0) (i32.const 0xf00000))
          (br $again))))
    (i32.const 0)))
