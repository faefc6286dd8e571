package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

// fetched is a Tokens that fetches from a fake WeChat, by the plain call.
type fetched struct {
	base    string
	mu      sync.Mutex
	current string
	fetches int
}

func (f *fetched) Token(ctx context.Context) (string, error) { return f.Renew(ctx, "") }

func (f *fetched) Renew(ctx context.Context, refused string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current != refused {
		return f.current, nil
	}
	req, err := http.NewRequestWithContext(ctx, "GET", f.base+"/cgi-bin/token?grant_type=client_credential&appid=wx0&secret=app-s3cret", nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", errors.New("no token")
	}
	defer resp.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Token == "" {
		return "", errors.New("no token")
	}
	f.fetches++
	f.current = answer.Token
	return f.current, nil
}

// fake is a fake WeChat with one app, and the app's API before it.
type fake struct {
	*simulator.WeChat
	kit
	source *fetched
}

func newFake(t testing.TB) fake {
	t.Helper()
	w := simulator.New(simulator.Options{Seed: 7})
	w.Set(simulator.App{ID: "wx0", Secret: "app-s3cret"})
	server := httptest.NewUnstartedServer(w)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(w.Close)
	f := fake{WeChat: w, source: &fetched{base: server.URL}}
	f.kit = newKit(t, server.URL, nil, func(c *APIConfig) { c.Tokens = f.source })
	t.Cleanup(func() {
		for _, token := range w.Issued() {
			if strings.Contains(f.log.String(), token) {
				t.Error("a token was logged")
			}
		}
	})
	return f
}

// TestFakeWeChat: calls heal when somebody else voids the token, each with one
// repeat; a quota stops its path and no other.
func TestFakeWeChat(t *testing.T) {
	f := newFake(t)
	for range 3 {
		if answer, text, err := f.call(t, "GET", "/cgi-bin/user/info?openid=o1", ""); err != nil || answer.Errcode != 0 || answer.Header.Get("X-Wechat-TraceID") == "" {
			t.Fatalf("%+v %s %v", answer, text, err)
		}
		f.Invalidate("wx0")
	}
	if n := f.Count(simulator.Where{Path: "/cgi-bin/user/info"}); n.Executed != 3 || n.Errcodes[40001] != 2 || f.source.fetches != 3 {
		t.Errorf("%+v, %d fetches", n, f.source.fetches)
	}
	f.SetQuota(simulator.Where{Path: "/cgi-bin/user/get"}, simulator.Quota{Daily: 2})
	codes := []int{}
	for range 3 {
		answer, _, err := f.call(t, "GET", "/cgi-bin/user/get", "")
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, answer.Errcode)
	}
	if _, _, err := f.call(t, "GET", "/cgi-bin/user/get", ""); !slices.Equal(codes, []int{0, 0, 45009}) || !errors.Is(err, ErrQuota) {
		t.Errorf("%v, then %v", codes, err)
	}
	if _, _, err := f.call(t, "GET", "/cgi-bin/user/info?openid=o1", ""); err != nil {
		t.Error(err)
	}
	if answer, _, err := f.call(t, "POST", "/cgi-bin/clear_quota", `{"appid":"wx0"}`); err != nil || answer.Errcode != 0 {
		t.Fatalf("%+v %v", answer, err)
	}
	if answer, _, err := f.call(t, "GET", "/cgi-bin/user/get", ""); err != nil || answer.Errcode != 0 {
		t.Errorf("after clear_quota: %+v %v", answer, err)
	}
}

// TestFakeWeChatOnABadDay: WeChat says -1 to three in ten calls, drops one in ten
// and its tokens are voided by somebody else all the time. Reads get through; a
// message is never sent twice, and what the caller is told of it is true.
func TestFakeWeChatOnABadDay(t *testing.T) {
	calls, workers := 1_500, 64
	if os.Getenv("WEFT_BARS") != "" {
		calls = 20_000
	}
	f := newFake(t)
	f.Strike(simulator.Fault{Where: simulator.Where{Path: "/cgi-bin/user/**"}, Share: 0.3, Errcode: -1})
	f.Strike(simulator.Fault{Where: simulator.Where{Path: "/cgi-bin/user/**"}, Share: 0.1 / 0.7, Ends: simulator.CutBefore})
	f.Strike(simulator.Fault{Where: simulator.Where{Path: "/cgi-bin/message/**"}, Share: 0.05, Ends: simulator.CutAfter})
	f.Strike(simulator.Fault{Where: simulator.Where{Path: "/cgi-bin/message/**"}, Share: 0.05, Errcode: 45011})
	var failed, sentFine, sentMaybe, done atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				n := done.Add(1)
				if n > int64(calls) {
					return
				}
				if n%200 == 0 {
					f.Invalidate("wx0")
				}
				answer, _, err := f.call(t, "GET", "/cgi-bin/user/info?openid=o1", "")
				if err != nil || answer.Errcode != 0 {
					failed.Add(1)
				}
				answer, _, err = f.call(t, "POST", "/cgi-bin/message/custom/send", `{"touser":"o1","msgtype":"text","text":{"content":"x"}}`)
				switch {
				case err == nil && answer.Errcode == 0:
					sentFine.Add(1)
				case errors.Is(err, ErrBroken):
					sentMaybe.Add(1)
				}
			}
		})
	}
	wg.Wait()
	sent := f.Count(simulator.Where{Path: "/cgi-bin/message/**"})
	if fine, maybe := sentFine.Load(), sentMaybe.Load(); int64(sent.Executed) < fine || int64(sent.Executed) > fine+maybe || fine == 0 || maybe == 0 {
		t.Errorf("%d messages, of which the callers were told %d fine, %d maybe", sent.Executed, fine, maybe)
	}
	reads := f.Count(simulator.Where{Path: "/cgi-bin/user/**"})
	t.Logf("%d of %d reads failed; %d requests for them; %d fetches; %d messages", failed.Load(), calls, reads.Calls, f.source.fetches, sent.Executed)
	if failed.Load()*100 > int64(calls) { // of single tries it is 37 in 100
		t.Errorf("%d of %d reads failed", failed.Load(), calls)
	}
	if most := calls/200 + workers; f.source.fetches > most {
		t.Errorf("%d fetches", f.source.fetches)
	}
}

// BenchmarkAPI is a call of the fake WeChat by the standard library's client, by
// Call and through the gateway's handler. The metrics are of the latency.
func BenchmarkAPI(b *testing.B) {
	f := newFake(b)
	token, err := f.source.Token(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	edge := f.gateway(b, "/**")
	body := `{"touser":"o1","msgtype":"text","text":{"content":"` + strings.Repeat("x", 500) + `"}}`
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128}}
	post := func(b *testing.B, at string) {
		resp, err := client.Post(at, "application/json", strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !strings.Contains(string(text), `"errcode":0`) {
			b.Fatalf("%s, %v", text, err)
		}
	}
	const path = "/cgi-bin/message/custom/send"
	for name, call := range map[string]func(b *testing.B){
		"Direct":  func(b *testing.B) { post(b, f.source.base+path+"?access_token="+token) },
		"Call":    func(b *testing.B) { _, _, _ = f.call(b, "POST", path, body) },
		"Gateway": func(b *testing.B) { post(b, edge+"/api/shop"+path) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				call(b)
				if len(took) < 1<<20 {
					took = append(took, time.Since(began))
				} else {
					took[rand.N(len(took))] = time.Since(began)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-median")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
		})
	}
}

// TestFakeWeChatStreams: media both ways, and its error in JSON.
func TestFakeWeChatStreams(t *testing.T) {
	f := newFake(t)
	f.SetMedia("wx0", simulator.Media{ID: "m1", Size: 8 << 20})
	answer, text, err := f.call(t, "GET", "/cgi-bin/media/get?media_id=m1", "")
	if err != nil || answer.Errcode != 0 || len(text) != 8<<20 {
		t.Errorf("%+v %d %v", answer, len(text), err)
	}
	answer, _, err = f.call(t, "GET", "/cgi-bin/media/get?media_id=none", "")
	if err != nil || answer.Errcode != 40007 || answer.Rid == "" {
		t.Errorf("%+v %v", answer, err)
	}
	const boundary = "b0undary"
	head := fmt.Sprintf("--%s\r\nContent-Disposition: form-data; name=\"media\"; filename=\"a.mp4\"\r\nContent-Type: video/mp4\r\n\r\n", boundary)
	upload := io.MultiReader(strings.NewReader(head), &endless{4 << 20}, strings.NewReader("\r\n--"+boundary+"--\r\n"))
	answer, text, err = f.call(t, "POST", "/cgi-bin/media/upload?type=video", "", func(r *APIRequest) {
		r.Body, r.Length = upload, -1
		r.Header = http.Header{"Content-Type": {"multipart/form-data; boundary=" + boundary}}
	})
	var media struct {
		ID string `json:"media_id"`
	}
	if e := json.Unmarshal([]byte(text), &media); e != nil || err != nil || answer.Errcode != 0 {
		t.Fatalf("%+v %s %v", answer, text, err)
	}
	if m, ok := f.Media("wx0", media.ID); !ok || m.Size != 4<<20 {
		t.Errorf("%+v", m)
	}
}
