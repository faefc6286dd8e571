package fuel

import "fmt"

// Outline is how a module touches its host.
type Outline struct {
	Imports  []Import
	Exports  []Export // no two of one name
	Memories []uint32 // of its own: the pages of 64 KiB that each starts with
	Start    bool     // it has a start section
}

// Import is one. Its names are UTF-8.
type Import struct {
	Module, Name    string
	Kind            Kind
	Params, Results []byte // of a function: value types as the binary format has them

	at int // where in the module
}

// Export is one of something that the module has. Its name is UTF-8.
type Export struct {
	Name            string
	Kind            Kind
	Params, Results []byte // as in Import

	index uint32 // in the index space of its kind, imports first
}

// Kind is one of imports and exports.
type Kind byte

// Kinds, by their numbers in the binary format.
const (
	KindFunc Kind = iota
	KindTable
	KindMemory
	KindGlobal
)

// String gives a word for messages.
func (k Kind) String() string {
	names := [...]string{"function", "table", "memory", "global"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// Read gives a module's outline, without a look at its code, elements and custom
// sections' content: what it accepts, Rewrite may still refuse, but not the
// other way round. The error is Rewrite's of the same limits. The outline's
// value types share memory with wasm.
func Read(wasm []byte, l Limits) (*Outline, error) {
	o := Options{Limits: l}.withDefaults()
	m, err := readOutline(wasm, &o.Limits)
	if err != nil {
		return nil, err
	}
	face := m.face
	return &face, nil
}

// Export gives the export of a name; nil without.
func (o *Outline) Export(name string) *Export {
	for i := range o.Exports {
		if o.Exports[i].Name == name {
			return &o.Exports[i]
		}
	}
	return nil
}
