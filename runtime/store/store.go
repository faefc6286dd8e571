// Package store keeps what must outlive a process: key-value pairs with expiry,
// a durable queue, locks, and a board on which hosts tell each other what passes.
// Its drivers are packages of their own (store/bolt, store/redis);
// store/storetest is the suite that every driver passes.
//
// A call that changes something returns when the change is durable: a crash of
// the process or of the machine after the return loses nothing of it. What a
// call reads is durable, too, and what was refused was refused because of
// something durable. The Board alone promises none of this.
package store

import (
	"context"
	"errors"
	"time"
)

// Bounds of what a caller gives, in bytes. A call that breaks one is ErrInvalid.
const (
	MaxName    = 255     // a bucket, a queue, an Entry.Key, a lock, a topic; at least 1. An Op.Once, an Entry.Line; at least 0
	MaxKey     = 1024    // an Op.Key, a key of the board; at least 1
	MaxValue   = 4 << 20 // an Op.Value, an Op.Expect, an Entry.Value, a Claim.Value
	MaxMessage = 1 << 20 // a value of the board, a message
	MaxReason  = 4096    // a reason of Bury; a longer one is cut, not refused
)

// Errors that a caller decides by. Drivers wrap them. No error holds a key or a
// value.
var (
	// ErrNotFound is returned by Get, and by queue calls for an entry that is
	// no more or whose claim was lost.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable says that the store can't be reached, or that it could not
	// make a change durable; whether the change happened is unknown.
	ErrUnavailable = errors.New("store unavailable")
	// ErrQuota says that a bucket would grow over Op.Quota, or a line of a queue
	// over Entry.Quota; nothing was changed.
	ErrQuota = errors.New("over the quota")
	// ErrNotCounter says that Add met a value that is not a counter, or would
	// leave the range of 64 bits.
	ErrNotCounter = errors.New("not a counter")
	// ErrInvalid says that an argument breaks a bound of this package; nothing
	// was changed.
	ErrInvalid = errors.New("invalid argument")
	// ErrClosed is returned by every call after Close.
	ErrClosed = errors.New("store closed")
	// ErrHeld says that somebody else has the lock.
	ErrHeld = errors.New("lock held")
	// ErrLost says that a lock is its holder's no more: its time was over, or
	// it was given back.
	ErrLost = errors.New("lock lost")
)

// Store is what a driver gives. All methods may be called by many goroutines
// at once; all end early with the context's error when it ends, and what they
// were about to change may then still happen. Arguments are the caller's again
// when a method has returned, early or not. Keys, names and values may hold any
// bytes.
type Store interface {
	// Get returns the value under key in bucket, or ErrNotFound. The slice is
	// the caller's.
	Get(ctx context.Context, bucket, key string) ([]byte, error)
	// Apply makes one change, atomically. One that ends in an error other than
	// the context's and ErrUnavailable changed nothing.
	Apply(ctx context.Context, op Op) (Result, error)
	// Clear removes up to max keys, at least 1, of a bucket and what Once has
	// left in it, in one change. left: it is to be called again, because there may
	// be more. What others change in the bucket meanwhile may stay.
	Clear(ctx context.Context, bucket string, max int) (left bool, err error)
	Queue
	Locks
	Board
	// Close waits for what is under way, then closes. Later calls answer
	// ErrClosed; a second Close does nothing.
	Close() error
}

// Kind says what an Op does.
type Kind uint8

// The kinds of Op.
const (
	Set           Kind = iota + 1 // sets Value
	Delete                        // removes the key
	Add                           // adds Delta to a counter, decimal text as strconv.FormatInt writes it, 0 where there is none
	CompareAndSet                 // sets Value where the value is Expect
)

// Op is one change of a key.
type Op struct {
	Kind   Kind
	Bucket string // 1 to MaxName bytes; buckets need not be made
	Key    string // 1 to MaxKey bytes
	Value  []byte // up to MaxValue bytes; nil and empty are the same, a present empty value
	Delta  int64
	// Expect is the value that CompareAndSet must find; nil: that there is none.
	// A present empty value is a non-nil empty slice.
	Expect []byte
	// TTL is how long the value is kept; 0: for ever. An Add to a counter that
	// exists leaves its expiry alone. A value whose time is over is absent at
	// once, for every call.
	TTL time.Duration
	// Quota is how many bytes the keys and values of Bucket may have together,
	// expired ones that were not yet removed not counted; 0: no bound. A change
	// that would go over it is ErrQuota. One that leaves the bucket no larger
	// than it was is never refused.
	Quota int64
	// Once makes the change happen at most once: a second Op with the same
	// Bucket and Once within OnceTTL changes nothing and gets the Result of the
	// first. Empty: no such rule. A CompareAndSet that lost, and an Op that ended
	// in an error, leave no mark. Marks don't count for Quota.
	Once    string
	OnceTTL time.Duration // over 0 where there is Once
}

// Result is the outcome of an Op.
type Result struct {
	// Applied is false for a CompareAndSet that lost, and true for every other
	// Op without an error.
	Applied bool
	// Found says that there was a value before (Delete, and a CompareAndSet
	// that lost; false for the others).
	Found bool
	// Value is the value that was there, of a CompareAndSet that lost; the
	// caller's.
	Value []byte
	// Number is the counter after Add.
	Number int64
	// Repeated says that Once had seen this change before.
	Repeated bool
}

// Queue is a set of durable queues by name, 1 to MaxName bytes; queues need not
// be made. An entry is ready, delayed, claimed or dead; a dead one stays until
// Retry or Drop. Its key is unique in its queue, the dead ones included. It
// stands in a line of the queue: lines are claimed from one by one, so that a
// long one keeps nobody from the others.
//
// A claim is the word of the store as long as it is open. Whether claims outlive
// it is the driver's: where one process owns the store (store/bolt) they end
// with it, so that a host that dies leaves its entries to be run again at once.
type Queue interface {
	// Append adds entries, all or none. One whose key is there already, in
	// whatever state, is left as it is. Where hold is over 0 the new entries
	// are claimed at once for that long, their Delay not looked at, and the
	// claims are returned in the order of the entries, with a zero Claim for
	// each that was there already. ErrQuota: an Entry.Quota forbids it.
	Append(ctx context.Context, queue string, hold time.Duration, entries ...Entry) ([]Claim, error)
	// Claim takes up to max ready entries of a line, at least 1, the oldest by
	// Append first, for hold, over 0; after that they are ready again. It does
	// not wait: none ready is an empty result.
	Claim(ctx context.Context, queue, line string, max int, hold time.Duration) ([]Claim, error)
	// Extend makes a claim last hold, over 0, from now. ErrNotFound: it was lost.
	Extend(ctx context.Context, queue string, c Claim, hold time.Duration) error
	// Ack removes a claimed entry for good. ErrNotFound: the claim was lost.
	Ack(ctx context.Context, queue string, c Claim) error
	// Release gives a claimed entry back with a new value and tries, to be ready
	// after delay (0 or less: at once). It keeps its place in the order.
	// ErrNotFound: the claim was lost.
	Release(ctx context.Context, queue string, c Claim, delay time.Duration) error
	// Bury makes a claimed entry dead, with a reason for the operator. Its value
	// and tries stay as stored. ErrNotFound: the claim was lost.
	Bury(ctx context.Context, queue string, c Claim, reason string) error
	// Lines returns the lines that have entries, sorted by name.
	Lines(ctx context.Context, queue string) ([]Line, error)
	// Depth counts the entries of all lines by state.
	Depth(ctx context.Context, queue string) (Depth, error)
	// List calls f for each entry whose Seq is over after, 0 for all, in the
	// order of appending until f returns false. The entry's slices are f's own.
	// f may call the store; an entry that comes, changes or goes meanwhile may be
	// shown as it was or as it is.
	List(ctx context.Context, queue string, after uint64, f func(Info) bool) error
	// Retry makes a dead entry ready, its tries 0. ErrNotFound: no dead entry.
	Retry(ctx context.Context, queue, key string) error
	// Drop removes a dead entry. ErrNotFound: no dead entry.
	Drop(ctx context.Context, queue, key string) error
}

// Entry is what is appended to a queue.
type Entry struct {
	Key   string        // 1 to MaxName bytes, unique in the queue
	Line  string        // where it stands: 0 to MaxName bytes
	Value []byte        // up to MaxValue bytes
	Delay time.Duration // until it is ready; 0 or less: it is at once
	// Quota is how many entries that are not dead its line may have, itself
	// included; 0: no bound. An entry that is there already needs none.
	Quota int
}

// Claim is an entry that the caller holds until a time. Release stores the
// Value and Tries that the caller left in it.
type Claim struct {
	Key      string
	Line     string
	Value    []byte // the caller's; from Append, the slice of the Entry
	Tries    uint32 // as stored by the last Release; 0 at first
	Appended time.Time
	Token    uint64 // which claim this is; 0: none
}

// Depth is how many entries a queue, or a line of it, has in each state.
type Depth struct {
	Ready, Delayed, Claimed, Dead int
	Oldest                        time.Time // when the first of the ready ones was appended; zero: none is ready
}

// Line is a line of a queue.
type Line struct {
	Name  string
	Depth Depth
	// Next is when its earliest entry that is not dead can be claimed: a time
	// not after now where one is ready, the zero time where there is none.
	Next time.Time
}

// Info is an entry as List shows it.
type Info struct {
	Seq      uint64 // grows in the order of appending, from 1; never of two entries of a queue
	Key      string
	Line     string
	Value    []byte
	Tries    uint32
	Appended time.Time
	Ready    time.Time // when it can be claimed: for a claimed one, when its claim ends; for a dead one, zero
	Claimed  bool
	Dead     bool
	Reason   string // why it is dead
}
