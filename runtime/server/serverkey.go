package server

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/weft-dev/weft/runtime/config"
)

const (
	// keyFile is where a host without server.key keeps one, in server.data.
	keyFile = "server.key"
	// keySize is a server key's, in bytes.
	keySize = 32
)

// serverKey is server.key or, where there is none, the host's own.
func serverKey(cfg *config.Config) ([]byte, error) {
	if cfg.Server.Key != nil {
		return cfg.Server.Key, nil
	}
	return ownKey(cfg.Server.Data)
}

// ownKey returns the key of a host whose configuration has none: the one in
// data, which is made at the first start, for the host's user alone. Its errors
// hold nothing of it.
func ownKey(data string) ([]byte, error) {
	path := filepath.Join(data, keyFile)
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key = make([]byte, keySize)
	rand.Read(key) // never fails: crypto/rand ends the process instead
	if err := writeKey(path, key); err != nil {
		return nil, fmt.Errorf("making a key for server.key: %w", err)
	}
	return readKey(path) // another process may have been first
}

func readKey(path string) ([]byte, error) {
	raw, err := readAtMost(path, 256)
	if err != nil {
		return nil, fmt.Errorf("reading the host's key: %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("%s does not hold a key, %d bytes in base64: restore it from a backup; without it what it sealed is lost: remove it, and tokens are fetched again, users log in again", path, keySize)
	}
	return key, nil
}

// writeKey puts a key at path, whole or not at all; a file that is there stays.
func writeKey(path string, key []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), keyFile+".new-") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // its second name is gone, or its only one
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(filepath.Dir(path))
}
