package server

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/identity"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/telemetry"
	"github.com/weft-dev/weft/runtime/vault"
)

// identityOrigin is the origin of logins and phone numbers.
const identityOrigin = "identity"

// identities know who users are, over all generations.
type identities struct {
	vault    *vault.Vault
	sessions *identity.Sessions
	mini     *identity.Mini
	oauth    *identity.OAuth
	logged   sync.Map // *telemetry.Seldom by loginLine, of logins that failed
}

// loginLine is a line of the log on an app's logins.
type loginLine struct{ app, text string }

// logLogin logs at most one such line in refusalLog: anybody can make logins fail. err
// holds nothing secret.
func (h *Host) logLogin(ec echo.Context, level slog.Level, line loginLine, err error) {
	seldom, _ := h.identities.logged.LoadOrStore(line, new(telemetry.Seldom))
	skipped, ok := seldom.(*telemetry.Seldom).Pass(time.Now(), refusalLog)
	if !ok {
		return
	}
	h.log.LogAttrs(ec.Request().Context(), level, line.text, slog.String("app", line.app), slog.String("path", ec.Path()),
		slog.String("trace", traceOf(ec)), slog.String("error", err.Error()), slog.Int64("skipped", skipped))
}

// identityEvents is an identity.Events.
type identityEvents func(ctx context.Context, e identity.Event) error

// Post implements identity.Events.
func (f identityEvents) Post(ctx context.Context, e identity.Event) error { return f(ctx, e) }

// openIdentities makes the host's. The store stays open until after the last use.
func openIdentities(cfg *config.Config, s store.Store, post identityEvents) (*identities, error) {
	key, err := serverKey(cfg)
	if err != nil {
		return nil, err
	}
	ids := new(identities)
	if ids.vault, err = vault.New(vault.Options{Store: s, Key: key, PreviousKeys: cfg.Server.PreviousKeys}); err != nil {
		return nil, fmt.Errorf("opening the vault: %w", err)
	}
	ids.sessions, err = identity.NewSessions(identity.SessionsOptions{
		Store: s, Vault: ids.vault, Key: key, PreviousKeys: cfg.Server.PreviousKeys, Issuer: func() string { return cfg.Server.Public },
	})
	if err != nil {
		return nil, fmt.Errorf("opening the sessions: %w", err)
	}
	ids.mini = identity.NewMini(identity.MiniOptions{Sessions: ids.sessions, Vault: ids.vault, Events: post})
	ids.oauth, err = identity.NewOAuth(identity.OAuthOptions{
		Store: s, Vault: ids.vault, Sessions: ids.sessions, Events: post, Key: key, PreviousKeys: cfg.Server.PreviousKeys,
	})
	if err != nil {
		return nil, fmt.Errorf("opening web authorization: %w", err)
	}
	return ids, nil
}

// sessionConfig is how an app's sessions are.
func sessionConfig(app *config.App) identity.SessionConfig {
	c := identity.SessionConfig{App: app.Name, AppID: app.AppID, Session: app.OAuth.Session, Refresh: app.OAuth.Refresh}
	for _, claim := range app.OAuth.Claims {
		c.Claims = append(c.Claims, string(claim))
	}
	return c
}

// traceParentKey is where the context of a request that posts events has its
// traceparent.
type traceParentKey struct{}

// withTraceParent has events that are posted for a request carry its trace.
func withTraceParent(ec echo.Context) context.Context {
	return context.WithValue(ec.Request().Context(), traceParentKey{}, traceParentOf(ec))
}

// identityEvent is a login or a phone number of a user, without its id, its app and
// its fields. created is in Unix seconds.
func identityEvent(name, openID string, created int64) *hostapi.Event {
	return &hostapi.Event{Type: "event", Event: name, From: openID, User: openID, Created: created, Origin: identityOrigin}
}

// postIdentity gives a login or a phone number to the pipeline of its app.
func (h *Host) postIdentity(ctx context.Context, e identity.Event) error {
	a := h.current.Load().callbacks.apps[e.App]
	if a == nil {
		return pipeline.ErrNoApp
	}
	ev := identityEvent(e.Name, e.User.OpenID, e.At.Unix())
	ev.ID, ev.App, ev.AppID, ev.AppType = e.ID, a.name, a.appID, a.appType
	ev.TraceParent, _ = ctx.Value(traceParentKey{}).(string)
	switch e.Name {
	case identity.EventLogin:
		ev.Fields = append(ev.Fields, hostapi.Field{Name: "new_user", Value: strconv.FormatBool(e.NewUser)})
	case identity.EventPhone:
		ev.Fields = append(ev.Fields, hostapi.Field{Name: "phone", Value: e.Phone})
	}
	if e.User.UnionID != "" {
		ev.Fields = append(ev.Fields, hostapi.Field{Name: "unionid", Value: e.User.UnionID})
	}
	return h.engine.Post(ctx, a.name, ev)
}
