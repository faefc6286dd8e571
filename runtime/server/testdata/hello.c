// The smallest plugin that answers: it replies the text "hello" to everything.
// clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -o hello.wasm hello.c
#define EXPORT(name) __attribute__((export_name(name)))

__attribute__((import_module("weft"), import_name("reply"))) int weft_reply(const void *reply, int length);

static unsigned char buffer[1 << 16];

// Reply{text: Text{content: "hello"}} in protobuf.
static const unsigned char hello[] = {0x0a, 7, 0x0a, 5, 'h', 'e', 'l', 'l', 'o'};

EXPORT("weft_abi_1") void weft_abi_1(void) {}

EXPORT("weft_buffer") void *weft_buffer(int length) {
	return length <= (int)sizeof buffer ? buffer : 0;
}

EXPORT("weft_handle") int weft_handle(void *event, int length) {
	(void)event, (void)length;
	return weft_reply(hello, sizeof hello) == 0 ? 1 : 2;
}
