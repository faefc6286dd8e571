;; A data segment of 32 MiB.
;; A line of ";;* N TEXT" stands for N lines of TEXT.
(module
  (memory (export "memory") 1)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32) (i32.const 0))
  (data $d
    ;;* 524289 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  ))
