;; Calls itself 80,000 deep, which the stack has room for, and comes back.
(module
  (memory (export "memory") 1)
  (func $deeper (param i32) (result i32)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
    (i32.add (call $deeper (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then
        (drop (call $deeper (i32.const 80000)))))
    (i32.const 0)))
