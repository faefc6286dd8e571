;; Every turn of the inner loop ends at once; the outer one has no code of its own.
(module (func (export "attack") (local i32)
  (loop $outer
    (block $out (loop $inner (br_if $out (i32.eqz (local.get 0))) (br $inner)))
    (br $outer))))
