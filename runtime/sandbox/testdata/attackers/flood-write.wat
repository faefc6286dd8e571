;; Writes 64 KiB of empty lines to its standard output, without an end.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 3)
  (func (export "weft_abi_1"))
  (func (export "weft_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "weft_handle") (param $ptr i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 102)) ;; the id begins with f
      (then
        (i32.store (i32.const 16) (i32.const 0x10000))
        (i32.store (i32.const 20) (i32.const 0x10000))
        (memory.fill (i32.const 0x10000) (i32.const 10) (i32.const 0x10000))
        (loop $again
          (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 8)))
          (br $again))))
    (i32.const 0)))
