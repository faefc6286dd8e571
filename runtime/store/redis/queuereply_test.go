package redis

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/weft-dev/weft/runtime/store"
)

// items makes an answer of Redis from bytes: of each item its kind, then a number
// or a text with its length before it.
func items(data []byte) (answer []any) {
	for len(data) > 0 {
		kind := data[0]
		data = data[1:]
		switch {
		case kind == 'n' && len(data) >= 8:
			answer = append(answer, int64(binary.BigEndian.Uint64(data)))
			data = data[8:]
		case kind == 't' && len(data) > 0:
			n := min(int(data[0]), len(data)-1)
			answer = append(answer, string(data[1:1+n]))
			data = data[1+n:]
		case kind == 'l':
			answer = append(answer, []any{})
		case kind == 'e':
			answer = append(answer, errors.New("x"))
		default:
			answer = append(answer, nil)
		}
	}
	return answer
}

func number(n int64) []byte { return binary.BigEndian.AppendUint64([]byte("n"), uint64(n)) }

func texts(list ...string) (b []byte) {
	for _, s := range list {
		b = append(append(b, 't', byte(len(s))), s...)
	}
	return b
}

func concat(list ...[]byte) (b []byte) {
	for _, l := range list {
		b = append(b, l...)
	}
	return b
}

// FuzzReply reads what may be no answer of our scripts as each of their answers.
func FuzzReply(f *testing.F) {
	seq := "\x00\x00\x00\x00\x00\x00\x00\x07"
	m := seq + seq + seq + "\x00\x00\x00\x02" + "\x04line" + "key"
	f.Add(concat(texts("ok"), number(1_780_000_000_000_000), number(5), number(0)))
	f.Add(concat(texts("ok"), number(5), texts(m, "value"), number(6), texts(m, "")))
	f.Add(concat(texts("ok"), number(9), texts("line"), number(1), number(2), number(3), number(4), texts(seq), number(5), number(0)))
	f.Add(texts("ok", seq, m, "value", "", "claimed", seq, m, "value", "reason", "dead"))
	f.Add(concat(texts("ok"), number(-1), texts(m[:10]), number(math.MaxInt64)))
	f.Add(texts("ok", m[:28]+"\xff", m))
	f.Add([]byte("lent\x02ok"))
	f.Fuzz(func(t *testing.T, data []byte) {
		answer := items(data)
		read := func(read func(*reply)) error {
			r, _ := newReply(append([]any{}, answer...))
			read(r)
			return r.end()
		}
		errs := []error{
			read(func(r *reply) {
				for _, c := range readAppended(r, make([]store.Entry, 2)) {
					if c.Token > math.MaxInt64 {
						t.Errorf("%+v", c)
					}
				}
			}),
			read(func(r *reply) {
				for _, c := range readClaims(r) {
					if r.err == nil && len(c.Line) > store.MaxName {
						t.Errorf("%+v", c)
					}
				}
			}),
			read(func(r *reply) {
				for _, l := range readLines(r) {
					if d := l.Depth; d.Ready < 0 || d.Delayed < 0 || d.Claimed < 0 || d.Dead < 0 || d.Ready == 0 && !d.Oldest.IsZero() {
						t.Errorf("%+v", l)
					}
				}
			}),
			read(func(r *reply) {
				for _, i := range readInfos(r) {
					if i.Claimed && i.Dead || i.Dead && !i.Ready.IsZero() {
						t.Errorf("%+v", i)
					}
				}
			}),
		}
		for _, err := range errs {
			if err != nil && !errors.Is(err, store.ErrUnavailable) {
				t.Error(err)
			}
		}
	})
}

func TestReplyThatIsNone(t *testing.T) {
	for _, answer := range []any{nil, "ok", int64(1), []any{}, []any{int64(1)}, []any{nil}} {
		if r, _ := newReply(answer); !errors.Is(r.end(), store.ErrUnavailable) {
			t.Errorf("%v is an answer", answer)
		}
	}
}
