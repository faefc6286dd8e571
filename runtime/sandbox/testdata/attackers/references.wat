;; Takes four million references to a function at each event, and goes on.
(module
  (memory (export "memory") 1)
  (elem declare func $f)
  (func $f)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (local $n i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then
        (local.set $n (i32.const 4000000))
        (loop $l
          (drop (ref.func $f))
          (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))
    (i32.const 0)))
