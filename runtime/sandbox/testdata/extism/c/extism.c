// The work as a plugin of Extism, with the calls that Extism's kit for C makes
// to load the input and to output a buffer.
#include "work.h"

#define IMPORT(name) __attribute__((import_module("extism:host/env"), import_name(name)))

IMPORT("input_length") uint64_t input_length(void);
IMPORT("input_load_u8") uint8_t input_load_u8(uint64_t at);
IMPORT("input_load_u64") uint64_t input_load_u64(uint64_t at);
IMPORT("alloc") uint64_t alloc(uint64_t n);
IMPORT("store_u8") void store_u8(uint64_t at, uint8_t v);
IMPORT("store_u64") void store_u64(uint64_t at, uint64_t v);
IMPORT("output_set") void output_set(uint64_t at, uint64_t n);

EXPORT("handle") int32_t handle(void) {
  uint64_t n = input_length(), i = 0;
  if (n > sizeof in) return 2;
  for (; i + 8 <= n; i += 8) {
    uint64_t v = input_load_u64(i);
    __builtin_memcpy(in + i, &v, 8);
  }
  for (; i < n; i++) in[i] = input_load_u8(i);
  n = work(n);
  if (n == 0) return 2;
  uint64_t block = alloc(n);
  for (i = 0; i + 8 <= n; i += 8) {
    uint64_t v;
    __builtin_memcpy(&v, out + i, 8);
    store_u64(block + i, v);
  }
  for (; i < n; i++) store_u8(block + i, out[i]);
  output_set(block, n);
  return 0;
}
