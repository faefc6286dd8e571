package identity

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// withinOfKill is how soon after the death of a node its sessions go on elsewhere.
const withinOfKill = 5 * time.Second

// A user logs in on one host; the node of the cluster that has his session is
// killed; another host rotates his refresh token.
func TestClusterNodeKilled(t *testing.T) {
	nodes := redistest.StartCluster(t)
	host := func() *Sessions {
		return newSessions(t, openRedis(t, redis.Options{Mode: redis.Cluster, Addrs: nodes.Addrs}), nil, testKey(1))
	}
	a, b, c := host(), host(), testConfig()
	tokens, err := a.Begin(t.Context(), c, testUser)
	if err != nil {
		t.Fatal(err)
	}
	session, err := b.Verify(t.Context(), c, tokens.Token)
	if err != nil {
		t.Fatal(err)
	}
	id, err := readSessionID(session.ID)
	if err != nil {
		t.Fatal(err)
	}
	bucket, _ := id.place("shop")
	nodes.Primary("weft:{b:" + bucket + "}:v").Kill()
	killed := time.Now()
	next, err := b.Rotate(t.Context(), c, tokens.RefreshToken)
	took := time.Since(killed)
	if err != nil || took > withinOfKill {
		t.Fatalf("rotated %v after the kill: %v", took, err)
	}
	t.Logf("rotated %v after the kill", took)
	for _, h := range []*Sessions{a, b} {
		if _, err := h.Verify(t.Context(), c, next.Token); err != nil {
			t.Errorf("the rotated session: %v", err)
		}
	}
	_, err = a.Rotate(t.Context(), c, tokens.RefreshToken)
	refused(t, "the refresh token again", err)
	_, err = b.Verify(t.Context(), c, next.Token)
	refused(t, "the session after that", err)
}

// A store that stays away is waited for no longer than is promised.
func TestSteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, calls := time.Now(), 0
		err := steady(t.Context(), func() error { calls++; return store.ErrUnavailable })
		if took := time.Since(begun); !errors.Is(err, store.ErrUnavailable) || took < patience || took > patience+pause || calls < 49 || calls > 51 {
			t.Errorf("%d calls in %v: %v", calls, took, err)
		}
		for _, err := range []error{nil, ErrSession, store.ErrClosed, store.ErrNotFound} {
			calls = 0
			if got := steady(t.Context(), func() error { calls++; return err }); got != err || calls != 1 {
				t.Errorf("%v: %d calls, %v", err, calls, got)
			}
		}
	})
}
