package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/vault"
	"github.com/weft-dev/weft/runtime/wechat"
)

// Errors of data that WeChat has sealed for a mini program, beside those of
// package wechat.
var (
	// ErrSignature says that raw_data and signature don't belong together.
	ErrSignature = errors.New("the signature of raw_data is wrong")
	// ErrOther says that the data is of another user than the session.
	ErrOther = errors.New("the data is another user's")
)

// Encrypted is what a mini program has of WeChat. RawData and Signature are empty
// of data that comes without, such as a phone number's.
type Encrypted struct{ Data, IV, RawData, Signature string }

// Decrypt opens data of the session's user with the user's newest session_key,
// checks its watermark, its signature and whose it is, and returns it as an object
// of JSON. A phone number in it is sealed, told the pipeline as by Phone, and masked;
// the user's ids are in it where the app's sessions show them.
//
// Errors: wechat.ErrUserData, wechat.ErrSessionKey (the user is to log in again),
// wechat.ErrWatermark, ErrSignature, ErrOther, ErrKept. None holds anything of the
// data.
func (m *Mini) Decrypt(ctx context.Context, a MiniApp, s Session, e Encrypted) ([]byte, error) {
	key, err := m.vault.Get(ctx, s.App, s.OpenID, vault.SessionKey)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, vault.ErrSealed):
		return nil, wechat.ErrSessionKey
	case err != nil:
		return nil, fmt.Errorf("a user's session_key: %w: %w", ErrKept, err)
	}
	block, err := wechat.ParseSessionKey(string(key))
	if err != nil {
		return nil, wechat.ErrSessionKey
	}
	data, err := wechat.OpenUserData(block, e.Data, e.IV)
	if err != nil {
		return nil, err
	}
	if (e.RawData != "" || e.Signature != "") && !wechat.SignedRawData(e.RawData, string(key), e.Signature) {
		return nil, ErrSignature
	}
	if err := data.Check(a.Session.AppID, m.now(), a.MaxSkew); err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(data.JSON, &fields) != nil {
		return nil, wechat.ErrSessionKey // OpenUserData has read it
	}
	if raw := fields["openId"]; raw != nil && text(raw) != s.OpenID {
		return nil, ErrOther
	}
	// However the base64 is wrapped, it is one event.
	return m.show(ctx, a, s, fields, eventID(EventPhone, s.App, strings.Join(strings.Fields(e.Data), "")))
}

// show makes of data what its user's client may see. id is of its event, if any.
func (m *Mini) show(ctx context.Context, a MiniApp, s Session, fields map[string]json.RawMessage, id string) ([]byte, error) {
	if !slices.Contains(a.Session.Claims, ClaimOpenID) {
		delete(fields, "openId")
	}
	if !slices.Contains(a.Session.Claims, ClaimUnionID) {
		delete(fields, "unionId")
	}
	if n, ok := readNumber(fields); ok {
		shown, err := m.keepPhone(ctx, s, n, id)
		if err != nil {
			return nil, err
		}
		fields["phoneNumber"], fields["purePhoneNumber"] = quoted(shown.Masked), quoted(shown.Masked)
	} else { // none, or one that can't be told from something else
		delete(fields, "phoneNumber")
		delete(fields, "purePhoneNumber")
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(fields); err != nil {
		return nil, errors.New("user data could not be written") // the error could quote it
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

// quoted is what plainNumber takes, in JSON.
func quoted(s string) json.RawMessage { return json.RawMessage(`"` + s + `"`) }
