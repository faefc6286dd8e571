package store

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// Check says what is wrong with the arguments of an Op, ErrInvalid-wrapped.
// Drivers call it first.
func (op *Op) Check() error {
	if op.Kind < Set || op.Kind > CompareAndSet {
		return fmt.Errorf("%w: no kind %d of change", ErrInvalid, op.Kind)
	}
	if err := CheckKey(op.Bucket, op.Key); err != nil {
		return err
	}
	if err := CheckValue(op.Value); err != nil {
		return err
	}
	if err := CheckValue(op.Expect); err != nil {
		return err
	}
	switch {
	case op.TTL < 0:
		return fmt.Errorf("%w: a time to live below 0", ErrInvalid)
	case op.Quota < 0:
		return fmt.Errorf("%w: a quota below 0", ErrInvalid)
	case len(op.Once) > MaxName:
		return fmt.Errorf("%w: a once of %d bytes, at most %d are allowed", ErrInvalid, len(op.Once), MaxName)
	case op.Once != "" && op.OnceTTL <= 0:
		return fmt.Errorf("%w: once without a time that it is kept", ErrInvalid)
	}
	return nil
}

// CheckKey says what is wrong with a bucket and a key in it, ErrInvalid-wrapped.
func CheckKey(bucket, key string) error {
	if err := CheckName("bucket", bucket); err != nil {
		return err
	}
	return CheckBoardKey(key)
}

// CheckBoardKey says what is wrong with a key of the board, ErrInvalid-wrapped.
func CheckBoardKey(key string) error {
	if len(key) < 1 || len(key) > MaxKey {
		return fmt.Errorf("%w: a key of %d bytes, 1 to %d are allowed", ErrInvalid, len(key), MaxKey)
	}
	return nil
}

// CheckName says what is wrong with the name of a bucket, a queue, a lock or a
// topic, or the key of an entry, ErrInvalid-wrapped; what says which it is.
func CheckName(what, name string) error {
	if len(name) < 1 || len(name) > MaxName {
		return fmt.Errorf("%w: a %s of %d bytes, 1 to %d are allowed", ErrInvalid, what, len(name), MaxName)
	}
	return nil
}

// CheckValue says what is wrong with a value, ErrInvalid-wrapped.
func CheckValue(v []byte) error {
	if len(v) > MaxValue {
		return fmt.Errorf("%w: a value of %d bytes, at most %d are allowed", ErrInvalid, len(v), MaxValue)
	}
	return nil
}

// CheckMessage says what is wrong with a message, or with a value of the board,
// ErrInvalid-wrapped.
func CheckMessage(m []byte) error {
	if len(m) > MaxMessage {
		return fmt.Errorf("%w: %d bytes for the board, at most %d are allowed", ErrInvalid, len(m), MaxMessage)
	}
	return nil
}

// CheckPut says what is wrong with what is put on the board, ErrInvalid-wrapped.
func CheckPut(key string, value []byte, ttl time.Duration) error {
	if err := CheckBoardKey(key); err != nil {
		return err
	}
	if err := CheckMessage(value); err != nil {
		return err
	}
	return CheckTTL(ttl)
}

// CheckTTL says what is wrong with the time that a lock or a value of the board
// is given, ErrInvalid-wrapped.
func CheckTTL(d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%w: a time to live of %v, it must be over 0", ErrInvalid, d)
	}
	return nil
}

// CheckEntry says what is wrong with an entry, ErrInvalid-wrapped.
func CheckEntry(e *Entry) error {
	if err := CheckName("key", e.Key); err != nil {
		return err
	}
	if err := CheckLine(e.Line); err != nil {
		return err
	}
	if e.Quota < 0 {
		return fmt.Errorf("%w: a quota below 0", ErrInvalid)
	}
	return CheckValue(e.Value)
}

// CheckLine says what is wrong with the name of a line, ErrInvalid-wrapped.
func CheckLine(name string) error {
	if len(name) > MaxName {
		return fmt.Errorf("%w: a line of %d bytes, at most %d are allowed", ErrInvalid, len(name), MaxName)
	}
	return nil
}

// CheckClaim says what is wrong with the arguments of Claim, ErrInvalid-wrapped.
func CheckClaim(queue, line string, max int, hold time.Duration) error {
	if err := CheckName("queue", queue); err != nil {
		return err
	}
	if err := CheckLine(line); err != nil {
		return err
	}
	if max < 1 {
		return fmt.Errorf("%w: a claim of %d entries, it must be at least 1", ErrInvalid, max)
	}
	return CheckHold(hold)
}

// CheckHold says what is wrong with the time of a claim, ErrInvalid-wrapped.
func CheckHold(d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%w: a claim for %v, it must be over 0", ErrInvalid, d)
	}
	return nil
}

// CutReason cuts a reason of Bury to MaxReason bytes, not within a character.
func CutReason(s string) string {
	if len(s) <= MaxReason {
		return s
	}
	for i := MaxReason; i > MaxReason-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:MaxReason]
}
