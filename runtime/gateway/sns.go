package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// snsTime is how long a call of SNS may take.
	snsTime = 5 * time.Second
	// snsAtOnce is how many of an app's may be under way: anybody may ask for a
	// login. More wait.
	snsAtOnce = 64
)

// SNSConfig says for whom the calls below /sns/ are made.
type SNSConfig struct {
	App, AppID, Secret string
	Base               string // https://api.weixin.qq.com, http for tests
}

// SNS makes an app's calls below /sns/, which turn the code of a user's login into
// who the user is. They are authenticated by the app's secret in the query, not by
// its access_token. All methods may be called by many goroutines at once.
type SNS struct {
	config SNSConfig
	host   *APIs
	slots  chan struct{}
}

// SNS returns an app's calls below /sns/. They must have ended before Close.
func (s *APIs) SNS(c SNSConfig) *SNS {
	return &SNS{config: c, host: s, slots: make(chan struct{}, snsAtOnce)}
}

// roundTrip is a Doer that follows no redirects and sends a request once.
type roundTrip struct{ http.RoundTripper }

// Do gives a request an empty body. An http.Transport sends a GET a second time by
// itself where a connection that was used before ends without an answer, but none
// with a body that it can't have again. Over HTTP/1 nobody sees the empty one.
func (r roundTrip) Do(req *http.Request) (*http.Response, error) {
	req.Body, req.GetBody = io.NopCloser(strings.NewReader("")), nil
	return r.RoundTrip(req)
}

// Get makes a GET of path, such as /sns/jscode2session, with the query and, over
// it, the app's appid and secret. It returns an answer without an errcode as it
// stands, at most 64 KiB of JSON. It is sent once: a code is good for one call. Every
// error is an *SNSError.
func (s *SNS) Get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, snsTime)
	defer cancel()
	full := url.Values{}
	for name, values := range query {
		full[name] = values
	}
	full.Set("appid", s.config.AppID)
	full.Set("secret", s.config.Secret)
	said, failed := s.exchange(ctx, s.config.Base+path+"?"+full.Encode())
	s.count(path, failed)
	if failed != nil {
		return nil, &SNSError{App: s.config.App, Path: path, failed: failed}
	}
	return said, nil
}

func (s *SNS) exchange(ctx context.Context, at string) ([]byte, *fetchFailure) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, &fetchFailure{result: fetchBusy}
	}
	_, said, failed := exchange(ctx, roundTrip{s.host.logins}, http.MethodGet, at, nil)
	if failed != nil {
		return nil, failed
	}
	said = readable(said)
	w, err := decodeWire(said)
	if err != nil {
		return nil, &fetchFailure{result: fetchUnusable}
	}
	if w.Errcode != 0 {
		return nil, errcodeFailure(int(w.Errcode), w.Errmsg)
	}
	return said, nil
}

// count counts a call as one of WeChat's API.
func (s *SNS) count(path string, failed *fetchFailure) {
	counter, result := s.host.counter, "ok"
	switch {
	case failed == nil:
	case failed.errcode != 0:
		result = "errcode"
		label := "other"
		if LookupErrcode(failed.errcode).Known {
			label = strconv.Itoa(failed.errcode)
		}
		counter.APIErrcode(s.config.App, path, label)
	case failed.status != 0:
		result = "http"
	case failed.result == fetchBusy:
		result = "busy"
	case failed.result == fetchTimeout:
		result = "timeout"
	default:
		result = "broken"
	}
	counter.APICall(s.config.App, path, result)
}

// Errors that an SNSError wraps.
var (
	// ErrCode says that WeChat didn't take the user's code: it is unknown, was used
	// or has expired, or the user may not log in. The user is to log in again.
	ErrCode = errors.New("the code was not taken")
	// ErrSNSBusy says that the same user, or the app, is to try later.
	ErrSNSBusy = errors.New("WeChat is busy, or was asked too often")
	// ErrSNSRefused says that no try helps until an operator changes a setting.
	ErrSNSRefused = errors.New("WeChat refuses the app")
	// ErrSNS is any other failure: no connection, no answer in time, an answer that
	// can't be used.
	ErrSNS = errors.New("there is no answer of WeChat's")
)

// SNSError is a call below /sns/ that told nothing. Its text holds no secret, no
// code, and nothing of the answer but its errcode and rid.
type SNSError struct {
	App, Path string
	failed    *fetchFailure
}

// Error says which call it was and what became of it.
func (e *SNSError) Error() string {
	return "app " + e.App + ": " + e.Path + ": " + e.failed.Error()
}

// Errcode is WeChat's; 0: it said none.
func (e *SNSError) Errcode() int { return e.failed.errcode }

// Unwrap returns the kind.
func (e *SNSError) Unwrap() error {
	switch class := LookupErrcode(e.failed.errcode).Class; {
	case e.failed.errcode == 0 && e.failed.result != fetchBusy:
		return ErrSNS
	case class == ClassRelogin, e.failed.errcode == 40226, e.failed.errcode == 41008:
		return ErrCode
	case e.failed.result == fetchBusy, e.failed.result == fetchLimited:
		return ErrSNSBusy
	case e.failed.result == fetchRefused, e.failed.result == fetchAddress:
		return ErrSNSRefused
	}
	return ErrSNS
}
