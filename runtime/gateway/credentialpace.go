package gateway

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// How attempts that failed are repeated: doubling, each time between half of the
// pause and all of it.
const (
	backoffFirst = 250 * time.Millisecond
	backoffMost  = time.Minute
	// Where callers have no valid credential the doubling stops for bareTries at the
	// pause of bareAt failures, 2 s: on a day when many calls fail, several in a row
	// would keep them waiting for a minute.
	bareAt, bareTries = 3, 8
	// pauseMost is the most that a host is told to wait by another one.
	pauseMost = 2 * time.Hour
)

// pace says when the keeper of a slot may ask again. It is the keeper's own.
type pace struct {
	failures     int           // one after another
	until        time.Time     // nothing is asked before
	last         *fetchFailure // why; nil: nothing is wrong
	healing      time.Time     // nothing is asked because of a refusal before
	healLast     *fetchFailure
	healFailures int
}

// fail takes a failure in. bare: there is no valid credential.
func (p *pace) fail(now time.Time, f *fetchFailure, bare bool) {
	doubled := p.failures
	if bare && doubled > bareAt {
		doubled = max(bareAt, doubled-bareTries)
	}
	wait := jitter(min(backoffFirst<<min(doubled, 16), backoffMost))
	if pause := f.pause; pause > 0 {
		if f.result == fetchRefused { // which may be WeChat's mistake
			pause = min(pauseFirst<<min(p.failures, 8), pause)
		}
		wait = jitter(2 * pause) // at least the pause
	}
	p.failures++
	p.until, p.last = now.Add(wait), f
}

// failHealing takes in that a refused credential could not be replaced, which
// says nothing of the source: what is needed for another reason is asked for.
func (p *pace) failHealing(now time.Time, f *fetchFailure) {
	wait := min(backoffFirst<<min(p.healFailures, 16), forceApart)
	p.healFailures++
	p.healing, p.healLast = now.Add(max(f.pause, wait)), f
}

// closed says until when nothing may be asked, and why; nil: it may.
func (p *pace) closed(w want, now time.Time) (time.Time, *fetchFailure) {
	if p.last != nil && now.Before(p.until) {
		return p.until, p.last
	}
	if w == wantOther && p.healLast != nil && now.Before(p.healing) {
		return p.healing, p.healLast
	}
	return time.Time{}, nil
}

// jitter is between half of d and d.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d/2)+1))
}

// notice is what a host leaves on the board for the others when an attempt gave
// nothing, so that all together keep the pace. It holds nothing secret.
type notice struct {
	Settings string `json:"settings"` // with which it was; others don't mind
	Until    int64  `json:"until"`    // Unix milliseconds
	Failures int    `json:"failures"`
	Result   uint8  `json:"result"`
	Errcode  int    `json:"errcode"`
}

// maxNotice is the most of one, in bytes.
const maxNotice = 1 << 10

// decodeNotice reads what stands on the board.
func decodeNotice(b []byte) (notice, error) {
	if len(b) > maxNotice {
		return notice{}, errors.New("too long")
	}
	var n notice
	if err := json.Unmarshal(b, &n); err != nil {
		return notice{}, errors.New("no notice")
	}
	if n.Result >= uint8(fetchResults) || n.Failures < 0 || n.Failures > 1000 {
		return notice{}, errors.New("no notice")
	}
	return n, nil
}

// heed takes what another host has left on the board.
func (s *slot) heed(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	b, err := s.store.Look(ctx, s.key)
	if err != nil {
		return
	}
	n, err := decodeNotice(b)
	now := s.now()
	until := time.UnixMilli(n.Until)
	if err != nil || n.Settings != s.settings || !until.After(now) || until.After(now.Add(pauseMost)) {
		return
	}
	if fetchResult(n.Result) == fetchUnchanged {
		if s.current.Load() != nil {
			s.postpone(until)
		}
		return
	}
	s.pace.failures, s.pace.until = n.Failures, until
	s.pace.last = &fetchFailure{result: fetchResult(n.Result), errcode: n.Errcode}
}

// notify tells the other hosts, at best.
func (s *slot) notify(ctx context.Context, result fetchResult, errcode int, until time.Time) {
	b, err := json.Marshal(notice{s.settings, until.UnixMilli(), s.pace.failures, uint8(result), errcode})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	if s.store.Put(ctx, s.key, b, max(until.Sub(s.now()), time.Second)) == nil {
		s.noticed = true
	}
}

// allClear removes what notify left.
func (s *slot) allClear(ctx context.Context) {
	if !s.noticed && s.pace.failures == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	if b, err := s.store.Look(ctx, s.key); err == nil {
		_, _, err = s.store.Exchange(ctx, s.key, b, nil, 0)
		s.noticed = err != nil
	} else if errors.Is(err, store.ErrNotFound) {
		s.noticed = false
	}
}

// settingsMark tells whether two hosts ask with the same settings.
func settingsMark(s *sealer, c *CredentialConfig) string {
	plain := ""
	if c.Plain {
		plain = "plain"
	}
	return hex.EncodeToString(s.fingerprint(string(c.Source), c.AppID, c.Secret, c.Base, plain, c.ServiceName))
}
