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
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

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
	pair := certificate(t, "redis.test")
	n := redistest.Start(t, pair.options()...)
	named := &tls.Config{RootCAs: pair.roots, ServerName: "redis.test", MinVersion: tls.VersionTLS12}
	if err := set(openTest(t, Options{Addrs: []string{n.TLSAddr}, TLS: named}), "k"); err != nil {
		t.Errorf("with TLS: %v", err)
	}
	for name, o := range map[string]Options{
		"a certificate that isn't known": {Addrs: []string{n.TLSAddr}, TLS: &tls.Config{ServerName: "redis.test", MinVersion: tls.VersionTLS12}},
		"another server's name":          {Addrs: []string{n.TLSAddr}, TLS: pair.config()},
		"a server without TLS":           {Addrs: []string{n.Addr}, TLS: named},
		"no TLS":                         {Addrs: []string{n.TLSAddr}},
	} {
		o.Timeout = 500 * time.Millisecond
		if err := set(openTest(t, o), "k"); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What users need, as the README says it. A Sentinel that refuses the channels is
// asked only when a connection fails.
var (
	userRules     = []any{"~weft:*", "&weft:*", "+@all", "-@dangerous", "+info", "+config|get"}
	sentinelRules = "&+switch-master &+replica-reconf-done +sentinel|get-master-addr-by-name +sentinel|sentinels +subscribe +ping"
)

// asUser is what makes the user weft at nodes.
func asUser(nodes ...*redistest.Node) {
	for _, n := range nodes {
		n.Do(append([]any{"acl", "setuser", "weft", "on", ">s3cret"}, userRules...)...)
	}
}

// nothingDenied checks that nodes have refused nothing to weft.
func nothingDenied(t *testing.T, nodes ...*redistest.Node) {
	t.Helper()
	for _, n := range nodes {
		if log := n.Do("acl", "log"); log != "[]" {
			t.Errorf("%s has refused: %.500s", n.Addr, log)
		}
	}
}

// allowed makes each kind of call.
func allowed(t *testing.T, s *Store) {
	t.Helper()
	for name, err := range calls(t.Context(), s) {
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Ack(t.Context(), "q", claimOne(t, s)); err != nil {
		t.Error(err)
	}
	heard := hear(t, s)
	publish(t, s, "m")
	expect(t, heard, "m")
	all, err := s.Inspect(t.Context())
	if err != nil {
		t.Error(err)
	}
	for _, p := range all.Primaries {
		if p.Err != nil || p.Fsync != "always" || p.Replicas != 1 {
			t.Errorf("%+v", p)
		}
	}
	for _, g := range all.Sentinels {
		if g.Err != nil || g.Primary == "" {
			t.Errorf("%+v", g)
		}
	}
	if found, err := s.Survey(t.Context()); err != nil || found[0].Fsync != "always" || found[0].Replicas != 1 {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestSecureSentinels: TLS everywhere, passwords of their own for Sentinels and
// primary, and no more rights than the README says.
func TestSecureSentinels(t *testing.T) {
	pair := certificate(t, "")
	secure := append(pair.options(), "--tls-replication", "yes")
	primary := redistest.Start(t, secure...)
	host, port, _ := net.SplitHostPort(primary.TLSAddr)
	replica := redistest.Start(t, append(secure, "--replicaof", host+" "+port)...)
	primary.Info("replication", "state=online")
	replica.Info("replication", "master_link_status:up")
	asUser(primary, replica)
	_, guardPort, _ := net.SplitHostPort(freeAddr(t))
	guard := redistest.StartSentinel(t, primary.TLSAddr, "tls-port "+guardPort, "tls-replication yes", "tls-auth-clients no",
		"tls-cert-file "+pair.cert, "tls-key-file "+pair.key, "tls-ca-cert-file "+pair.cert, "user weft on >gu4rd "+sentinelRules)
	guard.Info("sentinel", "slaves=1")
	o := Options{
		Mode: Sentinel, Addrs: []string{net.JoinHostPort(host, guardPort)}, Master: "main", TLS: pair.config(),
		Username: "weft", Password: "s3cret", SentinelUsername: "weft", SentinelPassword: "gu4rd",
	}
	s := openTest(t, o)
	allowed(t, s)
	// Sentinels tell of a failover by a subscription.
	guard.Until("it is listened to", func(c *goredis.Client) (bool, error) {
		text, err := c.Do(t.Context(), "client", "list", "type", "pubsub").Text()
		return strings.Contains(text, " sub=2 ") && strings.Contains(text, " user=weft "), err
	})
	guard.Until("its listener has asked whether it lives", quietFor(4*time.Second))
	nothingDenied(t, guard, primary, replica)

	for name, wrong := range map[string]func(*Options){
		"a Sentinel's password": func(o *Options) { o.SentinelPassword = "wr0ng" },
		"a primary's password":  func(o *Options) { o.Password = "wr0ng" },
		"no TLS":                func(o *Options) { o.TLS = nil },
	} {
		bad := o
		wrong(&bad)
		bad.Timeout = 500 * time.Millisecond
		err := set(openTest(t, bad), "k")
		if !errors.Is(err, store.ErrUnavailable) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "wr0ng") || strings.Contains(err.Error(), "gu4rd") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSecureCluster is TestSecureSentinels for a cluster.
func TestSecureCluster(t *testing.T) {
	pair := certificate(t, "")
	c := redistest.StartCluster(t, append(pair.options(), "--tls-cluster", "yes", "--tls-replication", "yes")...)
	asUser(c.Nodes...)
	o := Options{Mode: Cluster, Addrs: []string{c.Nodes[1].TLSAddr}, TLS: pair.config(), Username: "weft", Password: "s3cret"}
	s := openTest(t, o)
	allowed(t, s)
	for i := range 20 { // all of the primaries
		if _, err := s.Apply(t.Context(), store.Op{Kind: store.Set, Bucket: fmt.Sprint(i), Key: "k"}); err != nil {
			t.Error(err)
		}
	}
	nothingDenied(t, c.Nodes...)
	o.Password, o.Timeout = "wr0ng", 500*time.Millisecond
	if err := set(openTest(t, o), "k"); !errors.Is(err, store.ErrUnavailable) || strings.Contains(err.Error(), "wr0ng") {
		t.Error(err)
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

// keyPair is a certificate in files, and what believes it.
type keyPair struct {
	cert, key string
	roots     *x509.CertPool
}

// options are a server's, besides its port.
func (k keyPair) options() []string {
	return []string{"--tls-cert-file", k.cert, "--tls-key-file", k.key, "--tls-ca-cert-file", k.cert, "--tls-auth-clients", "no"}
}

func (k keyPair) config() *tls.Config {
	return &tls.Config{RootCAs: k.roots, MinVersion: tls.VersionTLS12}
}

// certificate makes one for a name, or for 127.0.0.1 where that is empty.
func certificate(t *testing.T, name string) keyPair {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if name != "" {
		template.DNSNames = []string{name}
	} else {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
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
	pair := keyPair{cert: filepath.Join(dir, "cert"), key: filepath.Join(dir, "key"), roots: x509.NewCertPool()}
	pair.roots.AppendCertsFromPEM(cert)
	return pair
}
