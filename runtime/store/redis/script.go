package redis

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"errors"
)

// What a script may meet.
var (
	errRecord = errors.New("damaged record")
	errReply  = errors.New("an answer that the script does not give")
)

//go:embed *.lua
var luaFiles embed.FS

// script is a Lua script of this package.
type script struct{ name, source, sha string }

// newScript reads files NAME.lua, each of which goes on where the one before it
// ends, the first one where prelude.lua does. The last one names the script.
func newScript(names ...string) *script {
	s := &script{name: names[len(names)-1]}
	for _, file := range append([]string{"prelude"}, names...) {
		text, err := luaFiles.ReadFile(file + ".lua")
		if err != nil {
			panic(err) // a name that isn't embedded is a mistake of this package
		}
		s.source += string(text)
	}
	sum := sha1.Sum([]byte(s.source)) // Redis names scripts so
	s.sha = hex.EncodeToString(sum[:])
	return s
}

// eval runs a script and returns its reply when whatever it has written, and
// read, is durable. keys are in one slot, at least one. args begin at ARGV[2];
// those that are []byte are copied. Errors are the context's, store.ErrClosed
// and store.ErrUnavailable.
func (b *base) eval(ctx context.Context, s *script, keys []string, args ...any) (any, error) {
	return b.run(ctx, visit{}, s, keys, args)
}

// passing is eval without a wait for replicas.
func (b *base) passing(ctx context.Context, s *script, keys []string, args ...any) (any, error) {
	return b.run(ctx, visit{passing: true}, s, keys, args)
}

// run is eval in the way of v.
func (b *base) run(ctx context.Context, v visit, s *script, keys []string, args []any) (any, error) {
	command := make([]any, 0, 4+len(keys)+len(args))
	command = append(command, "evalsha", s.sha, len(keys))
	for _, k := range keys {
		command = append(command, k)
	}
	command = append(command, b.clock())
	size := 0
	for _, a := range args {
		if data, ok := a.([]byte); ok {
			size += len(data)
			a = append([]byte{}, data...)
		}
		command = append(command, a)
	}
	v.key, v.size, v.script, v.commands = keys[0], size, s, [][]any{command}
	replies, err := b.visit(ctx, v)
	if err != nil {
		return nil, err
	}
	return replies[0], nil
}
