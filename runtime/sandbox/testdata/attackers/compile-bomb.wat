;; A compile bomb: 224 KB, within every limit on its parts, with as many locals
;; as loops around all that changes them.
;; A line of ";;* N TEXT" stands for N lines of TEXT, # in it for their number.
(module
  (memory (export "memory") 1)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32) (i32.const 0))
  (func
    (local
      ;;* 9999 i64
    )
    ;;* 9999 loop
    ;;* 9999 (local.set # (i64.add (local.get #) (i64.const 1)))
    ;;* 9999 (local.set # (i64.sub (local.get #) (i64.const 1)))
    ;;* 1640 (local.set # (i64.sub (local.get #) (i64.const 1)))
    ;;* 9999 end
  ))
