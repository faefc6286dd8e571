;; A loop with parameters, whose slow path stays inside.
(module (func (export "attack")
  i32.const 0
  (loop $l (param i32) (result i32)
    i32.const 1 i32.add br $l)
  drop
  ))
