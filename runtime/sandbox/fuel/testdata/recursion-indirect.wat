(module
  (table 2 funcref) (elem (i32.const 0) $f $g)
  (func $f (call_indirect (i32.const 1)))
  (func $g (call_indirect (i32.const 0)))
  (func (export "attack") (call $f)))
