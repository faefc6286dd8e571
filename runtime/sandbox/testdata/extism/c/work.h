// The work of the guests in C: an Event comes in, a Reply with the event's
// content as its text goes out.
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))

static uint8_t in[1 << 16], out[1 << 16];

static const uint8_t *number(const uint8_t *p, const uint8_t *end, uint64_t *v) {
  *v = 0;
  for (int shift = 0; p < end && shift < 64; shift += 7) {
    *v |= (uint64_t)(*p & 0x7f) << shift;
    if (!(*p++ & 0x80)) return p;
  }
  return NULL;
}

static uint8_t *put(uint8_t *p, uint64_t v) {
  for (; v >= 0x80; v >>= 7) *p++ = v | 0x80;
  *p++ = v;
  return p;
}

// work reads n bytes of in and gives how many it left in out, 0 where in is no
// event.
static size_t work(size_t n) {
  const uint8_t *p = in, *end = in + n, *content = in;
  uint64_t tag, len, size = 0;
  while (p < end) {
    if (!(p = number(p, end, &tag)) || !(p = number(p, end, &len))) return 0;
    if ((tag & 7) == 0) continue; // a number, which len is
    if ((tag & 7) != 2 || len > (uint64_t)(end - p)) return 0;
    if (tag >> 3 == 10) content = p, size = len;
    p += len;
  }
  uint8_t inner[16], *q = inner; // the Text's own tag and length
  *q++ = 1 << 3 | 2;
  q = put(q, size);
  uint8_t *o = out;
  *o++ = 1 << 3 | 2;
  o = put(o, (uint64_t)(q - inner) + size);
  for (const uint8_t *i = inner; i < q; i++) *o++ = *i;
  for (uint64_t i = 0; i < size; i++) *o++ = content[i];
  return o - out;
}
