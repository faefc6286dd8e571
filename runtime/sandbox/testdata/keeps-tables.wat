;; Changes what can't be put back: a table, a data segment, a vector global.
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (global (mut v128) (v128.const i32x4 0 0 0 0))
  (data $segment "x")
  (func (export "weft_abi_1"))
  (func $set (table.set 0 (i32.const 0) (ref.null func)))
  (func $drop (data.drop $segment))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param i32 i32) (result i32) (i32.const 0)))
