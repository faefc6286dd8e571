package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// names is a name server for every name, whose answer a test changes.
type names struct {
	mu sync.Mutex
	at []netip.Addr // IPv4
}

func (n *names) set(at ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at = nil
	for _, a := range at {
		n.at = append(n.at, netip.MustParseAddr(a))
	}
}

// answer answers a query of one question (RFC 1035, 4.1).
func (n *names) answer(query []byte) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root, type and class
	reply := append([]byte{}, query[:end]...)
	reply[2], reply[3] = 0x81, 0x80
	reply[6], reply[7], reply[8], reply[9], reply[10], reply[11] = 0, 0, 0, 0, 0, 0
	if query[end-3] != 1 { // no IPv4 is asked for
		return reply
	}
	reply[7] = byte(len(n.at))
	for _, a := range n.at {
		ip := a.As4()
		reply = append(append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4), ip[:]...)
	}
	return reply
}

// serveNames has the names of this process resolved by n until the test ends.
func serveNames(t *testing.T, n *names) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		buf := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(n.answer(buf[:size]), from)
		}
	})
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		_ = conn.Close()
		served.Wait()
	})
}

// TestFetchRebinding: a name that was where the upstream may be, and is elsewhere
// at the next request, leads nowhere.
func TestFetchRebinding(t *testing.T) {
	var reached, elsewhere atomic.Int32
	listen := func(address string, count *atomic.Int32) net.Listener {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { count.Add(1) }))
		_ = s.Listener.Close()
		s.Listener = ln
		s.Start()
		t.Cleanup(s.Close)
		return ln
	}
	port := listen("127.0.0.2:0", &reached).Addr().(*net.TCPAddr).Port
	listen("127.0.0.1:"+strconv.Itoa(port), &elsewhere) // the same port: only the address differs
	n := new(names)
	serveNames(t, n)
	u := client(t, "http://rebind.example:"+strconv.Itoa(port), func(c *UpstreamConfig) { c.Private = prefixes("127.0.0.2/32") })
	fetch := func() error {
		u.Close() // a kept connection resolves nothing
		_, err := u.Fetch(t.Context(), &FetchRequest{Method: "GET"})
		return err
	}
	n.set("127.0.0.2")
	if err := fetch(); err != nil || reached.Load() != 1 {
		t.Fatalf("where it may be: %v", err)
	}
	for _, at := range []string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "100.100.100.200"} { // a fifth would open the circuit
		if n.set(at); !errors.Is(fetch(), ErrFenced) {
			t.Errorf("%s is not fenced off", at)
		}
	}
	n.set("127.0.0.1", "127.0.0.2") // one of each: the one that is allowed is
	if err := fetch(); err != nil || reached.Load() != 2 {
		t.Errorf("one of two: %v", err)
	}
	public := client(t, "http://rebind.example:"+strconv.Itoa(port), func(c *UpstreamConfig) { c.Private = nil })
	for _, at := range []string{"127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200"} {
		n.set(at)
		if _, err := public.Fetch(t.Context(), &FetchRequest{Method: "GET"}); !errors.Is(err, ErrFenced) {
			t.Errorf("%s by name: %v", at, err)
		}
	}
	if elsewhere.Load() != 0 {
		t.Error("another address was reached")
	}
}
