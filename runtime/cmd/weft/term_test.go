package main

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestTermUnderLoad stops the host with SIGTERM in the middle of a load: it
// exits with 0, each request that it took got its proper answer, each write
// behind an answer is there once, and each event that was acknowledged while it
// ran has ended.
func TestTermUnderLoad(t *testing.T) {
	dir := ledgerFolder(t)
	serve := []string{weftBinary(t), "serve", "-c", "pipeline.yaml"}
	h := startHost(t, dir, serve...)
	slow := sendSlow(t, h, 0, 10)
	put := loadUntilTerm(t, h, 200)
	logged := h.logs.String()
	if !strings.Contains(logged, `"msg":"stopped"`) || strings.Contains(logged, `"level":"ERROR"`) {
		t.Errorf("the log ends with\n%s", tail(logged))
	}
	for _, secret := range []string{testToken, testAESKey, "msg_signature"} {
		if strings.Contains(logged, secret) {
			t.Errorf("the log has %s in it", secret)
		}
	}

	last := startHost(t, dir, serve...)
	ask := asker(t, last)
	for _, key := range append(put, slow...) {
		if got := ask(key); got != "1" {
			t.Errorf("%s was answered before the stop; after it the store has %q, want 1", key, got)
		}
	}
	if err := last.terminate(); err != nil {
		t.Errorf("weft serve after SIGTERM: %v, want exit status 0\n%s", err, last.logs)
	}
}

// loadUntilTerm puts keys from eight users at once, stops the host once enough
// were answered, and returns the keys that were. A request that got no answer is
// one that came when the host took no more.
func loadUntilTerm(t *testing.T, h *host, enough int64) []string {
	t.Helper()
	var (
		mu       sync.Mutex
		answered []string
		count    atomic.Int64
		all      sync.WaitGroup
	)
	for user := range 8 {
		all.Go(func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("t%d-%d", user, i)
				said, err := h.text(fmt.Sprintf("o%d", user), fmt.Sprintf("%d%06d", user+1, i), "put "+key)
				if err != nil {
					if strings.Contains(err.Error(), "status") || count.Load() < enough {
						t.Errorf("put %s: %v", key, err)
					}
					return
				}
				if said == "broken" {
					continue // failed, so not written
				}
				mu.Lock()
				answered = append(answered, key)
				mu.Unlock()
				if count.Add(1) == enough {
					all.Go(func() {
						if err := h.terminate(); err != nil {
							t.Errorf("weft serve after SIGTERM: %v, want exit status 0\n%s", err, tail(h.logs.String()))
						}
					})
				}
			}
		})
	}
	all.Wait()
	return answered
}
