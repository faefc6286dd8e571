package manifest_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/weft-dev/weft/runtime/manifest"
)

const empty = "\x00asm\x01\x00\x00\x00"

// custom is a custom section, its sizes under 128.
func custom(name, body string) string {
	return string([]byte{0, byte(1 + len(name) + len(body)), byte(len(name))}) + name + body
}

func TestEmbedAndExtract(t *testing.T) {
	types := "\x01\x04\x01\x60\x00\x00"
	own := custom(manifest.Section, "old")
	for _, wasm := range []string{empty, empty + types, empty + own + types, empty + own + types + own, empty + custom("name", "x") + types} {
		for _, size := range []int{1, 100, 200, 20_000, manifest.MaxSize} {
			yaml := bytes.Repeat([]byte("y"), size)
			out, err := manifest.Embed([]byte(wasm), yaml)
			if err != nil {
				t.Fatal(err)
			}
			got, err := manifest.Extract(out)
			if err != nil || !bytes.Equal(got, yaml) {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
			if again, err := manifest.Embed(out, yaml); err != nil || !bytes.Equal(again, out) {
				t.Fatalf("a second time: %d bytes, %v", len(again), err)
			}
			if bytes.Contains([]byte(wasm), []byte(types)) && !bytes.Contains(out, []byte(types)) {
				t.Fatal("the types are gone")
			}
		}
	}
}

func TestSectionsAreStrict(t *testing.T) {
	own := custom(manifest.Section, "a: b")
	for name, c := range map[string]struct {
		wasm string
		want error
	}{
		"nothing":             {"", manifest.ErrNotModule},
		"another format":      {"\x7fELF", manifest.ErrNotModule},
		"a component":         {"\x00asm\x0d\x00\x01\x00", manifest.ErrNotModule},
		"no section":          {empty, manifest.ErrNoManifest},
		"another section":     {empty + custom("weft.manifesto", "x"), manifest.ErrNoManifest},
		"twice":               {empty + own + own, manifest.ErrNotModule},
		"no size":             {empty + "\x01", manifest.ErrNotModule},
		"cut size":            {empty + "\x01\x80", manifest.ErrNotModule},
		"cut body":            {empty + "\x01\x05abc", manifest.ErrNotModule},
		"size of 35 bits":     {empty + "\x01\xff\xff\xff\xff\x1f", manifest.ErrNotModule},
		"size of 6 bytes":     {empty + "\x01\x80\x80\x80\x80\x80\x00", manifest.ErrNotModule},
		"huge size":           {empty + "\x01\xff\xff\xff\xff\x0f", manifest.ErrNotModule},
		"custom without name": {empty + "\x00\x00", manifest.ErrNotModule},
		"cut name":            {empty + "\x00\x02\x05a", manifest.ErrNotModule},
		"after the manifest":  {empty + own + "\x01\x05", manifest.ErrNotModule},
	} {
		if got, err := manifest.Extract([]byte(c.wasm)); !errors.Is(err, c.want) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		if _, err := manifest.Embed([]byte(c.wasm), []byte("x")); (err != nil) != (c.want == manifest.ErrNotModule) && name != "twice" {
			t.Errorf("%s: Embed gives %v", name, err)
		}
	}
	if _, err := manifest.Embed([]byte(empty), nil); err == nil {
		t.Error("embedded nothing")
	}
	if _, err := manifest.Embed([]byte(empty), make([]byte, manifest.MaxSize+1)); err == nil {
		t.Error("embedded too much")
	}
	big, err := manifest.Embed([]byte(empty), bytes.Repeat([]byte("y"), manifest.MaxSize))
	if err != nil {
		t.Fatal(err)
	}
	// One byte more in the section: its three-byte size, then the byte.
	big[len(empty)+1]++
	if _, err := manifest.Extract(append(big, 'y')); err == nil {
		t.Error("extracted too much")
	}
}

// FuzzExtract: what is embedded in a module is what comes out, once, and
// everything else of the module stays.
func FuzzExtract(f *testing.F) {
	f.Add([]byte(empty), []byte("name: x"))
	f.Add([]byte(empty+custom(manifest.Section, "a: b")+"\x01\x04\x01\x60\x00\x00"), []byte("y"))
	f.Add([]byte(empty+"\x01\xff\xff\xff\xff\x0f"), []byte("y"))
	f.Fuzz(func(t *testing.T, wasm, yaml []byte) {
		before, beforeErr := manifest.Extract(wasm)
		out, err := manifest.Embed(wasm, yaml)
		if err != nil {
			if beforeErr == nil && len(yaml) > 0 && len(yaml) <= manifest.MaxSize {
				t.Fatalf("Extract takes it, Embed says %v", err)
			}
			return
		}
		got, err := manifest.Extract(out)
		if err != nil || !bytes.Equal(got, yaml) {
			t.Fatalf("got %q, %v, want %q", got, err, yaml)
		}
		if beforeErr != nil {
			return
		}
		back, err := manifest.Embed(out, before)
		if err != nil {
			if len(before) > 0 {
				t.Fatal(err)
			}
			return
		}
		// The same sections, in the same order, the manifest last.
		rest := bytes.TrimSuffix(out, tail(yaml, out))
		if !bytes.HasPrefix(back, rest) {
			t.Fatalf("%x became %x", rest, back)
		}
	})
}

// tail is the section that Embed has put at the end of out.
func tail(yaml, out []byte) []byte {
	only, err := manifest.Embed([]byte(empty), yaml)
	if err != nil {
		return out
	}
	return only[len(empty):]
}
