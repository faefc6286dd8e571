package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"time"
)

// CredentialKind is one of what WeChat gives an app to call it with.
type CredentialKind string

// The kinds. A ticket is given for an access_token.
const (
	AccessToken  CredentialKind = "access_token"
	JSAPITicket  CredentialKind = "jsapi_ticket"
	WXCardTicket CredentialKind = "wx_card_ticket"
)

// credentialKinds are all kinds, each at its index.
var credentialKinds = [...]CredentialKind{AccessToken, JSAPITicket, WXCardTicket}

// index is the kind's place in credentialKinds; -1: it is none.
func (k CredentialKind) index() int {
	switch k {
	case AccessToken:
		return 0
	case JSAPITicket:
		return 1
	case WXCardTicket:
		return 2
	}
	return -1
}

// Credential is what an app calls WeChat with, until it expires. Whatever prints
// one, prints no more than when that is.
type Credential struct {
	Value   string // printable ASCII without blanks, at most 2,048 bytes
	Expires time.Time
}

// Format is fmt.Formatter's, for every verb.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(c.String())) }

// String says when c expires.
func (c Credential) String() string {
	return "credential until " + c.Expires.UTC().Format(time.RFC3339)
}

// MarshalText is String, for encoders that would show the fields.
func (c Credential) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// LogValue is String.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// CredentialSource says who fetches the credentials of an app.
type CredentialSource string

// The sources. With the last two this host never fetches from WeChat.
const (
	FromWeChat CredentialSource = "wechat" // this host
	FromHTTP   CredentialSource = "http"   // another system, that is asked as this host is under /credential
	FromRedis  CredentialSource = "redis"  // another system, that leaves them in Redis
)

// CredentialConfig says where the credentials of an app come from.
type CredentialConfig struct {
	App    string // its name
	Source CredentialSource
	// AppID, Secret and Base, an address such as https://api.weixin.qq.com, are
	// WeChat's. Plain takes the call that voids the token before it, in place of
	// stable_token. Of FromWeChat.
	AppID, Secret, Base string
	Plain               bool
	// Service is the other system and ServiceName the name of it, of FromHTTP.
	// Two values of Service that are equal are the same service.
	Service     CredentialService
	ServiceName string
	// Keys are where the other system leaves each kind; a kind without one can't
	// be had. Of FromRedis.
	Keys map[CredentialKind]string
}

// CredentialService is another system that fetches credentials.
type CredentialService interface {
	// Exchange sends a request to path, without a slash before it, below the
	// system's address, with a body of JSON where there is one, and returns the
	// answer's status and the first maxTokenAnswer bytes of its body or more.
	// Its errors don't hold what was sent or answered. Many goroutines call it
	// at once.
	Exchange(ctx context.Context, method, path string, body []byte) (status int, answer []byte, err error)
}

// ForeignKeys reads what another system leaves in Redis.
type ForeignKeys interface {
	// LookForeign returns what is under key as it stands and for how long it
	// will be there: 0, for ever. store.ErrNotFound: nothing is. Many goroutines
	// call it at once.
	LookForeign(ctx context.Context, key string) (value []byte, ttl time.Duration, err error)
}

// fetchResult is what became of an attempt to get a new credential.
type fetchResult uint8

const (
	fetchOK        fetchResult = iota
	fetchUnchanged             // the one that is known already was given again
	fetchBusy                  // WeChat is busy: -1, 45011
	fetchRefused               // WeChat refused the app or its secret, another system its request
	fetchAddress               // WeChat doesn't know the address that this host calls from
	fetchLimited               // no more today: 45009
	fetchErrcode               // another errcode
	fetchTimeout               // no answer in time
	fetchFailed                // no connection, it broke, or a status that isn't 200
	fetchUnusable              // an answer that can't be used
	fetchNone                  // the other system has none
	fetchRationed              // not tried: too many were refused of late
	fetchResults
)

func (r fetchResult) String() string {
	return [...]string{
		"ok", "unchanged", "busy", "refused", "address", "limited", "errcode", "timeout", "failed", "unusable", "none", "rationed",
	}[r]
}

// fetchFailure is an attempt that gave nothing new. What it holds may be shown.
type fetchFailure struct {
	result  fetchResult
	errcode int        // WeChat's; 0: none
	status  int        // of HTTP, where it isn't 200; 0: none
	rid     string     // under which WeChat knows the call; "": none
	cause   string     // of a connection that failed, the system's word; "": none
	address netip.Addr // of fetchAddress, where WeChat says it
	// pause is how long nothing is tried at least; 0: as the backoff says.
	pause time.Duration
}

func (f *fetchFailure) Error() string {
	var text string
	switch f.result {
	case fetchBusy:
		text = "WeChat is busy"
	case fetchRefused:
		text = "the app or its secret was refused: see app_id, app_secret and the source of its credentials"
	case fetchAddress:
		text = "WeChat does not know this host's address: add it to the IP allow-list in the console"
		if f.address.IsValid() {
			text = "WeChat does not know this host's address: add " + f.address.String() + " to the IP allow-list in the console"
		}
	case fetchLimited:
		text = "the day's quota of the call is used up"
	case fetchErrcode:
		text = "WeChat answered with an error"
	case fetchTimeout:
		text = "no answer came in time"
	case fetchFailed:
		text = "the call failed"
	case fetchUnusable:
		text = "the answer can't be used"
	case fetchNone:
		text = "the other system has none"
	case fetchRationed:
		text = "too many were refused of late: does another system fetch for the same app?"
	default:
		text = "the one that is known was given again"
	}
	if f.errcode != 0 {
		text += ", errcode " + strconv.Itoa(f.errcode)
	}
	if f.status != 0 {
		text += ", status " + strconv.Itoa(f.status)
	}
	if f.cause != "" {
		text += ": " + f.cause
	}
	if f.rid != "" {
		text += ", rid " + f.rid
	}
	return text
}

var (
	// ErrNoCredential is wrapped by every error of a credential that can't be
	// had, but for the context's.
	ErrNoCredential = errors.New("no credential")
	// errUnknownKind is a kind that there is not, or not from the app's source.
	errUnknownKind = errors.New("no such kind from the app's source")
	// errCredentialsClosed is one that was given back.
	errCredentialsClosed = errors.New("closed")
	// errElsewhere is a refresh that another host is at.
	errElsewhere = errors.New("another host fetches it and has not finished")
)

// CredentialError is a credential that can't be had. It holds nothing that
// is secret.
type CredentialError struct {
	App  string
	Kind CredentialKind
	// Retry is when the next attempt begins; zero: unknown.
	Retry time.Time
	cause error
}

// Error says which one and why.
func (e *CredentialError) Error() string {
	return "app " + e.App + ": no " + string(e.Kind) + ": " + e.cause.Error()
}

// Is makes it ErrNoCredential.
func (e *CredentialError) Is(target error) bool { return target == ErrNoCredential }

// Unwrap returns the cause.
func (e *CredentialError) Unwrap() error { return e.cause }

// Result is the class of the last attempt, as CredentialStats.Fetches names it;
// "": there was none.
func (e *CredentialError) Result() string {
	var failed *fetchFailure
	if errors.As(e.cause, &failed) {
		return failed.result.String()
	}
	return ""
}
