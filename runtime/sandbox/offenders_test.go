package sandbox

import (
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
