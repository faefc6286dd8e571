;; Never returns from weft_buffer where a larger event comes.
(module
  (memory (export "memory") 1)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32)
    (loop $l (br_if $l (i32.gt_u (local.get 0) (i32.const 16384))))
    (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32) (i32.const 0)))
