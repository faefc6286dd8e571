package server

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// maxCallbackIPs is how many of the addresses that WeChat calls from are told.
const maxCallbackIPs = 256

// callback has WeChat look at the way to the callback's address.
func (a *appDoctor) callback(ctx context.Context, token string) []Finding {
	said, f, ok := a.call(ctx, "callback", "/cgi-bin/callback/check", token, map[string]string{"action": "all", "check_operator": "DEFAULT"})
	if !ok {
		if said.Errcode.Code == 40201 { // "callbackCheck"
			f.Text = "the account has no callback address that WeChat can look at" + codeText(said)
			f.Advice = "set the server's address in the account's console, to https://…/wx/" + a.app.Name
		}
		return []Finding{f}
	}
	var told struct {
		DNS []struct {
			IP string `json:"ip"`
		} `json:"dns"`
		Ping []struct {
			IP   string `json:"ip"`
			Loss string `json:"package_loss"`
		} `json:"ping"`
	}
	if err := said.Decode(&told); err != nil {
		return []Finding{{Check: "callback", State: FindingWarning, Text: "/cgi-bin/callback/check: " + err.Error()}}
	}
	var resolved, lost []string
	for _, r := range told.DNS {
		resolved = appendAddress(resolved, r.IP)
	}
	for _, p := range told.Ping {
		if strings.TrimSpace(p.Loss) != "0%" {
			lost = appendAddress(lost, p.IP)
		}
	}
	switch {
	case len(resolved) == 0:
		return []Finding{{
			Check: "callback", State: FindingWrong, Text: "WeChat finds no address for the name of the callback's address",
			Advice: "correct the name's DNS record, or the server's address in the account's console",
		}}
	case len(lost) > 0:
		return []Finding{{
			Check: "callback", State: FindingWarning, Text: "WeChat's pings to " + few8(lost) + " are lost",
			Advice: "no harm where a firewall drops pings alone; else see that WeChat's networks reach that address",
		}}
	}
	return []Finding{{Check: "callback", State: FindingFine, Text: "WeChat finds and reaches the callback's address: " + few8(resolved)}}
}

// callbackIPs tells which networks WeChat's callbacks come from.
func (a *appDoctor) callbackIPs(ctx context.Context, token string) []Finding {
	said, f, ok := a.call(ctx, "callback_ip", "/cgi-bin/getcallbackip", token, nil)
	if !ok {
		return []Finding{f}
	}
	var told struct {
		List []string `json:"ip_list"`
	}
	if err := said.Decode(&told); err != nil {
		return []Finding{{Check: "callback_ip", State: FindingWarning, Text: "/cgi-bin/getcallbackip: " + err.Error()}}
	}
	var known []string
	for _, text := range told.List {
		known = appendAddress(known, text)
	}
	if len(known) == 0 {
		return []Finding{{Check: "callback_ip", State: FindingInfo, Text: "WeChat doesn't say from where its callbacks come"}}
	}
	return []Finding{{
		Check: "callback_ip", State: FindingInfo, Addresses: known,
		Text: "WeChat's callbacks come from " + few8(known) + ": a firewall lets them in",
	}}
}

// appendAddress adds what is an address or a network, once, up to maxCallbackIPs.
func appendAddress(list []string, text string) []string {
	addr, err := netip.ParseAddr(text)
	shown := addr.WithZone("").String()
	if err != nil {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return list
		}
		shown = prefix.String()
	}
	if len(list) >= maxCallbackIPs || slices.Contains(list, shown) {
		return list
	}
	return append(list, shown)
}

// few8 are the first 8 of a list, and how many more there are.
func few8(list []string) string {
	const most = 8
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}
