// Command wechat is the fake WeChat of the example: its API, the page that browsers
// log in at, its JavaScript for pages, and the phone of a user with a mini program.
// It knows two apps and two users, keeps nothing, and must be reached by nobody else.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

// The apps of pipeline.yaml.
const (
	shopID   = "wx5e00000000000001"
	shopKey  = "sampleSecretOfTheShop"
	miniID   = "wx5e00000000000002"
	miniKey  = "sampleSecretOfTheMiniProgram"
	ofDomain = "127.0.0.1" // 网页授权域名 and JS 接口安全域名 of the shop
)

// The users.
const (
	ming   = "oShopXiaoMing"
	hong   = "oShopXiaoHong"
	inMini = "oMiniXiaoMing" // the first in the mini program
)

// town is WeChat and who uses it.
type town struct {
	wechat *simulator.WeChat
	now    func() time.Time
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listen := flag.String("listen", "127.0.0.1:0", "the `ADDRESS` to listen at, of this machine")
	flag.Parse()
	if err := serve(ctx, *listen); err != nil {
		fmt.Fprintln(os.Stderr, "the fake WeChat:", err)
		os.Exit(1)
	}
}

// serve answers until ctx ends.
func serve(ctx context.Context, address string) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	t := newTown(time.Now)
	srv := &http.Server{Handler: t.handler(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	fmt.Fprintf(os.Stderr, "the fake WeChat listens at http://%s/\n", ln.Addr())
	select {
	case err = <-ended:
	case <-ctx.Done():
		t.wechat.Close()
		err = errors.Join(srv.Close(), <-ended)
	}
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

// newTown has the apps and the users.
func newTown(now func() time.Time) *town {
	w := simulator.New(simulator.Options{Now: now})
	w.Set(simulator.App{ID: shopID, Secret: shopKey})
	w.Set(simulator.App{ID: miniID, Secret: miniKey})
	w.SetUser(shopID, simulator.User{OpenID: ming, Nickname: "小明"})
	w.SetUser(shopID, simulator.User{OpenID: hong, Nickname: "小红"})
	w.SetUser(miniID, simulator.User{OpenID: inMini, Nickname: "小明", Phone: "13800138000"})
	return &town{wechat: w, now: now}
}

// handler is all of it: the API's own paths are the simulator's.
func (t *town) handler() http.Handler {
	m := http.NewServeMux()
	m.Handle("/", t.wechat)
	m.HandleFunc("/connect/oauth2/authorize", t.authorize)
	m.HandleFunc("GET /open/js/jweixin-1.6.0.js", script)
	m.HandleFunc("POST /open/js/config", t.config)
	m.HandleFunc("POST /phone/login", t.login)
	m.HandleFunc("POST /phone/number", t.number)
	m.HandleFunc("POST /phone/profile", t.profile)
	return m
}
