package server

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/simulator"
)

// newStreamTown is a gatewayTown whose caller may send and get media, with a short
// time between two pieces.
func newStreamTown(t *testing.T, timeout string) *gatewayTown {
	t.Helper()
	g := newGatewayTown(t)
	replaceIn(t, g.file, `"GET /cgi-bin/user/*"`, `"/cgi-bin/media/*"`)
	replaceIn(t, g.file, "mode: plain, app_secret", "mode: plain, api: { timeout: "+timeout+" }, app_secret")
	if r, err := g.Reload(t.Context(), "test"); err != nil || r.Result != reloadOK {
		t.Fatalf("%+v %v", r, err)
	}
	return g
}

// zeros reads as so many of them, in pieces with pauses between.
type zeros struct {
	left, piece int64
	pause       time.Duration
	stop        <-chan struct{} // ends a pause
}

func (z *zeros) Read(b []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	if z.pause > 0 && z.left%z.piece == 0 {
		select {
		case <-time.After(z.pause):
		case <-z.stop:
			return 0, io.ErrUnexpectedEOF
		}
	}
	n := min(int64(len(b)), (z.left-1)%z.piece+1)
	clear(b[:n])
	z.left -= n
	return int(n), nil
}

// upload sends a file through the gateway and checks that WeChat got it.
func (g *gatewayTown) upload(t *testing.T, file *zeros) {
	t.Helper()
	const head = "--edge\r\nContent-Disposition: form-data; name=\"media\"; filename=\"a.mp4\"\r\nContent-Type: video/mp4\r\n\r\n"
	const tail = "\r\n--edge--\r\n"
	size := file.left
	sum := sha256.New()
	body := io.MultiReader(strings.NewReader(head), io.TeeReader(file, sum), strings.NewReader(tail))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url("/api/shop/cgi-bin/media/upload?type=video"), body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = int64(len(head)+len(tail)) + size
	r.Header.Set("Authorization", "Bearer "+crmKey)
	r.Header.Set("Content-Type", "multipart/form-data; boundary=edge")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var said struct {
		MediaID string `json:"media_id"`
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil || json.Unmarshal(answer, &said) != nil {
		t.Errorf("upload: %d %s %v", resp.StatusCode, answer, err)
	}
	if m, ok := g.wechat.Media(testAppID, said.MediaID); !ok || m.Size != size || m.Hash != hex.EncodeToString(sum.Sum(nil)) {
		t.Errorf("WeChat has %+v after %d %s", m, resp.StatusCode, answer)
	}
}

// download gets a file through the gateway.
func (g *gatewayTown) download(t *testing.T, m simulator.Media) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url("/api/shop/cgi-bin/media/get?media_id="+m.ID), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+crmKey)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, resp.Body)
	if err != nil || n != m.Size || hex.EncodeToString(sum.Sum(nil)) != m.Hash {
		t.Errorf("download: %d, %d bytes, %v", resp.StatusCode, n, err)
	}
}

// TestGatewayStream: 200 MB up and down, and all that is allocated meanwhile, by
// both ends too, is a small part of it.
func TestGatewayStream(t *testing.T) {
	const size, most = 200 << 20, 24 << 20
	g := newStreamTown(t, "2s")
	m := g.wechat.SetMedia(testAppID, simulator.Media{ID: "m1", Size: size})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	g.upload(t, &zeros{left: size, piece: size})
	g.download(t, m)
	runtime.ReadMemStats(&after)
	if all := after.TotalAlloc - before.TotalAlloc; all > most {
		t.Errorf("%d MiB were allocated", all>>20)
	}
}

// TestGatewaySlowStream: a stream may take longer than the listener gives a body,
// and an answer, as long as it moves.
func TestGatewaySlowStream(t *testing.T) {
	up, down := bodyTime+time.Second, 2*time.Second
	if os.Getenv("WEFT_BARS") != "" {
		down = config.MaxAnswerWithin + answerSlack + time.Second
	}
	const pause = 250 * time.Millisecond
	g := newStreamTown(t, "1s")
	m := g.wechat.SetMedia(testAppID, simulator.Media{ID: "m1", Size: int64(down / pause)})
	g.wechat.Strike(simulator.Fault{Where: simulator.Where{Path: "/cgi-bin/media/get"}, Ends: simulator.Slow, Size: 1, Pause: pause})
	var both sync.WaitGroup
	both.Go(func() { g.download(t, m) })
	const piece = 256 << 10 // so that most of it is behind what is kept
	g.upload(t, &zeros{left: piece * int64(up/pause), piece: piece, pause: pause, stop: t.Context().Done()})
	both.Wait()
}

// TestGatewayStreamStops: who sends nothing more gets an answer, and no place is
// held for it.
func TestGatewayStreamStops(t *testing.T) {
	g := newStreamTown(t, "200ms")
	for _, first := range []string{"", "{", strings.Repeat("x", 2<<20)} {
		resp, answer := raw(t, g, fmt.Sprintf("POST /api/shop/cgi-bin/media/upload?type=video HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
			crmKey, 4<<20, first))
		if resp == nil || resp.StatusCode != http.StatusBadRequest || codeOf(answer) != "bad_body" {
			t.Errorf("after %d bytes: %v %s", len(first), resp, answer)
		}
	}
}

// raw sends a request as it stands and reads one answer; nil: the connection was
// closed without one.
func raw(t *testing.T, g *gatewayTown, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", g.public.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return nil, ""
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(answer)
}

// TestGatewayRawRequests: however a request is written, WeChat gets one call, the
// one that the scope has, or none.
func TestGatewayRawRequests(t *testing.T) {
	g := newGatewayTown(t)
	const key = "Authorization: Bearer " + crmKey + "\r\n"
	for name, c := range map[string]struct {
		request string
		status  int    // 0: no answer
		path    string // that WeChat is called at; "": none
	}{
		"absolute form":        {"GET http://other.test/api/shop/cgi-bin/user/get HTTP/1.1\r\nHost: h\r\n" + key + "\r\n", 200, "/cgi-bin/user/get"},
		"absolute, outside":    {"GET http://other.test/api/shop/cgi-bin/menu/get HTTP/1.1\r\nHost: h\r\n" + key + "\r\n", 403, ""},
		"authority form":       {"CONNECT api.weixin.qq.com:443 HTTP/1.1\r\nHost: h\r\n" + key + "\r\n", 404, ""},
		"upgrade":              {"GET /api/shop/cgi-bin/user/get HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + key + "\r\n", 200, "/cgi-bin/user/get"},
		"upgrade to HTTP/2":    {"GET /api/shop/cgi-bin/user/get HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n" + key + "\r\n", 200, "/cgi-bin/user/get"},
		"another method":       {"GET /api/shop/cgi-bin/user/get?_method=POST HTTP/1.1\r\nHost: h\r\nX-HTTP-Method-Override: DELETE\r\nX-Original-URL: /cgi-bin/menu/get\r\n" + key + "\r\n", 200, "/cgi-bin/user/get"},
		"HEAD for GET":         {"HEAD /api/shop/cgi-bin/user/get HTTP/1.1\r\nHost: h\r\n" + key + "\r\n", 403, ""},
		"two keys":             {"GET /api/shop/cgi-bin/user/get HTTP/1.1\r\nHost: h\r\n" + key + key + "\r\n", 401, ""},
		"key in the query":     {"GET /api/shop/cgi-bin/user/get?access_token=x HTTP/1.1\r\nHost: h\r\n" + key + "\r\n", 403, ""},
		"two lengths":          {"POST /api/shop/cgi-bin/message/a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 3\r\n" + key + "\r\n{}x", 400, ""},
		"length and chunks":    {"POST /api/shop/cgi-bin/message/a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n" + key + "\r\n0\r\n\r\n", 200, "/cgi-bin/message/a"},
		"odd chunks":           {"POST /api/shop/cgi-bin/message/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n" + key + "\r\n0\r\n\r\n", 501, ""},
		"broken chunks":        {"POST /api/shop/cgi-bin/message/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n" + key + "\r\n-1\r\n", 400, ""},
		"a blank in the name":  {"GET /api/shop/cgi-bin/user/get HTTP/1.1\r\nHost: h\r\n" + key + "X-A : b\r\n\r\n", 400, ""},
		"two slashes at first": {"GET //api/shop/cgi-bin/user/get HTTP/1.1\r\nHost: h\r\n" + key + "\r\n", 404, ""},
		"the folder escaped":   {"GET /%61pi/shop/cgi-bin/user/get HTTP/1.1\r\nHost: h\r\n" + key + "\r\n", 404, ""},
	} {
		all := len(g.wechat.Received(simulator.Where{}))
		resp, answer := raw(t, g, c.request)
		status := 0
		if resp != nil {
			status = resp.StatusCode
		}
		if status != c.status {
			t.Errorf("%s: %d %s, want %d", name, status, answer, c.status)
		}
		var paths string
		for _, got := range g.wechat.Received(simulator.Where{})[all:] {
			if strings.HasSuffix(got.Path, "token") { // the host's own
				continue
			}
			paths += got.Path
			if h := got.Header; h.Get("Upgrade")+h.Get("Authorization")+h.Get("X-Http-Method-Override")+h.Get("X-Original-Url")+h.Get("Http2-Settings") != "" || len(h["Transfer-Encoding"]) > 0 {
				t.Errorf("%s: went on with %v", name, h)
			}
		}
		if paths != c.path {
			t.Errorf("%s: calls of %q, want %q", name, paths, c.path)
		}
	}
}
