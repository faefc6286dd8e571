package redis

import (
	"context"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// expect waits for a message; "nil" is the word that some may be missing.
func expect(t *testing.T, heard <-chan string, want string) {
	t.Helper()
	select {
	case got := <-heard:
		if got != want {
			t.Fatalf("heard %q, want %q", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("heard nothing, want %q", want)
	}
}

func hear(t *testing.T, s *Store) <-chan string {
	t.Helper()
	heard := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	wait, err := s.Subscribe(ctx, "t", func(m []byte) {
		if m == nil {
			heard <- "nil"
			return
		}
		heard <- string(m)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); wait() })
	return heard
}

func publish(t *testing.T, s *Store, message string) {
	t.Helper()
	if err := s.Publish(t.Context(), "t", []byte(message)); err != nil {
		t.Fatal(err)
	}
}

// TestListenerIsToldThatItMissedSome: by a server that was killed, and by one that
// hung for longer than is waited for a sign of life.
func TestListenerIsToldThatItMissedSome(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}})
	heard := hear(t, s)
	publish(t, s, "a")
	expect(t, heard, "a")
	n.Kill()
	n.Restart()
	expect(t, heard, "nil")
	publish(t, s, "b")
	expect(t, heard, "b")

	// The pings of a quiet listener don't reach it.
	n.Until("the listener is quiet", quietFor(3*quiet))
	publish(t, s, "c")
	expect(t, heard, "c")

	n.Pause()
	time.AfterFunc((maxQuiet+2)*quiet, n.Resume)
	expect(t, heard, "nil")
	publish(t, s, "d")
	expect(t, heard, "d")
}

// TestListenersAcrossNodes: a message reaches listeners whose connections go to
// other nodes of a cluster, and those of a primary that is replaced.
func TestListenersAcrossNodes(t *testing.T) {
	c := redistest.StartCluster(t)
	a := openTest(t, Options{Mode: Cluster, Addrs: c.Addrs[:1]})
	b := openTest(t, Options{Mode: Cluster, Addrs: c.Addrs[2:3]})
	heardA, heardB := hear(t, a), hear(t, b)
	publish(t, a, "one")
	expect(t, heardA, "one")
	expect(t, heardB, "one")
	c.Primary(a.channel("t")).Kill()
	expect(t, heardA, "nil")
	expect(t, heardB, "nil")
	publish(t, b, "two")
	expect(t, heardA, "two")
	expect(t, heardB, "two")
}
