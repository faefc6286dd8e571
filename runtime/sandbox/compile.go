package sandbox

import (
	"context"
	"crypto/sha256"

	"github.com/weft-dev/weft/runtime/sandbox/fuel"
)

// prepare rewrites a module, so that it can be bounded.
func (s *Sandbox) prepare(_ context.Context, wasm []byte, _ [sha256.Size]byte, opt fuel.Options) (*fuel.Module, []string) {
	m, err := fuel.Rewrite(wasm, opt)
	if err != nil {
		return nil, []string{"the module is not accepted: " + cleanText([]byte(err.Error()))}
	}
	return m, nil
}
