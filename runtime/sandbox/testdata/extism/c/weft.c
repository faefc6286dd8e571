// The work as a plugin of Weft.
#include "work.h"

#define IMPORT(name) __attribute__((import_module("weft"), import_name(name)))

IMPORT("reply") int32_t weft_reply(const uint8_t *ptr, size_t len);

EXPORT("weft_abi_1") void weft_abi_1(void) {}

EXPORT("weft_buffer") uint8_t *weft_buffer(size_t len) { return len <= sizeof in ? in : NULL; }

EXPORT("weft_handle") int32_t weft_handle(const uint8_t *ptr, size_t len) {
  size_t n = ptr == in ? work(len) : 0;
  return n > 0 && weft_reply(out, n) == 0 ? 1 : 2;
}
