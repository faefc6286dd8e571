package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/wechat"
)

// TestUpstreamKilled: on_error, then the breaker, then it is back; no app with
// another upstream feels it.
func TestUpstreamKilled(t *testing.T) {
	l, other := startLegacy(t, 0), startLegacy(t, 0)
	h := startHost(t, writeConfig(t, "upstreams:\n"+
		upstreamYAML("legacy", fmt.Sprintf("http://127.0.0.1:%d", l.port), "")+upstreamYAML("other", fmt.Sprintf("http://127.0.0.1:%d", other.port), "")+
		"apps:\n"+appYAML("shop", "encrypted", "")+appYAML("calm", "encrypted", "pipeline: calm\n")+`pipelines:
  main: { on_error: { reply: { text: sorry } }, stages: [ { forward: { to: legacy, as: raw } } ] }
  calm: { stages: [ { forward: { to: other, as: raw } } ] }
`))
	id := 0
	say := func(app string) string {
		id++
		return h.say(t, app, fmt.Sprint(id), "hi")
	}
	if got := say("shop"); got != "legacy: hi" {
		t.Fatalf("got %q", got)
	}
	l.kill()
	for range 20 {
		if got := say("shop"); got != "sorry" {
			t.Errorf("after it was killed: %q", got)
		}
		if got := say("calm"); got != "legacy: hi" {
			t.Errorf("the other app: %q", got)
		}
		other.next(t)
	}
	metrics := h.metrics(t)
	for _, want := range []string{
		`weft_upstream_open{upstream="legacy"} 1`, `weft_upstream_open{upstream="other"} 0`,
		`weft_upstream_requests_total{result="failed",upstream="legacy"} 5`, `weft_upstream_requests_total{result="open",upstream="legacy"} 15`,
		`weft_upstream_requests_total{result="ok",upstream="other"} 20`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("metrics lack %s", want)
		}
	}
	if n := len(h.log.lines(t, "upstream away: its stages fail at once")); n != 1 {
		t.Errorf("%d lines say that it is away", n)
	}
	startLegacy(t, l.port)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for say("shop") != "legacy: hi" { // a trial every 5 s
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("it never came back")
		}
	}
	h.waitForLog(t, "upstream back")
}

// TestUpstreamSlow: while every connection to an upstream hangs, and many events
// wait for one, an app with another upstream is answered by its own.
func TestUpstreamSlow(t *testing.T) {
	release := make(chan struct{})
	var hanging atomic.Int32
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hanging.Add(1); <-release }))
	defer slow.Close()
	fine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{"text":{"content":"fine"}}`) }))
	defer fine.Close()
	h := startHost(t, writeConfig(t, "upstreams:\n"+upstreamYAML("slow", slow.URL, ", timeout: 2s, connections: 4")+upstreamYAML("fine", fine.URL, ", secret: s3cret")+
		"apps:\n"+appYAML("shop", "encrypted", "")+appYAML("calm", "encrypted", "pipeline: calm\n")+`pipelines:
  main: { on_error: { reply: { text: sorry } }, stages: [ { forward: { to: slow, as: raw } } ] }
  calm: { stages: [ { forward: { to: fine, as: json } } ] }
`))
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if got := h.say(t, "shop", fmt.Sprint(i), "hi"); got != "sorry" {
				t.Errorf("the slow one: %q", got)
			}
		})
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for hanging.Load() < 4 {
		<-tick.C
	}
	for i := range 100 {
		if got := h.say(t, "calm", fmt.Sprint(i), "hi"); got != "fine" {
			t.Fatalf("the other app: %q", got)
		}
	}
	wg.Wait()
	close(release)
	if n := hanging.Load(); n > 4+5 { // a few take a connection in the moment in which their own time ends
		t.Errorf("%d were sent with 4 connections", n)
	}
	metrics := h.metrics(t)
	if !strings.Contains(metrics, `weft_upstream_open{upstream="slow"} 1`) || !strings.Contains(metrics, `weft_upstream_open{upstream="fine"} 0`) {
		t.Error("the breakers are not as they should be")
	}
}

// TestUpstreamOnError: what the user gets under each form of on_error, of an
// upstream that is killed and of one that hangs, for raw and JSON forwards, while
// an app that has neither is answered all the time.
func TestUpstreamOnError(t *testing.T) {
	killed := httptest.NewServer(http.NotFoundHandler())
	killed.Close()
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer slow.Close()
	defer close(release)
	type form struct {
		name, onError, want string
		status              int
		outcome             string
	}
	forms := []form{
		{"skip", "skip", "early", 200, "replied"},
		{"stop", "stop", "success", 200, "stopped"},
		{"reply", "{ reply: { text: sorry } }", "sorry", 200, "replied"},
		{"plugin", "{ plugin: healthy }", "well", 200, "replied"},
		{"queue", "queue", "success", 200, "queued"},
		{"again", "again", "", 500, "again"},
	}
	sections := "upstreams:\n" + upstreamYAML("killed", killed.URL, ", secret: s3cret") + upstreamYAML("slow", slow.URL, ", secret: s3cret, timeout: 200ms") +
		fmt.Sprintf("plugins: { healthy: { source: %q } }\n", textGuest(t, filepath.Join("testdata", "healthy.wat"), ""))
	apps, pipelines := "apps:\n"+appYAML("calm", "encrypted", "pipeline: calm\n"), "pipelines:\n  calm: { stages: [ { plugin: healthy } ] }\n"
	each := func(do func(app, to, as string, form form)) {
		for _, to := range []string{"killed", "slow"} {
			for _, as := range []string{"raw", "json"} {
				for _, form := range forms {
					do(to+"-"+as+"-"+form.name, to, as, form)
				}
			}
		}
	}
	each(func(app, to, as string, form form) {
		apps += appYAML(app, "encrypted", "pipeline: "+app+"\n")
		pipelines += fmt.Sprintf("  %s: { answer_within: 3s, stages: [ { reply: { text: early } }, { forward: { to: %s, as: %s }, on_error: %s } ] }\n", app, to, as, form.onError)
	})
	h := startHost(t, writeConfig(t, sections+apps+pipelines))
	account, next := testAccount(t, wechat.Encrypted), counter()
	var wg sync.WaitGroup
	each(func(app, _, _ string, form form) {
		wg.Go(func() {
			status, _, body := postTo(t, h.url("/wx/"+app), seal(account, textMessage(next(), "hi"), time.Now()))
			if status != form.status || status == 200 && openText(t, account, body) != form.want {
				t.Errorf("%s: status %d, %s", app, status, body)
			}
		})
	})
	over := make(chan struct{})
	go func() {
		wg.Wait()
		close(over)
	}()
	for calm, during := 0, true; during; calm++ {
		if got := h.say(t, "calm", next(), "hi"); got != "well" {
			t.Fatalf("the other app, event %d: %q", calm, got)
		}
		select {
		case <-over:
			during = false
		default:
		}
	}
	events, errors := h.metric(t, "weft_events_total"), h.metric(t, "weft_stage_errors_total")
	each(func(app, _, _ string, form form) {
		if n := events[fmt.Sprintf(`app=%q,outcome=%q`, app, form.outcome)]; n != 1 {
			t.Errorf("%s: %d events %s", app, n, form.outcome)
		}
		labels := func(reason string) string { return fmt.Sprintf(`pipeline=%q,reason=%q,stage="forward"`, app, reason) }
		if errors[labels("upstream")]+errors[labels("timeout")] == 0 {
			t.Errorf("%s: no error of its stage", app)
		}
	})
}

// faulty is a client with a mistake.
type faulty struct{ fetcher }

func (faulty) Post(_ context.Context, r *gateway.Request) (gateway.Answer, error) {
	return gateway.Answer{ContentType: string(r.Body[len(r.Body)])}, nil
}

func (faulty) Timeout() time.Duration { return time.Second }

// TestUpstreamPanic: a mistake of ours while an upstream is asked, or its answer is
// read, is the error of the stage; the host goes on.
func TestUpstreamPanic(t *testing.T) {
	s := service{client: faulty{}, accounts: map[string]*wechat.Account{"shop": new(wechat.Account)}}
	for name, do := range map[string]func() error{
		"raw": func() error {
			_, err := s.ForwardRaw(t.Context(), &hostapi.Event{}, &pipeline.Callback{Body: []byte("secret")})
			return err
		},
		"json": func() error {
			_, err := s.ForwardJSON(t.Context(), &pipeline.Call{Event: &hostapi.Event{Content: "secret"}})
			return err
		},
		"read": func() error {
			_, err := s.Read(nil, &pipeline.Verbatim{Body: []byte("secret")})
			return err
		},
	} {
		err := do()
		if err == nil || !strings.HasPrefix(err.Error(), "the host panicked: runtime error: ") || !strings.Contains(err.Error(), "upstream.go:") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUpstreamIsNotUs: neither listener of the host can be an upstream, whatever
// its private networks are.
func TestUpstreamIsNotUs(t *testing.T) {
	file := writeConfig(t, "upstreams:\n"+upstreamYAML("us", "http://localhost:1", "")+
		"apps:\n"+appYAML("shop", "encrypted", "")+"pipeline: { stages: [ { forward: { to: us, as: json }, on_error: { reply: { text: sorry } } } ] }\n")
	h := startHost(t, file)
	for _, l := range []*listener{h.public, h.admin} {
		client, err := gateway.NewUpstream(gateway.UpstreamConfig{
			Name: "us", URL: fmt.Sprintf("http://localhost:%d/healthz", l.addrPort().Port()), Timeout: time.Minute, Connections: 1,
			Private: h.current.Load().assembly.cfg.Upstreams[0].Private, Own: h.listeners,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if _, err := client.Post(t.Context(), new(gateway.Request)); err == nil || !strings.Contains(err.Error(), "is a listener of this host") {
			t.Errorf("%s: %v", l.name, err)
		}
	}
	if got := h.say(t, "shop", "1", "hi"); got != "sorry" {
		t.Errorf("got %q", got)
	}
}

// TestCheckUpstreams: what is wrong with an address is told before anything is
// dialled, and secrets that aren't there don't matter.
func TestCheckUpstreams(t *testing.T) {
	file := writeConfig(t, `upstreams:
  far: { url: "http://10.0.3.7:8080/?token=s3cret", secret: x }
  meta: { url: "http://169.254.169.254/", private: [0.0.0.0/0], secret: x }
  fine: { url: "http://10.0.3.7:8080", private: [10.0.3.0/24], secret: x }
  open: { url: "${NOWHERE:-http://10.0.3.7}", private: [ "${NETWORK}" ], secret: x }
apps:
`+appYAML("shop", "plain", "")+`pipeline:
  stages:
    - { name: a, forward: { to: far, as: json } }
    - { name: b, forward: { to: meta, as: json } }
    - { name: c, forward: { to: fine, as: json } }
    - { name: d, forward: { to: open, as: json } }
    - { name: e, forward: { to: "${SOMEWHERE}", as: raw } }
`)
	report, err := Check(t.Context(), file, true)
	if err != nil {
		t.Fatal(err)
	}
	want := file + ":4:3: upstream far: the address is not allowed: 10.0.3.7 is not public: name its network under private\n" +
		file + ":5:3: upstream meta: the address is not allowed: 169.254.169.254 is link-local or no host's"
	found := slices.DeleteFunc(report.Problems, func(p config.Problem) bool { return p.Warning })
	if found.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", found, want)
	}
}

// TestUpstreamsOutliveGenerations: over a reload an upstream that is the same
// keeps its client and its circuit; a changed one gets another client, and goes on
// with its counts. A forward in flight ends with the client that it began with.
func TestUpstreamsOutliveGenerations(t *testing.T) {
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()
	asked, release := make(chan struct{}, 1), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-release
		_, _ = io.WriteString(w, `{"text":{"content":"at last"}}`)
	}))
	defer slow.Close()
	sections := func(awayMore, more string) string {
		return "upstreams:\n" + upstreamYAML("away", away.URL, awayMore) + upstreamYAML("other", away.URL, more) + upstreamYAML("slow", slow.URL, ", secret: x"+more) +
			"apps:\n" + appYAML("shop", "encrypted", "") + appYAML("calm", "encrypted", "pipeline: calm\n") + `pipelines:
  main: { stages: [ { forward: { to: away, as: json }, on_error: skip }, { name: f2, forward: { to: other, as: raw }, on_error: { reply: { text: sorry } } } ] }
  calm: { answer_within: 4900ms, stages: [ { forward: { to: slow, as: json } } ] }
`
	}
	h := startHost(t, writeConfig(t, sections("", "")))
	write := func(awayMore, more string) {
		text, err := os.ReadFile(writeConfig(t, sections(awayMore, more)))
		if err == nil {
			err = os.WriteFile(h.file, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 7 {
		if got := h.say(t, "shop", fmt.Sprint(i), "hi"); got != "sorry" {
			t.Errorf("got %q", got)
		}
	}
	told := func() map[string]upstreamStatus { return h.upstreamsByName(t) }
	before := told()
	for _, name := range []string{"away", "other"} {
		if u := before[name]; u.Circuit != gateway.Open || u.Since == nil || u.InFlight != 0 || u.Waiting != 0 || u.Connections != 64 || u.Requests["failed"] != 5 || u.Requests["open"] != 2 {
			t.Errorf("%s: %+v", name, u)
		}
	}
	answer := make(chan string)
	go func() { answer <- h.say(t, "calm", "1", "hi") }()
	<-asked
	first := h.current.Load().assembly.upstreams
	write("", ", connections: 8")
	if status, said := h.postReload(t, ""); status != http.StatusOK {
		t.Fatalf("%d: %+v", status, said)
	}
	second := h.current.Load().assembly.upstreams
	if first["away"] != second["away"] || first["other"] == second["other"] {
		t.Error("not the one that is the same has kept its client")
	}
	during := told()
	if u := during["away"]; u.Circuit != gateway.Open || !u.Since.Equal(*before["away"].Since) {
		t.Errorf("away: %+v", u)
	}
	if u := during["other"]; u.Circuit != gateway.Closed || u.Since != nil || u.Requests["failed"] != 5 || u.Connections != 8 {
		t.Errorf("other: %+v", u)
	}
	if u := during["slow"]; u.InFlight != 1 || u.Connections != 8 {
		t.Errorf("slow, in flight: %+v", u)
	}
	close(release)
	if got := <-answer; got != "at last" {
		t.Errorf("the event in flight: %q", got)
	}
	write(", connections: 9 }\n  broken: {", "")
	if status, said := h.postReload(t, ""); status != http.StatusUnprocessableEntity {
		t.Fatalf("%d: %+v", status, said)
	}
	if u := told()["away"]; u.Circuit != gateway.Open || u.Connections != 64 {
		t.Errorf("after a reload that was refused: %+v", u)
	}
	if u := told()["slow"]; u.InFlight != 0 || u.Requests["ok"] != 1 {
		t.Errorf("slow, after it: %+v", u)
	}
}

// upstreamsByName is what the status has of upstreams.
func (h *testHost) upstreamsByName(t *testing.T) map[string]upstreamStatus {
	t.Helper()
	all := map[string]upstreamStatus{}
	for _, u := range h.status(t).Upstreams {
		all[u.Name] = u
	}
	return all
}
