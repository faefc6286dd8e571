package sandbox

import (
	"fmt"
	"testing"
	"time"
)

// TestOffendersRemembered: what is known of a user stays as others fill the table,
// until it has turned over twice.
func TestOffendersRemembered(t *testing.T) {
	const user, now = 1, time.Hour
	others := func(o *offenders, from, n int) {
		for i := range n {
			o.fail(uint64(from+i), now)
		}
	}
	for _, tt := range []struct {
		name   string
		others int // after the second failure
		skip   bool
	}{
		{"no others", 0, true},
		{"half a table", maxOffenders / 2, true},
		{"two tables", 2 * maxOffenders, false},
	} {
		var o offenders
		o.fail(user, now)
		o.fail(user, now)
		others(&o, 10, tt.others)
		if skip := o.fail(user, now); skip != tt.skip || o.skipped(user, now) != tt.skip {
			t.Errorf("%s: the third failure skips: %v, want %v", tt.name, skip, tt.skip)
		}
	}
	var o offenders
	for range skipAfter {
		o.fail(user, now)
	}
	others(&o, 10, maxOffenders/2)
	if !o.skipped(user, now) {
		t.Error("a skip was forgotten")
	}
	o.fail(user, now) // of a call that was under way
	others(&o, 10_000, maxOffenders/2)
	if !o.skipped(user, now) {
		t.Error("a skip was forgotten, although the user failed again")
	}
}

// TestUserSkipped holds the rule: three failures within a minute, skipped for a
// minute, in one plugin and app.
func TestUserSkipped(t *testing.T) {
	testFuse(t, func(t fuseTest) {
		t.calls(100, 10, verdictGood)
		fail := func(want string) {
			t.Helper()
			if refused := t.call("poison", verdictFailed); refused != want {
				t.Fatalf("refused %q, want %q", refused, want)
			}
		}
		// Three in a minute and a little: not skipped.
		for range 6 {
			fail("")
			time.Sleep(30 * time.Second)
		}
		time.Sleep(time.Minute)
		fail("")
		time.Sleep(30 * time.Second)
		fail("")
		t.call("poison", verdictGood) // doesn't forgive
		time.Sleep(30*time.Second - 1)
		fail("")
		if h := t.f.health(); h.State != Healthy || h.Skipped != 1 {
			t.Fatalf("%+v", h)
		}
		before := t.one.health()
		for range 1000 {
			fail(textSkipped)
		}
		if refused := t.call("honest", verdictGood); refused != "" {
			t.Fatalf("another user: %s", refused)
		}
		if h := t.one.health(); h.Failed != before.Failed {
			t.Errorf("skipped calls count: %+v, before %+v", h, before)
		}
		time.Sleep(time.Minute - 1)
		fail(textSkipped)
		time.Sleep(time.Nanosecond)
		if h := t.f.health(); h.Skipped != 0 {
			t.Errorf("%+v", h)
		}
		// He begins anew.
		fail("")
		fail("")
		fail("")
		fail(textSkipped)
		// After all skips the cheap way is open again.
		time.Sleep(time.Minute)
		t.call("honest", verdictGood)
		if t.one.skips.Load() {
			t.Error("looks for skipped users where there is none")
		}
	})
}

// TestUserSkippedUnderWay: calls of a user that end as he is already skipped
// count neither for him nor for the window.
func TestUserSkippedUnderWay(t *testing.T) {
	testFuse(t, func(t fuseTest) {
		var under []ticket
		for range 50 {
			one, _ := t.one.admit("poison", new(edition))
			under = append(under, one)
		}
		for _, one := range under {
			one.done(verdictFailed)
		}
		if h := t.one.health(); h.Failed != 3 || h.Skipped != 1 {
			t.Errorf("%+v", h)
		}
		time.Sleep(time.Minute)
		if refused := t.call("poison", verdictFailed); refused != "" {
			t.Error(refused)
		}
		if refused := t.call("poison", verdictFailed); refused != "" {
			t.Error(refused)
		}
	})
}

// TestPoison: one user, or four, with poison messages at any rate never take a
// plugin from the others, who send few.
func TestPoison(t *testing.T) {
	for _, poisoners := range []int{1, 4} {
		testFuse(t, func(t fuseTest) {
			for i := range 20_000 {
				for n := range poisoners {
					t.call(fmt.Sprint("poison", n), verdictFailed)
				}
				if i%100 == 0 {
					if refused := t.call(fmt.Sprint("honest", i%7), verdictGood); refused != "" {
						t.Fatalf("after %d: %s", i, refused)
					}
				}
				time.Sleep(50 * time.Millisecond)
			}
			t.want(Healthy)
		})
	}
}

// TestNoUser: events without a user are nobody's to skip.
func TestNoUser(t *testing.T) {
	testFuse(t, func(t fuseTest) {
		for range 1000 {
			if refused := t.call("", verdictFailed); refused != "" {
				t.Fatal(refused)
			}
		}
		t.want(Healthy) // one user
		if h := t.one.health(); h.Failed != 100 || h.Skipped != 0 {
			t.Errorf("%+v", h)
		}
	})
}
