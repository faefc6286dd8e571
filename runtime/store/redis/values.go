package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// maxClear is how many keys one script of Clear removes: Redis serves nobody else
// meanwhile.
const maxClear = 1000

// values are the buckets.
type values struct {
	b                 *base
	get, apply, clear *script
}

func newValues(b *base) *values {
	return &values{b: b, get: newScript("get"), apply: newScript("apply"), clear: newScript("clear")}
}

// Get is store.Store's.
func (v *values) Get(ctx context.Context, bucket, key string) ([]byte, error) {
	if err := store.CheckKey(bucket, key); err != nil {
		return nil, fmt.Errorf("get a value: %w", err)
	}
	reply, err := v.b.look(ctx, visit{}, v.get, v.b.bucketKeys(bucket).values, key)
	if err != nil {
		return nil, fmt.Errorf("get a value of bucket %q: %w", bucket, err)
	}
	return reply, nil
}

// look runs a script that reads the value of key, in the way of v.
func (b *base) look(ctx context.Context, v visit, s *script, key string, args ...any) ([]byte, error) {
	v.repeat = true
	reply, err := b.run(ctx, v, s, []string{key}, args)
	if err != nil {
		return nil, err
	}
	return readFound(reply)
}

// readFound reads the reply of a script that looks for a value.
func readFound(reply any) ([]byte, error) {
	list, _ := reply.([]any)
	if len(list) == 1 && list[0] == "none" {
		return nil, store.ErrNotFound
	}
	if len(list) == 2 && list[0] == "done" {
		if data, ok := list[1].(string); ok {
			return []byte(data), nil
		}
	}
	return nil, readRefusal(list)
}

// Apply is store.Store's.
func (v *values) Apply(ctx context.Context, op store.Op) (store.Result, error) {
	res, err := v.change(ctx, op)
	if err != nil {
		return store.Result{}, fmt.Errorf("change bucket %q: %w", op.Bucket, err)
	}
	return res, nil
}

var errAgain = errors.New("again")

func (v *values) change(ctx context.Context, op store.Op) (store.Result, error) {
	if err := op.Check(); err != nil {
		return store.Result{}, err
	}
	k := v.b.bucketKeys(op.Bucket)
	keys := []string{k.values, k.expiry, k.marks, k.markExpiry, k.size, k.scratch}
	args := []any{
		kindName(op.Kind), op.Key, op.Value, op.Delta, op.Expect != nil, op.Expect,
		microsOf(op.TTL), op.Quota, op.Once, microsOf(op.OnceTTL),
	}
	for {
		reply, err := v.b.eval(ctx, v.apply, keys, args...)
		if err != nil {
			return store.Result{}, err
		}
		// again: it was busy with removing what is over.
		if res, err := readOutcome(reply); !errors.Is(err, errAgain) {
			return res, err
		}
	}
}

func kindName(k store.Kind) string {
	return [...]string{store.Set: "set", store.Delete: "del", store.Add: "add", store.CompareAndSet: "cas"}[k]
}

// microsOf rounds up, so that what is over 0 stays so.
func microsOf(d time.Duration) int64 {
	n := d.Microseconds()
	if d > time.Duration(n)*time.Microsecond {
		n++
	}
	return n
}

// readOutcome reads the reply of apply.lua.
func readOutcome(reply any) (store.Result, error) {
	list, _ := reply.([]any)
	var word string
	if len(list) > 0 {
		word, _ = list[0].(string)
	}
	switch word {
	case "done", "repeated":
		if len(list) == 3 {
			found, isInt := list[1].(int64)
			number, isText := list[2].(string)
			n, err := strconv.ParseInt(number, 10, 64)
			if isInt && isText && err == nil {
				return store.Result{Applied: true, Found: found == 1, Number: n, Repeated: word == "repeated"}, nil
			}
		}
	case "lost":
		if len(list) == 2 {
			return store.Result{}, nil
		}
		if len(list) == 3 {
			if data, ok := list[2].(string); ok {
				return store.Result{Found: true, Value: []byte(data)}, nil
			}
		}
	case "quota":
		if len(list) == 3 {
			size, _ := list[1].(string)
			quota, _ := list[2].(string)
			return store.Result{}, fmt.Errorf("%w: %.20s bytes, of %.20s allowed", store.ErrQuota, size, quota)
		}
	case "counter":
		if len(list) == 2 && list[1] == "range" {
			return store.Result{}, fmt.Errorf("%w: the sum is out of the range of 64 bits", store.ErrNotCounter)
		}
		return store.Result{}, fmt.Errorf("%w: it is no decimal number of 64 bits", store.ErrNotCounter)
	case "again":
		return store.Result{}, errAgain
	}
	return store.Result{}, readRefusal(list)
}

// readRefusal reads the reply of a script that found what it doesn't know.
func readRefusal(list []any) error {
	if len(list) == 2 && list[0] == "damaged" {
		what, _ := list[1].(string)
		return unavailable(fmt.Errorf("%w: %.40s is not as this version of weft writes it", errRecord, what))
	}
	return unavailable(errReply)
}

// Clear is store.Store's.
func (v *values) Clear(ctx context.Context, bucket string, max int) (left bool, err error) {
	if left, err = v.empty(ctx, bucket, max); err != nil {
		return false, fmt.Errorf("clear bucket %q: %w", bucket, err)
	}
	return left, nil
}

func (v *values) empty(ctx context.Context, bucket string, max int) (left bool, err error) {
	if err := store.CheckName("bucket", bucket); err != nil {
		return false, err
	}
	if max < 1 {
		return false, fmt.Errorf("%w: %d keys, at least 1 is needed", store.ErrInvalid, max)
	}
	k := v.b.bucketKeys(bucket)
	reply, err := v.b.eval(ctx, v.clear, []string{k.values, k.expiry, k.marks, k.markExpiry, k.size}, min(max, maxClear))
	if err != nil {
		return false, err
	}
	list, _ := reply.([]any)
	if len(list) == 2 && list[0] == "done" {
		return list[1] != int64(0), nil
	}
	return false, readRefusal(list)
}
