package pipeline

import (
	"context"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// Upstream is a service of the business that forwards go to. Its methods are
// called by many goroutines at once and return soon after ctx ends; the time
// limit of a request is the upstream's to keep. Errors are as those of a Plugin.
type Upstream interface {
	// ForwardRaw posts the callback that ev is of and returns the answer as it
	// came. Where came is nil, for an event of the durable queue, the callback is
	// made anew of ev: sealed and signed as the app's are. ev is not changed.
	ForwardRaw(ctx context.Context, ev *hostapi.Event, came *Callback) (*Verbatim, error)
	// Read opens an answer of ForwardRaw to ev, for those who compare it with
	// another one, and returns the reply in it, nil where it has nothing for the
	// user.
	Read(ev *hostapi.Event, v *Verbatim) (*hostapi.Reply, error)
	// ForwardJSON posts the event as JSON and returns the reply of the answer, nil
	// where it has none. The call is the caller's again when it returns.
	ForwardJSON(ctx context.Context, call *Call) (*hostapi.Reply, error)
}

// Callback is a callback as it came over HTTP, always a POST. It is not changed.
type Callback struct {
	Query       string // raw, without '?'
	ContentType string // "" where there was none
	Body        []byte
}

// Verbatim is an answer of an upstream, given to the callback as it came.
type Verbatim struct {
	ContentType string // "": none
	Body        []byte // not changed; empty: the answer is
	// Silent says that the answer has nothing for the user.
	Silent bool
}

// fromWeChat is the origin of events that a callback is of.
const fromWeChat = "wechat"

// takes tells whether a stage does anything for an event, whatever its condition
// says; p is the plugin that gets it. A raw forward has nothing to send of one that
// is no callback of WeChat.
func (st *stage) takes(p Plugin, ev *hostapi.Event) bool {
	switch {
	case p != nil:
		return p.Wants(ev.Type, ev.Event)
	case st.raw:
		return ev.Origin == fromWeChat
	}
	return true
}

// forward sends the event to the stage's upstream. The answer to a raw one ends
// the stages. After an error it has left nothing.
func (w *walk) forward(ctx context.Context, st *stage) (flow, error) {
	if err := ctx.Err(); err != nil {
		return goOn, err
	}
	start := time.Now()
	sight := w.see(st, "")
	f, outcome, err := goOn, hostapi.Next, error(nil)
	if st.raw {
		f, outcome = done, hostapi.Done
		err = w.forwardRaw(ctx, st)
	} else {
		err = w.forwardJSON(ctx, st)
	}
	took := time.Since(start)
	w.metrics.StageSeconds(&st.timer, w.app.pipe.name, st.name, took)
	w.trace.call(st, "", &Result{Outcome: outcome}, err, took)
	if sight != nil {
		if st.raw {
			sight.raw = w.verbatim
		}
		w.saw(ctx, sight, &Result{Outcome: outcome, Reply: w.reply, ReplySet: true}, err)
	}
	return f, err
}

func (w *walk) forwardRaw(ctx context.Context, st *stage) error {
	verbatim, err := st.upstream.ForwardRaw(ctx, w.ev, w.came)
	if err == nil && w.passive {
		w.reply, w.verbatim, w.replied = nil, verbatim, true
	}
	return err
}

func (w *walk) forwardJSON(ctx context.Context, st *stage) error {
	w.call = Call{Event: w.ev, Attrs: w.attrs, Reply: w.reply, Passive: w.passive}
	reply, err := st.upstream.ForwardJSON(ctx, &w.call)
	if err == nil && reply != nil {
		w.say(reply)
	}
	return err
}
