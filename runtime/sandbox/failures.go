package sandbox

import (
	"context"
	"crypto/sha256"
	"hash/maphash"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The failure policy. A call that failed counts for its app alone: what one
// app's config or users do takes a plugin from no other app.
const (
	fuseAtLeast = 20 // calls in a window before it can open the fuse
	fuseUsers   = 5  // users, at least, whose calls failed in it

	trialPause    = time.Second // from the opening to the first trial; doubled by each that fails
	maxTrialPause = time.Minute
	trialsToClose = 3 // good trials in a row
	// trialPatience is how long a trial that is due is kept for users none of
	// whose trials failed.
	trialPatience = time.Minute
	maxTriers     = 64 // users remembered whose trials failed

	skipAfter  = 3           // failures of a user
	skipWithin = time.Minute // in which they must come
	skipTime   = time.Minute // for which the user is skipped then
)

// Why a call was not made.
const (
	textFused   = "most of its last calls for this app failed; single calls are let through to see whether it works again"
	textSkipped = "three calls for this user failed within a minute; it gets no events of this user for a minute"
)

// verdict says what a call tells of its plugin.
type verdict int

const (
	verdictNone   verdict = iota // nothing: it was not the plugin's doing, or there was no call
	verdictGood                  // it did what it should
	verdictFailed                // error, trap, timeout, fuel, memory
)

// failures keeps the failure policy of one plugin, by its name: it outlives a
// Plugin, and is the next one's of that name. Its memory is bounded, whatever
// users come: 64 KiB at most for each app. It has no goroutine and no timer. Its
// methods may be called by many goroutines at once.
type failures struct {
	log   *slog.Logger // names the plugin
	seed  maphash.Seed
	start time.Time // what moments count from: skipWithin before the first failure

	mu     sync.Mutex                       // held to change what follows
	apps   atomic.Pointer[map[string]*fuse] // never changed once stored
	newest edition
}

// edition is a module that a plugin's name stands for: one loaded later has the
// higher number, or the same where it is the same module still.
type edition struct {
	number uint64
	digest [sha256.Size]byte
}

// load notes that a module is loaded under the name.
func (f *failures) load(digest [sha256.Size]byte) edition {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.newest.digest != digest {
		f.newest = edition{f.newest.number + 1, digest}
	}
	return f.newest
}

// newFailures returns the policy of a plugin that never failed. Each change is
// logged to log, which names the plugin; no line has an openid.
func newFailures(log *slog.Logger) *failures {
	f := &failures{log: log, seed: maphash.MakeSeed(), start: time.Now().Add(-skipWithin)}
	f.apps.Store(&map[string]*fuse{})
	return f
}

// app gives the fuse of an app, always the same one. It is kept for good: call
// it for apps of the configuration only.
func (f *failures) app(name string) *fuse {
	if one := (*f.apps.Load())[name]; one != nil {
		return one
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	apps := *f.apps.Load()
	if one := apps[name]; one != nil {
		return one
	}
	apps = maps.Clone(apps)
	apps[name] = &fuse{of: f, app: name}
	f.apps.Store(&apps)
	return apps[name]
}

// fuse is the failure policy of one plugin in one app. It is closed while the
// plugin is healthy; open, it lets single calls through as trials.
type fuse struct {
	of  *failures
	app string

	// A call that goes well while nothing failed lately touches these only.
	state atomic.Uint64 // the phase; above it a number that each opening and closing raises
	good  atomic.Uint32 // in phaseCalm: the calls of the window, none of which failed
	skips atomic.Bool   // some user is skipped, or was until lately

	mu     sync.Mutex
	window *window // in phaseWatched
	trial  trials  // in phaseOpen
	users  offenders
}

// The phases of a fuse, in the low bits of its state.
const (
	phaseCalm    = iota // closed; no call of the window failed
	phaseWatched        // closed
	phaseOpen
	phaseBits = 2
	phaseMask = 1<<phaseBits - 1
)

// trials is what an open fuse knows.
type trials struct {
	since   time.Duration // when it opened
	next    time.Duration // when a trial is due, where none is under way
	pause   time.Duration // the last one
	running bool          // a trial is under way
	good    int           // trials in a row that went well
	failed  int           // trials that failed
	triers  []uint64      // users whose trials failed, the last one last
	window  tally         // that opened it
	of      edition       // the newest that failed, or came for a trial
}

// ticket is a call that was let in. done must be called exactly once for it.
type ticket struct {
	fuse  *fuse
	user  string
	of    *edition
	epoch uint64 // state >> phaseBits as it was let in
	trial bool
}

// admit says whether a call for a user's event is made: where it isn't, refused
// says why, and there is no ticket. user is an openid, or empty where the event
// has no user; such events count as those of one user, who is never skipped. of
// is the module that is to be called, not changed once given: one that is newer
// than what failed has its first trial at once.
func (f *fuse) admit(user string, of *edition) (t ticket, refused string) {
	state := f.state.Load()
	if state&phaseMask == phaseOpen || f.skips.Load() {
		return f.admitCarefully(user, of)
	}
	return ticket{fuse: f, user: user, of: of, epoch: state >> phaseBits}, ""
}

func (f *fuse) admitCarefully(user string, of *edition) (t ticket, refused string) {
	now, id := f.now(), f.id(user)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.users.skipped(id, now) {
		return ticket{}, textSkipped
	}
	if f.skips.Load() && !f.users.anySkipped(now) {
		f.skips.Store(false)
	}
	open := f.state.Load()&phaseMask == phaseOpen
	if open && !f.succeed(of, now) || open && !f.trial.due(id, now) {
		return ticket{}, textFused
	}
	if open {
		f.trial.running = true
	}
	return ticket{fuse: f, user: user, of: of, epoch: f.state.Load() >> phaseBits, trial: open}, ""
}

// succeed begins the trials of an open fuse anew where they were another
// module's; false where of is older than one that came. f.mu is held.
func (f *fuse) succeed(of *edition, now time.Duration) bool {
	t := &f.trial
	if of.number > t.of.number && of.digest != t.of.digest {
		*t = trials{since: t.since, next: now, pause: trialPause / 2, window: t.window}
		f.turn(phaseOpen) // a trial of the other's counts no more
	}
	if of.number >= t.of.number {
		t.of = *of
	}
	return of.number == t.of.number
}

// due says whether a user's call may be the next trial. Users whose trials
// failed stand back for a while, so that a few users with poison messages can't
// have all trials and keep a healthy plugin from the others.
func (t *trials) due(id uint64, now time.Duration) bool {
	if t.running || now < t.next {
		return false
	}
	return !slices.Contains(t.triers, id) || now-t.next >= trialPatience
}

// done ends a call that was let in.
func (t ticket) done(v verdict) {
	f := t.fuse
	if v == verdictGood && !t.trial {
		switch state := f.state.Load(); {
		case state>>phaseBits != t.epoch: // the window that it belongs to is gone
			return
		case state&phaseMask == phaseCalm:
			if f.good.Load() < windowSize {
				f.good.Add(1)
			}
			return
		}
	}
	if v == verdictNone && !t.trial {
		return
	}
	for _, c := range f.settle(t, v, f.now()) {
		f.of.log.LogAttrs(context.Background(), c.level, c.msg, append(c.attrs, slog.String("app", f.app))...)
	}
}

// fuseChange is a line for the log.
type fuseChange struct {
	level slog.Level
	msg   string
	attrs []slog.Attr
}

func (f *fuse) settle(t ticket, v verdict, now time.Duration) (changes []fuseChange) {
	id := f.id(t.user)
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := true
	if v == verdictFailed && t.user != "" {
		counts = !f.users.skipped(id, now)
		if f.users.fail(id, now) {
			f.skips.Store(true)
			changes = append(changes, fuseChange{slog.LevelWarn, "plugin skips a user", []slog.Attr{
				slog.String("for", skipTime.String()), slog.Int("skipped_users", f.users.countSkipped(now)),
			}})
		}
	}
	if f.state.Load()>>phaseBits != t.epoch {
		return changes
	}
	var change *fuseChange
	switch {
	case t.trial:
		change = f.tried(id, v, now)
	case counts:
		change = f.count(id, t.of, v, now)
	}
	if change != nil {
		changes = append(changes, *change)
	}
	return changes
}

// count enters a call into the window of a closed fuse. f.mu is held.
func (f *fuse) count(id uint64, of *edition, v verdict, now time.Duration) *fuseChange {
	if f.window == nil {
		f.window = newWindow(int(min(f.good.Load(), windowSize)))
		f.enter(phaseWatched)
	}
	if v == verdictGood {
		f.window.add(0)
		if f.window.failed == 0 {
			f.good.Store(uint32(f.window.calls))
			f.window = nil
			f.enter(phaseCalm)
		}
		return nil
	}
	f.window.add(id)
	if w := f.window; w.calls < fuseAtLeast || 2*w.failed < w.calls || !w.failedForUsers(fuseUsers) {
		return nil
	}
	f.trial = trials{since: now, next: now + trialPause, pause: trialPause, window: f.window.tally, of: *of}
	f.window = nil
	f.turn(phaseOpen)
	return &fuseChange{slog.LevelWarn, "plugin fused", []slog.Attr{
		slog.Int("failed", f.trial.window.failed), slog.Int("calls", f.trial.window.calls), slog.String("next_trial_in", trialPause.String()),
	}}
}

// tried ends a trial of an open fuse. f.mu is held.
func (f *fuse) tried(id uint64, v verdict, now time.Duration) *fuseChange {
	t := &f.trial
	t.running = false
	switch v {
	case verdictGood:
		t.good++
		t.next = now
		if t.good < trialsToClose {
			return nil
		}
		change := &fuseChange{slog.LevelInfo, "plugin healthy again", []slog.Attr{
			slog.String("fused_for", (now - t.since).Round(time.Millisecond).String()), slog.Int("failed_trials", t.failed),
		}}
		f.trial = trials{}
		f.good.Store(0)
		f.turn(phaseCalm)
		return change
	case verdictFailed:
		t.good = 0
		t.failed++
		t.pause = min(2*t.pause, maxTrialPause)
		t.next = now + t.pause
		if len(t.triers) == maxTriers {
			t.triers = slices.Delete(t.triers, 0, 1)
		}
		t.triers = append(t.triers, id)
		return &fuseChange{slog.LevelWarn, "plugin still fused", []slog.Attr{
			slog.Int("failed_trials", t.failed), slog.String("next_trial_in", t.pause.String()),
		}}
	default: // the next call may be the trial
		return nil
	}
}

// enter changes the phase, turn also the epoch: calls under way belong to the
// window before and count no more. f.mu is held.
func (f *fuse) enter(phase uint64) { f.state.Store(f.state.Load()&^phaseMask | phase) }

func (f *fuse) turn(phase uint64) { f.state.Store((f.state.Load()>>phaseBits+1)<<phaseBits | phase) }

// now is the moment, as offenders and trials have it.
func (f *fuse) now() time.Duration { return time.Since(f.of.start) }

// id stands for a user in memory. It is never 0.
func (f *fuse) id(user string) uint64 { return max(1, maphash.String(f.of.seed, user)) }

// HealthState says how calls of a plugin fare.
type HealthState string

// The states, from best to worst.
const (
	Healthy HealthState = "healthy" // all calls are made
	Trying  HealthState = "trying"  // it was fused, and its last trial went well
	Fused   HealthState = "fused"   // no call is made, but for a trial from time to time
)

// Health is what a plugin's failures came to, at one moment.
type Health struct {
	State   HealthState // the worst of its apps
	Fused   int         // apps for which it is fused or trying
	Skipped int         // users whose events it doesn't get now, of all apps
	Apps    []AppHealth // those in which a call failed lately or a user is skipped, by name
}

// AppHealth is a plugin's health in one app.
type AppHealth struct {
	App       string
	State     HealthState
	Failed    int       // calls that failed, of the last Calls; where it is fused, as that began
	Calls     int       // at most 100
	Skipped   int       // users whose events it doesn't get now
	Since     time.Time // when it was fused; zero where it isn't
	NextTrial time.Time // may have passed: the next call is the trial
	Trials    int       // that failed since
}

// health reads the state of all apps.
func (f *failures) health() Health {
	all := Health{State: Healthy}
	apps := *f.apps.Load()
	for _, name := range slices.Sorted(maps.Keys(apps)) {
		one := apps[name].health()
		all.Skipped += one.Skipped
		if one.State != Healthy {
			all.Fused++
		}
		if one.State == Fused || all.State == Healthy {
			all.State = one.State
		}
		if one.State != Healthy || one.Failed > 0 || one.Skipped > 0 {
			all.Apps = append(all.Apps, one)
		}
	}
	return all
}

func (f *fuse) health() AppHealth {
	now := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	h := AppHealth{App: f.app, State: Healthy, Skipped: f.users.countSkipped(now)}
	switch f.state.Load() & phaseMask {
	case phaseOpen:
		h.State = Fused
		if f.trial.good > 0 {
			h.State = Trying
		}
		h.Failed, h.Calls = f.trial.window.failed, f.trial.window.calls
		h.Since, h.NextTrial, h.Trials = f.of.start.Add(f.trial.since), f.of.start.Add(f.trial.next), f.trial.failed
	case phaseWatched:
		h.Failed, h.Calls = f.window.failed, f.window.calls
	default:
		h.Calls = int(min(f.good.Load(), windowSize))
	}
	return h
}
