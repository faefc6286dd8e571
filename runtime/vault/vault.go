// Package vault keeps personal data sealed with SM4-GCM: what stands in the
// store says neither what it is nor whose.
//
// A sealed text is a version, 32 random bytes, and what SM4-GCM (GB/T 32907,
// RFC 8998) makes of the text. Its key and nonce are derived from the server's
// key, those random bytes and the purpose (HKDF-SHA-256), so that no bound on the
// number of texts under one key is ever near. The additional data is the version,
// the purpose and what the caller binds the text to.
package vault

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tjfoc/gmsm/sm4"

	"github.com/weft-dev/weft/runtime/store"
)

const (
	sealVersion = 1
	saltSize    = 32
	nonceSize   = 12
	tagSize     = 16
	// keySize is that of server.key and of what is derived from it, in bytes.
	keySize = 32

	// Overhead is how many bytes a sealed text is longer than the text.
	Overhead = 1 + saltSize + tagSize
)

// ErrSealed is wrapped by the error of what can't be opened: it was sealed under
// another key, for another purpose, bound to something else, or changed.
var ErrSealed = errors.New("it can't be opened with server.key or previous_keys")

// Options say how a Vault is made.
type Options struct {
	Store store.Store
	// Key is server.key, 32 bytes: it seals. What was sealed with one of
	// PreviousKeys is still opened.
	Key          []byte
	PreviousKeys [][]byte
	Now          func() time.Time // nil: time.Now
}

// Vault seals and opens. All methods may be called by many goroutines at once.
type Vault struct {
	store store.Store
	now   func() time.Time
	keys  []keys // the first seals
}

// keys are derived from one key of the server.
type keys struct {
	seal  []byte
	index []byte // of the names that fields have in the store
}

// New makes a vault.
func New(o Options) (*Vault, error) {
	v := &Vault{store: o.Store, now: o.Now}
	if v.now == nil {
		v.now = time.Now
	}
	for _, k := range append([][]byte{o.Key}, o.PreviousKeys...) {
		if len(k) != keySize {
			return nil, fmt.Errorf("the vault's key has %d bytes, it must have %d", len(k), keySize)
		}
		seal, err := hkdf.Key(sha256.New, k, nil, "weft vault", keySize)
		if err != nil {
			return nil, fmt.Errorf("derive the vault's key: %w", err)
		}
		index, err := hkdf.Key(sha256.New, k, nil, "weft vault index", keySize)
		if err != nil {
			return nil, fmt.Errorf("derive the vault's key of names: %w", err)
		}
		v.keys = append(v.keys, keys{seal: seal, index: index})
	}
	// What follows depends on sizes alone, so Seal can't fail where this doesn't.
	if _, _, err := v.keys[0].cipher("", make([]byte, saltSize)); err != nil {
		return nil, err
	}
	return v, nil
}

// cipher returns SM4-GCM with the key and the nonce of one text. The block cipher
// of gmsm computes in memory of its own and is not for two goroutines at once:
// each text gets a new one.
func (k keys) cipher(purpose string, salt []byte) (cipher.AEAD, []byte, error) {
	derived, err := hkdf.Key(sha256.New, k.seal, salt, purpose, sm4.BlockSize+nonceSize)
	if err != nil {
		return nil, nil, fmt.Errorf("derive the key of a text: %w", err)
	}
	aead, err := newGCM(derived[:sm4.BlockSize])
	return aead, derived[sm4.BlockSize:], err
}

// newGCM is SM4-GCM with a key of 16 bytes, for one goroutine.
func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := sm4.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("set up SM4: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("set up SM4-GCM: %w", err)
	}
	return aead, nil
}

// Seal seals plain. Purpose says what kind of thing it is, such as "field" or
// "session"; aad is what it is bound to, such as where it will stand. Open must be
// given both.
func (v *Vault) Seal(purpose string, plain, aad []byte) []byte {
	sealed := make([]byte, 1+saltSize, Overhead+len(plain))
	sealed[0] = sealVersion
	salt := sealed[1:]
	_, _ = rand.Read(salt) // never fails: crypto/rand
	aead, nonce, err := v.keys[0].cipher(purpose, salt)
	if err != nil {
		panic("vault: New has tried this: " + err.Error())
	}
	return aead.Seal(sealed, nonce, plain, bound(purpose, aad))
}

// Open opens what Seal has sealed, or says ErrSealed.
func (v *Vault) Open(purpose string, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < Overhead || sealed[0] != sealVersion {
		return nil, ErrSealed
	}
	salt, text := sealed[1:1+saltSize], sealed[1+saltSize:]
	data := bound(purpose, aad)
	for _, k := range v.keys {
		aead, nonce, err := k.cipher(purpose, salt)
		if err != nil {
			return nil, err
		}
		if plain, err := aead.Open(nil, nonce, text, data); err == nil {
			return plain, nil
		}
	}
	return nil, ErrSealed
}

// bound is the additional data of a text.
func bound(purpose string, aad []byte) []byte {
	return append(joined([]byte{sealVersion}, purpose), aad...)
}

// joined appends texts to b, each after its length, so that no two lists of texts
// are the same bytes.
func joined(b []byte, texts ...string) []byte {
	for _, text := range texts {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return b
}
