package pipeline

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store/redis"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// redisHost names the Redis of a process that is to be a host.
const redisHost = "WEFT_TEST_PIPELINE_REDIS"

// overRedis starts a host with a Redis and one stage.
func overRedis(t *testing.T, addr string, p *fake) *world {
	t.Helper()
	s, err := redis.Open(t.Context(), redis.Options{Addrs: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	w := newWorld(t)
	w.queue, w.shared = s, s
	w.stage("s", p)
	w.up()
	t.Cleanup(w.down)
	return w
}

// TestRedisHost is the host that TestTakeOverOverRedis kills: its event never
// ends.
func TestRedisHost(t *testing.T) {
	addr := os.Getenv(redisHost)
	if addr == "" {
		t.Skip("it is a part of TestTakeOverOverRedis")
	}
	w := overRedis(t, addr, &fake{handle: func(ctx context.Context, c *Call) (Result, error) {
		fmt.Println("running", c.Event.ID)
		<-ctx.Done()
		return Result{}, ctx.Err()
	}})
	w.deliver("e1")
}

// TestTakeOverOverRedis: a host that is killed in the middle of an event, with
// SIGKILL, loses it to another one within 5 s.
func TestTakeOverOverRedis(t *testing.T) {
	node := redistest.Start(t)
	ran := make(chan uint32, 8)
	b := overRedis(t, node.Addr, &fake{handle: func(_ context.Context, c *Call) (Result, error) {
		ran <- c.Event.Attempt
		return Result{Reply: textReply("b"), ReplySet: true}, nil
	}})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	a := exec.Command(self, "-test.run=^TestRedisHost$")
	a.Env = append(os.Environ(), redisHost+"="+node.Addr)
	out, err := a.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Process.Kill(); a.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "running e1\n" {
		t.Fatalf("the other host says %q, %v", line, err)
	}
	if err := a.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	answer := b.deliver("e1")
	if !isText(answer, "b") {
		t.Errorf("the repeat got %+v", answer)
	}
	took := time.Since(killed)
	t.Logf("taken over %v after the kill", took)
	if took > 5*time.Second {
		t.Error("that is too long")
	}
	if attempt := <-ran; attempt != 2 || len(ran) > 0 {
		t.Errorf("attempt %d, and %d more", attempt, len(ran))
	}
	if n := b.count("weft_shared_records_total", sharedTakenOver); n != 1 {
		t.Errorf("%d are counted", n)
	}
}

// TestOneRunOverRedis: events that come to two hosts at once are run once, and
// both get the answer.
func TestOneRunOverRedis(t *testing.T) {
	const events = 30
	node := redistest.Start(t)
	var ran journal[string]
	var hosts []*world
	for _, name := range []string{"a", "b"} {
		hosts = append(hosts, overRedis(t, node.Addr, &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			ran.add(c.Event.ID)
			time.Sleep(5 * ms)
			return Result{Reply: textReply(name), ReplySet: true}, nil
		}}))
	}
	var answers [events][2]string
	for i := range events { // one by one: a machine under load may be slower than an event waits
		var wg sync.WaitGroup
		for j, h := range hosts {
			wg.Go(func() { answers[i][j] = said(h.deliver(fmt.Sprint("e", i))) })
		}
		wg.Wait()
	}
	for i, a := range answers {
		if a[0] != a[1] || a[0] == "again" {
			t.Errorf("event %d got %q", i, a)
		}
	}
	list := ran.all()
	slices.Sort(list)
	if n := len(list); n != events || len(slices.Compact(list)) != events {
		t.Errorf("%d runs of %d events", n, events)
	}
	if n := hosts[0].count("weft_shared_records_total", sharedLocal) + hosts[1].count("weft_shared_records_total", sharedLocal); n > 0 {
		t.Errorf("%d events were known to one host alone", n)
	}
	if strings.Contains(hosts[0].logged()+hosts[1].logged(), "level=ERROR") {
		t.Error(hosts[0].logged(), hosts[1].logged())
	}
}

// BenchmarkDeliverShared is BenchmarkDeliver with a Redis on this machine.
func BenchmarkDeliverShared(b *testing.B) {
	node := redistest.Start(b, "--appendfsync", "everysec")
	s, err := redis.Open(b.Context(), redis.Options{Addrs: []string{node.Addr}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	benchDeliver(b, s, s)
}
