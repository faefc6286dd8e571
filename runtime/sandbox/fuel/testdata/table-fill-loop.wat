(module (table 60000 funcref)
  (func (export "attack")
    (loop $l (table.fill 0 (i32.const 0) (ref.null func) (i32.const 60000)) (br $l))))
