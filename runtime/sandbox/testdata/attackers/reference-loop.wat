;; Takes references to a function again and again, each of which leaves to the
;; host.
(module
  (memory (export "memory") 1)
  (table $t 1 funcref)
  (elem declare func $f)
  (func $f)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then
        (loop $l (table.set $t (i32.const 0) (ref.func $f)) (br $l))))
    (i32.const 0)))
