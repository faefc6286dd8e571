package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/wechat"
)

// reloadRun says how much TestReloads does.
type reloadRun struct {
	reloads int
	rate    int           // events a second
	workers int           // that send them
	warm    time.Duration // of load before anything is measured
	pause   time.Duration // of load between reloads
}

// marker is what an app's answers are told apart by: each configuration that is
// written answers a higher number. Those of broken ones are never answered.
type marker struct {
	served  atomic.Int64 // of a reload that has returned
	written atomic.Int64 // of a file that may be read
}

// The apps of TestReloads, by where their number stands: in a stage, in a
// plugin's config, in a plugin's module.
var reloadApps = []string{"stage", "config", "module"}

const brokenMarker = 9999

// TestReloads reloads again and again under load, good configurations and broken
// ones: no event is lost or answered twice differently, none that is sent when a
// reload has returned is answered by an older generation, a plugin that doesn't
// change keeps its instances, and nothing is left behind. In a full run it is the
// bar of the design: 200 reloads, 2,000 events a second.
func TestReloads(t *testing.T) {
	run := reloadRun{reloads: 16, rate: 200, workers: 8, warm: 100 * time.Millisecond, pause: 20 * time.Millisecond}
	full := os.Getenv("WEFT_BARS") != ""
	if full {
		// As long as records are kept, so that there are as many of them at the end.
		run = reloadRun{reloads: 200, rate: 2000, workers: 64, warm: 12 * time.Second, pause: 50 * time.Millisecond}
	}
	r := newReloader(t, run)
	calm := r.load(t, func() { <-time.After(run.warm) })
	before := r.measure(t, leftovers{})
	probes := r.current.Load().assembly.plugins["probe"].Stats()
	var took []time.Duration
	under := r.load(t, func() { took = r.reloadAll(t) })
	after := r.measure(t, before)
	t.Logf("calm: %v; with reloads: %v", calm, under)
	slices.Sort(took)
	t.Logf("%d reloads: median %v, longest %v", len(took), took[len(took)/2], took[len(took)-1])
	t.Logf("before: %+v; after: %+v", before, after)

	now := r.current.Load().assembly.plugins["probe"].Stats()
	if started := now.Instances - probes.Instances; started != 0 || now.Calls <= probes.Calls || fmt.Sprint(now.Discards) != fmt.Sprint(probes.Discards) {
		t.Errorf("the plugin that never changed: %+v before, %+v after", probes, now)
	}
	if after.goroutines > before.goroutines || after.files > before.files {
		t.Errorf("left behind: %+v, before: %+v", after, before)
	}
	if !full {
		return
	}
	if after.resident > before.resident*1.1+20<<20 {
		t.Errorf("%.1f MiB are resident, %.1f were before", after.resident/(1<<20), before.resident/(1<<20))
	}
	if under.rate < 0.95*float64(run.rate) {
		t.Errorf("%.0f events a second, want %d: the machine is too busy for this bar", under.rate, run.rate)
	}
}

// reloader is a host that is reloaded under load.
type reloader struct {
	*testHost
	run     reloadRun
	account *wechat.Account
	client  *http.Client
	next    func() string
	markers map[string]*marker
	numbers map[string]int64 // what the file has, by app
	module  string           // the file of a plugin that changes
	guest   func(number int64) []byte
}

func newReloader(t *testing.T, run reloadRun) *reloader {
	r := &reloader{
		run: run, account: testAccount(t, wechat.Encrypted), next: counter(),
		client:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * run.workers}},
		markers: map[string]*marker{}, numbers: map[string]int64{},
		module: filepath.Join(t.TempDir(), "changing.wasm"), guest: numberedGuest(t),
	}
	for _, app := range reloadApps {
		r.markers[app], r.numbers[app] = new(marker), 0
	}
	file := writeConfig(t, "")
	r.testHost = &testHost{&Host{file: file}, nil}
	r.write(t, "")
	r.testHost = startHost(t, file)
	return r
}

// numberedGuest returns a function that gives a module which answers a number.
func numberedGuest(t *testing.T) func(number int64) []byte {
	src, err := os.ReadFile(filepath.Join("testdata", "healthy.wat"))
	if err != nil {
		t.Fatal(err)
	}
	compiler, err := exec.LookPath("wat2wasm")
	if err != nil {
		t.Skip("wat2wasm is not installed")
	}
	file := filepath.Join(t.TempDir(), "numbered")
	if err := os.WriteFile(file+".wat", bytes.Replace(src, []byte("\\04well"), []byte("\\040000"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), compiler, file+".wat", "-o", file).CombinedOutput(); err != nil {
		t.Fatalf("wat2wasm: %v\n%s", err, out)
	}
	embedManifest(t, file, []byte("name: changing\nversion: 1.0.0\nabi: 1\ntitle: { en: A guest }\n"))
	code, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return func(number int64) []byte {
		return bytes.Replace(code, []byte("\x040000"), fmt.Appendf(nil, "\x04%04d", number), 1)
	}
}

// write writes the configuration and the module with the numbers of now; more
// goes at the end of it.
func (r *reloader) write(t *testing.T, more string) {
	t.Helper()
	head := "weft: 1\nserver: { listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", data: ./data, drain: 5s }\napps:\n"
	for _, app := range reloadApps {
		with := ""
		if app == "config" {
			with = fmt.Sprintf("with: { probe: { name: \"%04d\" } }\n", r.numbers[app])
		}
		head += appYAML(app, "encrypted", "pipeline: "+app+"\nmax_skew: 10s\n"+with)
	}
	text := head + fmt.Sprintf(`plugins:
  probe: { source: %q, grants: { state: true }, limits: { timeout: 8s, instances: 1 } }
  changing: { source: %q, limits: { timeout: 8s } }
pipelines:
  stage: { dedupe: 5s, stages: [ { reply: { text: "%04d" } } ] }
  config: { dedupe: 5s, stages: [ { plugin: probe } ] }
  module: { dedupe: 5s, stages: [ { plugin: changing } ] }
`, probe(t), r.module, r.numbers["stage"]) + more
	module := r.guest(r.numbers["module"])
	if r.numbers["module"] == brokenMarker {
		module = []byte("no module")
	}
	if err := errors.Join(os.WriteFile(r.file, []byte(text), 0o600), os.WriteFile(r.module, module, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// reloadAll reloads so often, and says how long each reload took.
func (r *reloader) reloadAll(t *testing.T) []time.Duration {
	var took []time.Duration
	reload := func(i int, want bool) {
		t.Helper()
		began := time.Now()
		ok := false
		if i%2 == 0 {
			status, answer := r.postReload(t, "")
			ok = status == http.StatusOK && answer.Result == reloadOK
		} else {
			result, err := r.Reload(t.Context(), "test")
			ok = err == nil && result.Result == reloadOK
		}
		took = append(took, time.Since(began))
		if ok != want {
			t.Errorf("reload %d: taken: %v, want %v: %+v", i, ok, want, r.reloads.status())
		}
	}
	for i := range r.run.reloads {
		switch i % 8 {
		case 1:
			r.broken(t, "stage", "broken: [\n")
		case 3:
			r.broken(t, "module", "")
		case 5:
			r.broken(t, "stage", "store: { embedded: { dir: ./elsewhere } }\n")
		case 7:
			r.broken(t, "stage", "unknown: key\n")
		case 0:
			r.change(t, int64(i+1), reloadApps...)
		default:
			r.change(t, int64(i+1), reloadApps[i/2%len(reloadApps)])
		}
		reload(i, i%2 == 0)
		if i%2 == 0 {
			for app, m := range r.markers {
				m.served.Store(r.numbers[app])
			}
		}
		<-time.After(r.run.pause)
	}
	return took
}

// change writes a configuration that has apps answer another number.
func (r *reloader) change(t *testing.T, number int64, apps ...string) {
	for _, app := range apps {
		r.numbers[app] = number
		r.markers[app].written.Store(number)
	}
	r.write(t, "")
}

// broken writes a configuration that must not serve.
func (r *reloader) broken(t *testing.T, app, more string) {
	good := r.numbers[app]
	r.numbers[app] = brokenMarker
	r.write(t, more)
	r.numbers[app] = good
}

// loaded is what a load was.
type loaded struct {
	events      int
	rate        float64 // events a second
	median, p99 time.Duration
}

func (l loaded) String() string {
	return fmt.Sprintf("%d events, %.0f a second, median %v, 99%% %v", l.events, l.rate, l.median, l.p99)
}

// load sends events at the run's rate until during returns.
func (r *reloader) load(t *testing.T, during func()) loaded {
	tokens, end := make(chan struct{}), make(chan struct{})
	took := make([][]time.Duration, r.run.workers)
	var workers sync.WaitGroup
	for w := range r.run.workers {
		workers.Go(func() {
			for range tokens {
				took[w] = append(took[w], r.event(t, reloadApps[len(took[w])%len(reloadApps)], len(took[w])))
			}
		})
	}
	began := time.Now()
	workers.Go(func() {
		defer close(tokens)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for sent := 0; ; {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			for ; sent < int(time.Since(began).Seconds()*float64(r.run.rate)); sent++ {
				tokens <- struct{}{}
			}
		}
	})
	during()
	close(end)
	workers.Wait()
	lasted := time.Since(began)
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	if len(all) == 0 {
		t.Fatal("no event was sent")
	}
	return loaded{len(all), float64(len(all)) / lasted.Seconds(), all[len(all)/2], all[len(all)*99/100]}
}

// event sends an event of an app, each fourth one twice at once, each other
// fourth one again when it was answered, and says how long the first answer took.
func (r *reloader) event(t *testing.T, app string, n int) time.Duration {
	m := r.markers[app]
	least := m.served.Load()
	doc := textFrom("oUser"+strconv.Itoa(n%1000), r.next(), "name")
	send := func() string {
		got, err := r.post(app, doc)
		if err != nil {
			t.Errorf("an event of %s: %v", app, err)
		}
		return got
	}
	var again string
	var twice sync.WaitGroup
	if n%4 == 1 {
		twice.Go(func() { again = send() })
	}
	began := time.Now()
	first := send()
	took := time.Since(began)
	if twice.Wait(); n%4 == 3 {
		again = send()
	}
	if (n%2 == 1) && again != first && time.Since(began) < 4*time.Second { // else its answer may be forgotten
		t.Errorf("an event of %s is answered %q, and %q again", app, first, again)
	}
	number, err := strconv.ParseInt(first, 10, 64)
	if most := m.written.Load(); err != nil || number < least || number > most {
		t.Errorf("an event of %s is answered %q, want %d to %d", app, first, least, most)
	}
	return took
}

// post sends a callback of the app and returns the text of its answer.
func (r *reloader) post(app string, doc []byte) (string, error) {
	q := seal(r.account, doc, time.Now())
	resp, err := r.client.Post(r.url("/wx/"+app)+"?"+q.query, "text/xml", bytes.NewReader(q.body))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %.200s: %w", resp.StatusCode, body, err)
	}
	plain, format, err := r.account.OpenReply(body)
	if err != nil {
		return "", fmt.Errorf("opening the answer: %w", err)
	}
	return replyText(plain, format), nil
}

// leftovers is what a process has when it does nothing.
type leftovers struct {
	goroutines, files int
	resident          float64 // bytes
}

// measure says what the process has when everything has ended, at the latest when
// it is as little as before, or after a time in which it must be.
func (r *reloader) measure(t *testing.T, before leftovers) leftovers {
	t.Helper()
	r.reloads.retiring.Wait()
	r.client.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
	tick, end := time.NewTicker(10*time.Millisecond), time.After(10*time.Second)
	defer tick.Stop()
	var l leftovers
	for steady := 0; steady < 10; {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		now := leftovers{goroutines: runtime.NumGoroutine(), files: len(entries)}
		if steady++; now != l || before.files > 0 && (now.goroutines > before.goroutines || now.files > before.files) {
			steady = 0
		}
		l = now
		select {
		case <-tick.C:
		case <-end:
			steady = 10
		}
	}
	l.resident = residentBytes(t)
	return l
}

// BenchmarkReload reloads a host with five Go plugins that don't change, and
// reports the time in which one configuration takes the place of the other, too.
func BenchmarkReload(b *testing.B) {
	h := startHost(b, fiveGoPlugins(b))
	swap := time.Duration(0)
	for b.Loop() {
		s, problems, err := h.settle(b.Context(), read(h.file, newSources(true)))
		if err != nil || s == nil {
			b.Fatal(err, problems)
		}
		began := time.Now()
		h.swap(b.Context(), s)
		swap += time.Since(began)
	}
	h.reloads.retiring.Wait()
	b.ReportMetric(float64(swap.Nanoseconds())/float64(b.N), "swap-ns/op")
}
