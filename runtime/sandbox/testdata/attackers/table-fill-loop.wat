;; Fills a table of 60,000 elements again and again.
(module
  (memory (export "memory") 1)
  (table $t 60000 funcref)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then
        (loop $l (table.fill $t (i32.const 0) (ref.null func) (i32.const 60000)) (br $l))))
    (i32.const 0)))
