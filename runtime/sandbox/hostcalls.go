package sandbox

import (
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"

	"github.com/weft-dev/weft/hostapi"
)

// weftModule is what a plugin imports from module weft. ABI.md draws the memory
// of each call. The request-form calls of capabilities that this host doesn't
// have yet answer DENIED: a plugin that declares one as optional finds it there.
func weftModule() hostModule {
	m := hostModule{name: hostapi.Module, funcs: []hostFunc{
		{name: "log", sig: sig("iii", ""), call: callLog},
		{name: "fail", sig: sig("ii", ""), call: callFail},
		{name: "config", sig: sig("ii", "i"), call: callConfig},
		{name: "reply", sig: sig("ii", "i"), call: callReply},
		{name: "annotate", sig: sig("iiii", "i"), call: callAnnotate},
		{name: "response", sig: sig("ii", "i"), call: callResponse},
	}}
	for _, c := range capabilities() {
		m.funcs = append(m.funcs, hostFunc{name: c.name, sig: sig("iiii", "l"), capability: c.name, call: c.call})
	}
	return m
}

// capability is one of hostapi.md, with the request-form call of its name.
type capability struct {
	name    string
	offered bool // this host has it
	call    guestCall
}

func capabilities() []capability {
	list := []capability{
		{name: "state", offered: true, call: callStateForm},
		{name: "api", offered: true, call: callAPIForm},
		{name: "fetch", offered: true, call: callFetchForm},
	}
	for _, name := range []string{"send", "media", "vault", "emit", "schedule"} {
		list = append(list, capability{name: name, call: callMissing})
	}
	return list
}

// offeredCapabilities are those that this host has.
func offeredCapabilities() map[string]bool {
	offered := map[string]bool{}
	for _, c := range capabilities() {
		offered[c.name] = c.offered
	}
	return offered
}

// bytes gives n bytes of the guest's memory at ptr, to be used before the guest
// runs on. Length 0 is never outside; any other range that is ends the guest.
func (in *instance) bytes(call string, ptr, n uint64) []byte {
	p, l := api.DecodeU32(ptr), api.DecodeU32(n)
	if l == 0 {
		return nil
	}
	b, ok := in.memory.Read(p, l)
	if !ok {
		panic(&badPointer{call: call, ptr: p, len: l, memory: in.memory.Size()})
	}
	in.bound.spend(len(b))
	return b
}

// none is -1 as an i32: config and response where there is nothing to copy.
const none = uint64(0xffffffff)

func putStatus(stack []uint64, s hostapi.Status) { stack[0] = api.EncodeI32(int32(s)) }

// callLog is log(level, ptr, len).
func callLog(in *instance, stack []uint64) {
	in.logLine(slogLevel(hostapi.Level(api.DecodeI32(stack[0]))), in.bytes("log", stack[1], stack[2]))
}

// callFail is fail(ptr, len): the reason of this call's error, the last one
// given counts.
func callFail(in *instance, stack []uint64) {
	in.call.reason = cleanText(in.bytes("fail", stack[0], stack[1]))
	in.call.failed = true
}

// callConfig is config(ptr, cap) -> length or -1.
func callConfig(in *instance, stack []uint64) {
	if in.call.config == nil {
		stack[0] = none
		return
	}
	stack[0] = copyOut(in.bytes("config", stack[0], stack[1]), in.call.config)
}

// copyOut writes data where it fits, else nothing, and gives its length.
func copyOut(room, data []byte) uint64 {
	if len(data) <= len(room) {
		copy(room, data)
	}
	return uint64(len(data))
}

// callReply is reply(ptr, len) -> status.
func callReply(in *instance, stack []uint64) {
	if in.call.phase != phaseHandle {
		putStatus(stack, hostapi.Denied)
		return
	}
	putStatus(stack, in.setReply(in.bytes("reply", stack[0], stack[1])))
}

func (in *instance) setReply(b []byte) hostapi.Status {
	c := &in.call
	switch {
	case !c.passive:
		return hostapi.Invalid
	case len(b) == 0:
		c.result.Reply, c.result.ReplySet = nil, true
		return hostapi.OK
	case len(b) > hostapi.MaxReply:
		return hostapi.TooLarge
	}
	r := new(hostapi.Reply)
	if r.Decode(b) != nil || r.Kind() == "" {
		return hostapi.Invalid
	}
	if c.event.AppType == appMiniProgram && r.Transfer == nil && r.Raw == nil {
		return hostapi.Unavailable
	}
	c.result.Reply, c.result.ReplySet = r, true
	return hostapi.OK
}

// callAnnotate is annotate(kptr, klen, vptr, vlen) -> status.
func callAnnotate(in *instance, stack []uint64) {
	if in.call.phase != phaseHandle {
		putStatus(stack, hostapi.Denied)
		return
	}
	name := in.bytes("annotate", stack[0], stack[1])
	value := in.bytes("annotate", stack[2], stack[3])
	putStatus(stack, in.annotate(name, value))
}

func (in *instance) annotate(name, value []byte) hostapi.Status {
	c := &in.call
	switch {
	case len(name) == 0:
		return hostapi.Invalid
	case len(name) > hostapi.MaxAnnotationName, len(value) > hostapi.MaxAnnotationValue:
		return hostapi.TooLarge
	case !utf8.Valid(name), !utf8.Valid(value):
		return hostapi.Invalid
	case c.earlier+len(c.result.Annotations) >= hostapi.MaxAnnotations:
		return hostapi.Limited
	}
	c.result.Annotations = append(c.result.Annotations, hostapi.Field{Name: string(name), Value: string(value)})
	return hostapi.OK
}

// request is the common half of the request-form calls: it takes the request
// (ptr, len) and the room for the response (ptr, cap) from the stack, both
// checked before anything is done, and forgets the response kept until now.
func (in *instance) request(call string, stack []uint64) (req, room []byte) {
	in.call.response, in.call.kept = nil, false
	return in.bytes(call, stack[0], stack[1]), in.bytes(call, stack[2], stack[3])
}

// deny answers a request-form call with DENIED. The request isn't looked at.
func (in *instance) deny(stack []uint64) {
	in.call.response, in.call.kept = nil, false
	in.respond(stack, nil, hostapi.Denied, nil)
}

// answer is respond for a message, which is encoded where it is to be.
func (in *instance) answer(stack []uint64, room []byte, s hostapi.Status, response interface {
	Size() int
	Append(b []byte) []byte
},
) {
	var out []byte
	if n := response.Size(); n > 0 {
		if n <= len(room) {
			out = response.Append(room[:0])
		} else {
			out = response.Append(nil)
		}
	}
	in.respond(stack, room, s, out)
}

// respond puts a response where it fits, keeps it for `response` where it
// doesn't, and gives status << 32 | length.
func (in *instance) respond(stack []uint64, room []byte, s hostapi.Status, response []byte) {
	in.call.answered += int64(len(response))
	if len(response) > len(room) {
		in.call.response, in.call.kept = response, true
	} else {
		copy(room, response)
	}
	stack[0] = uint64(uint32(s))<<32 | uint64(uint32(len(response)))
}

// callMissing answers the calls of capabilities that this host doesn't have.
func callMissing(in *instance, stack []uint64) { in.deny(stack) }

// callResponse is response(ptr, cap) -> length or -1. The response stays until
// the next request-form call.
func callResponse(in *instance, stack []uint64) {
	if !in.call.kept {
		stack[0] = none
		return
	}
	stack[0] = copyOut(in.bytes("response", stack[0], stack[1]), in.call.response)
}
