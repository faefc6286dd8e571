package main

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/sdk"
)

const orderConfig = `{
	"items": {"o": {"start": "order"}},
	"order": {"products": ["茶", "水"], "max_quantity": 9, "texts": {
		"product": "product", "product_again": "product again",
		"quantity": "quantity of {product}", "quantity_again": "quantity again",
		"confirm": "confirm {quantity} {product}", "confirm_again": "confirm again",
		"placed": "placed {number}: {quantity} {product}",
		"cancelled": "cancelled", "expired": "expired"
	}}
}`

// world is a host that several calls share at once, as instances of one plugin
// do. sdktest runs one call after another; here calls get in between.
type world struct {
	mu     sync.Mutex
	values map[string]string
	first  map[string]int64 // by event and once name
	losses int              // compare-and-sets that were lost
}

func newWorld() *world { return &world{values: map[string]string{}, first: map[string]int64{}} }

// visit is the host of one call.
type visit struct {
	*world
	event *sdk.Event
	// before, where not nil, runs before a request, outside of the lock.
	before func(hostapi.StateOp)
	said   string
	fail   map[hostapi.StateOp]sdk.Status
}

func (v *visit) Log(sdk.Level, string)              {}
func (v *visit) Config() ([]byte, bool)             { return []byte(orderConfig), true }
func (v *visit) Annotate(string, string) sdk.Status { return hostapi.OK }
func (v *visit) Reply(r *sdk.Reply) sdk.Status      { v.said = r.Text.Content; return hostapi.OK }

func (v *visit) State(req *hostapi.StateRequest, resp *hostapi.StateResponse) sdk.Status {
	if v.before != nil {
		v.before(req.Op)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if status, ok := v.fail[req.Op]; ok {
		return status
	}
	value, found := v.values[req.Key]
	switch req.Op {
	case hostapi.StateGet:
		if !found {
			return hostapi.NotFound
		}
		resp.Value = []byte(value)
	case hostapi.StateAdd:
		once := v.event.ID + req.Once
		n, repeated := v.first[once]
		if !repeated {
			before, _ := strconv.ParseInt(value, 10, 64)
			n = before + req.Delta
			v.first[once], v.values[req.Key] = n, strconv.FormatInt(n, 10)
		}
		resp.Number = n
	case hostapi.StateCompareAndSet:
		if found == req.ExpectAbsent || found && value != string(req.Expect) {
			v.losses++
			resp.Value, resp.Found = []byte(value), found
			return hostapi.Conflict
		}
		v.values[req.Key] = string(req.Value)
	default:
		return hostapi.Invalid
	}
	return hostapi.OK
}

// send runs one event and returns what the user is told, "" for nothing.
func (w *world) send(ev *sdk.Event, before func(hostapi.StateOp)) (string, error) {
	v := &visit{world: w, event: ev, before: before}
	outcome, err := handle(sdk.NewCall(v, ev))
	if err == nil && (outcome == sdk.Done) != (v.said != "") {
		err = fmt.Errorf("outcome %d with the answer %q", outcome, v.said)
	}
	return v.said, err
}

func event(id, content string) *sdk.Event {
	ev := *text(content)
	if content == "click" {
		ev = *click
	}
	ev.ID = id
	return &ev
}

func (w *world) mustSend(t *testing.T, id, content, want string) {
	t.Helper()
	if got, err := w.send(event(id, content), nil); err != nil || got != want {
		t.Fatalf("%s: %q, %v; want %q", content, got, err, want)
	}
}

// TestBetween lets a second message of the user run to its end at each moment
// of the first one's call: before it reads, and between its reading and its
// writing. Both are steps, one after the other, whichever came first.
func TestBetween(t *testing.T) {
	tests := []struct {
		name          string
		order         []string // what was said before
		first, second string
		at            hostapi.StateOp // the second runs before this request of the first
		want          [2]string       // what each is told
		orders        string          // numbers that were given
	}{
		{"product then product, before reading", []string{"click"}, "茶", "水", hostapi.StateGet, [2]string{"quantity again", "quantity of 水"}, ""},
		{"product then product, before writing", []string{"click"}, "茶", "水", hostapi.StateCompareAndSet, [2]string{"quantity again", "quantity of 水"}, ""},
		{"product then quantity, before writing", []string{"click"}, "茶", "2", hostapi.StateCompareAndSet, [2]string{"quantity again", "quantity of 水"}, ""},
		{"quantity then confirmation", []string{"click", "茶"}, "2", "ok", hostapi.StateCompareAndSet, [2]string{"confirm 2 茶", "quantity again"}, ""},
		{"confirmation twice", []string{"click", "茶", "2"}, "ok", "是", hostapi.StateCompareAndSet, [2]string{"", "placed 2: 2 茶"}, "2"},
		{"confirmation twice, before the number", []string{"click", "茶", "2"}, "ok", "是", hostapi.StateAdd, [2]string{"", "placed 1: 2 茶"}, "2"},
		{"confirmation and cancelling", []string{"click", "茶", "2"}, "ok", "取消", hostapi.StateCompareAndSet, [2]string{"", "cancelled"}, "1"},
		{"cancelling and confirmation", []string{"click", "茶", "2"}, "取消", "ok", hostapi.StateCompareAndSet, [2]string{"", "placed 1: 2 茶"}, "1"},
		{"the first click of a user twice", nil, "click", "click", hostapi.StateCompareAndSet, [2]string{"product", "product"}, ""},
		{"a text and the first click", nil, "茶", "click", hostapi.StateGet, [2]string{"quantity of 茶", "product"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			for i, content := range tt.order {
				if _, err := w.send(event("before"+strconv.Itoa(i), content), nil); err != nil {
					t.Fatal(err)
				}
			}
			var second string
			var secondErr error
			ran := false
			first, err := w.send(event("first", tt.first), func(op hostapi.StateOp) {
				if op == tt.at && !ran {
					ran = true
					second, secondErr = w.send(event("second", tt.second), nil)
				}
			})
			if err != nil || secondErr != nil || !ran {
				t.Fatalf("first %v, second %v, ran %t", err, secondErr, ran)
			}
			if got := [2]string{first, second}; got != tt.want {
				t.Errorf("told %q, want %q", got, tt.want)
			}
			if got := w.values[numbersKey]; got != tt.orders {
				t.Errorf("orders %q, want %q", got, tt.orders)
			}
			// Run again, both are told the same, and nothing changes.
			before := w.values[recordKey]
			w.mustSend(t, "second", tt.second, second)
			w.mustSend(t, "first", tt.first, first)
			if w.values[recordKey] != before {
				t.Errorf("running again changed the record\n%q to\n%q", before, w.values[recordKey])
			}
		})
	}
}

// TestSameEventTwice runs the same event beside itself, as a host does that took
// another for dead: one step, the same answer.
func TestSameEventTwice(t *testing.T) {
	for _, at := range []hostapi.StateOp{hostapi.StateGet, hostapi.StateAdd, hostapi.StateCompareAndSet} {
		w := newWorld()
		w.mustSend(t, "1", "click", "product")
		w.mustSend(t, "2", "茶", "quantity of 茶")
		w.mustSend(t, "3", "2", "confirm 2 茶")
		ran := false
		got, err := w.send(event("4", "ok"), func(op hostapi.StateOp) {
			if op == at && !ran {
				ran = true
				w.mustSend(t, "4", "ok", "placed 1: 2 茶")
			}
		})
		if err != nil || got != "placed 1: 2 茶" || !ran {
			t.Fatalf("%d: %q, %v", at, got, err)
		}
		if w.values[numbersKey] != "1" {
			t.Fatalf("%d: orders %s", at, w.values[numbersKey])
		}
	}
}

// TestCrashes ends a call at each of its requests, before it is done and after,
// and runs the event again: the user is told what an undisturbed run tells.
func TestCrashes(t *testing.T) {
	script := []string{"click", "茶", "2", "ok"}
	want := []string{"product", "quantity of 茶", "confirm 2 茶", "placed 1: 2 茶"}
	for crash := range script {
		for _, op := range []hostapi.StateOp{hostapi.StateGet, hostapi.StateAdd, hostapi.StateCompareAndSet} {
			for _, late := range []bool{false, true} {
				w := newWorld()
				for i, content := range script {
					if i == crash {
						w.crash(t, event(strconv.Itoa(i), content), op, late)
					}
					w.mustSend(t, strconv.Itoa(i), content, want[i])
				}
				if w.values[numbersKey] != "1" {
					t.Errorf("crash in %d, op %d, late %t: orders %s", crash, op, late, w.values[numbersKey])
				}
			}
		}
	}
}

// crash runs ev up to its first request op, which fails; late: after it was done.
func (w *world) crash(t *testing.T, ev *sdk.Event, op hostapi.StateOp, late bool) {
	t.Helper()
	v := &visit{world: w, event: ev}
	if !late {
		v.fail = map[hostapi.StateOp]sdk.Status{op: hostapi.Unavailable}
	}
	met := false
	v.before = func(o hostapi.StateOp) {
		if met && late {
			v.fail = map[hostapi.StateOp]sdk.Status{o: hostapi.Unavailable}
		}
		met = met || o == op
	}
	_, err := handle(sdk.NewCall(v, ev))
	var status *sdk.StatusError
	if err != nil && !errors.As(err, &status) {
		t.Fatal(err)
	}
	if met && !late && err == nil {
		t.Fatal("a request that failed went unnoticed")
	}
}

// TestHammer has many messages of one user at once. Whatever their order, each
// is one step: the record knows them all, and no number is given twice.
func TestHammer(t *testing.T) {
	const users, messages = 25, maxPast - 1
	crowd := func(hostapi.StateOp) { runtime.Gosched() }
	for range users {
		w := newWorld()
		w.mustSend(t, "0", "click", "product")
		contents := []string{"茶", "水", "3", "ok", "是", "hm"}
		told := make([]string, messages)
		errs := make([]error, messages)
		var wg sync.WaitGroup
		for i := range messages {
			wg.Go(func() { told[i], errs[i] = w.send(event(strconv.Itoa(i+1), contents[i%len(contents)]), crowd) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		r, err := decodeRecord([]byte(w.values[recordKey]))
		if err != nil {
			t.Fatal(err)
		}
		placed := 0
		for i, got := range told {
			if _, ok := r.answered(strconv.Itoa(i + 1)); ok != (got != "") {
				t.Fatalf("message %d was told %q, the record says %t", i, got, ok)
			}
			if strings.HasPrefix(got, "placed") {
				placed++
			}
			// Running it again tells the same.
			w.mustSend(t, strconv.Itoa(i+1), contents[i%len(contents)], got)
		}
		if placed > 1 || (placed == 1) != (r.waits == forNothing) {
			t.Fatalf("%d orders placed, the record waits for %d", placed, r.waits)
		}
		w.replay(t, r, contents)
	}
}

// replay walks the steps that the record names, one after another on an empty
// state: told the same, they are what a queue of the messages would have done.
func (w *world) replay(t *testing.T, r record, contents []string) {
	t.Helper()
	alone := newWorld()
	o := orderOf(t)
	for _, p := range r.past {
		content := "click"
		if p.event != "0" {
			i, err := strconv.Atoi(p.event)
			if err != nil {
				t.Fatal(err)
			}
			content = contents[(i-1)%len(contents)]
		}
		p.number = min(p.number, 1) // numbers may have gaps
		alone.mustSend(t, p.event, content, o.text(p.answer))
	}
}

func orderOf(t *testing.T) *order {
	t.Helper()
	var s settings
	if err := s.UnmarshalJSON([]byte(orderConfig)); err != nil {
		t.Fatal(err)
	}
	return s.order
}

// TestCrowded: a message that others always overtake ends in an error after a
// bounded number of tries.
func TestCrowded(t *testing.T) {
	w := newWorld()
	w.mustSend(t, "0", "click", "product")
	n := 0
	_, err := w.send(event("slow", "茶"), func(op hostapi.StateOp) {
		if op == hostapi.StateCompareAndSet {
			n++
			w.mustSend(t, strconv.Itoa(n), "hm", "product again")
		}
	})
	if !errors.Is(err, errCrowded) || w.losses != tries {
		t.Fatalf("error %v after %d losses", err, w.losses)
	}
}

func TestRecord(t *testing.T) {
	r := record{waits: forConfirm, began: 1_800_000_000, until: 1_800_000_600, quantity: 3, product: "拿铁 (大)"}
	for i := range maxPast + 2 {
		r.remember("event"+strconv.Itoa(i), answer{says: saysPlaced, quantity: i, number: int64(i), product: "拿铁"})
	}
	if len(r.past) != maxPast || r.past[0].event != "event2" {
		t.Fatalf("past %v", r.past)
	}
	got, err := decodeRecord(r.encode())
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Fatalf("%+v, %v; want %+v", got, err, r)
	}
	for _, bad := range []string{
		"1", "2\t1\t2\t3\t4\tx", "1\t4\t2\t3\t4\tx", "1\t-1\t2\t3\t4\tx", "1\tx\t2\t3\t4\tx", "1\t1\t2\t3\t4\tx\ty",
		"1\t1\t2\t3\t4\tx\n", "1\t1\t2\t3\t4\tx\nid\tplaced\t1\tx\tp", "\x00", "1\t0\t0\t0\t0\t" + strings.Repeat("\ni\ts\t0\t0\t", maxPast+1),
	} {
		if r, err := decodeRecord([]byte(bad)); !errors.Is(err, errRecord) || !reflect.DeepEqual(r, record{}) {
			t.Errorf("%q: %+v, %v", bad, r, err)
		}
	}
}

// FuzzDecodeRecord: what decodes is what encoding it gives.
func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte("1\t3\t1800000000\t1800000600\t2\t拿铁\n01\tquantity\t0\t0\t拿铁\n02\tplaced\t2\t7\t拿铁"))
	f.Add([]byte("1\t0\t0\t0\t0\t"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil {
			if !reflect.DeepEqual(r, record{}) {
				t.Fatal("an error with a record")
			}
			return
		}
		again, err := decodeRecord(r.encode())
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}

// FuzzOrder: whatever users say, each message is one step, and the answer is a
// text that fits.
func FuzzOrder(f *testing.F) {
	f.Add("茶\n2\nok", int64(0))
	f.Add("取消\nclick\n１\n999\n9\n是\nclick", int64(601))
	f.Fuzz(func(t *testing.T, script string, gap int64) {
		w := newWorld()
		created := int64(1_800_000_000)
		w.mustSend(t, "0", "click", "product")
		for i, content := range strings.Split(script, "\n") {
			ev := event(strconv.Itoa(i+1), content)
			created += gap % 1000
			ev.Created = created
			first, err := w.send(ev, nil)
			if err != nil || len(first) > sdk.MaxReplyText {
				t.Fatalf("%q: %d bytes, %v", content, len(first), err)
			}
			if again, err := w.send(ev, nil); err != nil || again != first {
				t.Fatalf("%q: %q, then %q, %v", content, first, again, err)
			}
		}
	})
}
