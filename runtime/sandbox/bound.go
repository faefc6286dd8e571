package sandbox

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero/api"
)

const (
	// slice is the fuel that a guest gets at once: some 50 µs of plain code, in
	// which nothing can stop it.
	slice = 100_000
	// hostSlice is the work that host calls do for a guest from one pause to the
	// next, in bytes that they take from it; a call that takes none is callWork.
	// Fuel doesn't count them, and the dearest take some 10 ns a byte.
	hostSlice = 64 << 10
	callWork  = 1 << 10
)

// Why a bound ended a call. Beside them: context.DeadlineExceeded, and what the
// event's context gives.
var (
	errFuel      = errors.New("it used up its fuel")
	errCallStack = errors.New("call stack: its calls go deeper than the stack it may use")
	errHostCalls = errors.New("it makes too many host calls")
	errKilled    = errors.New("the plugin is being closed")
)

// stopped is the panic by which a bound ends guest code; why stands in
// bound.ended.
type stopped struct{ why error }

func (s stopped) Error() string { return s.why.Error() }

// bound is what a call into a guest may use: fuel, time and host calls. The
// guest counts its fuel down by itself and comes to refuel when a slice of it
// is spent; all else is looked at then, and in host calls. So a bound takes no
// goroutine and no timer, and the collector waits for a slice at most.
//
// It is the context that all guest code of one instance runs under, so that
// host calls know their instance without a look-up. As a context it never ends:
// wazero doesn't ask.
type bound struct {
	in          *instance
	fuel, stack api.MutableGlobal // what is left of the slice, and of the call stack

	// Of the call under way.
	event    context.Context // whose end ends the call
	began    time.Duration   // since the sandbox started
	deadline time.Duration   // since the sandbox started
	own      bool            // deadline is the call's own, not the event's
	budget   int64           // fuel of the whole call
	kept     int64           // of it, not given to the guest yet
	calls    int             // host calls so far
	work     int             // of them since the last pause
	pauses   int             // so far
	host     time.Duration   // spent in host calls that may wait
	queued   time.Duration   // spent on waiting for a run token
	running  bool            // the call holds a run token
	turn     chan struct{}   // gets the token that the call waits for
	ended    error           // why the call was ended from here; nil where it wasn't
}

// begin starts a call of at most d and fuel units of fuel, no longer than ctx.
// finish must follow. It gives the moment, since the sandbox started.
func (b *bound) begin(ctx context.Context, d time.Duration, fuel int64) time.Duration {
	now := b.now()
	b.event, b.began, b.deadline, b.own = ctx, now, now+d, true
	if at, ok := ctx.Deadline(); ok {
		if end := at.Sub(b.in.plugin.sandbox.started); end < b.deadline {
			b.deadline, b.own = end, false
		}
	}
	b.budget, b.ended = fuel, nil
	b.calls, b.work, b.pauses, b.host, b.queued = 0, 0, 0, 0, 0
	b.kept = fuel - min(fuel, slice)
	b.fuel.Set(uint64(fuel - b.kept))
	return now
}

// finish ends a call, however it came back, enters it into the instance's usage
// and gives the fuel that it used.
func (b *bound) finish() int64 {
	b.rest()
	b.event = nil
	used := b.budget - b.kept - int64(b.fuel.Get())
	u := &b.in.usage
	u.fuel.Add(used)
	u.guest.Add(int64(b.now() - b.began - b.host - b.queued))
	if b.calls > 0 {
		u.hostCalls.Add(int64(b.calls))
		u.host.Add(int64(b.host))
	}
	if b.pauses > 0 {
		u.pauses.Add(int64(b.pauses))
		u.queued.Add(int64(b.queued))
	}
	return used
}

// now is the time since the sandbox started, by the monotonic clock.
func (b *bound) now() time.Duration { return time.Since(b.in.plugin.sandbox.started) }

// refuel is what the guest calls when its slice is spent, or its stack.
func (b *bound) refuel() {
	if int64(b.stack.Get()) < 0 {
		b.stop(errCallStack)
	}
	b.pause()
	left := int64(b.fuel.Get())
	for left < 0 {
		if b.kept == 0 {
			b.stop(errFuel)
		}
		more := min(b.kept, slice)
		b.kept -= more
		left += more
	}
	b.fuel.Set(uint64(left))
}

// pause lets others run before it looks at anything. A guest goes on past its
// first one only with a run token.
func (b *bound) pause() {
	b.work = 0
	b.pauses++
	b.rest()
	runtime.Gosched()
	b.run()
	b.check()
}

// run takes a run token, after all who wait for one. It gives up where the
// event or the plugin ends before; check finds that.
func (b *bound) run() {
	p := b.in.plugin
	if p.sandbox.tokens.take(b.in.line, b.turn) {
		b.running = true
		return
	}
	since := b.now()
	defer func() { b.queued += b.now() - since }()
	select {
	case <-b.turn:
		b.running = true
	case <-b.event.Done():
		b.running = p.sandbox.tokens.leave(b.in.line, b.turn)
	case <-p.life.Done():
		b.running = p.sandbox.tokens.leave(b.in.line, b.turn)
	}
}

// rest gives the run token back, where the call holds one.
func (b *bound) rest() {
	if b.running {
		b.running = false
		b.in.plugin.sandbox.tokens.give()
	}
}

// wait runs a part of a host call that may wait for something else than the
// processor: without the run token, which it takes again behind it.
func (b *bound) wait(f func()) {
	held := b.running
	b.rest()
	since := b.now()
	f()
	b.host += b.now() - since
	if held {
		b.run()
	}
}

// hostCall counts a host call, and ends the guest where it makes too many.
func (b *bound) hostCall() {
	b.calls++
	if b.calls > b.in.plugin.limits.HostCalls {
		b.stop(errHostCalls)
	}
	b.spend(callWork)
}

// spend counts work that a host call is about to do, n bytes of it.
func (b *bound) spend(n int) {
	if b.work += n; b.work >= hostSlice {
		b.pause()
	}
}

// check ends the guest where its time is up, its event was given up or its
// plugin is closed by force.
func (b *bound) check() {
	if err := b.over(); err != nil {
		b.stop(err)
	}
}

// over says why the call may not go on, nil where it may.
func (b *bound) over() error {
	if b.in.plugin.life.Err() != nil {
		return errKilled
	}
	if err := b.event.Err(); err != nil {
		b.own = false
		return err
	}
	if b.now() >= b.deadline {
		return context.DeadlineExceeded
	}
	return nil
}

// stop ends the guest code that made the host call under way.
func (b *bound) stop(why error) {
	b.ended = why
	panic(stopped{why})
}

// context gives a context of the standard library's that ends with the call's
// time: it may be kept by another goroutine longer than the call lasts. cancel
// must be called.
func (b *bound) context() (ctx context.Context, cancel func()) {
	ctx, cancelTime := context.WithDeadline(b.event, b.in.plugin.sandbox.started.Add(b.deadline))
	forget := context.AfterFunc(b.in.plugin.life, cancelTime)
	return ctx, func() {
		forget()
		cancelTime()
	}
}

// Deadline implements context.Context.
func (b *bound) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (b *bound) Done() <-chan struct{} { return nil }

// Err implements context.Context.
func (b *bound) Err() error { return nil }

// Value implements context.Context. wazero asks for its experimental switches
// here; none is on, whatever the caller's context holds.
func (b *bound) Value(any) any { return nil }
