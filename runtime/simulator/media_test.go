package simulator_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/weft-dev/weft/runtime/simulator"
)

// upload sends a file as it is read, and gives WeChat's answer.
func (f *fake) upload(path, part string, file io.Reader) (said, error) {
	f.t.Helper()
	from, to := io.Pipe()
	form := multipart.NewWriter(to)
	go func() {
		form.WriteField("description", "x")
		w, err := form.CreateFormFile(part, "照片.jpg")
		if err == nil {
			_, err = io.Copy(w, file)
		}
		if err == nil {
			err = form.Close()
		}
		to.CloseWithError(err)
	}()
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.url+path, from)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Content-Type", form.FormDataContentType())
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return said{}, err
	}
	defer answer.Body.Close()
	var got said
	return got, json.NewDecoder(answer.Body).Decode(&got)
}

// TestUploadIsStreamed: 32 MB go through, and are counted and hashed, in far
// less memory.
func TestUploadIsStreamed(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	const size = 32 << 20
	sum := sha256.New()
	file := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), size), sum)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := f.upload("/cgi-bin/media/upload?type=image&access_token="+token, "media", file)
	runtime.ReadMemStats(&after)
	if err != nil || got.Errcode != 0 || got.Type != "image" {
		t.Fatalf("%+v, %v", got, err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > size/10 {
		t.Errorf("%d bytes were allocated for %d", grown, size)
	}
	m, ok := f.Media(appID, got.MediaID)
	if !ok || m.Size != size || m.Hash != hex.EncodeToString(sum.Sum(nil)) || m.Name != "照片.jpg" {
		t.Errorf("%+v", m)
	}
	one := f.Received(simulator.Where{Path: "/cgi-bin/media/upload"})[0]
	if one.BodySize <= size || one.BodyHash == "" || one.Body != nil || !one.Executed {
		t.Errorf("%+v", one)
	}
}

func TestUploadIsRefused(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	for _, c := range []struct {
		path, part, file string
		want             int
	}{
		{"upload?type=image", "file", "x", 41005},
		{"upload?type=image", "media", "", 44001},
		{"upload?type=map", "media", "x", 40004},
		{"uploadimg?", "media", "x", 0},
	} {
		if got, err := f.upload("/cgi-bin/media/"+c.path+"&access_token="+token, c.part, strings.NewReader(c.file)); err != nil || got.Errcode != c.want {
			t.Errorf("%v: %+v, %v", c, got, err)
		}
	}
	// The whole body is taken before the refusal, else the caller doesn't see it.
	if got, err := f.upload("/cgi-bin/media/upload?type=image&access_token=old", "media", strings.NewReader(strings.Repeat("x", 8<<20))); err != nil || got.Errcode != 40014 {
		t.Errorf("%+v, %v", got, err)
	}
	if got := f.do("POST", "/cgi-bin/media/upload?type=image&access_token="+token, "no form"); got.Errcode != 41005 {
		t.Errorf("%+v", got)
	}
}

// TestUploadBreaksOff: a caller that leaves in the middle has uploaded nothing.
func TestUploadBreaksOff(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	if _, err := f.upload("/cgi-bin/media/upload?type=image&access_token="+token, "media", io.MultiReader(strings.NewReader("half"), broken{})); err == nil {
		t.Fatal("it was answered")
	}
	where := simulator.Where{Path: "/cgi-bin/media/upload"}
	f.until(func() bool { return f.Count(where).Calls == 1 })
	if n := f.Count(where); n.Executed != 0 || n.Outcomes["gone"] != 1 {
		t.Errorf("%+v", n)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestMediaGet(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	token := f.stable(false).AccessToken
	m := f.SetMedia(appID, simulator.Media{ID: "big", Size: 3 << 20})
	f.SetMedia(appID, simulator.Media{ID: "film", Type: "video", Size: 1})
	answer, body, err := f.get(t.Context(), "/cgi-bin/media/get?media_id=big&access_token="+token)
	if err != nil || answer.ContentLength != 3<<20 || answer.Header.Get("Content-Type") != "image/jpeg" || !strings.Contains(answer.Header.Get("Content-Disposition"), `"big.jpg"`) {
		t.Fatalf("%v, %v", answer, err)
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != m.Hash {
		t.Error("it isn't what SetMedia said")
	}
	for query, want := range map[string]string{"media_id=film": `"video_url"`, "media_id=none": `"errcode":40007`, "": `"errcode":41006`} {
		if _, body, err := f.get(t.Context(), "/cgi-bin/media/get?"+query+"&access_token="+token); err != nil || !bytes.Contains(body, []byte(want)) {
			t.Errorf("%s: %s, %v", query, body, err)
		}
	}
	f.Strike(simulator.Fault{Ends: simulator.Truncated, Size: 1 << 20, Times: 1})
	if _, body, err := f.get(t.Context(), "/cgi-bin/media/get?media_id=big&access_token="+token); err == nil || len(body) != 1<<20 {
		t.Errorf("truncated: %d bytes, %v", len(body), err)
	}
}

func TestCode(t *testing.T) {
	f := newFake(t, simulator.Rules{})
	path := "/wxa/getwxacode?access_token=" + f.stable(false).AccessToken
	body, err := f.try("POST", path, `{"path":"pages/index"}`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jpeg.Decode(bytes.NewReader(body)); err != nil {
		t.Error(err)
	}
	f.Invalidate(appID)
	if got := f.do("POST", path, `{"path":"pages/index"}`); got.Errcode != 40001 {
		t.Errorf("%+v", got)
	}
}
