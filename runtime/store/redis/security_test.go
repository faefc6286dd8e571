package redis

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// TestPasswords: a wrong one, none, and a user who may not do all; no error shows
// one.
func TestPasswords(t *testing.T) {
	n := redistest.Start(t)
	n.Do("acl", "setuser", "weft", "on", ">s3cret", "~weft:*", "&weft:*", "+@all", "-@dangerous", "+info")
	n.Do("acl", "setuser", "default", "off")
	open := func(user, password, prefix string) *Store {
		return openTest(t, Options{Addrs: []string{n.Addr}, Username: user, Password: password, Prefix: prefix})
	}
	s := open("weft", "s3cret", "")
	if err := set(s, "k"); err != nil {
		t.Fatal(err)
	}
	publish(t, s, "m")
	report, err := s.Survey(t.Context())
	if err != nil || len(report) != 1 || !report[0].AppendOnly || report[0].Fsync != "" {
		t.Errorf("the report of one who may not ask: %+v, %v", report, err)
	}
	for _, s := range []*Store{open("weft", "wr0ng", ""), open("", "", ""), open("weft", "s3cret", "theirs")} {
		began := time.Now()
		err := set(s, "k")
		if !errors.Is(err, store.ErrUnavailable) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("a refusal was tried again for %v: %v", took, err)
		}
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	roots := certificate(t, dir)
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	_, port, _ := net.SplitHostPort(freeAddr(t))
	n := redistest.Start(t, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
	addr := net.JoinHostPort("127.0.0.1", port)
	if err := set(openTest(t, Options{Addrs: []string{addr}, TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}), "k"); err != nil {
		t.Errorf("with TLS: %v", err)
	}
	for name, o := range map[string]Options{
		"a certificate that isn't known": {Addrs: []string{addr}, TLS: &tls.Config{MinVersion: tls.VersionTLS12}},
		"a server without TLS":           {Addrs: []string{n.Addr}, TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
		"no TLS":                         {Addrs: []string{addr}},
	} {
		o.Timeout = 500 * time.Millisecond
		if err := set(openTest(t, o), "k"); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// certificate writes a certificate for 127.0.0.1 and its key to dir.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, data := range map[string][]byte{"cert": cert, "key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return roots
}
