package sandbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

func TestWASI(t *testing.T) {
	c := newCaller(t, event('0'))
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	c.in.plugin.sandbox.clock0 = now.Add(-time.Minute)
	c.in.plugin.sandbox.opt.Now = func() time.Time { return now }
	c.in.plugin.sandbox.opt.Rand = bytes.NewReader([]byte("12345678"))
	const outside = 0xfffffff0
	u64 := func(at uint64) uint64 { return binary.LittleEndian.Uint64(c.read(at, 8)) }

	for _, name := range []string{"args", "environ"} {
		c.write(100, []byte("XXXXXXXX"))
		c.want(errnoSuccess, name+"_sizes_get", 100, 104)
		if u64(100) != 0 {
			t.Errorf("%s: %x", name, u64(100))
		}
		c.want(errnoFault, name+"_sizes_get", outside, 104)
		c.want(errnoFault, name+"_sizes_get", 100, outside)
		c.want(errnoSuccess, name+"_get", 100, 104)
	}

	c.want(errnoSuccess, "clock_time_get", clockRealtime, 1, 100)
	if u64(100) != uint64(now.UnixNano()) {
		t.Errorf("realtime %d", u64(100))
	}
	c.want(errnoSuccess, "clock_time_get", clockMonotonic, 1, 108)
	c.want(errnoSuccess, "clock_time_get", clockMonotonic, 1, 116)
	if u64(108) != uint64(time.Minute) || u64(116) != u64(108) {
		t.Errorf("monotonic %d, then %d; want a minute", u64(108), u64(116))
	}
	c.want(errnoInval, "clock_time_get", 2, 1, 100)
	c.want(errnoFault, "clock_time_get", clockRealtime, 1, outside)
	c.want(errnoSuccess, "clock_res_get", clockRealtime, 100)
	if u64(100) != 1 {
		t.Errorf("resolution %d", u64(100))
	}
	c.want(errnoInval, "clock_res_get", 9, 100)
	c.want(errnoFault, "clock_res_get", clockRealtime, outside)

	c.want(errnoSuccess, "random_get", 100, 8)
	if got := c.read(100, 8); string(got) != "12345678" {
		t.Errorf("random %q", got)
	}
	c.want(errnoIO, "random_get", 100, 8) // the reader is empty
	c.want(errnoFault, "random_get", 100, pageSize)

	c.want(errnoBadF, "fd_prestat_get", 3, 100)
	c.want(errnoBadF, "fd_close", 1)
	c.want(errnoBadF, "fd_seek", 1, 0, 0, 100)
	for fd := range uint64(3) {
		c.want(errnoSuccess, "fd_fdstat_get", fd, 100)
		if c.read(100, 1)[0] != 2 {
			t.Errorf("descriptor %d is no character device", fd)
		}
	}
	c.want(errnoBadF, "fd_fdstat_get", 3, 100)
	c.want(errnoFault, "fd_fdstat_get", 1, pageSize-23)
	c.want(errnoSuccess, "sched_yield")
	for _, f := range wasiAbsent() {
		c.want(errnoNoSys, f[0], slices.Repeat([]uint64{outside}, len(f[1]))...)
	}
	if _, trap := c.call("proc_exit", 7); trap == nil || trap.Error() != "it ended itself with proc_exit(7)" {
		t.Errorf("proc_exit: %v", trap)
	}
}

// TestWASIWrite: what a guest writes to its standard streams becomes log lines.
func TestWASIWrite(t *testing.T) {
	var logs logLines
	c := newCaller(t, event('0'))
	c.in.plugin.log = logs.logger()
	write := func(fd uint64, want int64, pieces ...string) {
		t.Helper()
		iovs, at := []byte{}, uint32(2000)
		for _, p := range pieces {
			c.write(uint64(at), []byte(p))
			iovs = binary.LittleEndian.AppendUint32(iovs, at)
			iovs = binary.LittleEndian.AppendUint32(iovs, uint32(len(p)))
			at += uint32(len(p))
		}
		c.write(100, iovs)
		c.want(want, "fd_write", fd, 100, uint64(len(pieces)), 90)
	}
	write(1, errnoSuccess, "one li", "ne\nand ")
	write(2, errnoSuccess, "panic: no\n\n")
	write(1, errnoSuccess, "another\n", "", "unfinished")
	write(1, errnoSuccess, strings.Repeat("x", 2*hostapi.MaxText)+"\n")
	write(0, errnoBadF, "x")
	write(3, errnoBadF, "x")
	c.in.stdout.flush(c.in)
	want := []string{"INFO one line", "WARN panic: no", "INFO and another", "INFO unfinished" + strings.Repeat("x", hostapi.MaxText-len("unfinished"))}
	if got := logs.texts(t); !slices.Equal(got, want) {
		t.Errorf("logged %.200q", got)
	}

	const outside = 0xfffffff0
	c.want(errnoFault, "fd_write", 1, outside, 1, 90)
	c.want(errnoFault, "fd_write", 1, pageSize-4, 1, 90)
	c.want(errnoSuccess, "fd_write", 1, outside, 0, 90)
	c.write(100, []byte{0xff, 0xff, 0, 0, 2, 0, 0, 0})
	c.want(errnoFault, "fd_write", 1, 100, 1, 90)
	c.want(errnoFault, "fd_write", 1, 104, 0, outside)
	// It takes a part of what is too much, and says so.
	if _, ok := c.in.memory.Grow(2); !ok {
		t.Fatal("no memory")
	}
	write(1, errnoSuccess, strings.Repeat("y", 3*maxPiece/2))
	if n := binary.LittleEndian.Uint32(c.read(90, 4)); n != maxPiece {
		t.Errorf("took %d bytes", n)
	}
}

// clockSubscription is a subscription_t for a clock.
func clockSubscription(userdata uint64, clock uint32, timeout time.Duration, absolute bool) []byte {
	b := make([]byte, subscriptionSize)
	binary.LittleEndian.PutUint64(b, userdata)
	binary.LittleEndian.PutUint32(b[16:], clock)
	binary.LittleEndian.PutUint64(b[24:], uint64(timeout))
	if absolute {
		b[40] = 1
	}
	return b
}

func TestWASIPoll(t *testing.T) {
	read := make([]byte, subscriptionSize)
	read[0], read[8] = 5, 1 // fd_read
	type polled struct {
		userdata uint64
		errno    uint16
	}
	for name, tc := range map[string]struct {
		subs [][]byte
		took time.Duration
		want []polled
	}{
		"one clock":         {[][]byte{clockSubscription(7, clockMonotonic, time.Second, false)}, time.Second, []polled{{7, 0}}},
		"realtime":          {[][]byte{clockSubscription(7, clockRealtime, time.Second, false)}, time.Second, []polled{{7, 0}}},
		"the first":         {[][]byte{clockSubscription(1, clockMonotonic, 3*time.Second, false), clockSubscription(2, clockMonotonic, time.Second, false)}, time.Second, []polled{{2, 0}}},
		"absolute, past":    {[][]byte{clockSubscription(3, clockMonotonic, 0, true)}, 0, []polled{{3, 0}}},
		"unknown clock":     {[][]byte{clockSubscription(4, 9, time.Second, false)}, 0, []polled{{4, errnoInval}}},
		"not a clock":       {[][]byte{read, clockSubscription(1, clockMonotonic, time.Second, false)}, 0, []polled{{5, errnoNotSup}}},
		"two that are over": {[][]byte{clockSubscription(1, clockMonotonic, 0, false), clockSubscription(2, clockMonotonic, 0, false)}, 0, []polled{{1, 0}, {2, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			spec := watSpec(t, "empty", "")
			synctest.Test(t, func(t *testing.T) {
				c := callerOf(t, load(t, newSandbox(t, Options{}), spec), event('0'))
				c.write(1000, bytes.Join(tc.subs, nil))
				before := time.Now()
				c.want(errnoSuccess, "poll_oneoff", 1000, 1000, uint64(len(tc.subs)), 90) // over one another
				if took := time.Since(before); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
				var got []polled
				for i := range uint64(c.read(90, 1)[0]) {
					e := c.read(1000+i*pollEventSize, pollEventSize)
					got = append(got, polled{binary.LittleEndian.Uint64(e), binary.LittleEndian.Uint16(e[8:])})
				}
				if !slices.Equal(got, tc.want) {
					t.Errorf("got %v, want %v", got, tc.want)
				}
			})
		})
	}
}

// TestWASIPollLimits: it waits no longer than the call may take.
func TestWASIPollLimits(t *testing.T) {
	spec := watSpec(t, "empty", "")
	synctest.Test(t, func(t *testing.T) {
		c := callerOf(t, load(t, newSandbox(t, Options{}), spec), event('0'))
		const outside = 0xfffffff0
		c.want(errnoInval, "poll_oneoff", 1000, 2000, 0, 90)
		c.want(errnoInval, "poll_oneoff", 1000, 2000, maxSubscriptions+1, 90)
		c.want(errnoInval, "poll_oneoff", 1000, 2000, 0xffffffff, 90)
		c.want(errnoFault, "poll_oneoff", outside, 2000, 1, 90)
		c.want(errnoFault, "poll_oneoff", pageSize-47, 2000, 1, 90)
		c.want(errnoFault, "poll_oneoff", 1000, pageSize-31, 1, 90)
		c.want(errnoFault, "poll_oneoff", 1000, 2000, 1, outside)
		c.write(1000, clockSubscription(1, clockMonotonic, 1<<63-1, false))
		before := time.Now()
		if _, trap := c.call("poll_oneoff", 1000, 2000, 1, 90); !errors.Is(trap, stopped{context.DeadlineExceeded}) || time.Since(before) != callerTime {
			t.Errorf("ended with %v after %v", trap, time.Since(before))
		}
		if _, trap := c.call("random_get", 1000, 1); !errors.Is(trap, stopped{context.DeadlineExceeded}) {
			t.Errorf("random_get after the end: %v", trap)
		}
	})
}
