package server

import (
	"context"
	"io"

	"github.com/weft-dev/weft/runtime/sandbox"
)

// Compile is all that a process does which a host, or Check, started to compile
// plugins: see sandbox.Compile. It bounds the whole process.
func Compile(ctx context.Context, in io.Reader, out io.Writer) error {
	return sandbox.Compile(ctx, in, out)
}
