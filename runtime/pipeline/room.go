package pipeline

import "github.com/weft-dev/weft/runtime/telemetry"

// room is the places for events in flight. Of half of them each app has an equal
// part to itself; the other half is for whoever comes, and an app that says
// nothing about itself takes of it at most as much as it leaves free. The
// ledger's lock guards it.
type room struct {
	most   int // events at once, over all apps
	shares map[string]*share
	open   int // places that are no app's own
	taken  int // of those; over open where a smaller room has taken the place of a larger one
}

// share is one app's part of a room. It lives as long as the host.
type share struct {
	app      string
	bound    int  // the app's own limits.inflight; 0: none
	own      int  // places that are kept free for it
	inflight int  // events
	over     int  // events over a bound, until they are in the queue or dropped
	listed   bool // the app is in the set of now

	logged telemetry.Seldom // of its events over a bound; not the ledger's
}

// arrange deals the places out anew, to the apps of set, which get their shares.
// Events in flight keep theirs.
func (m *room) arrange(set *Set) {
	if m.shares == nil {
		m.shares = make(map[string]*share, len(set.apps))
	}
	for _, s := range m.shares {
		s.listed, s.own = false, 0
	}
	own := m.most
	if n := len(set.apps); n > 1 {
		own = m.most / (2 * n)
	}
	m.open = m.most
	for name, a := range set.apps {
		s := m.shares[name]
		if s == nil {
			s = &share{app: name}
			m.shares[name] = s
		}
		s.listed, s.bound, s.own = true, a.limits.Inflight, own
		if s.bound > 0 {
			s.own = min(own, s.bound)
		}
		m.open -= s.own
		a.share = s
	}
	m.taken = 0
	for _, s := range m.shares {
		m.forget(s)
		m.taken += max(s.inflight-s.own, 0)
	}
}

// arrange deals the places out among the apps of set.
func (l *ledger) arrange(set *Set) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room.arrange(set)
}

// maxOver is how many events of an app may be on their way to the queue at once,
// because there was no place for them.
const maxOver = 1000

// admit takes a place for a run that begins; one for which there is none is over,
// and to be refused where too many are.
func (m *room) admit(r *run) {
	s := r.app.share
	if r.counted = m.enter(s); !r.counted {
		s.over++
		r.over, r.shed = true, s.over > maxOver
	}
}

// release takes back what admit did.
func (m *room) release(r *run) {
	switch s := r.app.share; {
	case r.durable:
	case r.counted:
		m.leave(s)
	default:
		s.over--
		m.forget(s)
	}
}

// enter takes a place for an event; false: there is none for this app.
func (m *room) enter(s *share) bool {
	over, free := s.inflight-s.own, m.open-m.taken
	switch {
	case s.bound > 0 && s.inflight >= s.bound:
		return false
	case over < 0:
		s.inflight++
		return true
	case free <= 0 || s.bound == 0 && over >= free:
		return false
	}
	s.inflight++
	m.taken++
	return true
}

// leave gives a place back.
func (m *room) leave(s *share) {
	if s.inflight > s.own {
		m.taken--
	}
	s.inflight--
	m.forget(s)
}

// forget removes the share of an app that is no more, and has no event.
func (m *room) forget(s *share) {
	if !s.listed && s.inflight+s.over == 0 {
		delete(m.shares, s.app)
	}
}
