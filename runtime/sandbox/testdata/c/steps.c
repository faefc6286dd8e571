// A guest in C whose work hangs on every byte of the event: it takes the steps
// of Collatz from each to 1, and logs how many they were.
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(name) __attribute__((import_module("weft"), import_name(name)))

IMPORT("log") void weft_log(int32_t level, const char *ptr, size_t len);

static uint8_t event[1 << 20];

EXPORT("weft_abi_1") void weft_abi_1(void) {}

EXPORT("weft_buffer") uint8_t *weft_buffer(size_t len) {
  return len <= sizeof event ? event : NULL;
}

EXPORT("weft_handle") int32_t weft_handle(const uint8_t *ptr, size_t len) {
  uint32_t steps = 0;
  for (size_t i = 0; i < len; i++)
    for (uint32_t n = ptr[i] + 1; n != 1; steps++)
      n = n % 2 ? 3 * n + 1 : n / 2;
  char digits[10];
  size_t at = sizeof digits;
  do digits[--at] = '0' + steps % 10;
  while (steps /= 10);
  weft_log(0, digits + at, sizeof digits - at);
  return 0;
}
