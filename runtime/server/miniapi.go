package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/identity"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/wechat"
)

// miniTime is how long a request of a mini program may wait for WeChat and the
// store. With bodyTime before it, it is over while the listener still writes: the
// code or refresh token of a request whose answer is lost is used up all the same.
const miniTime = 9 * time.Second

// The errors of a mini program's paths.
var (
	errMiniBody    = &httpError{http.StatusBadRequest, "bad_body", "the body is not the object of JSON that the path takes"}
	errCode        = &httpError{http.StatusUnauthorized, "code_refused", "the code is unknown, was used or has expired: get another one"}
	errSession     = &httpError{http.StatusUnauthorized, "session_invalid", "the session or the refresh token is not valid (any more): log in again"}
	errSessionKey  = &httpError{http.StatusUnauthorized, "session_expired", "the data does not open with the session_key: log in again"}
	errUserData    = &httpError{http.StatusBadRequest, "bad_data", "encrypted_data or iv is malformed: a + that became a blank is the usual cause"}
	errForeignData = &httpError{http.StatusForbidden, "not_authentic", "the data is of another app, user or time, or its signature is wrong"}
	errWeChatBusy  = &httpError{http.StatusServiceUnavailable, "wechat_busy", "WeChat is busy, or was asked too often: try again later"}
	errWeChatNo    = &httpError{http.StatusBadGateway, "wechat_refused", "WeChat refuses it: an operator finds the reason in the log"}
	errWeChatAway  = &httpError{http.StatusBadGateway, "wechat_unavailable", "there is no answer of WeChat's that can be used: try again"}
	errNotKept     = &httpError{http.StatusServiceUnavailable, "not_kept", "it could not be kept: try again with another code"}
)

// miniErrors say what is answered to which error, the first that fits.
var miniErrors = []struct {
	err    error
	answer *httpError
}{
	{identity.ErrCode, errCode},
	{identity.ErrSession, errSession},
	{wechat.ErrSessionKey, errSessionKey},
	{wechat.ErrUserData, errUserData},
	{wechat.ErrWatermark, errForeignData},
	{identity.ErrSignature, errForeignData},
	{identity.ErrOther, errForeignData},
	{identity.ErrKept, errNotKept},
	{store.ErrUnavailable, errStoreAway},
	{gateway.ErrSNSBusy, errWeChatBusy},
	{gateway.ErrQuota, errWeChatBusy},
	{gateway.ErrLimited, errWeChatBusy},
	{gateway.ErrBusy, errWeChatBusy},
	{gateway.ErrSNSRefused, errWeChatNo},
	{identity.ErrRefused, errWeChatNo},
	{gateway.ErrToken, errNoCredential},
	{context.DeadlineExceeded, errStoreAway},
}

// miniApp is a mini program's login. Its SNS is nil where the app has no
// app_secret, its API where nothing calls WeChat for it.
type miniApp = identity.MiniApp

// readMinis takes how users of mini programs log in.
func (a *assembly) readMinis() {
	for _, app := range a.cfg.Apps {
		if app.Type != config.MiniProgram || app.OAuth == nil {
			continue
		}
		m := miniApp{Session: sessionConfig(app), MaxSkew: app.MaxSkew, API: a.outlets[app.Name].api}
		if a.ways != nil && app.AppSecret != "" {
			m.SNS = a.ways.apis.SNS(gateway.SNSConfig{App: app.Name, AppID: app.AppID, Secret: app.AppSecret, Base: app.APIBase})
		}
		a.minis[app.Name] = m
	}
}

// miniRoutes are the paths of mini programs.
func (h *Host) miniRoutes(public *echo.Echo) {
	for path, answer := range map[string]miniHandler{
		"login": h.miniLogin, "phone": h.miniPhone, "decrypt": h.miniDecrypt,
	} {
		public.Any("/mp/:app/"+path, h.afterCallbacks(h.forMini(answer)))
	}
	public.Any("/mp/:app/refresh", h.afterCallbacks(h.answerRefresh))
}

// miniRequest is what a mini program sends; each path takes its part.
type miniRequest struct {
	Code         string `json:"code"`
	RefreshToken string `json:"refresh_token"`
	Data         string `json:"encrypted_data"`
	IV           string `json:"iv"`
	RawData      string `json:"raw_data"`
	Signature    string `json:"signature"`
}

// miniHandler answers a request of a mini program's; the answer is made JSON.
type miniHandler func(ctx context.Context, ec echo.Context, a miniApp, r *miniRequest) (answer any, err error)

// forMini reads a POST to an app that is a mini program.
func (h *Host) forMini(next miniHandler) echo.HandlerFunc {
	return func(ec echo.Context) error {
		g := h.inUse()
		if g == nil {
			return errStopping
		}
		defer g.leave()
		name := ec.Param("app")
		a, ok := g.assembly.minis[name]
		switch {
		case !ok:
			return g.callbacks.lacks(name)
		case ec.Request().Method != http.MethodPost:
			return wrongMethod(ec, "POST")
		}
		body, err := readBody(ec)
		if err != nil {
			return err
		}
		var r miniRequest
		if json.Unmarshal(body, &r) != nil {
			return errMiniBody
		}
		ctx, cancel := context.WithTimeout(withTraceParent(ec), miniTime)
		defer cancel()
		ec.Response().Header().Set("Cache-Control", "no-store")
		answer, err := next(ctx, ec, a, &r)
		if err != nil {
			return h.miniError(ec, name, err)
		}
		return ec.JSON(http.StatusOK, answer)
	}
}

// miniError turns an error into the answer, and logs what an operator may have to
// see. No text of these errors holds anything of the request.
func (h *Host) miniError(ec echo.Context, app string, err error) error {
	var said *httpError
	if errors.As(err, &said) {
		return err
	}
	var failed *gateway.SNSError
	var broken *gateway.CallError
	for _, known := range miniErrors {
		if errors.Is(err, known.err) {
			said = known.answer
			break
		}
	}
	switch {
	case said == nil && (errors.As(err, &failed) || errors.As(err, &broken) || errors.Is(err, identity.ErrAnswer)):
		said = errWeChatAway
	case said == nil && ec.Request().Context().Err() != nil: // the client went away
		return errBody
	case said == nil:
		return err
	case said == errSession:
		ec.Response().Header().Set("WWW-Authenticate", "Bearer")
	}
	if said.status < http.StatusInternalServerError {
		return said
	}
	ec.Response().Header().Set("Retry-After", "5")
	h.logLogin(ec, slog.LevelError, loginLine{app, "login failed"}, err)
	return said
}

// tokenAnswer is a session as a client gets it.
type tokenAnswer struct {
	Token        string `json:"token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    int64  `json:"expires_in"` // seconds
	NewUser      *bool  `json:"new_user,omitempty"`
}

func answerTokens(t identity.Tokens) tokenAnswer {
	return tokenAnswer{Token: t.Token, RefreshToken: t.RefreshToken, ExpiresIn: int64(t.ExpiresIn / time.Second)}
}

// miniLogin answers POST /mp/{app}/login: the code of wx.login begins a session.
func (h *Host) miniLogin(ctx context.Context, _ echo.Context, a miniApp, r *miniRequest) (any, error) {
	if a.SNS == nil {
		return nil, errNoOutlet
	}
	if r.Code == "" {
		return nil, errMiniBody
	}
	l, err := h.identities.mini.Login(ctx, a, r.Code)
	if err != nil {
		return nil, err
	}
	answer := answerTokens(l.Tokens)
	answer.NewUser = &l.NewUser
	return answer, nil
}

// miniRefresh answers POST /mp/{app}/refresh.
func (h *Host) miniRefresh(ctx context.Context, _ echo.Context, a miniApp, r *miniRequest) (any, error) {
	if r.RefreshToken == "" {
		return nil, errMiniBody
	}
	t, err := h.identities.sessions.Rotate(ctx, a.Session, r.RefreshToken)
	if err != nil {
		return nil, err
	}
	return answerTokens(t), nil
}

// miniPhone answers POST /mp/{app}/phone: the code of a phone button.
func (h *Host) miniPhone(ctx context.Context, ec echo.Context, a miniApp, r *miniRequest) (any, error) {
	s, err := h.sessionOf(ctx, ec, a.Session)
	switch {
	case err != nil:
		return nil, err
	case a.API == nil:
		return nil, errNoOutlet
	case r.Code == "":
		return nil, errMiniBody
	}
	p, err := h.identities.mini.Phone(ctx, a, s, r.Code)
	if err != nil {
		return nil, err
	}
	return struct {
		Phone   string `json:"phone"` // masked
		Country string `json:"country_code,omitempty"`
	}{p.Masked, p.Country}, nil
}

// miniDecrypt answers POST /mp/{app}/decrypt: {"data": …}, the object that was in it.
func (h *Host) miniDecrypt(ctx context.Context, ec echo.Context, a miniApp, r *miniRequest) (any, error) {
	s, err := h.sessionOf(ctx, ec, a.Session)
	switch {
	case err != nil:
		return nil, err
	case r.Data == "" || r.IV == "":
		return nil, errMiniBody
	}
	data, err := h.identities.mini.Decrypt(ctx, a, s, identity.Encrypted{Data: r.Data, IV: r.IV, RawData: r.RawData, Signature: r.Signature})
	if err != nil {
		return nil, err
	}
	return map[string]json.RawMessage{"data": data}, nil
}

// sessionOf is the session of an app whose token a request shows.
func (h *Host) sessionOf(ctx context.Context, ec echo.Context, c identity.SessionConfig) (identity.Session, error) {
	token, ok := strings.CutPrefix(ec.Request().Header.Get("Authorization"), "Bearer ")
	if !ok {
		return identity.Session{}, identity.ErrSession
	}
	return h.identities.sessions.Verify(ctx, c, token)
}
