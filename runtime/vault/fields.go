package vault

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// Fields of a user.
const (
	SessionKey = "session_key" // of a mini program: opens its encrypted data
	Phone      = "phone"
)

const (
	fieldPurpose = "field"
	// maxField is the most of a field's value, in bytes.
	maxField = 64 << 10
	// stampSize is that of the time before the value, in bytes.
	stampSize = 8
	// clockSkew is how far the clocks of hosts may be apart.
	clockSkew = time.Second
)

// Put keeps a field of a user of an app for so long, 0: for ever, in place of an
// earlier value. A value may have 64 KiB. It returns when the value is durable.
func (v *Vault) Put(ctx context.Context, app, openid, field string, value []byte, ttl time.Duration) error {
	op, err := v.seal(app, openid, field, value, v.now())
	if err != nil {
		return err
	}
	op.Kind, op.TTL = store.Set, ttl
	if _, err := v.store.Apply(ctx, op); err != nil {
		return fmt.Errorf("keep %s: %w", field, err)
	}
	return nil
}

// PutKnown keeps, for ever, a value that was known at a time, as Put does; where one
// of a later time is kept under the host's key, that stays. A time that is still to
// come is no later one, but of a clock that was wrong.
func (v *Vault) PutKnown(ctx context.Context, app, openid, field string, value []byte, known time.Time) error {
	op, err := v.seal(app, openid, field, value, known)
	if err != nil {
		return err
	}
	op.Kind = store.CompareAndSet
	for { // once for each change that somebody else makes meanwhile
		res, err := v.store.Apply(ctx, op)
		switch {
		case err != nil:
			return fmt.Errorf("keep %s: %w", field, err)
		case res.Applied:
			return nil
		case !res.Found: // it was there, and is no more
			op.Expect = nil
			continue
		}
		if _, at, err := v.open(app, openid, field, res.Value); err == nil && at > uint64(known.UnixNano()) && at <= uint64(v.now().Add(clockSkew).UnixNano()) {
			return nil
		}
		op.Expect = append([]byte{}, res.Value...)
	}
}

// seal is the change that keeps a value of a time under the host's key, without its
// kind.
func (v *Vault) seal(app, openid, field string, value []byte, at time.Time) (store.Op, error) {
	if err := checkField(app, openid, field); err != nil {
		return store.Op{}, fmt.Errorf("seal a field: %w", err)
	}
	if len(value) > maxField {
		return store.Op{}, fmt.Errorf("seal %s: %w: %d bytes, at most %d are allowed", field, store.ErrInvalid, len(value), maxField)
	}
	plain := binary.BigEndian.AppendUint64(make([]byte, 0, stampSize+len(value)), uint64(at.UnixNano()))
	plain = append(plain, value...)
	bucket, key := v.keys[0].place(app, openid, field)
	return store.Op{Bucket: bucket, Key: key, Value: v.Seal(fieldPurpose, plain, joined(nil, app, openid, field))}, nil
}

// open opens what seal has sealed: the value, and of when it is. ErrSealed.
func (v *Vault) open(app, openid, field string, sealed []byte) (value []byte, at uint64, err error) {
	plain, err := v.Open(fieldPurpose, sealed, joined(nil, app, openid, field))
	if err == nil && len(plain) < stampSize {
		err = ErrSealed
	}
	if err != nil {
		return nil, 0, fmt.Errorf("open %s: %w", field, err)
	}
	return plain[stampSize:], binary.BigEndian.Uint64(plain), nil
}

// Get returns a field of a user, or store.ErrNotFound. Where hosts change the
// server's key one after the other, it is the newest value that any of them has
// put. A value that can't be opened doesn't stand in the way of another one; where
// there is no other, it is ErrSealed.
func (v *Vault) Get(ctx context.Context, app, openid, field string) ([]byte, error) {
	if err := checkField(app, openid, field); err != nil {
		return nil, fmt.Errorf("open a field: %w", err)
	}
	newest, found, closed := uint64(0), []byte(nil), error(nil)
	for _, k := range v.keys {
		bucket, key := k.place(app, openid, field)
		sealed, err := v.store.Get(ctx, bucket, key)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("get %s: %w", field, err)
		}
		value, at, err := v.open(app, openid, field, sealed)
		if err != nil {
			closed = err
			continue
		}
		if found == nil || at > newest {
			newest, found = at, value
		}
	}
	switch {
	case found == nil && closed != nil:
		return nil, closed
	case found == nil:
		return nil, fmt.Errorf("get %s: %w", field, store.ErrNotFound)
	}
	return found, nil
}

// Remove removes a field of a user, under each key that it may have been put with.
func (v *Vault) Remove(ctx context.Context, app, openid, field string) error {
	if err := checkField(app, openid, field); err != nil {
		return fmt.Errorf("remove a field: %w", err)
	}
	for _, k := range v.keys {
		bucket, key := k.place(app, openid, field)
		if _, err := v.store.Apply(ctx, store.Op{Kind: store.Delete, Bucket: bucket, Key: key}); err != nil {
			return fmt.Errorf("remove %s: %w", field, err)
		}
	}
	return nil
}

// place is where a field stands in the store: its name is a keyed hash, and says
// nothing of the user. An app's fields are in 16 buckets, so that they are on all
// nodes of a Redis Cluster.
func (k keys) place(app, openid, field string) (bucket, key string) {
	mac := hmac.New(sha256.New, k.index)
	mac.Write(joined(nil, app, openid, field))
	sum := mac.Sum(nil)
	return fmt.Sprintf("vault/%s/%x", app, sum[0]>>4), base64.RawURLEncoding.EncodeToString(sum)
}

// checkField says what is wrong with the name of a field, store.ErrInvalid-wrapped.
func checkField(app, openid, field string) error {
	if app == "" || openid == "" || field == "" {
		return fmt.Errorf("%w: a field needs an app, an openid and a name", store.ErrInvalid)
	}
	return nil
}
