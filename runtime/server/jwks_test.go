package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestKeysOfSessions: whoever verifies sessions gets the public keys, and no other
// part of them.
func TestKeysOfSessions(t *testing.T) {
	l := newLoginTown(t, 1)
	w := l.ask(0, http.MethodGet, "/.well-known/jwks.json", "")
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil || w.Code != http.StatusOK || len(set.Keys) != 1 {
		t.Fatalf("status %d, %v: %s", w.Code, err, w.Body)
	}
	if k := set.Keys[0]; k["kty"] != "OKP" || k["crv"] != "Ed25519" || k["alg"] != "EdDSA" || k["x"] == "" || k["d"] != "" {
		t.Errorf("the key is %v", k)
	}
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "application/jwk-set+json") {
		t.Errorf("the type is %s", got)
	}
	if w := l.ask(0, http.MethodPost, "/.well-known/jwks.json", ""); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", w.Code)
	}
}
