package sandbox

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/weft-dev/weft/runtime/sandbox/fuel"
)

// TestFlights: who waits gets what the first one made; where that one gave up,
// another tries.
func TestFlights(t *testing.T) {
	want := new(fuel.Module)
	for _, test := range []struct {
		name  string
		first error
		runs  int
	}{
		{"good", nil, 1},
		{"bad", errors.New("refused"), 1},
		{"given up", context.Canceled, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f flights[string, *fuel.Module]
				runs, release := 0, make(chan struct{})
				go func() {
					_, err := f.do(t.Context(), "a", func() (*fuel.Module, error) {
						runs++
						<-release
						return want, test.first
					})
					if err != test.first {
						t.Errorf("the first got %v, want %v", err, test.first)
					}
				}()
				synctest.Wait()
				impatient, cancel := context.WithCancel(t.Context())
				cancel()
				if _, err := f.do(impatient, "a", nil); !errors.Is(err, context.Canceled) {
					t.Errorf("one without time got %v", err)
				}
				go func() {
					got, err := f.do(t.Context(), "a", func() (*fuel.Module, error) {
						runs++
						return want, nil
					})
					if got != want || (err != nil) != (test.name == "bad") {
						t.Errorf("the second got %v, %v", got, err)
					}
				}()
				synctest.Wait()
				close(release)
				synctest.Wait()
				if runs != test.runs || len(f.flying) > 0 {
					t.Errorf("%d runs, %d not landed; want %d, 0", runs, len(f.flying), test.runs)
				}
			})
		})
	}
}

// TestFlightsPanic: a panic of the host doesn't leave others waiting.
func TestFlightsPanic(t *testing.T) {
	var f flights[string, *fuel.Module]
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = f.do(t.Context(), "a", func() (*fuel.Module, error) { panic("oops") })
	}()
	if len(f.flying) > 0 {
		t.Error("it did not land")
	}
}
