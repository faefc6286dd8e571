package sdk

import (
	"strconv"

	"github.com/weft-dev/weft/hostapi"
)

// failer is the part of the host that takes the reason of a failed call.
type failer func(reason string)

// runHandle decodes an event, gives it to the handler and returns what
// weft_handle answers. A panic of the handler is reported and goes on: what it
// left behind is unknown, so the instance has to end.
func (p *program) runHandle(host Host, fail failer, src []byte) Outcome {
	if p.handle == nil {
		fail("the plugin registered no handler: call sdk.Handle in init")
		return hostapi.Failed
	}
	ev := new(Event)
	if err := ev.Decode(src); err != nil {
		fail("the host's event: " + err.Error())
		return hostapi.Failed
	}
	defer reportPanic(fail)
	outcome, err := p.handle(&Call{Event: ev, host: host})
	if err == nil && outcome != Next && outcome != Done {
		err = outcomeError(outcome)
	}
	if err != nil {
		fail(cut(err.Error()))
		return hostapi.Failed
	}
	return outcome
}

// runStart returns what weft_start answers: 0 is good.
func (p *program) runStart(fail failer) int32 {
	if p.handle == nil {
		fail("the plugin registered no handler: call sdk.Handle in init")
		return 1
	}
	if p.start == nil {
		return 0
	}
	defer reportPanic(fail)
	return failed(p.start(), fail)
}

// runCheck returns what weft_check answers: 0 is good.
func (p *program) runCheck(host Host, fail failer) int32 {
	if p.check == nil {
		return 0
	}
	defer reportPanic(fail)
	return failed(p.check(&Call{Event: new(Event), host: host}), fail)
}

func failed(err error, fail failer) int32 {
	if err == nil {
		return 0
	}
	fail(cut(err.Error()))
	return 1
}

// reportPanic, deferred, gives the reason of a panic to the host and lets it go
// on.
func reportPanic(fail failer) {
	p := recover()
	if p == nil {
		return
	}
	text := "a value that is no text; the log has it"
	switch v := p.(type) {
	case error:
		text = v.Error()
	case string:
		text = v
	}
	fail(cut("panic: " + text))
	panic(p)
}

// outcomeError is an outcome that a Handler may not return.
type outcomeError Outcome

func (o outcomeError) Error() string {
	return "the handler returned outcome " + strconv.Itoa(int(o)) + "; only Next and Done are allowed without an error"
}
