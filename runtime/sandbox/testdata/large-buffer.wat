;; Grows its memory for an event that doesn't fit.
(module
  (memory (export "memory") 1)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param $n i32) (result i32)
    (if (i32.gt_u (local.get $n) (i32.const 16384))
      (then
        (return (i32.shl
          (memory.grow (i32.add (i32.shr_u (local.get $n) (i32.const 16)) (i32.const 1)))
          (i32.const 16)))))
    (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32) (i32.const 0)))
