package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

// front stands before the fake WeChat. It sees what became of each call at
// WeChat, by the id that the caller put into its query as n, and can hold a call
// for a token until whoever asked is gone.
type front struct {
	wechat *simulator.WeChat
	url    string

	mu    sync.Mutex
	calls map[string]seen
	hold  chan<- string // not nil: the next call for a token is held
	after bool          // it is executed first
}

// seen is what WeChat saw of a call.
type seen struct {
	tries   int
	struck  bool      // the last try: no answer, or -1
	refused int       // tries that were refused because of their token
	ended   time.Time // when the first token that was refused was over
}

func newFront(wechat *simulator.WeChat) *front {
	return &front{wechat: wechat, calls: map[string]seen{}}
}

// of is what WeChat saw of the call with an id.
func (f *front) of(id string) seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[id]
}

// holdFetch has the next call for a token held until its host is gone: before
// WeChat executes it, or the next one that brings a token after that. The channel gives the address that the call
// comes from.
func (f *front) holdFetch(after bool) <-chan string {
	held := make(chan string, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold, f.after = held, after
	return held
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/cgi-bin/stable_token" {
		f.fetch(w, r)
		return
	}
	id := r.URL.Query().Get("n")
	if id == "" {
		f.wechat.ServeHTTP(w, r)
		return
	}
	token := r.URL.Query().Get("access_token")
	tap := &tap{ResponseWriter: w, note: func(errcode int) { f.note(id, token, errcode == -1, refusesToken(errcode)) }}
	defer func() {
		if cut := recover(); cut != nil {
			f.note(id, token, true, false)
			panic(cut)
		}
	}()
	f.wechat.ServeHTTP(tap, r)
}

// refusesToken tells whether an errcode says that the token doesn't work.
func refusesToken(errcode int) bool {
	return errcode == 40001 || errcode == 40014 || errcode == 42001
}

func (f *front) note(id, token string, struck, refused bool) {
	ends := f.wechat.TokenEnds(token)
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.calls[id]
	s.tries++
	if s.struck = struck; refused {
		if s.refused++; s.refused == 1 {
			s.ended = ends
		}
	}
	f.calls[id] = s
}

// fetch is a call for a token.
func (f *front) fetch(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	held, after := f.hold, f.after
	f.hold = nil
	f.mu.Unlock()
	switch {
	case held == nil:
		f.wechat.ServeHTTP(w, r)
		return
	case after:
		given := httptest.NewRecorder()
		gives := false
		defer func() {
			if !gives { // not this one then
				f.rearm(held)
			}
		}()
		f.wechat.ServeHTTP(given, r) // it may be cut
		if gives = strings.Contains(given.Body.String(), "access_token"); !gives {
			w.WriteHeader(given.Code)
			_, _ = w.Write(given.Body.Bytes()) // the host may be gone
			return
		}
	default:
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	held <- r.RemoteAddr
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

func (f *front) rearm(held chan<- string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold = held
}

// tap reads the errcode of an answer as it goes by.
type tap struct {
	http.ResponseWriter
	note func(errcode int)
	told bool
}

func (t *tap) Write(b []byte) (int, error) {
	if !t.told {
		t.told = true
		var told struct {
			Errcode int `json:"errcode"`
		}
		_ = json.NewDecoder(bytes.NewReader(b)).Decode(&told) // what has none is fine
		t.note(told.Errcode)
	}
	return t.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (t *tap) Unwrap() http.ResponseWriter { return t.ResponseWriter }
