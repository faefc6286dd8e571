package server

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
)

// load is what wrk saw.
type load struct {
	rate float64 // answers in a second
	p99  time.Duration
	cpu  time.Duration // of this process and of wrk, for each answer
}

// Forms of what wrk prints.
var (
	wrkRate = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkP99  = regexp.MustCompile(`(?m)^\s+99%\s+(\S+)`)
	wrkBad  = regexp.MustCompile(`(?m)^\s*(Non-2xx or 3xx responses|Socket errors).*$`)
)

// wrk asks for one address over 64 connections for a while. Every answer must be
// 2xx.
func wrk(t *testing.T, url string, during time.Duration) load {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "wrk", "-t1", "-c64", "--latency", "-d"+during.String(), url)
	before := ownCPU(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("wrk: %v: %s", err, out)
	}
	rate, p99 := wrkRate.FindSubmatch(out), wrkP99.FindSubmatch(out)
	if bad := wrkBad.Find(out); bad != nil || rate == nil || p99 == nil {
		t.Fatalf("wrk: %s", out)
	}
	var l load
	if l.rate, err = strconv.ParseFloat(string(rate[1]), 64); err != nil {
		t.Fatal(err)
	}
	if l.p99, err = time.ParseDuration(string(p99[1])); err != nil {
		t.Fatal(err)
	}
	used := ownCPU(t) - before + cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	l.cpu = time.Duration(float64(used) / (l.rate * during.Seconds()))
	return l
}

// ownCPU is what this process has used of its processors so far.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestSignSpeedBars holds signatures over HTTP to 0.75 of the rate of a bare echo
// handler that returns the same bytes, in turn in one run, on the processors that
// wrk has, too; the median counts. It is part of `make bars`.
func TestSignSpeedBars(t *testing.T) {
	if os.Getenv("WEFT_BARS") == "" || raceEnabled {
		t.Skip("set WEFT_BARS to measure, without -race")
	}
	if _, err := exec.LookPath("wrk"); err != nil {
		t.Skip("wrk is not there: make deps")
	}
	g := newJSAPITown(t)
	path := signPath("shop", "https://www.acme.cn/list?id=1&from=timeline")
	w, answer := g.ask(t, http.MethodGet, path)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, answer)
	}
	server := httptest.NewServer(bareEcho(answer))
	defer server.Close()
	const turn = time.Second
	wrk(t, g.url(path), turn) // both are warm
	wrk(t, server.URL+path, turn)
	var ratios, rates, tails, work []float64
	for range 21 {
		ours, theirs := wrk(t, g.url(path), turn), wrk(t, server.URL+path, turn)
		ratios, rates, tails = append(ratios, ours.rate/theirs.rate), append(rates, ours.rate), append(tails, ours.p99.Seconds()*1000)
		work = append(work, float64(theirs.cpu)/float64(ours.cpu))
		t.Logf("%.0f/s, p99 %v, %v of a processor each; bare %.0f/s, p99 %v, %v", ours.rate, ours.p99, ours.cpu, theirs.rate, theirs.p99, theirs.cpu)
	}
	median := func(of []float64) float64 { slices.Sort(of); return of[len(of)/2] }
	t.Logf("%.0f signatures/s, p99 %.2f ms, %.2f (%.2f to %.2f) of a bare handler, %.2f by what both take of the processors",
		median(rates), median(tails), median(ratios), ratios[0], ratios[len(ratios)-1], median(work))
	if median(ratios) < 0.75 {
		t.Errorf("%.2f of a bare handler's rate, want 0.75 at least", median(ratios))
	}
}

// BenchmarkSign is a signature's way through the http.Handler, beside that of the
// same bytes through a bare one.
func BenchmarkSign(b *testing.B) {
	g := newTown(b, jsapiSections)
	path := signPath("shop", "https://www.acme.cn/list?id=1&from=timeline")
	_, answer := g.ask(b, http.MethodGet, path)
	for _, c := range []struct {
		name    string
		handler http.Handler
	}{{"signed", g.public.srv.Handler}, {"bare", bareEcho(answer)}} {
		b.Run(c.name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				c.handler.ServeHTTP(w, r)
				if w.Code != http.StatusOK || w.Body.Len() != len(answer) {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
}

// bareEcho answers every request for a signature with the same bytes.
func bareEcho(answer string) *echo.Echo {
	bare := echo.New()
	bare.GET("/jsapi/:app/sign", func(ec echo.Context) error {
		return ec.Blob(http.StatusOK, "application/json; charset=utf-8", []byte(answer))
	})
	return bare
}
