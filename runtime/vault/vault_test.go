package vault

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"testing"
)

func testKey(b byte) []byte { return bytes.Repeat([]byte{b}, keySize) }

func newVault(t testing.TB, o Options) *Vault {
	t.Helper()
	v, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func fromHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 8998, appendix A.1.
func TestSM4GCM(t *testing.T) {
	aead, err := newGCM(fromHex(t, "0123456789abcdeffedcba9876543210"))
	if err != nil {
		t.Fatal(err)
	}
	nonce, data := fromHex(t, "00001234567800000000abcd"), fromHex(t, "feedfacedeadbeeffeedfacedeadbeefabaddad2")
	plain := fromHex(t, "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccddddddddddddddddeeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa")
	want := "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d" +
		"83de3541e4c2b58177e065a9bf7b62ec"
	if got := hex.EncodeToString(aead.Seal(nil, nonce, plain, data)); got != want {
		t.Errorf("sealed:\n%s, want\n%s", got, want)
	}
}

func TestSealed(t *testing.T) {
	v := newVault(t, Options{Key: testKey(1)})
	plain, aad := []byte("13800138000"), []byte("shop")
	sealed := v.Seal("field", plain, aad)
	if len(sealed) != len(plain)+Overhead || bytes.Contains(sealed, plain) {
		t.Errorf("%d bytes: %x", len(sealed), sealed)
	}
	if got, err := v.Open("field", sealed, aad); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("opened: %q, %v", got, err)
	}
	if again := v.Seal("field", plain, aad); bytes.Equal(again[1:17], sealed[1:17]) || bytes.Equal(again[33:], sealed[33:]) {
		t.Error("two seals of one text have something in common")
	}
	if got, err := v.Open("", v.Seal("", nil, nil), nil); err != nil || len(got) != 0 {
		t.Errorf("nothing, sealed and opened: %q, %v", got, err)
	}
	refused := func(name string, v *Vault, purpose string, sealed, aad []byte) {
		if got, err := v.Open(purpose, sealed, aad); !errors.Is(err, ErrSealed) || got != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	refused("another purpose", v, "session", sealed, aad)
	refused("a purpose that runs into the rest", v, "fields", v.Seal("field", plain, []byte("shop")), []byte("hop"))
	refused("bound to something else", v, "field", sealed, []byte("bank"))
	refused("another key", newVault(t, Options{Key: testKey(2)}), "field", sealed, aad)
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		refused(fmt.Sprintf("byte %d changed", i), v, "field", changed, aad)
		refused(fmt.Sprintf("cut to %d bytes", i), v, "field", sealed[:i], aad)
	}
}

func TestPreviousKeys(t *testing.T) {
	sealed := newVault(t, Options{Key: testKey(1)}).Seal("field", []byte("secret"), nil)
	after := newVault(t, Options{Key: testKey(2), PreviousKeys: [][]byte{testKey(3), testKey(1)}})
	if got, err := after.Open("field", sealed, nil); err != nil || string(got) != "secret" {
		t.Errorf("sealed with a previous key: %q, %v", got, err)
	}
	if got, err := newVault(t, Options{Key: testKey(2)}).Open("field", after.Seal("field", []byte("new"), nil), nil); err != nil || string(got) != "new" {
		t.Errorf("sealed with the new key: %q, %v", got, err)
	}
	for _, o := range []Options{{}, {Key: make([]byte, 31)}, {Key: testKey(1), PreviousKeys: [][]byte{{1}}}} {
		if _, err := New(o); err == nil {
			t.Errorf("keys of %d and %d bytes were taken", len(o.Key), len(o.PreviousKeys))
		}
	}
}

// Many goroutines seal and open with one vault, whose block cipher is not for two
// at once.
func TestHammer(t *testing.T) {
	v := newVault(t, Options{Key: testKey(2), PreviousKeys: [][]byte{testKey(1)}})
	old := newVault(t, Options{Key: testKey(1)}).Seal("field", []byte("old"), nil)
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			for i := range 200 {
				plain := bytes.Repeat([]byte{byte(worker), byte(i)}, i)
				aad := []byte{byte(worker)}
				if got, err := v.Open("field", v.Seal("field", plain, aad), aad); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("worker %d, text %d: %v", worker, i, err)
				}
				if got, err := v.Open("field", old, nil); err != nil || string(got) != "old" {
					t.Errorf("worker %d: %q, %v", worker, got, err)
				}
			}
		})
	}
	all.Wait()
}

func FuzzOpen(f *testing.F) {
	v, err := New(Options{Key: testKey(1), PreviousKeys: [][]byte{testKey(2)}})
	if err != nil {
		f.Fatal(err)
	}
	// The same in every process of the fuzzer.
	salt := testKey(3)
	aead, nonce, err := v.keys[0].cipher("field", salt)
	if err != nil {
		f.Fatal(err)
	}
	good := aead.Seal(append([]byte{sealVersion}, salt...), nonce, []byte("text"), bound("field", []byte("shop")))
	f.Add(good, []byte("shop"))
	f.Add(good[:Overhead], []byte("shop"))
	f.Add([]byte{sealVersion}, []byte{})
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, sealed, aad []byte) {
		plain, err := v.Open("field", sealed, aad)
		if (err == nil) != (bytes.Equal(sealed, good) && string(aad) == "shop") {
			t.Errorf("%x for %x: %q, %v", sealed, aad, plain, err)
		}
		if err != nil && !errors.Is(err, ErrSealed) {
			t.Error(err)
		}
	})
}

// BenchmarkSeal: what a text costs, its key derived anew.
func BenchmarkSeal(b *testing.B) {
	v := newVault(b, Options{Key: testKey(1)})
	plain := make([]byte, 128)
	for b.Loop() {
		if _, err := v.Open("field", v.Seal("field", plain, nil), nil); err != nil {
			b.Fatal(err)
		}
	}
}
