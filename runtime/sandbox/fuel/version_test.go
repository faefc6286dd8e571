package fuel

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"testing"
)

// TestVersion: caches keep what Rewrite gives by Version. Where this fails
// because the rewriter's output changed on purpose: raise Version, and put the
// new hash here.
func TestVersion(t *testing.T) {
	const version, want = 5, "acf20f58262e5cba"
	h := sha256.New()
	names := []string{"\x01\x04\x01\x00\x01f", "\x01\x05\x01\x80\x00\x01f", "\x01\x05\xff\xff\xff\xff\x0f", "\x07\x01a"}
	random := rand.NewChaCha8([32]byte{1})
	for i := range 100 {
		src := make([]byte, 20*i)
		if _, err := random.Read(src); err != nil {
			t.Fatal(err)
		}
		wasm := appendSection(generate(src), sectionCustom, append(appendName(nil, "name"), names[i%len(names)]...))
		for _, o := range []Options{{}, {Stack: 1 << 20, Globals: true}} {
			m, err := Rewrite(wasm, o)
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			h.Write(b)
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)[:8]); got != want || Version != version {
		t.Errorf("version %d gives %s, want version %d with %s", Version, got, version, want)
	}
}
