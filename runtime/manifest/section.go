package manifest

import (
	"bytes"
	"errors"
	"fmt"
)

// Section is the name of the custom section that holds plugin.yaml in a module.
const Section = "weft.manifest"

var (
	// ErrNoManifest is what Extract gives for a module without the section.
	ErrNoManifest = errors.New("the module has no section " + Section)
	// ErrNotModule is what Extract and Embed give for bytes that are not a
	// WebAssembly module of the core format, version 1, as far as its sections tell.
	ErrNotModule = errors.New("not a WebAssembly module")
)

// moduleHeader is the magic number and version 1 of the core format.
const moduleHeader = "\x00asm\x01\x00\x00\x00"

// section is one section of a module.
type section struct {
	whole []byte // with its id and size
	body  []byte // custom: what follows the name
	name  string // custom only
}

// Extract returns the plugin.yaml in a module: a part of wasm, not a copy. More
// than one section of the name, or one over MaxSize, is refused.
func Extract(wasm []byte) ([]byte, error) {
	var found []byte
	err := sections(wasm, func(s section) error {
		switch {
		case s.name != Section:
		case found != nil:
			return fmt.Errorf("%w: two sections %s", ErrNotModule, Section)
		case len(s.body) > MaxSize:
			return fmt.Errorf("section %s has %d bytes, over %d", Section, len(s.body), MaxSize)
		default:
			found = s.body
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the manifest: %w", err)
	}
	if found == nil {
		return nil, ErrNoManifest
	}
	return found, nil
}

// Embed returns a copy of a module with yaml in its section, at the end; sections
// of that name that were there are left out.
func Embed(wasm, yaml []byte) ([]byte, error) {
	if len(yaml) == 0 || len(yaml) > MaxSize {
		return nil, fmt.Errorf("embed the manifest: it has %d bytes, not 1 to %d", len(yaml), MaxSize)
	}
	out := append(make([]byte, 0, len(wasm)+len(yaml)+32), moduleHeader...)
	err := sections(wasm, func(s section) error {
		if s.name != Section {
			out = append(out, s.whole...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("embed the manifest: %w", err)
	}
	out = append(out, 0)
	out = appendU32(out, uint32(1+len(Section)+len(yaml)))
	out = appendU32(out, uint32(len(Section)))
	return append(append(out, Section...), yaml...), nil
}

// sections calls f for each section of a module.
func sections(wasm []byte, f func(section) error) error {
	rest, ok := bytes.CutPrefix(wasm, []byte(moduleHeader))
	if !ok {
		return fmt.Errorf("%w: it doesn't begin with \\0asm and version 1", ErrNotModule)
	}
	for len(rest) > 0 {
		at := len(wasm) - len(rest)
		size, n := readU32(rest[1:])
		if n == 0 || uint64(size) > uint64(len(rest)-1-n) {
			return fmt.Errorf("%w: the section at byte %d is cut off or its size is not a number", ErrNotModule, at)
		}
		end := 1 + n + int(size)
		s := section{whole: rest[:end], body: rest[1+n : end]}
		if rest[0] == 0 {
			length, n := readU32(s.body)
			if n == 0 || uint64(length) > uint64(len(s.body)-n) {
				return fmt.Errorf("%w: the custom section at byte %d has no name", ErrNotModule, at)
			}
			s.name, s.body = string(s.body[n:n+int(length)]), s.body[n+int(length):]
		}
		if err := f(s); err != nil {
			return err
		}
		rest = rest[end:]
	}
	return nil
}

// readU32 reads an unsigned LEB128 number of 32 bits and returns it and how many
// bytes it has, 0 where there is none: at most 5, the last with 4 bits.
func readU32(b []byte) (uint32, int) {
	var v uint32
	for i, c := range b[:min(len(b), 5)] {
		if i == 4 && c > 0x0f {
			return 0, 0
		}
		v |= uint32(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}
