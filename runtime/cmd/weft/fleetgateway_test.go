package main

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

// What the gateway adds to a call: the same calls, by systems that keep their
// connections, directly and through the gateway in turns.
func TestGatewayLatency(t *testing.T) {
	f := newFleet(t, 1, simulator.Rules{}, "embedded: {}")
	l := newFleetLoad(f)
	token, err := l.token(0, http.MethodGet, "")
	if err != nil {
		t.Fatal(err)
	}
	const direct, through = 0, 1
	paths := [2]string{direct: f.front.url + "/cgi-bin/user/get?access_token=" + token, through: f.at(0) + "/api/shop/cgi-bin/user/get"}
	for _, systems := range []int{1, 8} {
		var mu sync.Mutex
		var took [2][]time.Duration
		var all sync.WaitGroup
		for range systems {
			all.Go(func() {
				mine, failed := l.inTurns(paths, either(100, 5000))
				mu.Lock()
				defer mu.Unlock()
				for way := range mine {
					took[way] = append(took[way], mine[way]...)
				}
				if failed > 0 {
					t.Errorf("%d calls failed", failed)
				}
			})
		}
		all.Wait()
		middle, end := [2]time.Duration{}, [2]time.Duration{}
		for way, of := range took {
			slices.Sort(of)
			middle[way], end[way] = of[len(of)/2], of[len(of)*99/100]
		}
		t.Logf("%d systems, %d calls each way: median %v direct, %v through the gateway, %v more; 99th percentile %v direct, %v through, %v more",
			systems, len(took[direct]), middle[direct], middle[through], middle[through]-middle[direct], end[direct], end[through], end[through]-end[direct])
	}
}

// inTurns makes so many calls on each of two ways, and times them.
func (l *fleetLoad) inTurns(paths [2]string, calls int) (took [2][]time.Duration, failed int) {
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	for i := range 2 * calls {
		way := (i/2 + i) % 2 // neither is always after the other
		r, err := http.NewRequest(http.MethodGet, paths[way], nil)
		if err != nil {
			return took, calls
		}
		r.Header.Set("Authorization", "Bearer "+fleetCaller)
		begun := time.Now()
		resp, err := client.Do(r)
		if err != nil {
			failed++
			continue
		}
		answer, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it was read
		if took[way] = append(took[way], time.Since(begun)); err != nil || wechatError(resp.StatusCode, string(answer)) != nil {
			failed++
		}
	}
	return took, failed
}

// A file of 200 MB goes through the gateway to WeChat, another one back, and the
// host's memory stays as it was.
func TestGatewayUpload(t *testing.T) {
	const size, slack = 200 << 20, 24 << 20
	f := newFleet(t, 1, simulator.Rules{}, "embedded: {}")
	l := newFleetLoad(f)
	if _, err := l.upload(1 << 20); err != nil { // whatever is kept once
		t.Fatal(err)
	}
	before := f.resident("VmRSS")
	f.resetPeak()
	begun := time.Now()
	sent, err := l.upload(size)
	if err != nil {
		t.Fatal(err)
	}
	took, peak := time.Since(begun), f.resident("VmHWM")
	if sent.Size != size {
		t.Errorf("WeChat got %d bytes, want %d", sent.Size, size)
	}
	t.Logf("%d MiB up in %v: %d MiB resident before, %d MiB at most", size>>20, took.Round(time.Millisecond), before>>20, peak>>20)
	if peak > before+slack {
		t.Errorf("the host's memory grew by %d MiB over an upload", (peak-before)>>20)
	}

	f.wechat.SetMedia(testAppID, simulator.Media{ID: "large", Size: size})
	begun = time.Now()
	got, err := l.download("large")
	took, peak = time.Since(begun), f.resident("VmHWM")
	if err != nil || got != size {
		t.Errorf("%d bytes came down, want %d: %v", got, size, err)
	}
	t.Logf("%d MiB down in %v: %d MiB at most", size>>20, took.Round(time.Millisecond), peak>>20)
	if peak > before+slack {
		t.Errorf("the host's memory grew by %d MiB over a download", (peak-before)>>20)
	}
}

// upload sends a file of so many bytes, which is nowhere kept, and returns what
// WeChat has of it.
func (l *fleetLoad) upload(size int64) (simulator.Media, error) {
	var head bytes.Buffer
	form := multipart.NewWriter(&head)
	if _, err := form.CreateFormFile("media", "film.jpg"); err != nil {
		return simulator.Media{}, err
	}
	beginning := bytes.NewReader(bytes.Clone(head.Bytes()))
	head.Reset()
	if err := form.Close(); err != nil {
		return simulator.Media{}, err
	}
	r, err := http.NewRequest(http.MethodPost, l.fleet.at(0)+"/api/shop/cgi-bin/media/upload?type=image", io.MultiReader(beginning, io.LimitReader(endless{}, size), &head))
	if err != nil {
		return simulator.Media{}, err
	}
	r.Header.Set("Authorization", "Bearer "+fleetCaller)
	r.Header.Set("Content-Type", form.FormDataContentType())
	resp, err := (&http.Client{Timeout: 2 * time.Minute}).Do(r)
	if err != nil {
		return simulator.Media{}, err
	}
	answer, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // it was read
	if err == nil {
		err = wechatError(resp.StatusCode, string(answer))
	}
	_, after, _ := strings.Cut(string(answer), `"media_id":"`)
	id, _, _ := strings.Cut(after, `"`)
	m, _ := l.fleet.wechat.Media(testAppID, id)
	return m, err
}

// download reads a file and returns how many bytes came.
func (l *fleetLoad) download(id string) (int64, error) {
	r, err := http.NewRequest(http.MethodGet, l.fleet.at(0)+"/api/shop/cgi-bin/media/get?media_id="+id, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+fleetCaller)
	resp, err := (&http.Client{Timeout: 2 * time.Minute}).Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return io.Copy(io.Discard, resp.Body)
}

// endless is a file that has no end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

// resident reads a line of /proc/PID/status of the first host, in bytes.
func (f *fleet) resident(name string) int64 {
	f.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.hosts[0].cmd.Process.Pid))
	if err != nil {
		f.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), name+":")
	var kib int64
	if _, err := fmt.Sscanf(after, "%d kB", &kib); err != nil {
		f.t.Fatalf("%s: %v", name, err)
	}
	return kib << 10
}

// resetPeak begins the peak of the first host's memory anew.
func (f *fleet) resetPeak() {
	f.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", f.hosts[0].cmd.Process.Pid), []byte("5"), 0); err != nil {
		f.t.Logf("the peak has what was before, too: %v", err)
	}
}
