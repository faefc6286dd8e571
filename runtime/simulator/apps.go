package simulator

import (
	"net/netip"
	"time"
)

// App is an official account or a mini program.
type App struct {
	ID, Secret string
	// Allow is the IP allow-list of the platform's console; empty: any caller
	// may call.
	Allow []netip.Prefix
	Rules
}

// Rules are WeChat's numbers, which a test makes smaller. A zero stands for
// WeChat's own, a negative one for none.
type Rules struct {
	// Life is that of a token and of a ticket; WeChat's: 7200 s. It is told in
	// whole seconds, rounded down.
	Life time.Duration
	// Overlap is how long a token works on when a newer one was fetched;
	// WeChat's: 5 minutes ("Get access token").
	Overlap time.Duration
	// RenewWindow is what may be left of a stable token where a normal call
	// gives a new one; WeChat's: 5 minutes ("getStableAccessToken"), which is a
	// tenth of Life at most here, where Life is made shorter.
	RenewWindow time.Duration
	// ForceGap is what must lie between two calls with force_refresh, and
	// ForceDaily how many there may be a day; WeChat's: 30 s and 20
	// ("getStableAccessToken"). A call that comes earlier doesn't refresh.
	ForceGap   time.Duration
	ForceDaily int
	// ClearMonthly is how often clear_quota may be called in a month of China's;
	// WeChat's: 10.
	ClearMonthly int
}

// real puts WeChat's own numbers where there are none.
func (r Rules) real() Rules {
	life := or(r.Life, 2*time.Hour)
	return Rules{
		Life: life, Overlap: or(r.Overlap, 5*time.Minute), RenewWindow: or(r.RenewWindow, min(5*time.Minute, life/10)),
		ForceGap: or(r.ForceGap, 30*time.Second), ForceDaily: or(r.ForceDaily, 20),
		ClearMonthly: or(r.ClearMonthly, 10),
	}
}

func or[N ~int | ~int64](given, real N) N {
	if given == 0 {
		return real
	}
	return max(given, 0)
}

// app is an App with what became of it.
type app struct {
	App
	plain, stable family
	forced        []time.Time // calls with force_refresh that refreshed, of a day
	usage         map[string]*usage
	clearMonth    string
	clears        int // in clearMonth
	users         map[string]User
	named         map[string]int64 // messages by what the caller calls them
	media         map[string]Media
	sessions      map[string]string // session_keys by openid
}

// Set adds an app, or changes one that is there and keeps its tokens.
func (w *WeChat) Set(a App) {
	a.Rules = a.real()
	w.mu.Lock()
	defer w.mu.Unlock()
	if there := w.apps[a.ID]; there != nil {
		there.App = a
		return
	}
	w.apps[a.ID] = &app{
		App: a, usage: map[string]*usage{}, users: map[string]User{}, named: map[string]int64{}, media: map[string]Media{},
		sessions: map[string]string{},
	}
}

// allows says whether a caller is on the app's allow-list.
func (a *app) allows(ip netip.Addr) bool {
	if len(a.Allow) == 0 {
		return true
	}
	for _, prefix := range a.Allow {
		if prefix.Contains(ip) {
			return true
		}
	}
	return false
}

// china is the time zone that WeChat's days begin in.
func china() *time.Location {
	return time.FixedZone("China", 8*60*60)
}

// day numbers the days of China.
func day(t time.Time) string {
	return t.In(china()).Format(time.DateOnly)
}
