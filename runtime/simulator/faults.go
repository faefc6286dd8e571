package simulator

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"
)

// End is how a call ends.
type End string

// The ends.
const (
	Answers    End = ""            // with an answer
	CutBefore  End = "cut_before"  // the connection is cut, and nothing was executed
	CutAfter   End = "cut_after"   // it was executed, and the connection is cut in place of the answer
	HangBefore End = "hang_before" // nothing is executed, nor answered, until the caller gives up
	HangAfter  End = "hang_after"  // it was executed, and nothing is answered until the caller gives up
	Truncated  End = "truncated"   // it was executed, and Size bytes of the answer come before the connection is cut
	Garbage    End = "garbage"     // nothing is executed; the answer is status 200 with what is no JSON
	BadGateway End = "bad_gateway" // nothing is executed; the answer is status 502 with a page of HTML
	Huge       End = "huge"        // it was executed; the answer is Size bytes of JSON, told by no length
	Slow       End = "slow"        // it was executed; the answer comes in chunks of Size bytes, Pause apart
)

// executes says whether WeChat does what the call asks for.
func (e End) executes() bool {
	return e != CutBefore && e != HangBefore && e != Garbage && e != BadGateway
}

// Fault is what happens to some calls. One that meets several has the delays of
// all up to the first that has an end or an errcode, and of those after it that
// have neither; the others don't happen to it.
//
// Go's HTTP client sends a GET again by itself where a connection that it has
// used before is cut without a byte: it is then counted twice.
type Fault struct {
	Where
	// Times is how many calls it happens to before it is over; 0: it stays until
	// it is lifted.
	Times int
	// Share is the part of the calls that are meant, 0 to 1, that it happens to,
	// by chance; 0: all.
	Share float64
	// Delay goes before everything.
	Delay time.Duration
	// Errcode is answered, and nothing executed; 0: no matter. Errmsg "": as
	// WeChat words it.
	Errcode int
	Errmsg  string
	Ends    End
	Size    int64         // see Truncated, Huge, Slow
	Pause   time.Duration // see Slow
}

// armed is a Fault that waits for calls.
type armed struct {
	Fault
	left int
}

// Strike lets a fault happen, after those that are there. lift ends it.
func (w *WeChat) Strike(f Fault) (lift func()) {
	if f.Ends == Slow && f.Size < 1 {
		f.Size = 1
	}
	one := &armed{f, f.Times}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, one)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.lift(one)
	}
}

// lift replaces the list: strike walks the old one.
func (w *WeChat) lift(one *armed) {
	var left []*armed
	for _, f := range w.faults {
		if f != one {
			left = append(left, f)
		}
	}
	w.faults = left
}

// LiftAll ends all faults.
func (w *WeChat) LiftAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = nil
}

// strike gives what happens to a call.
func (w *WeChat) strike(c *call) Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	var sum Fault
	for _, f := range w.faults {
		ends := f.Ends != Answers || f.Errcode != 0
		switch {
		case ends && (sum.Ends != Answers || sum.Errcode != 0):
			continue
		case !f.meets(c.appID, c.request.Method, c.request.URL.Path):
			continue
		case f.Share > 0 && w.random.Float64() >= f.Share:
			continue
		}
		delay := sum.Delay + f.Delay
		if ends {
			sum = f.Fault
		}
		sum.Delay = delay
		if f.left > 0 {
			if f.left--; f.left == 0 {
				w.lift(f)
			}
		}
	}
	return sum
}

// wait waits, and says false where the caller or the simulator went away.
func (w *WeChat) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-w.closed:
	}
	return false
}

// end executes a call and ends it, as its fault says.
func (w *WeChat) end(rw http.ResponseWriter, c *call) {
	switch ends := c.fault.Ends; {
	case c.fault.Errcode != 0:
		c.bodyErr = c.readAll()
		c.answer = c.refusesWith(c.fault.Errcode, c.fault.message())
	case ends == Garbage:
		c.bodyErr = c.readAll()
		c.answer = answer{Answer: Answer{ContentType: "text/plain", Body: []byte("\x00\xff{\"errcode\":0,\x01")}}
	case ends == BadGateway:
		c.bodyErr = c.readAll()
		c.answer = answer{Answer: Answer{Status: http.StatusBadGateway, ContentType: "text/html", Body: []byte("<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center></body>\r\n</html>\r\n")}}
	case ends.executes():
		w.execute(c)
	}
	if c.fault.Ends == Huge {
		c.answer.stream, c.answer.size = c.fault.huge, -1
	}
	w.record(c, string(c.fault.Ends))
	switch c.fault.Ends {
	case HangBefore, HangAfter:
		// While a body is unread the server doesn't notice that a caller left.
		if c.readAll() == nil {
			select {
			case <-c.request.Context().Done():
			case <-w.closed:
			}
		}
		panic(http.ErrAbortHandler)
	case CutBefore, CutAfter:
		panic(http.ErrAbortHandler)
	}
	w.send(rw, c)
}

func (f Fault) message() string {
	if f.Errmsg != "" {
		return f.Errmsg
	}
	return message(f.Errcode)
}

// huge is an answer that is longer than anybody wants.
func (f Fault) huge(to io.Writer) error {
	const head, tail = `{"errcode":0,"errmsg":"`, `"}`
	if _, err := io.WriteString(to, head); err != nil {
		return err
	}
	chunk := make([]byte, 32<<10)
	for i := range chunk {
		chunk[i] = 'x'
	}
	for left := f.Size - int64(len(head)+len(tail)); left > 0; {
		n, err := to.Write(chunk[:min(left, int64(len(chunk)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	_, err := io.WriteString(to, tail)
	return err
}

// send writes the answer, whole or as the fault says.
func (w *WeChat) send(rw http.ResponseWriter, c *call) {
	a, h := c.answer, rw.Header()
	if a.stream == nil {
		a.size = int64(len(a.Body))
		a.stream = func(to io.Writer) error { _, err := to.Write(a.Body); return err }
	}
	if a.ContentType == "" {
		a.ContentType = "application/json; encoding=utf-8"
	}
	h.Set("Content-Type", a.ContentType)
	h.Set("X-Wechat-TraceID", c.rid) // what WeChat puts there isn't documented
	for name, value := range a.header {
		h.Set(name, value)
	}
	if a.size >= 0 && c.fault.Ends != Slow {
		h.Set("Content-Length", strconv.FormatInt(a.size, 10))
	}
	rw.WriteHeader(or(a.Status, http.StatusOK))
	var to io.Writer = rw
	switch c.fault.Ends {
	case Truncated:
		to = &cutter{rw, c.fault.Size}
	case Slow:
		to = &dripper{w: w, to: rw, call: c}
	}
	if a.stream(to) != nil {
		panic(http.ErrAbortHandler)
	}
}

// cutter cuts the connection after so many bytes.
type cutter struct {
	to   http.ResponseWriter
	left int64
}

func (c *cutter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p[:min(int64(len(p)), c.left)])
	if c.left -= int64(n); err == nil && c.left == 0 {
		err = http.NewResponseController(c.to).Flush()
		if err == nil {
			err = http.ErrAbortHandler
		}
	}
	return n, err
}

// dripper writes in chunks, with pauses between them.
type dripper struct {
	w    *WeChat
	to   http.ResponseWriter
	call *call
}

func (d *dripper) Write(p []byte) (int, error) {
	for written := 0; ; {
		n, err := d.to.Write(p[written:min(int64(len(p)), int64(written)+d.call.fault.Size)])
		written += n
		if err == nil {
			err = http.NewResponseController(d.to).Flush()
		}
		if err != nil || written == len(p) {
			return written, err
		}
		if !d.w.wait(d.call.request.Context(), d.call.fault.Pause) {
			return written, http.ErrAbortHandler
		}
	}
}
