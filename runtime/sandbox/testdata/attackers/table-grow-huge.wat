;; Asks for 85 million more elements of its table at once, 680 MB of the host.
;; It traps where it gets them.
(module
  (memory (export "memory") 1)
  (table $t 1 funcref)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then
        (if (i32.ne (table.grow $t (ref.null func) (i32.const 85000000)) (i32.const -1)) (then unreachable))))
    (i32.const 0)))
