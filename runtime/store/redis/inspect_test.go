package redis

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// inspectOne opens a store and inspects it.
func inspectOne(t *testing.T, o Options) Inspection {
	t.Helper()
	found, err := openTest(t, o).Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestInspect(t *testing.T) {
	n := redistest.Start(t, "--appendfsync", "everysec", "--maxmemory-policy", "allkeys-lru")
	found := inspectOne(t, Options{Addrs: []string{n.Addr}})
	if len(found.Primaries) != 1 || len(found.Sentinels) != 0 {
		t.Fatalf("got %+v", found)
	}
	s := found.Primaries[0]
	if s.Err != nil || s.Addr != n.Addr || s.Role != "master" || !strings.HasPrefix(s.Version, "7") && !strings.HasPrefix(s.Version, "8") {
		t.Errorf("got %+v", s)
	}
	if !s.AOF || s.AOFFails || s.Fsync != "everysec" || s.Eviction != "allkeys-lru" || s.Replicas != 0 || s.Behind != 0 || s.Cluster {
		t.Errorf("got %+v", s)
	}
	if s.Ahead.Abs() > s.Took+time.Second {
		t.Errorf("the clock of this machine is %v ahead of itself", s.Ahead)
	}
	if size := n.Do("dbsize"); size != "0" {
		t.Errorf("an inspection wrote %s keys", size)
	}
}

// TestInspectRented: a server that doesn't let CONFIG be asked tells the rest.
func TestInspectRented(t *testing.T) {
	n := redistest.Start(t, "--rename-command", "CONFIG", "")
	if s := inspectOne(t, Options{Addrs: []string{n.Addr}}).Primaries[0]; s.Err != nil || s.Fsync != "" || !s.AOF || s.Eviction != "noeviction" {
		t.Errorf("got %+v", s)
	}
}

func TestInspectSentinels(t *testing.T) {
	s := redistest.StartSentinels(t, 1)
	s.Guards[2].Kill()
	found := inspectOne(t, Options{Mode: Sentinel, Addrs: s.Addrs, Master: s.Master})
	if p := found.Primaries[0]; p.Err != nil || p.Addr != s.Nodes[0].Addr || p.Replicas != 1 || p.Fsync != "always" {
		t.Errorf("got %+v", p)
	}
	for i, g := range found.Sentinels {
		switch {
		case g.Addr != s.Addrs[i]:
			t.Errorf("Sentinel %d is %s", i, g.Addr)
		case i < 2 && (g.Err != nil || g.Primary != s.Nodes[0].Addr):
			t.Errorf("got %+v", g)
		case i == 2 && g.Err == nil:
			t.Error("the one that is away answered")
		}
	}
	if g := inspectOne(t, Options{Mode: Sentinel, Addrs: s.Addrs[:1], Master: "other"}); g.Sentinels[0].Err == nil || g.Primaries[0].Err == nil {
		t.Errorf("of a primary that nobody knows: %+v", g)
	}
}

func TestInspectCluster(t *testing.T) {
	c := redistest.StartCluster(t)
	found := inspectOne(t, Options{Mode: Cluster, Addrs: c.Addrs[:2]})
	if len(found.Primaries) != 3 {
		t.Fatalf("got %+v", found)
	}
	for _, s := range found.Primaries {
		if s.Err != nil || !s.Cluster || s.Broken || s.Replicas != 1 {
			t.Errorf("got %+v", s)
		}
	}
}

// TestInspectRefused: a wrong password is told as one, and stands in no error, nor
// does an address that nobody listens at take long.
func TestInspectRefused(t *testing.T) {
	n := redistest.Start(t, "--requirepass", "s3cret")
	for _, password := range []string{"", "wr0ng"} {
		s := inspectOne(t, Options{Addrs: []string{n.Addr}, Password: password}).Primaries[0]
		if !errors.Is(s.Err, ErrRefused) || password != "" && strings.Contains(s.Err.Error(), password) {
			t.Errorf("got %v", s.Err)
		}
	}
	n.Kill()
	var network *net.OpError
	if s := inspectOne(t, Options{Addrs: []string{n.Addr}}).Primaries[0]; !errors.As(s.Err, &network) {
		t.Errorf("got %v", s.Err)
	}
}

// TestExplained: a server that repeats what it was sent is not repeated.
func TestExplained(t *testing.T) {
	for said, want := range map[string]string{
		"ERR unknown command 'AUTH', with args beginning with: 's3cret'": ErrRefused.Error(),
		"LOADING Redis is loading the dataset in memory s3cret":          "it answered with the error LOADING",
		"s3cret\x1b[2J": "it answered with the error without a name",
	} {
		if got := explained(fmt.Errorf("ask: %w", replied(said))).Error(); got != want {
			t.Errorf("%q is told as %q", said, got)
		}
	}
}

type replied string

func (r replied) Error() string { return string(r) }

// RedisError is goredis.Error's.
func (replied) RedisError() {}

// TestInspectHostile: what a server says of itself is bounded, and has nothing that
// a terminal obeys.
func TestInspectHostile(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		text := "redis_version:7\x1b[2J" + strings.Repeat("9", 5000) + "\r\nrole:\x07master\r\nconnected_slaves:-4\r\n"
		buf := make([]byte, 4096)
		if _, err := conn.Read(buf); err == nil {
			_, _ = conn.Write([]byte("$" + strconv.Itoa(len(text)) + "\r\n" + text + "\r\n"))
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	s := inspectOne(t, Options{Addrs: []string{l.Addr().String()}}).Primaries[0]
	if s.Err == nil {
		t.Error("a server that went away told all")
	}
	if len(s.Version) > maxSaid || strings.ContainsAny(s.Version+s.Role, "\x1b\x07[") || s.Behind != 0 {
		t.Errorf("got %q %q", s.Version, s.Role)
	}
}

func FuzzInspect(f *testing.F) {
	f.Add("redis_version:7.0.15\r\nrole:master\r\nconnected_slaves:1\r\nslave0:ip=1,state=online,offset=1\r\n")
	f.Add("aof_enabled:1\r\naof_last_write_status:err\r\nmaxmemory_policy:noeviction")
	f.Add("role:\x1b")
	f.Fuzz(func(t *testing.T, text string) {
		var s Server
		s.take(text)
		for _, word := range []string{s.Version, s.Role, s.Eviction} {
			if word != plainWord(word) {
				t.Errorf("%q was kept", word)
			}
		}
		if s.Behind < 0 || s.Replicas < 0 {
			t.Errorf("%d replicas, %d behind", s.Replicas, s.Behind)
		}
	})
}
