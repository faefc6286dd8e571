package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
)

// appDoctor looks at one app.
type appDoctor struct {
	*doctor
	app   *config.App
	probe gateway.Probe
	clock *Finding // by the first answer that says a time
}

// lookAtApp makes the checks of an app.
func (d *doctor) lookAtApp(ctx context.Context, app *config.App) []Finding {
	return append(d.lookAtAccount(ctx, app), d.lookAtDomains(ctx, app)...)
}

// lookAtAccount makes the checks of an app that call WeChat, one after another: most
// need the token of the first.
func (d *doctor) lookAtAccount(ctx context.Context, app *config.App) []Finding {
	if !callsWeChat(app) {
		return []Finding{{Check: "secret", State: FindingLeftOut, Text: "the app has no app_secret: nothing calls WeChat for it"}}
	}
	a := &appDoctor{doctor: d, app: app, probe: gateway.Probe{Client: d.client, Base: app.APIBase}}
	var token string
	found := within(ctx, func(ctx context.Context) (found []Finding) {
		token, found = a.token(ctx)
		return found
	})
	if token == "" {
		return append(found, a.clockFindings()...)
	}
	for _, check := range []func(context.Context, string) []Finding{a.callback, a.callbackIPs, a.quota} {
		more := within(ctx, func(ctx context.Context) []Finding { return check(ctx, token) })
		found = append(found, more...)
		if slices.ContainsFunc(more, refusesAll) {
			break
		}
	}
	return append(found, a.clockFindings()...)
}

// refusesAll tells whether every other call would find the same.
func refusesAll(f Finding) bool {
	return f.State == FindingWrong && (f.Check == "credentials" || f.Check == "address")
}

func (a *appDoctor) clockFindings() []Finding {
	if a.clock == nil {
		return nil
	}
	return []Finding{*a.clock}
}

// token gets a token, where that voids none.
func (a *appDoctor) token(ctx context.Context) (string, []Finding) {
	c := gateway.CredentialConfig{
		Source: gateway.CredentialSource(a.app.Credentials.From), AppID: a.app.AppID, Secret: a.app.AppSecret, Base: a.app.APIBase,
		Plain: a.app.Credentials.Plain,
	}
	switch a.app.Credentials.From {
	case config.FromHTTP:
		return a.fromService(ctx, c)
	case config.FromRedis:
		return a.fromRedis(ctx, c)
	}
	if c.Plain {
		return "", append(a.reach(ctx), a.plain())
	}
	asked := time.Now()
	token, said, err := a.probe.Token(ctx, c, nil)
	a.readClock(said, asked)
	switch {
	case err != nil:
		return "", []Finding{a.away(err)}
	case said.Errcode.Code != 0:
		return "", []Finding{a.refused(said)}
	}
	return token, []Finding{
		{Check: "secret", State: FindingFine, Text: "WeChat takes app_id and app_secret"},
		{Check: "address", State: FindingFine, Text: "WeChat takes calls from this machine's address"},
	}
}

// away is a WeChat that gave no answer to use.
func (a *appDoctor) away(err error) Finding {
	return Finding{
		Check: "wechat", State: FindingWrong, Text: "WeChat at " + a.app.APIBase + ": " + err.Error(),
		Advice: "see that this machine resolves and reaches that address (DNS, firewall, certificates), and that api_base is right",
	}
}

// place is where a key of the app stands.
func (a *appDoctor) place(key string) string {
	return fmt.Sprintf("%s: apps.%s.%s", a.app.Pos, a.app.Name, key)
}

// refused is a WeChat that gives no token.
func (a *appDoctor) refused(said gateway.Probed) Finding {
	f := codeFinding("secret", FindingWrong, "WeChat gives no token", said)
	switch said.Errcode.Code {
	case 40125, 40001: // of the call for a token the second says the same
		f.Text = "app_secret is not the account's AppSecret" + codeText(said)
		f.Advice = a.place("app_secret") + ": set what it is read from to the AppSecret of " + a.app.AppID + "; whoever doesn't have it resets it in the account's console, which voids the old one"
	case 40013:
		f.Text = "WeChat knows no account with this app_id" + codeText(said)
		f.Advice = a.place("app_id") + ": copy the AppID from the account's console: letter case counts, and blanks"
	case 40243:
		f.Text = "the AppSecret is frozen" + codeText(said)
		f.Advice = "unfreeze or reset it in the account's console, then see " + a.place("app_secret")
	case 40164, 45035:
		f.Check = "address"
		f.Text, f.Advice = "this machine's address is not on the account's IP allow-list"+codeText(said), said.Errcode.Advice.English
		if said.Address.IsValid() {
			f.Text = said.Address.String() + " is not on the account's IP allow-list" + codeText(said)
			f.Advice = "add " + said.Address.String() + " to it in the account's console (basic configuration); it is how WeChat sees this machine, and each machine with a host needs that"
		}
	default:
		switch said.Errcode.Class {
		case gateway.ClassBackoff:
			f.Check, f.State = "wechat", FindingWarning
		case gateway.ClassQuota:
			f.Check = "quota"
		case gateway.ClassOperator:
			if said.Address.IsValid() || said.Errcode.Code >= 89501 && said.Errcode.Code <= 89507 {
				f.Check = "address"
			}
		}
	}
	return f
}

// reach calls WeChat without a token and without the secret: for its time, and for
// whether it is there.
func (a *appDoctor) reach(ctx context.Context) []Finding {
	asked := time.Now()
	said, err := a.probe.Call(ctx, "/cgi-bin/getcallbackip", "", nil)
	a.readClock(said, asked)
	if err != nil {
		return []Finding{a.away(err)}
	}
	return []Finding{{Check: "wechat", State: FindingFine, Text: "WeChat answers at " + a.app.APIBase}}
}

// plain tells how the running host's credentials are: a fetch would void the token
// in use.
func (a *appDoctor) plain() Finding {
	f := Finding{Check: "secret", State: FindingLeftOut}
	i := slices.IndexFunc(a.host.credentials, func(c credentialStatus) bool {
		return c.App == a.app.Name && c.Kind == gateway.AccessToken
	})
	const why = "credentials.plain: a token that is fetched here would void the one in use, so secret, address, callback and quota are left out"
	switch {
	case !a.host.answers:
		f.Text, f.Advice = why+"; no running host was there to be asked", "start the host, or name it with --admin"
	case i < 0:
		f.Text, f.Advice = why+"; the running host hasn't called WeChat for this app yet", "let something call, such as GET /cgi-bin/getcallbackip through the gateway"
	default:
		return a.hostToken(a.host.credentials[i])
	}
	return f
}

// hostToken is what a running host says of a token.
func (a *appDoctor) hostToken(c credentialStatus) Finding {
	until := "an unknown time"
	if c.Expires != nil {
		until = c.Expires.UTC().Format(time.DateTime) + " UTC"
	}
	f := Finding{Check: "secret", State: FindingFine, Text: "the running host has a token until " + until + "; callback and quota are left out (credentials.plain)"}
	if c.State == credentialValid {
		return f
	}
	f.State, f.Text = FindingWrong, "the running host has no token"
	if c.State == credentialFailing {
		f.State, f.Text = FindingWarning, "the running host can't refresh its token, which is good until "+until
	}
	if c.Error != "" {
		f.Text += ": " + cut(c.Error, 300)
	}
	if c.Errcode != 0 {
		said := gateway.Probed{Errcode: gateway.LookupErrcode(c.Errcode)}
		f.Advice, f.Errcode = said.Errcode.Advice.English, doctorCode(said)
	}
	return f
}

// fromService reads the token of another system, over HTTP.
func (a *appDoctor) fromService(ctx context.Context, c gateway.CredentialConfig) (string, []Finding) {
	u := a.app.Credentials.Upstream
	client, err := openUpstream(a.pool, u)
	if err != nil {
		return "", []Finding{{Check: "credentials", State: FindingWrong, Text: fmt.Sprintf("upstream %s: %v", u.Name, err), Advice: u.Pos.String()}}
	}
	defer a.pool.Close(client)
	c.Service = credentialService{client}
	return a.read(ctx, c, nil, "upstream "+u.Name, "see that it serves GET …/access_token with value and expires_in, and "+u.Pos.String()+": its url, headers and private")
}

// fromRedis reads the token that another system leaves in Redis.
func (a *appDoctor) fromRedis(ctx context.Context, c gateway.CredentialConfig) (string, []Finding) {
	if a.redis == nil {
		return "", []Finding{{Check: "credentials", State: FindingLeftOut, Text: "Redis can't be opened"}}
	}
	key := a.app.Credentials.Keys.AccessToken
	c.Keys = map[gateway.CredentialKind]string{gateway.AccessToken: key}
	return a.read(ctx, c, a.redis, "key "+key+" in Redis", "see that the other system runs and writes there: the token, or JSON with value, access_token or ticket; "+a.place("credentials.keys"))
}

// read reads another system's token once. from is where, in words.
func (a *appDoctor) read(ctx context.Context, c gateway.CredentialConfig, foreign gateway.ForeignKeys, from, advice string) (string, []Finding) {
	token, _, err := a.probe.Token(ctx, c, foreign)
	if err != nil {
		text := from + ": " + err.Error()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			text = from + ": it didn't answer in time"
		}
		return "", append(a.reach(ctx), Finding{Check: "credentials", State: FindingWrong, Text: text, Advice: advice})
	}
	return token, []Finding{{Check: "credentials", State: FindingFine, Text: from + " has a token"}}
}

// call calls WeChat with the token. ok: there is an answer without an errcode; else
// there is a finding.
func (a *appDoctor) call(ctx context.Context, check, path, token string, body any) (said gateway.Probed, f Finding, ok bool) {
	asked := time.Now()
	said, err := a.probe.Call(ctx, path, token, body)
	a.readClock(said, asked)
	switch code := said.Errcode.Code; {
	case err != nil:
		return said, Finding{Check: check, State: FindingWarning, Text: path + ": " + err.Error()}, false
	case code == 0:
		return said, Finding{}, true
	case said.Address.IsValid(), said.Errcode.Class == gateway.ClassRefresh:
		f = a.refused(said)
		if said.Errcode.Class == gateway.ClassRefresh {
			f = codeFinding("credentials", FindingWrong, "WeChat refuses the token that was just read", said)
			f.Advice = "something beside this host fetches tokens for the account, or the token read is another account's; let one fetch, and the others ask it (credentials.from)"
		}
		return said, f, false
	}
	return said, codeFinding(check, FindingWarning, path, said), false
}

// readClock compares this machine's clock with WeChat's, once.
func (a *appDoctor) readClock(said gateway.Probed, asked time.Time) {
	if a.clock != nil || said.Date.IsZero() {
		return
	}
	took := time.Since(asked)
	// A Date has no parts of a second.
	ahead := asked.Add(took / 2).Sub(said.Date.Add(time.Second / 2))
	a.clock = new(clockFinding(ahead, took/2+time.Second, a.app.MaxSkew))
}

// clockFinding is a clock that is ahead of WeChat's, as exact as give or take.
func clockFinding(ahead, exact, most time.Duration) Finding {
	f := Finding{
		Check: "clock", State: FindingWarning, Advice: "have this machine's clock set by NTP (chrony, systemd-timesyncd)",
		Text: fmt.Sprintf("this machine's clock is %v %s WeChat's", ahead.Abs().Round(time.Second), beforeOrBehind(ahead)),
	}
	switch off := ahead.Abs() - exact; {
	case off > most:
		f.State = FindingWrong
		f.Text += fmt.Sprintf(", over max_skew, %v: every callback is refused", most)
	case off <= doctorSkew:
		return Finding{Check: "clock", State: FindingFine, Text: "this machine's clock is WeChat's"}
	}
	return f
}
