package server

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUpstreamOfAnAuthority: a service behind the operator's own certificate
// authority is reached with its file, as the file is when the configuration is
// loaded; a file that is of no use is a problem that says which.
func TestUpstreamOfAnAuthority(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"text":{"content":"sealed"}}`)
	}))
	defer s.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	file := writeConfig(t, "upstreams:\n"+upstreamYAML("orders", s.URL, ", secret: s3cret, tls: { ca: ca.pem }")+
		"apps:\n"+appYAML("shop", "encrypted", "")+
		"pipeline: { stages: [ { forward: { to: orders, as: json }, on_error: { reply: { text: sorry } } } ] }\n")
	authority := filepath.Join(filepath.Dir(file), "ca.pem")
	problems := func() string {
		t.Helper()
		checked, err := Check(t.Context(), file, false)
		if err != nil {
			t.Fatal(err)
		}
		return checked.Problems.Error()
	}
	if got := problems(); !strings.Contains(got, "upstream orders: tls: ca: open "+authority+": no such file or directory") {
		t.Errorf("without the file: %s", got)
	}
	if err := os.WriteFile(authority, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := problems(); !strings.Contains(got, "upstream orders: tls: ca: there is no certificate in it") {
		t.Errorf("without a certificate: %s", got)
	}
	if err := os.WriteFile(authority, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := problems(); got != "" {
		t.Errorf("with one: %s", got)
	}
	h := startHost(t, file)
	if said := h.say(t, "shop", "1", "hello"); said != "sealed" {
		t.Errorf("the user gets %q", said)
	}
}
