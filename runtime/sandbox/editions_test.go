package sandbox

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"
)

// TestNewModuleTried: a module that is new under a fused name has a trial at
// once, and its own backoff; the old one has none any more.
func TestNewModuleTried(t *testing.T) {
	testFuse(t, func(t fuseTest) {
		user := 0
		admit := func(of edition) (ticket, string) {
			user++
			return t.one.admit(fmt.Sprint("someone", user), &of)
		}
		mustTry := func(of edition) ticket {
			t.Helper()
			trial, refused := admit(of)
			if refused != "" {
				t.Fatal("no trial: ", refused)
			}
			return trial
		}
		mustWait := func(of edition) {
			t.Helper()
			if _, refused := admit(of); refused != textFused {
				t.Fatalf("%d is let in", of.number)
			}
		}
		digest := func(s string) [sha256.Size]byte { return sha256.Sum256([]byte(s)) }

		first := t.f.load(digest("1"))
		for i := range 20 {
			ticket, _ := t.one.admit(fmt.Sprint("user", i), &first)
			ticket.done(verdictFailed)
		}
		t.want(Fused)
		for range 4 { // the next pause is 16 s
			time.Sleep(maxTrialPause)
			mustTry(first).done(verdictFailed)
		}
		mustWait(first)
		mustWait(t.f.load(digest("1"))) // it is no other module

		time.Sleep(maxTrialPause)
		old := mustTry(first)
		second := t.f.load(digest("2"))
		trial := mustTry(second)
		mustWait(second) // one at a time
		mustWait(first)
		old.done(verdictGood) // tells nothing of the second
		t.want(Fused)
		trial.done(verdictFailed)
		mustWait(second)
		time.Sleep(trialPause)
		mustWait(first)
		mustTry(second).done(verdictFailed)

		// Back to the first, which is as good as new, and well now.
		third := t.f.load(digest("1"))
		if third.number <= second.number {
			t.Fatalf("the first is number %d as it comes again", third.number)
		}
		for range trialsToClose {
			mustTry(third).done(verdictGood)
		}
		t.want(Healthy)
	})
}

// TestMendedPlugin: the module that is loaded in place of a fused one is called
// at once.
func TestMendedPlugin(t *testing.T) {
	s := newSandbox(t, Options{})
	bad := watSpec(t, "trap", "")
	old := load(t, s, bad)
	for i := range 20 {
		if _, err := handle(old, userCall('f', i)); err == nil {
			t.Fatal("no trap")
		}
	}
	if _, err := handle(old, userCall('0', 100)); err == nil || callError(t, err).Reason() != "fused" {
		t.Fatalf("not fused: %v", err)
	}
	again := load(t, s, bad)
	if _, err := handle(again, userCall('0', 101)); err == nil || callError(t, err).Reason() != "fused" {
		t.Errorf("the same module, loaded again: %v", err)
	}
	good := watSpec(t, "empty", "")
	good.Name = bad.Name
	mended := load(t, s, good)
	for i := range trialsToClose {
		if _, err := handle(mended, userCall('0', 200+i)); err != nil {
			t.Errorf("the mended module: %v", err)
		}
	}
	if h := mended.Health(); h.State != Healthy {
		t.Errorf("%+v", h)
	}
}
