package identity

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

const (
	// repeatTime is how long the same state with the same code gets the first one's
	// answer: browsers ask twice.
	repeatTime = time.Minute
	// loginRecordVersion is the first byte of a loginRecord.
	loginRecordVersion = 1
	loginRecordSize    = 1 + 1 + 8 + macSize
	// endPoll is when a repeat first looks whether the first one has ended; then it
	// looks half as often each time, until that is lastPoll.
	endPoll, lastPoll = 50 * time.Millisecond, 800 * time.Millisecond
)

// outcome is how a login ended.
type outcome byte

// The outcomes, as they are kept.
const (
	underWay outcome = iota
	loggedIn
	denied
	invalidCode
	snapshotUser
	unavailable
	failed
	outcomes
)

// String is the error= that the redirect gets.
func (o outcome) String() string {
	return [...]string{"", "", "access_denied", "invalid_code", "snapshot_user", "temporarily_unavailable", "server_error"}[o]
}

// loginRecord is what the hosts know of a state that was used.
type loginRecord struct {
	outcome outcome
	at      int64  // Unix milliseconds: when the exchange began, or its outcome was there
	code    []byte // its MAC
}

func (r *loginRecord) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{loginRecordVersion, byte(r.outcome)}, uint64(r.at))
	return append(b, r.code...)
}

// decodeLoginRecord reads what the store has.
func decodeLoginRecord(b []byte) (loginRecord, error) {
	if len(b) != loginRecordSize || b[0] != loginRecordVersion || outcome(b[1]) >= outcomes {
		return loginRecord{}, errors.New("the record of a login can't be read")
	}
	return loginRecord{outcome: outcome(b[1]), at: int64(binary.BigEndian.Uint64(b[2:])), code: b[10:]}, nil
}

// place is where the record of a login stands.
func (l *login) place() (bucket, key string) {
	return fmt.Sprintf("oauth/%s/%x", l.app, l.nonce[0]>>4), hex.EncodeToString(l.nonce[:])
}

// codeMark tells codes apart for who has the server's key.
func (l *login) codeMark(code string) []byte {
	return l.key.mac("code", []byte(l.app), l.nonce[:], []byte(code))
}

// take uses a state up, for one caller over all hosts: first. Who comes later gets
// what the first one left.
func (o *OAuth) take(ctx context.Context, l *login, code string) (r loginRecord, first bool, err error) {
	r = loginRecord{outcome: underWay, at: o.now().UnixMilli(), code: l.codeMark(code)}
	bucket, key := l.place()
	res, err := o.applyOnce(ctx, store.Op{Kind: store.CompareAndSet, Bucket: bucket, Key: key, Value: r.encode(), TTL: stateLife + repeatTime})
	switch {
	case err != nil:
		return r, false, fmt.Errorf("use the state of a login: %w", err)
	case res.Applied:
		return r, true, nil
	}
	r, err = decodeLoginRecord(res.Value)
	return r, false, err
}

// applyOnce makes a change whose outcome decides something. Where the store is away
// it tries for patience: a try whose answer got lost is not made twice.
func (o *OAuth) applyOnce(ctx context.Context, op store.Op) (res store.Result, err error) {
	op.Once, op.OnceTTL = rand.Text(), time.Minute
	err = steady(ctx, func() (err error) {
		res, err = o.store.Apply(ctx, op)
		return err
	})
	return res, err
}

// settle says how a login ended to who asks again. The ticket of one that ended
// well is in the store already.
func (o *OAuth) settle(ctx context.Context, l *login, r loginRecord, end outcome) error {
	begun := r.encode()
	r.outcome, r.at = end, o.now().UnixMilli()
	bucket, key := l.place()
	op := store.Op{Kind: store.CompareAndSet, Bucket: bucket, Key: key, Expect: begun, Value: r.encode(), TTL: stateLife + repeatTime}
	if _, err := o.applyOnce(ctx, op); err != nil {
		return fmt.Errorf("note how a login ended: %w", err)
	}
	return nil
}

// repeat is the answer to a state that was used: the first one's for the same code,
// soon after it. It waits for one that is under way, as long as that may take.
func (o *OAuth) repeat(ctx context.Context, l *login, r loginRecord, code string) (outcome, error) {
	if !bytes.Equal(r.code, l.codeMark(code)) { // no secret: it is our own answer that differs
		return 0, ErrState
	}
	begun := o.now().Sub(time.UnixMilli(r.at)) // ago, by the clocks of two hosts
	ctx, cancel := context.WithTimeout(ctx, min(FinishTime-begun, endTime))
	defer cancel()
	for pause := endPoll; r.outcome == underWay; pause = min(2*pause, lastPoll) {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done(): // the host that had it is gone
			timer.Stop()
			return unavailable, nil
		case <-timer.C:
		}
		bucket, key := l.place()
		b, err := o.store.Get(ctx, bucket, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return 0, ErrState
		case err != nil:
			continue
		}
		if r, err = decodeLoginRecord(b); err != nil {
			return 0, err
		}
	}
	if o.now().Sub(time.UnixMilli(r.at)) >= repeatTime {
		return 0, ErrState
	}
	return r.outcome, nil
}
