package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/wechat"
)

const (
	// maxWebCode is the most of a code that WeChat is asked about, in bytes.
	maxWebCode = 512
	// busyTries is how often WeChat is asked that says it is busy, and busyPause the
	// first pause in between, which doubles.
	busyTries, busyPause = 3, 100 * time.Millisecond
)

// Errors of a login beside those of gateway.SNS.
var (
	errDenied   = errors.New("the user did not agree")
	errTooLong  = fmt.Errorf("it is longer than any: %w", gateway.ErrCode)
	errSnapshot = errors.New("the page was opened in snapshot mode: the user is a made-up one")
	errAnswer   = errors.New("WeChat's answer can't be used")
)

// outcomeOf is what a page is told of an error (wechat-errors.md, 'OAuth and
// login').
func outcomeOf(err error) outcome {
	code := errcodeOf(err)
	switch {
	case err == nil:
		return loggedIn
	case errors.Is(err, errDenied), code == 50001, code == 50002:
		return denied
	case errors.Is(err, gateway.ErrCode):
		return invalidCode
	case errors.Is(err, errSnapshot):
		return snapshotUser
	case errors.Is(err, gateway.ErrSNSBusy), errors.Is(err, gateway.ErrSNS) && code == 0:
		return unavailable
	}
	return failed
}

// errcodeOf is the errcode of a call below /sns/; 0: there is none.
func errcodeOf(err error) int {
	var said *gateway.SNSError
	if errors.As(err, &said) {
		return said.Errcode()
	}
	return 0
}

// userGrant is an answer of /sns/oauth2/access_token and refresh_token, and what
// matters of /sns/userinfo.
type userGrant struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	OpenID       string `json:"openid"`
	Scope        string `json:"scope"` // separated by commas
	UnionID      string `json:"unionid"`
	Snapshot     int    `json:"is_snapshotuser"` // 1: the page is a snapshot, openid and unionid are made up
}

// exchange finds out whose code it is. The user's tokens at WeChat are not kept.
func exchange(ctx context.Context, c *OAuthConfig, scope, code string) (User, error) {
	switch {
	case code == "":
		return User{}, errDenied
	case len(code) > maxWebCode:
		return User{}, errTooLong
	}
	var g userGrant
	err := ask(ctx, c.SNS, "/sns/oauth2/access_token", url.Values{"code": {code}, "grant_type": {"authorization_code"}}, &g)
	switch {
	case err != nil:
		return User{}, err
	case g.Snapshot != 0:
		return User{}, errSnapshot
	case !plainID(g.OpenID) || g.UnionID != "" && !plainID(g.UnionID):
		return User{}, fmt.Errorf("/sns/oauth2/access_token: %w", errAnswer)
	}
	u := User{OpenID: g.OpenID, UnionID: g.UnionID}
	wanted := slices.Contains(c.Session.Claims, ClaimUnionID) && scope == wechat.ScopeUserInfo
	if wanted && u.UnionID == "" && slices.Contains(strings.Split(g.Scope, ","), wechat.ScopeUserInfo) {
		if u.UnionID, err = unionID(ctx, c.SNS, g); err != nil {
			return User{}, err
		}
	}
	return u, nil
}

// unionID asks for the user's unionid; "": the account isn't bound to an open
// platform. A user's token that WeChat takes no more is refreshed, once.
func unionID(ctx context.Context, s *gateway.SNS, g userGrant) (string, error) {
	info, err := userInfo(ctx, s, g)
	if code := errcodeOf(err); g.RefreshToken != "" && gateway.LookupErrcode(code).Class == gateway.ClassRefresh {
		fresh := userGrant{}
		refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.RefreshToken}}
		if err := ask(ctx, s, "/sns/oauth2/refresh_token", refresh, &fresh); err != nil {
			return "", err
		}
		g.AccessToken = fresh.AccessToken
		info, err = userInfo(ctx, s, g)
	}
	switch {
	case err != nil:
		return "", err
	case info.OpenID != g.OpenID || info.UnionID != "" && !plainID(info.UnionID):
		return "", fmt.Errorf("/sns/userinfo: %w", errAnswer)
	}
	return info.UnionID, nil
}

// userInfo asks with the user's token.
func userInfo(ctx context.Context, s *gateway.SNS, g userGrant) (info userGrant, err error) {
	err = ask(ctx, s, "/sns/userinfo", url.Values{"access_token": {g.AccessToken}, "openid": {g.OpenID}, "lang": {"zh_CN"}}, &info)
	return info, err
}

// ask makes a call and reads its answer, again where WeChat is busy.
func ask(ctx context.Context, s *gateway.SNS, path string, query url.Values, into *userGrant) error {
	for try, pause := 1, busyPause; ; try, pause = try+1, 2*pause {
		said, err := s.Get(ctx, path, query)
		if err == nil {
			if json.Unmarshal(said, into) != nil { // the error may quote it
				return fmt.Errorf("%s: %w", path, errAnswer)
			}
			return nil
		}
		if errcodeOf(err) != -1 || try == busyTries { // -1: it was not executed
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// plainID tells whether an openid or unionid is one.
func plainID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
