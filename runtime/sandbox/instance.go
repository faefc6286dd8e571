package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/weft-dev/weft/hostapi"
)

// startTime and startFuel are what each of _initialize, weft_start, weft_buffer
// and weft_check may take.
const (
	startTime = 2 * time.Second
	startFuel = 1_000_000_000
)

// fairTime is what a plugin had when it is its own fault that the event's time
// ran out in it. Else one that never ends would never be fused where its timeout
// is longer than an event lasts.
const fairTime = time.Second

// instance is one live copy of a plugin. One call at a time uses it: the one
// that holds its place in the pool.
type instance struct {
	plugin *loaded
	line   *line // of its plugin, for run tokens; that of calls aside: it is for these
	module api.Module
	memory api.Memory
	bound  bound
	linear *linearMemory
	wear   wear
	usage  usage
	slept  time.Duration // by a clock of the host's choice, which does not go on by itself

	snapshot *snapshot // with IsolationEvent

	buffer, handle, check api.Function // check: nil where there is none

	bufferAt, bufferLen uint32 // the guest's buffer for events
	event               hostapi.Event
	call                callState
	stack               [2]uint64 // parameters and result of a call into the guest
	stdout, stderr      lineWriter
}

// newInstance makes a copy of the plugin for ordinary calls.
func (l *loaded) newInstance(ctx context.Context) (*instance, error) {
	return l.instanceIn(ctx, &l.line)
}

// instanceIn makes a copy of the plugin and runs its start. The error is a
// *CallError where the guest is at fault, else ctx's or wazero's.
func (l *loaded) instanceIn(ctx context.Context, line *line) (_ *instance, err error) {
	linear, err := newLinearMemory(l.startMemory(), uint64(l.limits.Memory))
	if err != nil {
		return nil, err
	}
	in := &instance{
		plugin: l,
		line:   line,
		linear: linear,
		stdout: lineWriter{level: slog.LevelInfo},
		stderr: lineWriter{level: slog.LevelWarn},
	}
	defer func() {
		if v := recover(); v != nil {
			err = errors.Join(l.hostPanicked(v), in.close(ctx))
		}
	}()
	// Without a name instances don't meet in wazero's table of names; without
	// start functions no guest code runs before it is bounded.
	cfg := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	module, err := l.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, in.linear), l.compiled, cfg)
	if err != nil {
		failed := l.callError(reasonTrap, "instantiate: "+cleanText([]byte(err.Error())))
		return nil, errors.Join(failed, linear.free()) // wazero doesn't free it then
	}
	in.module, in.memory = module, module.Memory()
	l.counts.ledger.begin(&in.usage)
	in.bound = bound{in: in, turn: make(chan struct{}, 1)}
	// The rewriter exports both, and wazero has validated their types.
	in.bound.fuel = module.ExportedGlobal(l.module.Fuel).(api.MutableGlobal)
	in.bound.stack = module.ExportedGlobal(l.module.Stack).(api.MutableGlobal)
	in.buffer = module.ExportedFunction(hostapi.ExportBuffer)
	in.handle = module.ExportedFunction(hostapi.ExportHandle)
	in.check = module.ExportedFunction(hostapi.ExportCheck)
	if err := in.start(ctx); err != nil {
		return nil, errors.Join(err, in.close(ctx))
	}
	if l.isolation == IsolationEvent {
		in.keep()
	}
	return in, nil
}

// startMemory is what an instance's memory begins with, in bytes.
func (l *loaded) startMemory() uint64 {
	return uint64(l.compiled.ExportedMemories()[exportMemory].Min()) * pageSize
}

// start runs the guest's start and asks it for its buffer.
func (in *instance) start(ctx context.Context) error {
	if f := in.module.ExportedFunction(hostapi.ExportInitialize); f != nil {
		if _, err := in.invoke(ctx, hostapi.ExportInitialize, f, callState{phase: phaseStart}, startTime, startFuel); err != nil {
			return err
		}
	}
	if f := in.module.ExportedFunction(hostapi.ExportStart); f != nil {
		status, err := in.invoke(ctx, hostapi.ExportStart, f, callState{phase: phaseStart}, startTime, startFuel)
		if err != nil {
			return err
		}
		if status != 0 {
			return in.plugin.callError(reasonError, fmt.Sprintf("%s refused to start: %s", hostapi.ExportStart, in.call.failText()))
		}
	}
	if err := in.askBuffer(ctx, hostapi.InitialBuffer, callState{phase: phaseStart}); err != nil {
		return err
	}
	return nil
}

// askBuffer asks the guest for a buffer of n bytes. After an error there is
// none, and the instance is of no more use.
func (in *instance) askBuffer(ctx context.Context, n uint32, state callState) *CallError {
	in.stack[0] = uint64(n)
	at, err := in.invoke(ctx, hostapi.ExportBuffer, in.buffer, state, startTime, startFuel)
	if err != nil {
		return err
	}
	broken := func(text string) *CallError {
		why := reasonError
		if in.linear.refused {
			why = reasonMemory
			text += "; it was refused memory over its limit of " + sizeText(in.plugin.limits.Memory)
		}
		e := in.plugin.callError(why, text)
		e.broken = true
		return e
	}
	if at == 0 {
		return broken(fmt.Sprintf("%s has no room for an event of %d bytes", hostapi.ExportBuffer, n))
	}
	if uint64(at)+uint64(n) > uint64(in.memory.Size()) {
		return broken(fmt.Sprintf("%s(%d) gave address %d, which doesn't leave so many bytes in the memory of %d", hostapi.ExportBuffer, n, at, in.memory.Size()))
	}
	in.bufferAt, in.bufferLen = at, n
	return nil
}

// checkConfig runs weft_check with a config, nil where the guest accepts it.
func (in *instance) checkConfig(ctx context.Context, json []byte) *CallError {
	status, err := in.invoke(ctx, hostapi.ExportCheck, in.check, callState{phase: phaseCheck, config: json}, startTime, startFuel)
	if err != nil {
		return err
	}
	if status != 0 {
		return in.plugin.callError(reasonError, "config refused: "+in.call.failText())
	}
	return nil
}

// handleEvent gives one event to the guest.
func (in *instance) handleEvent(ctx context.Context, call *Call, cfg *Config) (Result, *CallError) {
	state := callState{
		phase: phaseHandle, config: cfg.JSON,
		event: call.Event, earlier: len(call.Attrs), passive: call.Passive, state: call.State,
		api: call.API, fetch: call.Fetch, aside: call.Aside,
	}
	if err := in.putEvent(ctx, call, cfg.ID, state); err != nil {
		return Result{}, err
	}
	got, err := in.invoke(ctx, hostapi.ExportHandle, in.handle, state, in.plugin.limits.Timeout, in.plugin.limits.Fuel)
	if err != nil {
		return Result{}, err
	}
	switch outcome := hostapi.Outcome(int32(got)); outcome {
	case hostapi.Next, hostapi.Done:
		in.call.result.Outcome = outcome
		in.usage.good.Add(1)
		return in.call.result, nil
	case hostapi.Failed:
		if in.linear.refused {
			e := in.plugin.callError(reasonMemory, "it was refused memory over its limit of "+sizeText(in.plugin.limits.Memory)+": "+in.call.failText())
			e.broken = true
			return Result{}, e
		}
		return Result{}, in.plugin.callError(reasonError, in.call.failText())
	default:
		e := in.plugin.callError(reasonError, fmt.Sprintf("%s returned %d; 0 (next), 1 (done) and 2 (error) are known", hostapi.ExportHandle, outcome))
		e.broken = true
		return Result{}, e
	}
}

// putEvent writes the event into the guest's buffer and puts the parameters of
// weft_handle on the stack.
func (in *instance) putEvent(ctx context.Context, call *Call, configID uint64, state callState) *CallError {
	e := &in.event
	*e = *call.Event
	e.Attrs, e.Reply, e.ConfigID = call.Attrs, call.Reply, configID
	e.DeadlineMS = in.plugin.limits.Timeout.Milliseconds()
	if at, ok := ctx.Deadline(); ok {
		e.DeadlineMS = max(0, min(e.DeadlineMS, time.Until(at).Milliseconds()))
	}
	if !in.plugin.manifest.Raw {
		e.Raw = nil
	}
	defer func() { *e = hostapi.Event{} }()

	size := e.Size()
	if int64(size) >= in.plugin.limits.Memory {
		return in.plugin.callError(reasonMemory, fmt.Sprintf("the event's %d bytes are over its memory limit of %s", size, sizeText(in.plugin.limits.Memory)))
	}
	n := uint32(size)
	if n > in.bufferLen {
		state.phase, state.config = phaseStart, nil
		if err := in.askBuffer(ctx, n, state); err != nil {
			return err
		}
	}
	room, ok := in.memory.Read(in.bufferAt, n)
	if !ok {
		// Memory doesn't shrink, and askBuffer looked.
		return in.plugin.callError(reasonTrap, "the buffer for events left the memory")
	}
	e.Append(room[:0])
	in.stack[0], in.stack[1] = uint64(in.bufferAt), uint64(n)
	return nil
}

// invoke calls an export of the guest, its parameters on in.stack, for at most
// d and fuel units of fuel, and no longer than ctx. It gives the result as the
// guest's i32, 0 where it has none. in.call is what the call left behind.
func (in *instance) invoke(ctx context.Context, name string, f api.Function, state callState, d time.Duration, fuel int64) (uint32, *CallError) {
	in.call = state
	in.linear.refused = false
	in.bound.begin(ctx, d, fuel)
	err := f.CallWithStack(&in.bound, in.stack[:])
	in.call.result.Fuel = in.bound.finish()
	in.stdout.flush(in)
	in.stderr.flush(in)
	if err != nil {
		e := in.explain(err, d)
		if name != hostapi.ExportHandle {
			e.text = name + ": " + e.text
		}
		return 0, e
	}
	return uint32(in.stack[0]), nil
}

// explain makes a CallError of what wazero gave for a call of at most d. A
// reason that the guest gave before it fell is part of the text.
func (in *instance) explain(err error, d time.Duration) *CallError {
	e := in.explainEnd(err, d)
	if in.call.failed {
		e.text += ": " + in.call.failText()
	}
	e.broken = true
	return e
}

func (in *instance) explainEnd(err error, d time.Duration) *CallError {
	p := in.plugin
	var exit *guestExit
	var pointer *badPointer
	switch {
	case in.bound.ended != nil:
		return in.explainStop(in.bound.ended, d)
	case in.linear.refused:
		return p.callError(reasonMemory, "it was refused memory over its limit of "+sizeText(p.limits.Memory)+" and gave up: "+firstLine(err))
	case errors.As(err, &exit):
		return p.callError(reasonTrap, exit.Error())
	case errors.As(err, &pointer):
		return p.callError(reasonTrap, pointer.Error())
	case strings.HasPrefix(err.Error(), "wasm error: "), strings.HasPrefix(err.Error(), "stack overflow"):
		e := p.callError(reasonTrap, strings.TrimPrefix(firstLine(err), "wasm error: "))
		e.trace = cleanTrace(err.Error())
		return e
	default:
		// Not the guest's doing: the trace says where the host panicked.
		e := p.callError(reasonTrap, "a host call panicked")
		e.trace = err.Error()
		return e
	}
}

// explainStop makes a CallError of why the bound ended a call of at most d.
func (in *instance) explainStop(why error, d time.Duration) *CallError {
	p := in.plugin
	switch {
	case errors.Is(why, errFuel):
		return p.callError(reasonFuel, fmt.Sprintf("no answer within %d units of fuel", in.bound.budget))
	case errors.Is(why, errCallStack):
		return p.callError(reasonTrap, why.Error())
	case errors.Is(why, errHostCalls):
		return p.callError(reasonTrap, fmt.Sprintf("more than %d host calls in one call", p.limits.HostCalls))
	case errors.Is(why, context.DeadlineExceeded) && in.bound.own:
		return p.callError(reasonTimeout, fmt.Sprintf("no answer within %s", d))
	}
	e := p.callError(reasonTimeout, "the event was given up before it answered")
	e.blameless = true
	switch {
	case errors.Is(why, context.DeadlineExceeded):
		e.text = "the event's time ran out before it answered"
		e.blameless = in.bound.now()-in.bound.began < min(d, fairTime)
	case errors.Is(why, errKilled):
		e.text, e.err = "stopped, because the plugin is being closed", ErrClosed
	}
	return e
}

// close frees the instance. No call may be in it.
func (in *instance) close(ctx context.Context) error {
	in.plugin.counts.ledger.end(&in.usage)
	var err error
	if in.module != nil { // nil where it could not be instantiated
		err = in.module.Close(ctx)
	}
	if err = errors.Join(err, in.linear.free()); err != nil {
		return fmt.Errorf("close an instance of plugin %s: %w", in.plugin.name, err)
	}
	return nil
}

// firstLine is the first line of an error of wazero, safe for a log.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return cleanText([]byte(line))
}

// cleanTrace makes a guest's stack, with names that the guest chose, safe for
// a log.
func cleanTrace(s string) string { return cleanText([]byte(s)) }

// defaultInstances is two for each processor.
func defaultInstances() int { return 2 * processors() }

// processors is how many there are for Go: GOMAXPROCS may be one over those of
// the machine.
func processors() int { return min(runtime.GOMAXPROCS(0), runtime.NumCPU()) }
