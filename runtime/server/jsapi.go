package server

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/wechat"
)

// maxPage is the longest address of a page that is signed, in bytes.
const maxPage = 4096

// The errors of signatures.
var (
	errPageURL = &httpError{http.StatusBadRequest, "bad_url", "url= is the page's address as the browser has it, up to 4096 bytes, through encodeURIComponent"}
	errPage    = &httpError{http.StatusForbidden, "page_not_allowed", "the page's scheme, host and port are not in the app's jsapi.hosts"}
)

// pages is what an app's pages may have.
type pages struct {
	appID   string
	hosts   map[string]bool // origins of the pages that a signature is for
	origins map[string]bool // of those whose scripts may read the answer
}

// readPages takes what the apps' pages may have, and the domain check files.
func (a *assembly) readPages() {
	set := func(list []string) map[string]bool {
		out := make(map[string]bool, len(list))
		for _, s := range list {
			out[s] = true
		}
		return out
	}
	for _, app := range a.cfg.Apps {
		if j := app.JSAPI; j != nil {
			a.pages[app.Name] = &pages{appID: app.AppID, hosts: set(j.Hosts), origins: set(j.Origins)}
		}
		for name, content := range app.DomainFiles {
			a.files["/"+name] = content
		}
	}
}

// jsapiRoutes are the paths of web pages.
func (h *Host) jsapiRoutes(public *echo.Echo) {
	public.Any("/jsapi/:app/sign", h.afterCallbacks(h.answerSign))
}

// signed is what wx.config of a page takes, as JSON. No part needs an escape: an
// AppID has letters, digits, _ and -, a nonce and a signature letters and digits.
func signed(appID, nonce string, timestamp int64, signature string) []byte {
	body := make([]byte, 0, 256)
	body = append(append(body, `{"appId":"`...), appID...)
	body = strconv.AppendInt(append(body, `","timestamp":`...), timestamp, 10)
	body = append(append(body, `,"nonceStr":"`...), nonce...)
	body = append(append(body, `","signature":"`...), signature...)
	return append(body, "\"}\n"...)
}

// answerSign answers GET /jsapi/{app}/sign?url=, out of memory as soon as there is
// a ticket.
func (h *Host) answerSign(ec echo.Context) error {
	app := ec.Param("app")
	serving := h.current.Load()
	p := serving.assembly.pages[app]
	if p == nil {
		return serving.callbacks.lacks(app)
	}
	known := p.share(ec)
	switch r := ec.Request(); r.Method {
	case http.MethodGet:
	case http.MethodOptions:
		if !known {
			return errCrossOrigin
		}
		return ec.NoContent(http.StatusNoContent)
	default:
		return wrongMethod(ec, "GET, OPTIONS")
	}
	page, err := p.page(ec.Request().URL.RawQuery)
	if err != nil {
		return err
	}
	ticket, err := h.ticket(ec, app)
	if err != nil {
		return err
	}
	nonce, now := rand.Text(), time.Now().Unix()
	return answer(ec, "application/json; charset=utf-8", signed(p.appID, nonce, now, wechat.SignPage(ticket.Value, nonce, now, page)))
}

// ticket is an app's in memory, else one that is waited for. Only the wait enters
// the generation: what is in memory can be read when it has closed, too.
func (h *Host) ticket(ec echo.Context, app string) (gateway.Credential, error) {
	if o, ok := h.current.Load().assembly.outlets[app]; ok {
		if ticket, held := o.credentials.Held(gateway.JSAPITicket); held {
			return ticket, nil
		}
	}
	g := h.inUse()
	if g == nil {
		return gateway.Credential{}, errStopping
	}
	defer g.leave()
	o, ok := g.assembly.outlets[app]
	if !ok {
		return gateway.Credential{}, errNoOutlet
	}
	ctx, cancel := context.WithTimeout(ec.Request().Context(), credentialTime)
	defer cancel()
	ticket, err := o.credentials.Get(ctx, gateway.JSAPITicket)
	if err != nil { // which the credentials have logged
		ec.Response().Header().Set("Retry-After", "5")
		return gateway.Credential{}, errNoCredential
	}
	return ticket, nil
}

// share lets the scripts of an allow-listed origin read the answer, and tells
// whether the request is of one.
func (p *pages) share(ec echo.Context) bool {
	header := ec.Response().Header()
	header.Set("Cache-Control", "no-store")
	if len(p.origins) == 0 {
		return false
	}
	header.Set("Vary", "Origin")
	origin := ec.Request().Header.Get("Origin")
	if !p.origins[origin] {
		return false
	}
	header.Set("Access-Control-Allow-Origin", origin)
	if ec.Request().Method == http.MethodOptions {
		header.Set("Access-Control-Allow-Methods", "GET")
		header.Set("Access-Control-Allow-Headers", "Content-Type, X-Requested-With")
		header.Set("Access-Control-Max-Age", "600")
	}
	return true
}

// page reads the page of a query, and refuses one of a host that is not
// allow-listed.
func (p *pages) page(query string) (string, error) {
	page, ok := pageOf(query)
	if !ok {
		return "", errPageURL
	}
	origin, ok := originOf(page)
	if !ok {
		return "", errPageURL
	}
	if !p.hosts[origin] {
		return "", errPage
	}
	return page, nil
}

// pageOf is the url of a query without its fragment. It is none where the query has
// two, or where it was put there as it stands and has lost what followed its &.
func pageOf(query string) (page string, ok bool) {
	raw, others := "", false
	for part := range strings.SplitSeq(query, "&") {
		value, is := strings.CutPrefix(part, "url=")
		if is && ok {
			return "", false
		}
		if is {
			raw, ok = value, true
		} else {
			others = true
		}
	}
	if !ok || others && strings.Contains(raw, "?") {
		return "", false
	}
	page, err := url.QueryUnescape(raw)
	if err != nil {
		return "", false
	}
	page, _, _ = strings.Cut(page, "#")
	return page, page != "" && len(page) <= maxPage
}

// originOf is a page's origin as a browser writes it: see config.JSAPI. An address
// that browsers and servers may read differently has none.
func originOf(page string) (string, bool) {
	for i := range len(page) {
		if c := page[i]; c <= ' ' || c == 0x7f {
			return "", false
		}
	}
	scheme, rest, ok := strings.Cut(page, "://")
	if !ok {
		return "", false
	}
	host := rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		host = rest[:i]
	}
	for i := range len(host) {
		if c := host[i]; c >= 0x80 || c == '\\' || c == '@' || c == '%' {
			return "", false
		}
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	default:
		return "", false
	}
	return scheme + "://" + strings.ToLower(host), host != ""
}

// answerElse serves every path that nothing else does: a domain check file, or the
// callback_path of an app.
func (h *Host) answerElse(ec echo.Context) error {
	g := h.current.Load()
	content, ok := g.assembly.files[ec.Request().URL.Path]
	if !ok {
		return g.callbacks.byPath(ec)
	}
	if m := ec.Request().Method; m != http.MethodGet && m != http.MethodHead {
		return wrongMethod(ec, "GET, HEAD")
	}
	ec.Response().Header().Set("Cache-Control", "no-cache")
	return answer(ec, "text/plain; charset=utf-8", []byte(content))
}
