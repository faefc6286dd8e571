package redis

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// queueLoad is goroutines that append entries and settle them, and what of it was
// acknowledged.
type queueLoad struct {
	s    *Store
	stop atomic.Bool
	wg   sync.WaitGroup
	done atomic.Int64 // entries that went their way

	mu    sync.Mutex
	state map[string]string // of each key: what was acknowledged last; absent: it isn't known what happened
}

func startQueueLoad(t *testing.T, s *Store) *queueLoad {
	l := &queueLoad{s: s, state: map[string]string{}}
	for g := range 8 {
		l.wg.Go(func() {
			for i := 0; !l.stop.Load(); i++ {
				if err := l.pass(t.Context(), fmt.Sprintf("%d.%d", g, i), i); err != nil && !errors.Is(err, store.ErrUnavailable) {
					t.Error(err)
					return
				}
			}
		})
	}
	return l
}

// pass takes an entry a part of its way, by i.
func (l *queueLoad) pass(ctx context.Context, key string, i int) error {
	claims, err := l.s.Append(ctx, "q", time.Hour, store.Entry{Key: key, Line: fmt.Sprint(i % 3), Value: loadValue(key)})
	if err != nil {
		return err
	}
	c := claims[0]
	state := "claimed"
	switch i % 4 {
	case 1:
		state, c.Tries = "released", 9
		err = l.s.Release(ctx, "q", c, 0)
	case 2:
		state = "acknowledged"
		err = l.s.Ack(ctx, "q", c)
	case 3:
		state = "dead"
		err = l.s.Bury(ctx, "q", c, "why")
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.state[key] = state
	l.mu.Unlock()
	l.done.Add(1)
	return nil
}

func loadValue(key string) []byte { return bytes.Repeat([]byte(key), 20) }

// more waits until so many more entries went their way.
func (l *queueLoad) more(t *testing.T, n int64) {
	t.Helper()
	until := l.done.Load() + n
	poll(t, fmt.Sprintf("%d more entries", n), func() (bool, error) { return l.done.Load() >= until || t.Failed(), nil })
}

// check ends the load, and finds everything that was acknowledged, and the sets of
// the queue in accord.
func (l *queueLoad) check(t *testing.T) {
	t.Helper()
	l.stop.Store(true)
	l.wg.Wait()
	found := map[string]string{}
	var have store.Depth
	err := l.s.List(t.Context(), "q", 0, func(i store.Info) bool {
		state := "ready"
		switch {
		case i.Dead:
			state = "dead"
			have.Dead++
		case i.Claimed:
			state = "claimed"
			have.Claimed++
		case i.Tries == 9:
			state = "released"
			have.Ready++
		}
		if !bytes.Equal(i.Value, loadValue(i.Key)) {
			state = "damaged"
		}
		found[i.Key] = state
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, state := range l.state {
		if got, there := found[key]; there != (state != "acknowledged") || there && got != state {
			t.Errorf("entry %s was %s, is %q", key, state, got)
		}
	}
	depth, err := l.s.Depth(t.Context(), "q")
	if err != nil {
		t.Fatal(err)
	}
	if depth.Oldest = have.Oldest; depth != have {
		t.Errorf("depth %+v, listed %+v", depth, have)
	}
	t.Logf("%d entries went their way, %d are listed", len(l.state), len(found))
}

// rounds is how often a crash test kills.
func rounds(short, full int) int {
	if os.Getenv("WEFT_BARS") == "" {
		return short
	}
	return full
}

func TestQueueKeepsWhatItAcknowledged(t *testing.T) {
	t.Run("a server killed and started again", func(t *testing.T) {
		n := redistest.Start(t)
		l := startQueueLoad(t, openTest(t, Options{Addrs: []string{n.Addr}}))
		for range rounds(3, 10) {
			l.more(t, 200)
			n.Kill()
			n.Restart()
		}
		l.more(t, 50)
		l.check(t)
	})
	t.Run("a primary killed, Sentinels name another", func(t *testing.T) {
		set := redistest.StartSentinels(t, 1)
		l := startQueueLoad(t, openTest(t, Options{Mode: Sentinel, Addrs: set.Addrs, Master: set.Master}))
		for left := rounds(1, 5); left > 0; left-- {
			l.more(t, 200)
			old := set.Primary()
			old.Kill()
			set.Failover(old)
			l.more(t, 50)
			if left > 1 {
				old.Rejoin()
			}
		}
		l.check(t)
	})
	t.Run("a primary of a cluster killed, its replica takes over", func(t *testing.T) {
		c := redistest.StartCluster(t)
		s := openTest(t, Options{Mode: Cluster, Addrs: c.Addrs})
		l := startQueueLoad(t, s)
		for left := rounds(1, 5); left > 0; left-- {
			l.more(t, 200)
			old := c.Primary(s.queueKey("q", queueParts[0]))
			old.Kill()
			l.more(t, 50)
			if left > 1 {
				old.Rejoin()
				c.Whole()
			}
		}
		l.check(t)
	})
}

// With hostAddr set the test binary is a host that claims entries, says each key on
// standard output, acknowledges every third and says that, until it is killed.
const (
	hostAddr = "WEFT_TEST_QUEUE_HOST"
	hostHold = 2 * time.Second
	hostMany = 200
)

func TestQueueHost(t *testing.T) {
	addr := os.Getenv(hostAddr)
	if addr == "" {
		t.Skip("it is the host that TestQueueOfAKilledHost kills")
	}
	s := openTest(t, Options{Addrs: []string{addr}})
	for i := 0; ; i++ {
		claims, err := s.Claim(t.Context(), "q", "", 1, hostHold)
		if err != nil {
			t.Fatal(err)
		}
		if len(claims) == 0 {
			continue
		}
		fmt.Println("claimed", claims[0].Key)
		if i%3 == 0 {
			if err := s.Ack(t.Context(), "q", claims[0]); err != nil {
				t.Fatal(err)
			}
			fmt.Println("acknowledged", claims[0].Key)
		}
	}
}

// What a host held when it was killed is ready again after the hold, and not
// before; what it acknowledged is gone.
func TestQueueOfAKilledHost(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}})
	if _, err := s.Append(t.Context(), "q", 0, numbered(hostMany, noLine, 0)...); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	claimed, acknowledged := killedHost(t, n.Addr, 60)
	end := time.Now().Add(hostHold)
	lines, err := s.Lines(t.Context(), "q")
	if err != nil || len(lines) != 1 {
		t.Fatalf("%+v, %v", lines, err)
	}
	if time.Since(began) < hostHold && lines[0].Depth.Claimed < len(claimed)-len(acknowledged)-1 { // the last one may be on its way
		t.Errorf("%d are claimed, of %d less %d", lines[0].Depth.Claimed, len(claimed), len(acknowledged))
	}
	got := map[string]bool{}
	poll(t, "all of its claims end", func() (bool, error) {
		claims, err := s.Claim(t.Context(), "q", "", hostMany, time.Hour)
		for _, c := range claims {
			got[c.Key] = true
			if acknowledged[c.Key] {
				t.Errorf("%s was acknowledged and is there", c.Key)
			}
		}
		d, derr := s.Depth(t.Context(), "q")
		return d.Claimed == len(got) && d.Ready == 0 && time.Now().After(end), errors.Join(err, derr)
	})
	if missing := hostMany - len(got) - len(acknowledged); missing < 0 || missing > 1 { // one may be acknowledged and not said
		t.Errorf("%d came back, %d were acknowledged, of %d", len(got), len(acknowledged), hostMany)
	}
}

// killedHost runs a host until it has said so many lines, kills it, and returns
// what it has said.
func killedHost(t *testing.T, addr string, said int) (claimed, acknowledged map[string]bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := exec.Command(self, "-test.run", "^TestQueueHost$", "-test.timeout", "60s")
	host.Env = append(os.Environ(), hostAddr+"="+addr)
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	claimed, acknowledged = map[string]bool{}, map[string]bool{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, key, _ := strings.Cut(lines.Text(), " ")
		if _, err := strconv.Atoi(key); err != nil {
			continue // what the test binary says
		}
		switch word {
		case "claimed":
			claimed[key] = true
		case "acknowledged":
			acknowledged[key] = true
		}
		if len(claimed)+len(acknowledged) == said {
			if err := host.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	_ = host.Wait() // killed is an error, too
	if len(claimed) < said/2 || len(acknowledged) == 0 {
		t.Fatalf("it claimed %d and acknowledged %d", len(claimed), len(acknowledged))
	}
	return claimed, acknowledged
}
