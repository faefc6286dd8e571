package sandbox

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// fuelEvents is how many events each host gets in the tests of fuel.
func fuelEvents() int {
	if os.Getenv("WEFT_BARS") != "" {
		return 10_000
	}
	return 500
}

// sameOptions are those of a host whose clock and randomness are the same as any
// other's: each look at the clock finds a microsecond more.
func sameOptions() Options {
	now := time.Unix(1_800_000_000, 0)
	return Options{
		Now: func() time.Time {
			now = now.Add(time.Microsecond)
			return now
		},
		Rand: rand.NewChaCha8([32]byte{1, 2, 3}),
	}
}

// variedCall is the event number i of a history: short ones and long ones, with
// fields and annotations, some of which make state calls, log or fail.
func variedCall(i int) *Call {
	random := rand.New(rand.NewPCG(7, uint64(i)))
	call := userCall('0', i)
	call.Event.ID = fmt.Sprintf("%032x", i)
	call.Event.From = fmt.Sprint("oFrom", random.IntN(500))
	call.Event.Content = strings.Repeat("word ", 1+random.IntN(20))
	switch random.IntN(20) {
	case 0:
		call.Event.Content = strings.Repeat("long ", 3000+random.IntN(3000))
	case 1:
		call.Event.Content = "print"
	case 2:
		call.Event.Content, call.Event.User = "count", "oFrom"
	}
	for j := range random.IntN(10) {
		call.Event.Fields = append(call.Event.Fields, hostapi.Field{Name: fmt.Sprint("Field", j), Value: strings.Repeat("v", random.IntN(50))})
	}
	return call
}

// TestFuelSameHistory: the same events in the same order take the same fuel on
// two hosts, each event for itself, in a guest with a collector.
func TestFuelSameHistory(t *testing.T) {
	wasm := withManifest(t, goModule(t), goManifest)
	var used [2][]int64
	for host := range used {
		s := newSandbox(t, sameOptions())
		p := load(t, s, Spec{Name: "go", Wasm: wasm, Grants: Grants{State: true}, State: visits{}, Limits: Limits{Instances: 1, Timeout: time.Minute}})
		for i := range fuelEvents() {
			got, err := handle(p, variedCall(i))
			if err != nil {
				t.Fatal(err)
			}
			used[host] = append(used[host], got.Fuel)
		}
		closePlugin(t, p)
	}
	sameFuel(t, used[0], used[1])
}

func sameFuel(t *testing.T, one, other []int64) {
	t.Helper()
	different, least, most := 0, one[0], one[0]
	for i, fuel := range one {
		least, most = min(least, fuel), max(most, fuel)
		if fuel != other[i] {
			if different++; different < 10 {
				t.Errorf("event %d: %d units, and %d", i, fuel, other[i])
			}
		}
	}
	t.Logf("%d events, each of %d to %d units, %d of them different", len(one), least, most, different)
}

// TestFuelSameEvent: an event takes the same fuel on two hosts, whatever came
// before it, in a guest without a collector.
func TestFuelSameEvent(t *testing.T) {
	wasm := withManifest(t, cFile(t, "steps"), "")
	events := fuelEvents()
	var used [2][]int64
	for host := range used {
		p := load(t, newSandbox(t, Options{}), Spec{Name: "c", Wasm: wasm, Limits: Limits{Timeout: time.Minute}})
		used[host] = make([]int64, events)
		for _, i := range rand.New(rand.NewPCG(1, uint64(host))).Perm(events) {
			got, err := handle(p, variedCall(i))
			if err != nil {
				t.Fatal(err)
			}
			used[host][i] = got.Fuel
		}
		closePlugin(t, p)
	}
	sameFuel(t, used[0], used[1])
}
