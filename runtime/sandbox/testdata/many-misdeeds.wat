;; Several at once.
(module
  (import "env" "open" (func (param i32) (result i32)))
  (memory 1)
  (func (export "weft_handle") (param i32) (result i32) (i32.const 0))
  (func $main)
  (start $main))
