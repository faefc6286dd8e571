package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Incoming is what the host knows of a request to `ANY /api/{app}/{path…}`, whose
// caller is known and may use the app.
type Incoming struct {
	Path  string // escaped, of the request's URL, from the slash after the app's name on
	Scope interface {
		Allows(method, path string) bool // of the caller's key
	}
	Trace string // of an error's answer
}

// Serve answers a request of a caller with WeChat's answer as it comes, and with
// an error of ours where there is none. Bodies stream both ways; between two
// pieces are at most Timeout. Nothing of the request's headers goes on but what
// Call sends.
//
// It sets the connection's write deadline; the server's WriteTimeout sets that of
// the next request.
func (a *API) Serve(w http.ResponseWriter, r *http.Request, in Incoming) {
	target, err := NewTarget(r.Method, in.Path, r.URL.RawQuery)
	if err == nil && !in.Scope.Allows(target.Method(), target.Path()) {
		err = ErrScope
	}
	if err != nil {
		WriteError(w, err, in.Trace)
		return
	}
	control := http.NewResponseController(w)
	call := &APIRequest{Target: target, Header: r.Header, Length: r.ContentLength, Repeatable: r.Header.Get("Idempotency-Key") != ""}
	if r.Body != nil && r.Body != http.NoBody {
		body := &patientReader{r: r.Body, control: control, limit: a.config.Timeout}
		defer body.end() // who answers early leaves a Read of it under way
		call.Body = body
	}
	answer, err := a.Call(r.Context(), call)
	patient := func() { _ = control.SetWriteDeadline(time.Now().Add(a.config.Timeout)) } // a writer without deadlines is a test's
	patient()
	if err != nil {
		WriteError(w, err, in.Trace)
		return
	}
	defer answer.Body.Close()
	h := w.Header()
	for name, values := range answer.Header {
		h[name] = values
	}
	if answer.Length >= 0 {
		h.Set("Content-Length", strconv.FormatInt(answer.Length, 10))
	}
	if answer.Errcode != 0 {
		LookupErrcode(answer.Errcode).SetHeader(h, answer.Rid)
	}
	w.WriteHeader(answer.Status)
	if r.Method != http.MethodHead {
		copyAnswer(w, control, answer, patient)
	}
}

// copyAnswer sends a body on, and gives the caller time for each piece. Where the
// body breaks off, the caller's connection does, too: else a part would pass for
// the whole.
func copyAnswer(w http.ResponseWriter, control *http.ResponseController, answer *APIResponse, patient func()) {
	size := int64(32 << 10)
	if answer.Length >= 0 {
		size = min(size, max(answer.Length, 1))
	}
	buf := make([]byte, size)
	for {
		n, err := answer.Body.Read(buf)
		patient()
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return // the caller went away
			}
			if answer.Length < 0 && control.Flush() != nil {
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			_ = control.SetWriteDeadline(time.Unix(1, 0)) // nothing goes out any more, no end either
			return
		}
	}
}

// patientReader reads a request's body, each piece within a time, until end. With
// the body's end the server takes the deadline off.
type patientReader struct {
	r       io.Reader
	control *http.ResponseController
	limit   time.Duration

	mu    sync.Mutex // of the deadline
	ended bool       // the deadline is the next request's
}

func (p *patientReader) Read(b []byte) (int, error) {
	if !p.postpone() {
		return 0, http.ErrBodyReadAfterClose
	}
	return p.r.Read(b)
}

// postpone moves the connection's deadline, where it still is this request's.
func (p *patientReader) postpone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		_ = p.control.SetReadDeadline(time.Now().Add(p.limit)) // a writer without deadlines is a test's
	}
	return !p.ended
}

// end leaves the connection alone from now on.
func (p *patientReader) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}

// WriteError answers with an error of this package in the host's form: status,
// code and message. Its text holds nothing of the request but the path.
func WriteError(w http.ResponseWriter, err error, trace string) {
	k := kindOf(err)
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Trace   string `json:"trace"`
		} `json:"error"`
	}
	body.Error.Code, body.Error.Message, body.Error.Trace = k.result, k.kind.Error(), trace
	var failed *CallError
	var limit *LimitError
	switch {
	case k.kind == ErrTarget:
		body.Error.Message = err.Error()
	case k.status == http.StatusInternalServerError:
		body.Error.Message = "an error of the host"
	case k.kind == ErrQuota && errors.As(err, &failed):
		LookupErrcode(45009).SetHeader(w.Header(), "")
		w.Header().Set("Retry-After", strconv.Itoa(int(max(time.Until(failed.Until), 0)/time.Second)+1))
	case errors.As(err, &limit):
		w.Header().Set("Retry-After", strconv.Itoa(int(limit.Wait/time.Second)+1))
	case k.kind == ErrCircuit:
		w.Header().Set("Retry-After", strconv.Itoa(int(openFor/time.Second)))
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(k.status)
	_ = json.NewEncoder(w).Encode(body) // the caller may have gone
}
