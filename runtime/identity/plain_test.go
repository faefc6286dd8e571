package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
	"github.com/weft-dev/weft/runtime/vault"
)

func setValue(t testing.TB, s store.Store, bucket, key string, value []byte) {
	t.Helper()
	if _, err := s.Apply(t.Context(), store.Op{Kind: store.Set, Bucket: bucket, Key: key, Value: value}); err != nil {
		t.Fatal(err)
	}
}

// secrets leaves in s what the host has of a user, and a mark in plain that a search
// must find. It returns what a search must not find.
func secrets(t *testing.T, s store.Store) (mark string, list map[string]string) {
	const phone, sessionKey = "13800138000", "HyVFkGl5F5OQWJZZaNzBBg=="
	raw, err := base64.StdEncoding.DecodeString(sessionKey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.New(vault.Options{Store: s, Key: testKey(1)})
	if err != nil {
		t.Fatal(err)
	}
	for field, value := range map[string]string{vault.Phone: phone, vault.SessionKey: sessionKey} {
		if err := v.Put(t.Context(), "shop", testUser.OpenID, field, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
		if got, err := v.Get(t.Context(), "shop", testUser.OpenID, field); err != nil || string(got) != value {
			t.Errorf("%s: %v", field, err)
		}
	}
	sessions := newSessions(t, s, nil, testKey(1))
	tokens, err := sessions.Begin(t.Context(), testConfig(), testUser)
	if err != nil {
		t.Fatal(err)
	}
	next, err := sessions.Rotate(t.Context(), testConfig(), tokens.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	mark = "a text that is not sealed"
	setValue(t, s, "test", "mark", []byte(mark))
	return mark, map[string]string{
		"the phone number": phone, "its last digits": phone[3:], "the session_key": sessionKey, "its bytes": string(raw), "its hex": hex.EncodeToString(raw),
		"the openid": testUser.OpenID, "the unionid": testUser.UnionID, "a token": tokens.Token, "a refresh token": next.RefreshToken,
		"a refresh token's secret": next.RefreshToken[22:64], "the server's key": string(testKey(1)),
	}
}

// search looks for what must not be in the files of dir.
func search(t *testing.T, dir, mark string, list map[string]string) {
	marked := false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		marked = marked || bytes.Contains(b, []byte(mark))
		for name, secret := range list {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s has %s in plain", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !marked {
		t.Errorf("nothing in %s has what was kept in plain: the search reads it wrongly", dir)
	}
}

func TestNothingInPlain(t *testing.T) {
	t.Run("bolt", func(t *testing.T) {
		dir := t.TempDir()
		s := openBolt(t, dir, nil)
		mark, list := secrets(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		search(t, dir, mark, list)
	})
	t.Run("redis", func(t *testing.T) {
		node := redistest.Start(t, "--rdbcompression", "no", "--aof-use-rdb-preamble", "no")
		mark, list := secrets(t, openRedis(t, redis.Options{Addrs: []string{node.Addr}}))
		node.Do("save")
		dir := strings.TrimSuffix(strings.TrimPrefix(node.Do("config", "get", "dir"), "[dir "), "]")
		search(t, dir, mark, list)
		dump, err := os.ReadFile(filepath.Join(dir, "dump.rdb"))
		if err != nil || !bytes.Contains(dump, []byte(mark)) {
			t.Errorf("the dump is %d bytes, without what was kept in plain: %v", len(dump), err)
		}
	})
}
