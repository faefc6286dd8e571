package sandbox

import (
	"encoding/binary"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// Layout of a subscription and of an event of poll_oneoff, in bytes
// (https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#subscription).
const (
	subscriptionSize = 48
	pollEventSize    = 32
	maxSubscriptions = 1024
)

// wasiPoll is poll_oneoff(in_ptr, out_ptr, count, nevents_ptr). It waits for
// the first of the clocks, but no longer than the call's deadline, and reports
// those that are due. Other subscriptions are reported at once, as ENOTSUP.
func wasiPoll(in *instance, s []uint64) uint32 {
	count := api.DecodeU32(s[2])
	if count == 0 || count > maxSubscriptions {
		return errnoInval
	}
	subs, ok := in.room(s[0], count*subscriptionSize)
	if !ok {
		return errnoFault
	}
	out, ok := in.room(s[1], count*pollEventSize)
	if !ok {
		return errnoFault
	}
	// The two ranges may overlap: the subscriptions are read before an event
	// is written.
	in.bound.spend(len(subs))
	waits := make([]pollWait, count)
	first := time.Duration(1<<63 - 1)
	for i := range waits {
		waits[i] = in.readSubscription(subs[i*subscriptionSize:])
		first = min(first, waits[i].after)
	}
	in.sleep(first)
	if in.plugin.sandbox.opt.Now != nil {
		in.slept += first
	}
	n := uint32(0)
	for _, w := range waits {
		if w.after <= first {
			w.write(out[n*pollEventSize:])
			n++
		}
	}
	if !in.memory.WriteUint32Le(api.DecodeU32(s[3]), n) {
		return errnoFault
	}
	return errnoSuccess
}

// pollWait is one subscription: what it waits for, and what it is told then.
type pollWait struct {
	userdata uint64
	kind     byte
	errno    uint16
	after    time.Duration // 0 at least
}

func (in *instance) readSubscription(b []byte) pollWait {
	const kindClock, absolute = 0, 1
	w := pollWait{userdata: binary.LittleEndian.Uint64(b), kind: b[8]}
	if w.kind != kindClock {
		w.errno = errnoNotSup
		return w
	}
	now, ok := in.clock(uint64(binary.LittleEndian.Uint32(b[16:])))
	if !ok {
		w.errno = errnoInval
		return w
	}
	timeout := binary.LittleEndian.Uint64(b[24:])
	if binary.LittleEndian.Uint16(b[40:])&absolute != 0 {
		timeout -= min(timeout, now)
	}
	w.after = time.Duration(min(timeout, 1<<63-1))
	return w
}

// write puts an event at b.
func (w pollWait) write(b []byte) {
	clear(b[:pollEventSize])
	binary.LittleEndian.PutUint64(b, w.userdata)
	binary.LittleEndian.PutUint16(b[8:], w.errno)
	b[10] = w.kind
}

// sleep waits for d, or ends the guest where the call's time is up before.
func (in *instance) sleep(d time.Duration) {
	if d <= 0 {
		in.bound.check()
		return
	}
	t := time.NewTimer(min(d, in.bound.deadline-in.bound.now()))
	defer t.Stop()
	b := &in.bound
	b.wait(func() {
		select {
		case <-t.C:
		case <-b.event.Done():
		case <-in.plugin.life.Done():
		}
	})
	b.check()
}
