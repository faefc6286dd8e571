package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// fleetLoad is the systems of the business that call a fleet: through the
// gateway, and for credentials.
type fleetLoad struct {
	fleet  *fleet
	client *http.Client
	next   atomic.Int64

	mu      sync.Mutex
	calls   map[string]told // of the gateway, by id
	reads   int
	unread  []error // reads that brought nothing
	expired int     // credentials that worked no more when they were asked for
	over    int     // those that worked no more when they came, which is no one's fault
	slowest time.Duration
}

// told is what a caller was told of a call.
type told struct {
	asked time.Time
	err   error // nil: WeChat did it
}

func newFleetLoad(f *fleet) *fleetLoad {
	return &fleetLoad{
		fleet: f, calls: map[string]told{},
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32, DisableCompression: true}},
	}
}

// run makes calls, from so many systems at once and each every so often, until ctx
// ends, and waits for them.
func (l *fleetLoad) run(ctx context.Context, systems int, every time.Duration) {
	var all sync.WaitGroup
	for range systems {
		all.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					l.one()
				}
			}
		})
	}
	all.Wait()
	l.client.CloseIdleConnections()
}

// one makes the next call: of three, one reads a token, one reads from WeChat and
// one has it do something.
func (l *fleetLoad) one() {
	n := l.next.Add(1)
	id := fmt.Sprintf("%d", n)
	switch n % 3 {
	case 0:
		l.read(int(n))
	case 1:
		l.gateway(id, int(n), http.MethodGet, "/api/shop/cgi-bin/user/get?n="+id, "")
	default:
		l.gateway(id, int(n), http.MethodPost, "/api/shop/cgi-bin/message/custom/send?n="+id, `{"touser":"o1","msgtype":"text","text":{"content":"hi"}}`)
	}
}

// ask sends a request to the host at a place, and to the next one where the
// connection is refused.
func (l *fleetLoad) ask(place int, method, path, body string) (status int, answer string, err error) {
	for try := range len(l.fleet.hosts) {
		status, answer, err = l.send(l.fleet.at(place+try), method, path, body)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
	}
	if err != nil || !strings.HasPrefix(path, "/credential/") || status != http.StatusOK {
		fmt.Fprintln(l.fleet.said, status, answer, err)
	}
	return status, answer, err
}

func (l *fleetLoad) send(host, method, path, body string) (status int, answer string, err error) {
	r, err := http.NewRequest(method, host+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+fleetCaller)
	begun := time.Now()
	resp, err := l.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(resp.Body)
	l.took(time.Since(begun))
	if !strings.HasPrefix(path, "/credential/") {
		fmt.Fprintln(l.fleet.said, resp.Header)
	}
	return resp.StatusCode, string(b), errors.Join(err, resp.Body.Close())
}

func (l *fleetLoad) took(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, d)
}

// gateway makes a call through the gateway.
func (l *fleetLoad) gateway(id string, place int, method, path, body string) {
	asked := time.Now()
	status, answer, err := l.ask(place, method, path, body)
	if err == nil {
		err = wechatError(status, answer)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls[id] = told{asked, err}
}

// wechatError is why an answer isn't WeChat's word that it was done; nil: it is.
func wechatError(status int, answer string) error {
	var told struct {
		Errcode int `json:"errcode"`
		Error   struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	err := json.Unmarshal([]byte(answer), &told)
	if status == http.StatusOK && err == nil && told.Errcode == 0 {
		return nil
	}
	return fmt.Errorf("status %d, errcode %d, %q", status, told.Errcode, told.Error.Code)
}

// read reads the token from a host.
func (l *fleetLoad) read(place int) {
	asked := time.Now()
	value, err := l.token(place, http.MethodGet, "")
	ends := l.fleet.wechat.TokenEnds(value)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	switch {
	case err != nil:
		l.unread = append(l.unread, err)
	case ends.Before(asked):
		l.expired++
	case ends.Before(time.Now()):
		l.over++
	}
}

// token reads the token from a host: the one that is valid, or another than the
// refused one.
func (l *fleetLoad) token(place int, method, body string) (string, error) {
	status, answer, err := l.ask(place, method, "/credential/shop/access_token", body)
	if err != nil {
		return "", err
	}
	var told struct{ Value string }
	if status != http.StatusOK {
		return "", wechatError(status, answer)
	}
	if err := json.Unmarshal([]byte(answer), &told); err != nil || told.Value == "" {
		return "", errors.New("an answer without a credential")
	}
	return told.Value, nil
}

// tally is what became of a load.
type tally struct {
	made, answered, failed int
	unanswered             int // WeChat did not answer the last try
	refused                int // tries at WeChat that were refused because of their token
	most                   int // of those, of one call
	over                   int // calls with a token that was over before they were made
	retried                int // calls that WeChat saw more than once
	why                    map[string]int
}

// count compares what callers were told with what WeChat has seen.
func (l *fleetLoad) count() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := tally{made: len(l.calls) + l.reads, answered: l.reads - len(l.unread), failed: len(l.unread), why: map[string]int{}}
	for _, err := range l.unread {
		n.why["credential: "+reason(err)]++
	}
	for id, c := range l.calls {
		s := l.fleet.front.of(id)
		if s.refused > 0 && s.ended.Before(c.asked) {
			n.over++
		}
		n.refused += s.refused
		if n.most = max(n.most, s.refused); s.tries > 1 {
			n.retried++
		}
		switch {
		case c.err == nil:
			n.answered++
		case s.struck:
			n.unanswered++
		default:
			n.failed++
			n.why[fmt.Sprintf("gateway: %s after %d tries", reason(c.err), s.tries)]++
		}
	}
	return n
}

// reason is an error without the addresses in it.
func reason(err error) string {
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		err = cause
	}
	return err.Error()
}

// report logs what became of a load, and returns the share that succeeded of what
// WeChat would have answered.
func (l *fleetLoad) report() (n tally, share float64) {
	n = l.count()
	t := l.fleet.t
	share = float64(n.answered) / float64(max(n.answered+n.failed, 1))
	t.Logf("%d calls and reads: %d answered, %d failed (%.4f %% succeed), %d that WeChat did not answer, %d sent again; the slowest took %v",
		n.made, n.answered, n.failed, 100*share, n.unanswered, n.retried, l.slowest.Round(time.Millisecond))
	for _, why := range slices.Sorted(maps.Keys(n.why)) {
		t.Logf("  %d failed: %s", n.why[why], why)
	}
	t.Logf("%d tries were refused because of their token, %d of one call at most; %d of them had one that was over before the call was made",
		n.refused, n.most, n.over)
	t.Logf("%d tokens were over before they were asked for, %d when they came", l.expired, l.over)
	return n, share
}

// noneOver checks that no caller had to do with a token that was over. One that
// runs out on the way, on a busy machine, is nobody's fault: the call is repeated
// with another.
func (l *fleetLoad) noneOver(n tally) {
	if l.expired > 0 || n.over > 0 {
		l.fleet.t.Errorf("%d tokens that were over were given out, %d calls were made with one", l.expired, n.over)
	}
}
