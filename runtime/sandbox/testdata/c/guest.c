// A guest in C without a library: it replies "C" to every event.
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(name) __attribute__((import_module("weft"), import_name(name)))

IMPORT("reply") int32_t weft_reply(const uint8_t *ptr, size_t len);
IMPORT("log") void weft_log(int32_t level, const char *ptr, size_t len);

static uint8_t event[1 << 20];

EXPORT("weft_abi_1") void weft_abi_1(void) {}

EXPORT("weft_buffer") uint8_t *weft_buffer(size_t len) {
  return len <= sizeof event ? event : NULL;
}

EXPORT("weft_handle") int32_t weft_handle(const uint8_t *ptr, size_t len) {
  static const uint8_t text[] = {0x0a, 3, 0x0a, 1, 'C'};
  if (len == 0 || ptr != event) return 2;
  weft_log(0, "from C", 6);
  return weft_reply(text, sizeof text) == 0 ? 1 : 2;
}
