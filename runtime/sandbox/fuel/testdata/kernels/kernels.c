// Loop kernels for the benchmark of what fuel costs. Each export takes how
// much to do and gives a number that depends on all of it.

#define EXPORT(name) __attribute__((export_name(#name)))
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned char u8;

static u8 bytes[1 << 16];
static u32 words[1 << 14];
static float a[64][64], b[64][64], c[64][64];

EXPORT(sum) u32 sum(u32 n) {
	u32 s = 0;
	for (u32 k = 0; k < n; k++)
		for (u32 i = 0; i < 1 << 14; i++) s += words[i] ^ k;
	return s;
}

EXPORT(fnv) u32 fnv(u32 n) {
	u32 h = 2166136261u;
	for (u32 k = 0; k < n; k++)
		for (u32 i = 0; i < 1 << 14; i++) h = (h ^ bytes[i]) * 16777619u;
	return h;
}

EXPORT(sieve) u32 sieve(u32 n) {
	u32 count = 0;
	for (u32 k = 0; k < n; k++) {
		for (u32 i = 0; i < sizeof bytes; i++) ((volatile u8 *)bytes)[i] = 1;
		for (u32 i = 2; i * i < sizeof bytes; i++)
			if (bytes[i])
				for (u32 j = i * i; j < sizeof bytes; j += i) bytes[j] = 0;
		for (u32 i = 2; i < sizeof bytes; i++) count += bytes[i];
	}
	return count;
}

EXPORT(matrix) u32 matrix(u32 n) {
	for (int i = 0; i < 64; i++)
		for (int j = 0; j < 64; j++) a[i][j] = i + j, b[i][j] = i - j;
	for (u32 k = 0; k < n; k++)
		for (int i = 0; i < 64; i++)
			for (int j = 0; j < 64; j++) {
				float s = 0;
				for (int l = 0; l < 64; l++) s += a[i][l] * b[l][j];
				c[i][j] = s + k;
			}
	return (u32)(int)c[17][42];
}

EXPORT(crc) u32 crc(u32 n) {
	u32 r = ~0u;
	for (u32 k = 0; k < n; k++)
		for (u32 i = 0; i < 1 << 12; i++) {
			r ^= bytes[i];
			for (int bit = 0; bit < 8; bit++) r = r >> 1 ^ (r & 1 ? 0xedb88320u : 0);
		}
	return ~r;
}

EXPORT(sort) u32 sort(u32 n) {
	u32 x = 1;
	for (u32 k = 0; k < n; k++) {
		for (u32 i = 0; i < 1 << 10; i++) words[i] = x = x * 1664525u + 1013904223u;
		for (u32 i = 1; i < 1 << 10; i++) {
			u32 v = words[i], j = i;
			for (; j > 0 && words[j - 1] > v; j--) words[j] = words[j - 1];
			words[j] = v;
		}
	}
	return words[511];
}

EXPORT(collatz) u32 collatz(u32 n) {
	u32 steps = 0;
	for (u32 i = 1; i < n; i++)
		for (u64 x = i; x != 1; steps++) x = x & 1 ? 3 * x + 1 : x / 2;
	return steps;
}

static u32 quote(u8 ch) { return ch == '"' ? 1 : ch == '\\' ? 2 : ch < 32 ? 3 : 0; }

// Like a scanner of JSON: a branch or two for each byte.
EXPORT(scan) u32 scan(u32 n) {
	u32 strings = 0, depth = 0, deepest = 0;
	for (u32 i = 0; i < sizeof bytes; i++) bytes[i] = (i * 2654435761u) >> 25;
	for (u32 k = 0; k < n; k++) {
		int in = 0;
		for (u32 i = 0; i < sizeof bytes; i++) {
			u8 ch = bytes[i];
			if (in) {
				switch (quote(ch)) {
				case 1: in = 0; break;
				case 2: i++; break;
				}
				continue;
			}
			switch (ch) {
			case '"': in = 1; strings++; break;
			case '{': case '[': if (++depth > deepest) deepest = depth; break;
			case '}': case ']': if (depth) depth--; break;
			}
		}
	}
	return strings + deepest;
}

__attribute__((noinline)) static u32 fibonacci(u32 n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
EXPORT(calls) u32 calls(u32 n) { return fibonacci(n); }

// Copies as a program does them: mostly short.
EXPORT(copy) u32 copy(u32 n) {
	u32 s = 0;
	for (u32 k = 0; k < n; k++) {
		u32 len = (k * 2654435761u) >> 26;
		__builtin_memcpy(bytes + (k & 0x3fff), bytes + 0x8000 + (k & 0xfff), len);
		s += bytes[k & 0x3fff];
	}
	return s;
}

__attribute__((noinline)) static u32 rare(u32 x) { return x * 2654435761u ^ x >> 15; }

// Inner loops as in sort, in a function that calls another now and then.
EXPORT(visit) u32 visit(u32 n) {
	u32 x = 1;
	for (u32 k = 0; k < n; k++) {
		for (u32 i = 0; i < 1 << 10; i++) words[i] = x = rare(x + i);
		for (u32 i = 1; i < 1 << 10; i++) {
			u32 v = words[i], j = i;
			for (; j > 0 && words[j - 1] > v; j--) words[j] = words[j - 1];
			words[j] = v;
		}
	}
	return words[511];
}
