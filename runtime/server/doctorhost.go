package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	// doctorCert is how long before its end a certificate is told of.
	doctorCert = 14 * 24 * time.Hour
	// maxHealthAnswer is how much is read of an answer to /healthz, in bytes.
	maxHealthAnswer = 1 << 10
)

// hostSeen is what a running host says of itself.
type hostSeen struct {
	finding     Finding
	answers     bool
	credentials []credentialStatus // of apps that somebody called WeChat for
}

// lookAtHost asks the running host of the configuration, if there is one.
func (d *doctor) lookAtHost(ctx context.Context, file string) hostSeen {
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	var status struct {
		Version     string             `json:"version"`
		Credentials []credentialStatus `json:"credentials"`
	}
	client, err := newAdminClient(file, d.options.Admin, d.options.AdminToken)
	if err == nil {
		err = client.ask(ctx, http.MethodGet, "/admin/v1/status", nil, nil, &status)
	}
	if err != nil {
		f := Finding{Check: "host", State: FindingLeftOut, Text: "no running host was asked: " + err.Error()}
		return hostSeen{finding: f}
	}
	f := Finding{Check: "host", State: FindingFine, Text: "a host serves at " + client.base.Host}
	if status.Version != Version() {
		f.State, f.Text = FindingInfo, fmt.Sprintf("a host of version %q serves at %s; this is %q", cut(status.Version, 64), client.base.Host, Version())
	}
	return hostSeen{finding: f, answers: true, credentials: status.Credentials}
}

// lookAtPublic asks for the host's public address, as far as it is known.
func (d *doctor) lookAtPublic(ctx context.Context) []Finding {
	base := d.cfg.Server.Public
	if base == "" {
		return nil
	}
	return within(ctx, func(ctx context.Context) []Finding {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/healthz", nil)
		if err != nil {
			return []Finding{{Check: "public", State: FindingWrong, Text: "server.public is no address"}}
		}
		resp, err := d.client.Do(req)
		if err != nil {
			return []Finding{publicAway(ctx, base, err)}
		}
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxHealthAnswer))
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return []Finding{publicAway(ctx, base, err)}
		}
		f := publicFinding(base, resp.StatusCode, answer)
		return append([]Finding{f}, certificateEnds(resp.TLS, time.Now())...)
	})
}

// publicFinding is a public address that answers.
func publicFinding(base string, status int, answer []byte) Finding {
	var health struct {
		Status string `json:"status"`
	}
	f := Finding{
		Check: "public", State: FindingWarning, Text: fmt.Sprintf("%s/healthz answers with status %d", base, status),
		Advice: "server.public is where users and WeChat reach the host: correct it, or what stands before the host",
	}
	switch {
	case status != http.StatusOK:
	case json.Unmarshal(answer, &health) != nil || health.Status != "ok":
		f.Text = base + " answers, and is no host of ours"
	default:
		f = Finding{Check: "public", State: FindingFine, Text: base + " leads to a host"}
	}
	return f
}

// publicAway is a public address that doesn't answer.
func publicAway(ctx context.Context, base string, err error) Finding {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return Finding{
			Check: "public", State: FindingWrong, Text: base + ": " + cut(certificate.Error(), 300),
			Advice: "give what stands there a certificate for that name, with the whole chain",
		}
	}
	return Finding{
		Check: "public", State: FindingWarning, Text: base + " isn't reached from this machine: " + broken(ctx, err),
		Advice: "it may be reached from outside all the same; see the callback check",
	}
}

// broken is what is told of a request without an answer: nothing of the request.
func broken(ctx context.Context, err error) string {
	var network *net.OpError
	var ue *url.Error
	switch {
	case ctx.Err() != nil, errors.As(err, &ue) && ue.Timeout():
		return "no answer came in time"
	case errors.As(err, &network):
		return cut(network.Error(), 300)
	}
	return "the connection broke, or what answers is no HTTP"
}

// certificateEnds tells of a certificate that is over soon.
func certificateEnds(state *tls.ConnectionState, now time.Time) []Finding {
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil
	}
	end := state.PeerCertificates[0].NotAfter
	if end.Sub(now) > doctorCert {
		return nil
	}
	return []Finding{{
		Check: "public", State: FindingWarning, Text: "the certificate of server.public ends " + end.UTC().Format(time.DateTime) + " UTC",
		Advice: "renew it: without it WeChat and users don't reach the host",
	}}
}
