// Package gateway is the host's way out: the client for the business's own
// services, fenced in to the addresses that they may be at, with bounds of time,
// size and connections and a circuit breaker for each.
package gateway

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	// MaxAnswer is the most that an answer's body may have, in bytes.
	MaxAnswer = 256 << 10
	// maxHeader is the same of its header.
	maxHeader = 64 << 10
	// maxRefusal is how much of an answer that is none is read, in bytes.
	maxRefusal = 4 << 10
	// idleTime is how long a connection is kept for the next request. Servers
	// close theirs after 2 s and more, and a request that meets that is lost.
	idleTime = time.Second
)

// UpstreamConfig says where a service of the business is and what it may take.
type UpstreamConfig struct {
	Name        string
	URL         string            // http or https; its query, if any, goes before that of a request
	Private     []netip.Prefix    // the networks that it is in; none: public addresses only
	Headers     map[string]string // of every request
	Timeout     time.Duration     // of a request, the wait for a connection included; over 0
	Secret      string            // signs requests; "": they aren't signed
	Connections int               // at once, over 0
	TLS         *tls.Config       // of https, not changed; nil: the system's roots
	// Own lists the host's listeners, which are never dialled. It is called by
	// many goroutines at once; nil: there are none.
	Own    func() []netip.AddrPort
	Logger *slog.Logger // nil: nothing is logged
}

// Upstream is the client of one service. Connections, breaker and counts are
// its own, so that no other service feels what becomes of this one. All methods
// may be called by many goroutines at once.
type Upstream struct {
	name      string
	url       url.URL
	host      string // of the request's Host field; "": the URL's
	header    http.Header
	secret    []byte
	timeout   time.Duration
	slots     chan struct{} // a request holds one
	transport interface {
		http.RoundTripper
		CloseIdleConnections()
	}
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	since   atomic.Pointer[time.Time] // that the circuit is not closed; nil while it is
	waiting atomic.Int64              // requests that wait for a connection
	counts  *[results]atomic.Uint64
}

// NewUpstream makes a client; nothing is dialled. The error says what is wrong
// with the address, where that can be seen in it, and never repeats it whole:
// its query may hold a secret.
func NewUpstream(c UpstreamConfig) (*Upstream, error) {
	at, err := url.Parse(c.URL)
	if err != nil || at.Hostname() == "" || at.Scheme != "http" && at.Scheme != "https" {
		return nil, errors.New("url is no address of a service")
	}
	f := &fence{private: c.Private, own: c.Own}
	if addr, err := netip.ParseAddr(at.Hostname()); err == nil {
		if err := f.check(netip.AddrPortFrom(addr, portOf(at))); err != nil {
			return nil, err
		}
	}
	u := &Upstream{
		name: c.Name, url: *at, secret: []byte(c.Secret), timeout: c.Timeout,
		header: http.Header{"User-Agent": {"Weft"}}, slots: make(chan struct{}, c.Connections),
		counts: new([results]atomic.Uint64),
	}
	u.breaker = newBreaker(c, &u.since)
	for name, value := range c.Headers {
		u.header.Set(name, value)
	}
	u.host = u.header.Get("Host")
	u.header.Del("Host")
	dialer := &net.Dialer{Timeout: c.Timeout, ControlContext: f.control}
	u.transport = &http.Transport{
		DialContext:            dialer.DialContext, // and no proxy: it would hide where the connection goes
		TLSClientConfig:        c.TLS.Clone(),      // which a transport changes
		TLSHandshakeTimeout:    c.Timeout,
		DisableCompression:     true, // an answer is given on as it came
		MaxConnsPerHost:        c.Connections,
		MaxIdleConnsPerHost:    c.Connections,
		IdleConnTimeout:        idleTime,
		MaxResponseHeaderBytes: maxHeader,
	}
	return u, nil
}

// portOf is the port of an address; 0 where it has none that can be one.
func portOf(u *url.URL) uint16 {
	switch p := u.Port(); {
	case p != "":
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return 0
		}
		return uint16(n)
	case u.Scheme == "https":
		return 443
	}
	return 80
}

// Timeout is how long a Post or a Fetch may take.
func (u *Upstream) Timeout() time.Duration { return u.timeout }

// Close lets connections go that nobody uses. Every Post and Fetch must have
// returned.
func (u *Upstream) Close() { u.transport.CloseIdleConnections() }

// Request is what Post sends.
type Request struct {
	Query       string // raw, without '?'; goes out as it stands
	ContentType string // "": none
	Body        []byte // not changed
	EventID     string
	Attempt     uint32
	// NoContent takes an answer of status 204, too.
	NoContent bool
}

// Answer is what an upstream answered with status 200, or 204.
type Answer struct {
	ContentType string // "": none
	Body        []byte // at most MaxAnswer bytes; the caller's
}

// Post sends a request, signed where there is a secret, and returns the answer.
// Redirects are not followed, and nothing is sent twice. It returns soon after
// ctx ends and after Timeout at the latest. Every error is an *Error.
func (u *Upstream) Post(ctx context.Context, r *Request) (Answer, error) {
	answer, err := u.post(ctx, r)
	outcome := resultOK
	if err != nil {
		outcome = err.result
	}
	u.counts[outcome].Add(1)
	if err != nil {
		return Answer{}, err
	}
	return answer, nil
}

func (u *Upstream) post(parent context.Context, r *Request) (answer Answer, failed *Error) {
	failed = u.guard(parent, func(ctx context.Context) (err *Error, verdict error) {
		answer, err = u.exchange(ctx, r)
		return err, judge(parent, err)
	})
	return answer, failed
}

// guard waits for a connection and sends, where the circuit lets it, which is
// told the verdict.
func (u *Upstream) guard(parent context.Context, send func(context.Context) (failed *Error, verdict error)) *Error {
	ctx, cancel := context.WithTimeout(parent, u.timeout)
	defer cancel()
	// Looked at before the wait for a connection, too: an upstream that is away
	// still holds those that wait for its answer.
	if u.breaker.State() == gobreaker.StateOpen {
		return u.error(resultOpen, "", nil)
	}
	if u.acquire(ctx) {
		defer func() { <-u.slots }()
	}
	if ctx.Err() != nil { // also where a connection came free just then
		return u.error(resultBusy, fmt.Sprintf("no connection of %d came free", cap(u.slots)), nil)
	}
	done, err := u.breaker.Allow()
	if err != nil {
		return u.error(resultOpen, "", nil)
	}
	verdict := errSick // of a panic, too
	defer func() { done(verdict) }()
	failed, told := send(ctx)
	verdict = told
	return failed
}

// acquire waits for a connection; false: ctx ended before one came free.
func (u *Upstream) acquire(ctx context.Context) bool {
	u.waiting.Add(1)
	defer u.waiting.Add(-1)
	select {
	case u.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// exchange sends r and reads the answer.
func (u *Upstream) exchange(ctx context.Context, r *Request) (Answer, *Error) {
	resp, err := u.transport.RoundTrip(u.request(ctx, r))
	if err != nil {
		return Answer{}, u.failed(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // what could be read was
	if resp.StatusCode != http.StatusOK && !(r.NoContent && resp.StatusCode == http.StatusNoContent) {
		return Answer{}, u.refused(ctx, resp)
	}
	body, failed := u.body(ctx, resp)
	return Answer{ContentType: resp.Header.Get("Content-Type"), Body: body}, failed
}

// body reads the body of an answer.
func (u *Upstream) body(ctx context.Context, resp *http.Response) ([]byte, *Error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	switch {
	case err != nil:
		return nil, u.failed(ctx, err)
	case len(body) > MaxAnswer:
		return nil, u.error(resultUnusable, fmt.Sprintf("its answer has over %d bytes", MaxAnswer), nil)
	case compressed(resp.Header.Values("Content-Encoding")):
		return nil, u.error(resultUnusable, "its answer is compressed, and nothing asked for that", nil)
	}
	return body, nil
}

// compressed tells whether a Content-Encoding is any.
func compressed(codings []string) bool {
	return slices.ContainsFunc(codings, func(c string) bool { return c != "" && !strings.EqualFold(c, "identity") })
}

// refused is an answer with a status that is none. What little it says is read, so
// that the connection is kept, but for a switch of protocols: there the rest has
// no end, nor does it end with ctx.
func (u *Upstream) refused(ctx context.Context, resp *http.Response) *Error {
	if resp.StatusCode != http.StatusSwitchingProtocols {
		if _, err := io.CopyN(io.Discard, resp.Body, maxRefusal); err != nil && ctx.Err() != nil {
			return u.failed(ctx, err)
		}
	}
	e := u.error(resultStatus, "it answered with status "+strconv.Itoa(resp.StatusCode), nil)
	e.status = resp.StatusCode
	return e
}

// failed is an exchange that broke off.
func (u *Upstream) failed(ctx context.Context, err error) *Error {
	var timeout net.Error
	switch {
	case errors.Is(err, ErrFenced):
		return u.error(resultFenced, "", err)
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return u.error(resultTimeout, "it did not answer in time", nil)
	}
	if !ours(err) {
		return u.error(resultFailed, "its answer is no proper HTTP", nil)
	}
	return u.error(resultFailed, "", err)
}

// ours tells whether the text of an error has nothing that the upstream sent,
// which may be what it was sent: errors of HTTP quote it.
func ours(err error) bool {
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	if errors.As(err, &network) || errors.As(err, &certificate) || errors.As(err, &record) {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.HasPrefix(err.Error(), "tls: ") ||
		err.Error() == "http: server closed idle connection"
}

func (u *Upstream) request(ctx context.Context, r *Request) *http.Request {
	at := u.url
	at.RawQuery = joinQuery(at.RawQuery, r.Query)
	req := u.outgoing(http.MethodPost, &at, r.Body, r.EventID, r.Attempt)
	if r.ContentType != "" {
		req.Header.Set("Content-Type", r.ContentType)
	}
	return req.WithContext(ctx)
}

// joinQuery puts the upstream's own query before that of a request.
func joinQuery(own, query string) string {
	if own == "" || query == "" {
		return own + query
	}
	return own + "&" + query
}

// outgoing makes a request with what all of the upstream's have, signed where
// there is a secret.
func (u *Upstream) outgoing(method string, at *url.URL, body []byte, eventID string, attempt uint32) *http.Request {
	req := &http.Request{
		Method: method, URL: at, Host: u.host, Header: u.header.Clone(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		// Used where a kept connection turns out to be closed before anything was sent.
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}
	req.Header.Set("Weft-Event-Id", eventID)
	req.Header.Set("Weft-Attempt", strconv.FormatUint(uint64(attempt), 10))
	if len(u.secret) > 0 {
		req.Header.Set("Weft-Signature", Sign(u.secret, body, time.Now()))
	}
	return req
}

// Sign makes a Weft-Signature: t=<unix>,v1=<hex of HMAC-SHA256(secret, t + "." +
// body)>.
func Sign(secret, body []byte, at time.Time) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
