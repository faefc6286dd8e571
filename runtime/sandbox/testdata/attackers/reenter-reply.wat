;; Exports reply as its weft_handle.
(module
  (import "weft" "reply" (func $reply (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "weft_abi_1"))
  (export "weft_buffer" (func $close))
  (export "weft_handle" (func $reply)))
