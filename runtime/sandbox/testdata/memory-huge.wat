;; Asks for 4 GiB at once and gives an error when it is refused.
(module
  (memory (export "memory") 1)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then
        (if (i32.eq (memory.grow (i32.const 65535)) (i32.const -1))
          (then (return (i32.const 2))))))
    (i32.const 0)))
