;; Asks for one page again and again, long after there are no more.
(module (memory 1)
  (func (export "attack") (loop $l (drop (memory.grow (i32.const 1))) (br $l))))
