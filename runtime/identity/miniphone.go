package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/vault"
)

const (
	maxPhone       = 32       // bytes of a number
	maxPhoneAnswer = 64 << 10 // bytes of WeChat's answer
)

// ErrRefused says that WeChat refuses to give a phone number, whatever the code: an
// operator finds the errcode in the error's text.
var ErrRefused = errors.New("WeChat refuses it")

// Phone is a user's phone number as it may be shown.
type Phone struct {
	Masked  string // of the number without the country's code: 138****5678
	Country string // "86"; "": WeChat doesn't say
}

// Phone exchanges the code of a phone button, keeps the number sealed, as the
// session's user's, and tells the pipeline. Errors: ErrCode, ErrRefused, ErrAnswer,
// ErrKept, those of gateway.CallError; none holds the code or the number.
func (m *Mini) Phone(ctx context.Context, a MiniApp, s Session, code string) (Phone, error) {
	if !plainText(code, maxCode) {
		return Phone{}, ErrCode
	}
	said, err := askPhone(ctx, a.API, code, s.OpenID)
	if err != nil {
		return Phone{}, err
	}
	n, err := decodePhone(said)
	if err != nil {
		return Phone{}, err
	}
	return m.keepPhone(ctx, s, n, eventID(EventPhone, s.App, code))
}

// askPhone calls POST /wxa/business/getuserphonenumber, which gives a number for a
// code once. With the openid WeChat checks whose the code is.
func askPhone(ctx context.Context, api *gateway.API, code, openID string) ([]byte, error) {
	target, err := gateway.NewTarget(http.MethodPost, "/wxa/business/getuserphonenumber", "")
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(struct {
		Code   string `json:"code"`
		OpenID string `json:"openid"`
	}{code, openID})
	if err != nil {
		return nil, fmt.Errorf("getuserphonenumber: %w", err)
	}
	resp, err := api.Call(ctx, &gateway.APIRequest{
		Target: target, Header: http.Header{"Content-Type": {"application/json"}}, Body: bytes.NewReader(body), Length: int64(len(body)),
		Repeatable: true, // after -1: a code that was used gives nothing the second time
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // what could be read was
	if e := gateway.LookupErrcode(resp.Errcode); resp.Errcode != 0 {
		kind := ErrRefused
		if e.Class == gateway.ClassRelogin || resp.Errcode == 41008 {
			kind = ErrCode
		}
		return nil, fmt.Errorf("getuserphonenumber: %w: errcode %d", kind, resp.Errcode)
	}
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxPhoneAnswer+1))
	if err != nil || len(said) > maxPhoneAnswer || resp.Status != http.StatusOK {
		return nil, fmt.Errorf("getuserphonenumber: %w: status %d", ErrAnswer, resp.Status)
	}
	return said, nil
}

// number is a phone number in plain.
type number struct {
	full    string // with the country's code where that isn't China's
	pure    string // without it
	country string
}

// decodePhone reads the answer of getuserphonenumber.
func decodePhone(said []byte) (number, error) {
	var fields map[string]json.RawMessage
	var info map[string]json.RawMessage
	if json.Unmarshal(said, &fields) != nil || json.Unmarshal(fields["phone_info"], &info) != nil {
		return number{}, fmt.Errorf("getuserphonenumber: %w", ErrAnswer)
	}
	n, ok := readNumber(info)
	if !ok {
		return number{}, fmt.Errorf("getuserphonenumber: %w", ErrAnswer)
	}
	return n, nil
}

// readNumber reads phoneNumber, purePhoneNumber and countryCode, which is a string
// in some answers and a number in others.
func readNumber(fields map[string]json.RawMessage) (number, bool) {
	n := number{full: text(fields["phoneNumber"]), pure: text(fields["purePhoneNumber"])}
	n.country = strings.Trim(string(fields["countryCode"]), `"`)
	if len(n.country) > 8 || strings.ContainsFunc(n.country, func(r rune) bool { return r < '0' || r > '9' }) {
		n.country = ""
	}
	if n.pure == "" {
		n.pure = n.full
	}
	return n, plainNumber(n.full) && plainNumber(n.pure)
}

func plainNumber(s string) bool {
	return s != "" && len(s) <= maxPhone && strings.Trim(s, "0123456789+-*") == ""
}

// keepPhone seals a number and tells the pipeline.
func (m *Mini) keepPhone(ctx context.Context, s Session, n number, id string) (Phone, error) {
	if err := m.vault.Put(ctx, s.App, s.OpenID, vault.Phone, []byte(n.full), 0); err != nil {
		return Phone{}, fmt.Errorf("a phone number: %w: %w", ErrKept, err)
	}
	shown := Phone{Masked: masked(n.pure), Country: n.country}
	u := User{OpenID: s.OpenID, UnionID: s.UnionID}
	if err := m.events.Post(ctx, Event{ID: id, App: s.App, Name: EventPhone, User: u, At: m.now(), Phone: shown.Masked}); err != nil {
		return Phone{}, fmt.Errorf("a phone number's event: %w: %w", ErrKept, err)
	}
	return shown, nil
}

// masked shows the last four characters of a number of eight at least, and the
// first three of one of eleven: 138****5678.
func masked(pure string) string {
	head, tail := 0, 0
	if len(pure) >= 8 {
		tail = 4
	}
	if len(pure) >= 11 {
		head = 3
	}
	return pure[:head] + strings.Repeat("*", len(pure)-head-tail) + pure[len(pure)-tail:]
}
