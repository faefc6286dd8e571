package server

import (
	"net/http"
	"testing"
)

// TestBounds has an app with one place answer while that is taken: the next event
// is queued and run by a worker; what is counted and what the status says.
func TestBounds(t *testing.T) {
	h := startHost(t, writeConfig(t, probeSections(t,
		appYAML("shop", "encrypted", "limits: { inflight: 1, workers: 3 }\n")+appYAML("other", "encrypted", ""))))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	first := make(chan string)
	go func() { first <- h.say(t, "shop", "1", "wait") }()
	h.waitForState(t, "a/runs", "1")
	if got := h.say(t, "shop", "2", "wait"); got != "success" {
		t.Errorf("over the bound: %s", got)
	}
	h.waitForState(t, "a/runs", "2")
	if got := h.say(t, "other", "1", "echo hi"); got != "hi" {
		t.Errorf("another app: %s", got)
	}
	b := h.status(t).Bounds
	if b.Inflight != 1 || b.MaxInflight != 4096 || b.Runs != 1 || b.Workers < b.MinWorkers || b.MaxWorkers < b.Workers || len(b.Apps) != 2 {
		t.Errorf("status %+v", b)
	}
	shop := b.Apps[1]
	if shop != (appBoundsStatus{App: "shop", Inflight: 1, Kept: 1, MaxInflight: 1, Runs: 1, MaxRuns: 3}) {
		t.Errorf("status %+v", shop)
	}
	for name, want := range map[string]map[string]int{
		"weft_inflight":       {`app="shop"`: 1, `app="other"`: 0},
		"weft_durable_runs":   {`app="shop"`: 1, `app="other"`: 0},
		"weft_overflow_total": {`app="shop",what="queued"`: 1},
	} {
		got := h.metric(t, name)
		for labels, n := range want {
			if got[labels] != n {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
	}
	if lines := h.log.lines(t, "event over a bound"); len(lines) != 1 || lines[0]["app"] != "shop" || lines[0]["what"] != "queued" {
		t.Errorf("logged %v", lines)
	}
	h.setState(t, "a/open", "1")
	if got := <-first; got == "success" {
		t.Error("the first event has no reply")
	}
}
