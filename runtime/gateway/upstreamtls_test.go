package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestUpstreamTLS: an upstream is known by the certificate that the operator says,
// under the name that he says, and gets the host's own.
func TestUpstreamTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := len(r.TLS.PeerCertificates); n > 0 {
			_, _ = io.WriteString(w, "known ")
		}
		_, _ = io.WriteString(w, r.TLS.ServerName)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	own := tls.Certificate{Certificate: s.TLS.Certificates[0].Certificate, PrivateKey: s.TLS.Certificates[0].PrivateKey}
	for name, c := range map[string]struct {
		tls  *tls.Config
		want string // "!": an error with it
	}{
		"no certificate that is known": {nil, "!certificate signed by unknown authority"},
		"known":                        {&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ""},
		"under another name":           {&tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS12}, "example.com"},
		"not under that name":          {&tls.Config{RootCAs: roots, ServerName: "acme.cn", MinVersion: tls.VersionTLS12}, "!not acme.cn"},
		"with the host's own":          {&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}, "known "},
	} {
		u := client(t, s.URL, func(u *UpstreamConfig) { u.TLS = c.tls })
		answer, err := u.Post(t.Context(), new(Request))
		if text, fails := strings.CutPrefix(c.want, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %q, %v", name, answer.Body, err)
			}
		} else if err != nil || string(answer.Body) != c.want {
			t.Errorf("%s: %q, %v", name, answer.Body, err)
		}
	}
}

// TestPoolTLS: certificates that changed make another client, files that were read
// once more don't.
func TestPoolTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	config := func(change func(*tls.Config)) *tls.Config {
		c := &tls.Config{RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{{Certificate: [][]byte{{1}, {2}}}}, MinVersion: tls.VersionTLS12}
		c.RootCAs.AddCert(s.Certificate())
		if change != nil {
			change(c)
		}
		return c
	}
	p := testPool(t)
	settings := UpstreamConfig{Name: "tokens", URL: "https://127.0.0.1:1", Private: prefixes("127.0.0.0/8"), Timeout: 1, Connections: 1, TLS: config(nil)}
	first := open(t, p, settings)
	defer p.Close(first)
	settings.TLS = config(nil)
	if again := open(t, p, settings); again != first {
		t.Error("the same certificates made another client")
	}
	defer p.Close(first)
	for name, other := range map[string]*tls.Config{
		"none":                   nil,
		"another name":           config(func(c *tls.Config) { c.ServerName = "x" }),
		"the system's roots":     config(func(c *tls.Config) { c.RootCAs = nil }),
		"other roots":            config(func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }),
		"no certificate":         config(func(c *tls.Config) { c.Certificates = nil }),
		"another certificate":    config(func(c *tls.Config) { c.Certificates[0].Certificate = [][]byte{{1}, {3}} }),
		"a chain that goes on":   config(func(c *tls.Config) { c.Certificates[0].Certificate = [][]byte{{1}, {2}, {3}} }),
		"one certificate beside": config(func(c *tls.Config) { c.Certificates = append(c.Certificates, tls.Certificate{}) }),
	} {
		settings.TLS = other
		if u := open(t, p, settings); u == first {
			t.Errorf("%s: another one got the same client", name)
		} else {
			p.Close(u)
		}
	}
}
