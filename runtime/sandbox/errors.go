package sandbox

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of a plugin's life. Those of Handle come wrapped in a CallError.
var (
	// ErrClosed is answered once a plugin, or the sandbox, is closing.
	ErrClosed = errors.New("closed")
	// ErrNoConfig is answered by Handle for an app that has no config: none was
	// given to SetConfigs, or weft_check refused it.
	ErrNoConfig = errors.New("the app has no accepted config for this plugin")
)

// LoadError says why Load refused a plugin: everything that was found, at once.
type LoadError struct {
	Plugin   string   // its name in pipeline.yaml
	Problems []string // each says what, where and what to do; at least one
	err      error    // what Unwrap gives
}

// Error gives one problem in one line, more as a list.
func (e *LoadError) Error() string {
	if len(e.Problems) == 1 {
		return fmt.Sprintf("plugin %s: %s", e.Plugin, e.Problems[0])
	}
	return fmt.Sprintf("plugin %s: %d problems:\n  - %s", e.Plugin, len(e.Problems), strings.Join(e.Problems, "\n  - "))
}

// Unwrap gives the context's error where Load ended with its context, ErrClosed
// where the sandbox was closed before, else nil.
func (e *LoadError) Unwrap() error { return e.err }

// reason says what ended a call, as the metrics of services.md name it.
type reason int

const (
	reasonError   reason = iota // the plugin said so, or broke the contract without a trap
	reasonTrap                  // a trap, proc_exit, or a panic in a host call
	reasonTimeout               // the plugin's time or the event's ran out in the call
	reasonFuel                  // the call's fuel was used up
	reasonMemory                // it failed after it was refused memory over its limit
	reasonBusy                  // no instance was free before the event's time ended
	reasonFused                 // the plugin, or the event's user in it, failed too often lately: it was not called
	reasonCount
)

func (r reason) String() string {
	return [reasonCount]string{"error", "trap", "timeout", "fuel", "memory", "busy", "fused"}[r]
}

// CallError is why a call of a plugin came to nothing. Its text may hold what
// the plugin gave with fail: it is for logs, never for WeChat or a user.
type CallError struct {
	plugin string
	reason reason
	text   string
	trace  string // the guest's stack, for the log; may be empty
	err    error  // a sentinel, or nil
	broken bool   // the instance can't be used again
	// blameless: it was not the plugin's doing. The host had none for it, or the
	// event was over before the plugin had a fair time.
	blameless bool
}

// verdict is what a call that ended in e, nil for none, tells of the plugin.
func (e *CallError) verdict() verdict {
	switch {
	case e == nil:
		return verdictGood
	case e.blameless, e.reason == reasonBusy:
		return verdictNone
	default:
		return verdictFailed
	}
}

// Error names the plugin, the reason and what happened.
func (e *CallError) Error() string {
	return fmt.Sprintf("plugin %s: %s: %s", e.plugin, e.reason, e.text)
}

// Text says what happened, for those who have named the plugin already.
func (e *CallError) Text() string { return e.text }

// Reason is the metric's label: error, trap, timeout, fuel,
// memory, busy or fused.
func (e *CallError) Reason() string { return e.reason.String() }

// Blameless says that the call tells nothing of the plugin: the host had no
// instance for it, or the event was over before it had a fair time.
func (e *CallError) Blameless() bool { return e.verdict() == verdictNone }

// Unwrap gives ErrClosed or ErrNoConfig where that is the cause, else nil.
func (e *CallError) Unwrap() error { return e.err }

// Panics that end guest code from inside a host call. The adapter of wazero
// turns them into an error that errors.As finds.

// badPointer is a pointer outside the guest's memory: a broken contract.
type badPointer struct {
	call     string
	ptr, len uint32
	memory   uint32 // bytes the guest has
}

func (e *badPointer) Error() string {
	return fmt.Sprintf("%s: pointer %d, length %d is outside the plugin's memory of %d bytes", e.call, e.ptr, e.len, e.memory)
}

// guestExit is a call of proc_exit.
type guestExit struct{ code uint32 }

func (e *guestExit) Error() string {
	return fmt.Sprintf("it ended itself with proc_exit(%d)", e.code)
}
