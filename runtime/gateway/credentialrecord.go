package gateway

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// A credential in the store is a version, then what AES-256-GCM makes of the
// record, its random nonce first. Its additional data is the version and the key
// of the store that it stands under.
const (
	recordVersion = 1
	recordHead    = 8 + 8 + 8 // fence, expiry and time of fetching, the two in Unix milliseconds
	// serverKeySize is that of server.key, in bytes.
	serverKeySize = 32
)

var errSealed = errors.New("it can't be opened with server.key or previous_keys")

// sealer seals and opens credentials with the host's keys.
type sealer struct {
	aeads []cipher.AEAD // the first seals
	mark  []byte        // key of fingerprints
}

// newSealer derives the keys. Each of keys has 32 bytes.
func newSealer(key []byte, previous [][]byte) (*sealer, error) {
	s := &sealer{}
	for _, k := range append([][]byte{key}, previous...) {
		if len(k) != serverKeySize {
			return nil, fmt.Errorf("the server's key has %d bytes, it must have %d", len(k), serverKeySize)
		}
		derived, err := hkdf.Key(sha256.New, k, nil, "weft credential", 32)
		if err != nil {
			return nil, fmt.Errorf("derive the key of credentials: %w", err)
		}
		block, err := aes.NewCipher(derived)
		if err != nil {
			return nil, fmt.Errorf("derive the key of credentials: %w", err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("derive the key of credentials: %w", err)
		}
		s.aeads = append(s.aeads, aead)
	}
	mark, err := hkdf.Key(sha256.New, key, nil, "weft credential settings", 32)
	if err != nil {
		return nil, fmt.Errorf("derive the key of fingerprints: %w", err)
	}
	s.mark = mark
	return s, nil
}

// fingerprint tells settings apart for hosts that have the key, and says nothing
// of them to anybody else.
func (s *sealer) fingerprint(settings ...string) []byte {
	mac := hmac.New(sha256.New, s.mark)
	for _, text := range settings {
		_ = binary.Write(mac, binary.BigEndian, uint64(len(text))) // a hash takes all
		mac.Write([]byte(text))
	}
	return mac.Sum(nil)[:8]
}

// held is a credential with what is known of it. It isn't changed.
type held struct {
	Credential
	fence    uint64    // of the lock under which it was fetched; 0: without one
	fetched  time.Time // as the host that did it saw it
	due      time.Time // when a new one is asked for
	previous string    // the value that it took the place of here
	unstored bool      // the store doesn't have it yet
}

// newer tells whether h was fetched later than o. Fences say so, but that they
// begin anew with a store that lost them.
func (h *held) newer(o *held) bool { return h.fence > o.fence || h.fetched.After(o.fetched) }

func (s *sealer) seal(key string, h *held) []byte {
	record := make([]byte, recordHead, recordHead+len(h.Value))
	binary.BigEndian.PutUint64(record, h.fence)
	binary.BigEndian.PutUint64(record[8:], uint64(h.Expires.UnixMilli()))
	binary.BigEndian.PutUint64(record[16:], uint64(h.fetched.UnixMilli()))
	record = append(record, h.Value...)
	return s.aeads[0].Seal([]byte{recordVersion}, nil, record, recordData(key))
}

// recordData is what a sealed record is bound to.
func recordData(key string) []byte { return append([]byte{recordVersion}, key...) }

// open reads a record that stands under key.
func (s *sealer) open(key string, sealed []byte) (*held, error) {
	if len(sealed) == 0 || sealed[0] != recordVersion {
		return nil, errSealed
	}
	for _, aead := range s.aeads {
		record, err := aead.Open(nil, nil, sealed[1:], recordData(key))
		if err == nil {
			return decodeRecord(record)
		}
	}
	return nil, errSealed
}

// decodeRecord reads what was sealed.
func decodeRecord(b []byte) (*held, error) {
	if len(b) < recordHead {
		return nil, errSealed
	}
	h := &held{
		fence:      binary.BigEndian.Uint64(b),
		fetched:    time.UnixMilli(int64(binary.BigEndian.Uint64(b[16:]))),
		Credential: Credential{Value: string(b[recordHead:]), Expires: time.UnixMilli(int64(binary.BigEndian.Uint64(b[8:])))},
	}
	if err := checkCredentialValue(h.Value); err != nil {
		return nil, err
	}
	return h, nil
}
