package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/store/redis"
)

const (
	// doctorTime is how long one check may take.
	doctorTime = 10 * time.Second
	// doctorApps is how many apps are looked at at once.
	doctorApps = 8
)

// DoctorOptions say what Doctor looks at.
type DoctorOptions struct {
	App string // the name of one app; "": all
	// Admin is the address of a running host's admin listener and AdminToken what
	// it is shown; "": as the configuration says.
	Admin, AdminToken string
}

// FindingState says how what was looked at is.
type FindingState string

// The states of findings.
const (
	FindingFine    FindingState = "fine"
	FindingInfo    FindingState = "info"     // neither good nor bad
	FindingLeftOut FindingState = "left_out" // it wasn't looked at; the text says why
	FindingWarning FindingState = "warning"
	FindingWrong   FindingState = "wrong"
)

// Finding is what one check of Doctor found. None of it is secret, and none of it
// is a text that WeChat or Redis sent.
type Finding struct {
	App     string       `json:"app,omitempty"` // "": of what all apps share
	Check   string       `json:"check"`
	State   FindingState `json:"state"`
	Text    string       `json:"text"`
	Advice  string       `json:"advice,omitempty"` // what to do; "": nothing, or Text says it
	Errcode *DoctorCode  `json:"errcode,omitempty"`
	// Addresses are those that WeChat calls from.
	Addresses []string `json:"addresses,omitempty"`
}

// DoctorCode is an errcode that WeChat answered with, out of the catalogue.
type DoctorCode struct {
	Code      int           `json:"code"`
	Class     gateway.Class `json:"class"`
	Meaning   string        `json:"meaning"`
	MeaningZH string        `json:"meaning_zh"`
	Advice    string        `json:"advice"`
	AdviceZH  string        `json:"advice_zh"`
	Rid       string        `json:"rid,omitempty"`
}

// doctor is one look at all that a host needs from others.
type doctor struct {
	cfg      *config.Config
	options  DoctorOptions
	client   *http.Client
	redis    *redis.Store // nil: there is none, or it can't be opened
	redisErr error        // why
	pool     *gateway.Pool
	host     hostSeen
}

// Doctor dials what Check doesn't: WeChat for each app, the systems that have
// credentials, Redis, the host's own public address. It disturbs no running host:
// the embedded store isn't opened, and WeChat is asked for no token that voids
// another one. The findings of what all share come first, then those of the apps, in
// the order of the configuration; of files that are left out because they are wrong
// there is one each. The error is a configuration that can't be used, an app that it
// doesn't have, or ctx's end.
func Doctor(ctx context.Context, file string, opt DoctorOptions) ([]Finding, error) {
	cfg, problems, err := readGood(file)
	if err != nil {
		return nil, err
	}
	apps := cfg.Apps
	if opt.App != "" {
		app, err := appIn(file, cfg, problems, opt.App)
		if err != nil {
			return nil, err
		}
		apps = []*config.App{app}
	}
	if opt.Admin != "" {
		if _, err := newAdminClient(file, opt.Admin, opt.AdminToken); err != nil {
			return nil, err
		}
	}
	transport := newTransport()
	defer transport.CloseIdleConnections()
	log := slog.New(slog.DiscardHandler)
	d := &doctor{
		cfg: cfg, options: opt, client: &http.Client{Transport: transport, CheckRedirect: noRedirect},
		pool: gateway.NewPool(nil, log),
	}
	if cfg.Store.Redis != nil {
		d.redis, d.redisErr = openRedis(ctx, cfg.Store.Redis, log)
	}
	all := configFindings(problems)
	d.host = d.lookAtHost(ctx, file)
	all = append(all, d.host.finding)
	all = append(all, d.shared(ctx)...)
	all = append(all, d.apps(ctx, apps)...)
	if d.redis != nil {
		err = d.redis.Close()
	}
	return all, errors.Join(err, ctx.Err())
}

func openRedis(ctx context.Context, c *config.Redis, log *slog.Logger) (*redis.Store, error) {
	opt, err := redisOptions(c, log)
	if err != nil {
		return nil, err
	}
	return redis.Open(ctx, opt)
}

// configFindings are those of included files that hosts leave out.
func configFindings(problems config.Problems) []Finding {
	var all []Finding
	seen := map[string]bool{}
	for _, p := range problems {
		if p.Warning || seen[p.Pos.File] {
			continue
		}
		seen[p.Pos.File] = true
		all = append(all, Finding{
			Check: "configuration", State: FindingWrong, Text: p.String(),
			Advice: "the file's apps are not looked at; `weft check` shows all that is wrong with it",
		})
	}
	return all
}

// shared looks at what the apps share.
func (d *doctor) shared(ctx context.Context) []Finding {
	var public, stores []Finding
	var both sync.WaitGroup
	both.Go(func() { public = d.lookAtPublic(ctx) })
	both.Go(func() { stores = d.lookAtStore(ctx) })
	both.Wait()
	return append(public, stores...)
}

// apps looks at some apps side by side.
func (d *doctor) apps(ctx context.Context, apps []*config.App) []Finding {
	found := make([][]Finding, len(apps))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(doctorApps, len(apps)) {
		workers.Go(func() {
			for i := range next {
				found[i] = d.lookAtApp(ctx, apps[i])
			}
		})
	}
	for i := range apps {
		next <- i
	}
	close(next)
	workers.Wait()
	var all []Finding
	for i, list := range found {
		for _, f := range list {
			f.App = apps[i].Name
			all = append(all, f)
		}
	}
	return all
}

// within calls check in the time that one has.
func within(ctx context.Context, check func(context.Context) []Finding) []Finding {
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	return check(ctx)
}

// codeFinding is what an errcode of a call says by the catalogue. what is the call
// in words.
func codeFinding(check string, state FindingState, what string, said gateway.Probed) Finding {
	e := said.Errcode
	return Finding{
		Check: check, State: state, Text: what + ": " + e.Meaning.English + codeText(said), Advice: e.Advice.English,
		Errcode: doctorCode(said),
	}
}

// codeText is how an errcode is shown behind a text.
func codeText(said gateway.Probed) string {
	if said.Rid != "" {
		return fmt.Sprintf(" (errcode %d, rid %s)", said.Errcode.Code, said.Rid)
	}
	return fmt.Sprintf(" (errcode %d)", said.Errcode.Code)
}

func doctorCode(said gateway.Probed) *DoctorCode {
	e := said.Errcode
	return &DoctorCode{
		Code: e.Code, Class: e.Class, Meaning: e.Meaning.English, MeaningZH: e.Meaning.Chinese,
		Advice: e.Advice.English, AdviceZH: e.Advice.Chinese, Rid: said.Rid,
	}
}
