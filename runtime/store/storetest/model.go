package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// model makes random changes, with the clock going on and the store opened again
// now and then, and compares each result with that of a plain map.
func model(t *testing.T, open Open) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			f := start(t, open)
			rnd := rand.New(rand.NewPCG(seed, 1))
			m := &plain{values: map[string]plainValue{}, marks: map[string]plainMark{}}
			for i := range 400 {
				op := randomOp(rnd)
				want, wantErr := m.apply(op, f.clock.Now())
				got, err := f.Apply(t.Context(), op)
				if !errors.Is(err, wantErr) || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
					t.Fatalf("change %d, %+v:\n got %+v, %v\nwant %+v, %v", i, op, got, err, want, wantErr)
				}
				switch rnd.IntN(40) {
				case 0:
					f.reopen()
				case 1:
					f.clock.Advance(time.Duration(rnd.IntN(5)) * time.Second)
				}
				m.compare(f)
			}
		})
	}
}

func randomOp(rnd *rand.Rand) store.Op {
	texts := []string{"", "1", "22", "-3", "x", "longer text than others"}
	op := store.Op{
		Kind:   store.Kind(1 + rnd.IntN(4)),
		Bucket: "b", Key: string('a' + rune(rnd.IntN(4))),
		Value: []byte(texts[rnd.IntN(len(texts))]),
		Delta: int64(rnd.IntN(100) - 50),
		TTL:   time.Duration(rnd.IntN(4)) * time.Second,
	}
	if i := rnd.IntN(len(texts) + 1); i < len(texts) {
		op.Expect = []byte(texts[i])
	}
	if rnd.IntN(2) == 0 {
		op.Quota = int64(1 + rnd.IntN(40))
	}
	if rnd.IntN(4) == 0 {
		op.Once, op.OnceTTL = string('A'+rune(rnd.IntN(5))), time.Duration(1+rnd.IntN(5))*time.Second
	}
	return op
}

// plain is the store as a reader of the interface would write it first.
type plain struct {
	values map[string]plainValue // of bucket b
	marks  map[string]plainMark
}

type plainValue struct {
	data string
	end  time.Time // zero: never
}

type plainMark struct {
	result store.Result
	end    time.Time
}

func (m *plain) expire(now time.Time) {
	for k, v := range m.values {
		if !v.end.IsZero() && !now.Before(v.end) {
			delete(m.values, k)
		}
	}
	for k, v := range m.marks {
		if !now.Before(v.end) {
			delete(m.marks, k)
		}
	}
}

func (m *plain) size() (n int64) {
	for k, v := range m.values {
		n += int64(len(k) + len(v.data))
	}
	return n
}

func (m *plain) apply(op store.Op, now time.Time) (store.Result, error) {
	m.expire(now)
	if mark, ok := m.marks[op.Once]; ok && op.Once != "" {
		mark.result.Repeated = true
		return mark.result, nil
	}
	old, have := m.values[op.Key]
	next := plainValue{data: string(op.Value)}
	if op.TTL > 0 {
		next.end = now.Add(op.TTL)
	}
	res := store.Result{Applied: true}
	switch op.Kind {
	case store.Delete:
		res.Found = have
	case store.Add:
		var n int64
		if have {
			var err error
			if n, err = strconv.ParseInt(old.data, 10, 64); err != nil {
				return store.Result{}, store.ErrNotCounter
			}
			next.end = old.end
		}
		res.Number = n + op.Delta
		next.data = strconv.FormatInt(res.Number, 10)
	case store.CompareAndSet:
		if have != (op.Expect != nil) || have && old.data != string(op.Expect) {
			lost := store.Result{Found: have}
			if have {
				lost.Value = []byte(old.data)
			}
			return lost, nil
		}
	}
	before := m.size()
	if op.Kind == store.Delete {
		delete(m.values, op.Key)
	} else {
		m.values[op.Key] = next
	}
	if after := m.size(); op.Quota > 0 && after > op.Quota && after > before {
		delete(m.values, op.Key)
		if have {
			m.values[op.Key] = old
		}
		return store.Result{}, store.ErrQuota
	}
	if op.Once != "" {
		m.marks[op.Once] = plainMark{res, now.Add(op.OnceTTL)}
	}
	return res, nil
}

// compare reads every key.
func (m *plain) compare(f *fixture) {
	f.Helper()
	m.expire(f.clock.Now())
	for k := 'a'; k < 'e'; k++ {
		if v, ok := m.values[string(k)]; ok {
			f.has(string(k), v.data)
		} else {
			f.absent(string(k))
		}
	}
}
