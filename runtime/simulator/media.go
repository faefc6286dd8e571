package simulator

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash/fnv"
	"image"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
)

// Media is a file that an app has at WeChat. Its bytes aren't kept: what comes
// in is counted and hashed, and what goes out is made up from the id.
type Media struct {
	ID   string
	Type string // image, voice, video, thumb
	Size int64  // in bytes
	// Hash is the SHA-256, in hexadecimal, of what was uploaded; of a file that
	// SetMedia made, of what media/get gives.
	Hash string
	Name string // the file's, as the upload had it, 255 bytes at most
}

// SetMedia gives an app a file of so many bytes under an id.
func (w *WeChat) SetMedia(appID string, m Media) Media {
	sum := sha256.New()
	if made(m.ID, m.Size)(sum) == nil { // a hash takes all
		m.Hash = hex.EncodeToString(sum.Sum(nil))
	}
	if m.Type == "" {
		m.Type = "image"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.apps[appID]; a != nil {
		a.keep(m)
	}
	return m
}

// Media tells of a file of an app.
func (w *WeChat) Media(appID, id string) (m Media, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.apps[appID]; a != nil {
		m, ok = a.media[id]
	}
	return m, ok
}

func (a *app) keep(m Media) {
	if len(a.media) >= remembered {
		a.media = map[string]Media{}
	}
	a.media[m.ID] = m
}

// made gives the bytes that an id stands for.
func made(id string, size int64) func(io.Writer) error {
	return func(to io.Writer) error {
		seed := fnv.New64a()
		io.WriteString(seed, id)
		var key [32]byte
		copy(key[:], seed.Sum(nil))
		_, err := io.CopyN(to, rand.NewChaCha8(key), size)
		return err
	}
}

func mediaEndpoints(to map[string]endpoint) {
	to["/cgi-bin/media/upload"] = endpoint{method: http.MethodPost, streams: true, serve: (*WeChat).upload}
	to["/cgi-bin/media/uploadimg"] = endpoint{method: http.MethodPost, streams: true, serve: (*WeChat).upload}
	to["/cgi-bin/media/get"] = endpoint{method: http.MethodGet, serve: (*WeChat).mediaGet}
	for _, path := range []string{"/wxa/getwxacode", "/wxa/getwxacodeunlimit", "/cgi-bin/wxaapp/createwxaqrcode"} {
		to[path] = endpoint{method: http.MethodPost, serve: (*WeChat).code}
	}
}

// upload is POST /cgi-bin/media/upload and uploadimg: multipart, the file in the
// part media. How large each type may be isn't looked at.
func (w *WeChat) upload(c *call) answer {
	kind, m, errcode := c.query.Get("type"), Media{}, 0
	if c.request.URL.Path == "/cgi-bin/media/uploadimg" {
		kind = "image"
	}
	switch kind {
	case "image", "voice", "video", "thumb":
		m, errcode = c.file()
	default:
		errcode = 40004
	}
	if err := c.readAll(); err != nil {
		c.bodyErr = err
		return c.refuses(47001)
	}
	if errcode != 0 {
		return c.refuses(errcode)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	m.Type, m.ID = kind, w.value("", 64)
	c.app.keep(m)
	if c.request.URL.Path == "/cgi-bin/media/uploadimg" {
		return says(map[string]any{"url": "http://mmbiz.qpic.cn/mmbiz/" + m.ID + "/0"})
	}
	return says(map[string]any{"type": kind, "media_id": m.ID, "created_at": c.now.Unix()})
}

// file takes the file of a multipart body, as it comes.
func (c *call) file() (Media, int) {
	parts, err := c.request.MultipartReader()
	if err != nil {
		return Media{}, 41005
	}
	for {
		part, err := parts.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return Media{}, 41005
		case err != nil:
			return Media{}, 47001
		case part.FormName() != "media":
			continue
		}
		sum := sha256.New()
		n, err := io.Copy(sum, part)
		switch {
		case err != nil:
			return Media{}, 47001
		case n == 0:
			return Media{}, 44001
		}
		name := part.FileName()
		return Media{Size: n, Hash: hex.EncodeToString(sum.Sum(nil)), Name: name[:min(len(name), 255)]}, 0
	}
}

// mediaGet is GET /cgi-bin/media/get: the bytes, or JSON where it is a video or
// an error.
func (w *WeChat) mediaGet(c *call) answer {
	id := c.query.Get("media_id")
	m, ok := c.app.media[id]
	switch {
	case id == "":
		return c.refuses(41006)
	case !ok:
		return c.refuses(40007)
	case m.Type == "video":
		return says(map[string]any{"video_url": "http://mmbiz.qpic.cn/video/" + m.ID})
	}
	kind, ending := "image/jpeg", ".jpg"
	if m.Type == "voice" {
		kind, ending = "audio/amr", ".amr"
	}
	return answer{
		Answer: Answer{ContentType: kind}, size: m.Size, stream: made(m.ID, m.Size),
		header: map[string]string{"Content-Disposition": "attachment; filename=" + strconv.Quote(m.ID+ending)},
	}
}

// code is POST /wxa/getwxacode and its like: an image, which nothing reads as a
// code.
func (w *WeChat) code(c *call) answer {
	picture := image.NewGray(image.Rect(0, 0, 32, 32))
	for i := range picture.Pix {
		picture.Pix[i] = 255 * uint8(w.random.UintN(2))
	}
	var body bytes.Buffer
	if jpeg.Encode(&body, picture, nil) != nil { // a Buffer takes all
		return c.refuses(-1)
	}
	return answer{Answer: Answer{ContentType: "image/jpeg", Body: body.Bytes()}}
}
