;; Means by index what only the rewritten module has.
(module (type (func)) (table 1 funcref) (global (mut i64) (i64.const 0))
  (func (export "attack")) (export "fuel" (global 1)))
