package fuel

import (
	"math/rand/v2"
	"testing"
)

// TestGeneratorCoverage: the generator makes every instruction of the tables, in
// so many modules.
func TestGeneratorCoverage(t *testing.T) {
	const modules = 1500
	random := rand.New(rand.NewPCG(5, 6))
	g := newGenerator()
	count := map[uint16]int{}
	var src []byte
	for range modules {
		src = randomSource(random, src)
		m, err := readOutline(g.module(src), &defaults().Limits)
		if err != nil {
			t.Fatal(err)
		}
		for i, body := range m.bodies {
			s := survey{m: m, o: defaults()}
			if err := s.function(m.importFuncs+uint32(i), body); err != nil {
				t.Fatal(err)
			}
			r := reader{b: m.b, at: s.code, end: body.end}
			for in := (instr{}); r.more(); count[in.code]++ {
				r.next(&in)
			}
		}
	}
	rows, least, all := 0, modules*1000, 0
	for code := range uint16(prefixVector<<8 + 256) {
		if hi := code >> 8; hi != 0 && hi != prefixMisc && hi != prefixVector || lookUp(code).imm == immRefused {
			continue
		}
		rows++
		n := count[code]
		if least, all = min(least, n), all+n; n == 0 {
			t.Errorf("%s is never generated", lookUp(code).name)
		}
	}
	t.Logf("%d instructions of %d kinds in %d modules, the rarest %d times", all, rows, modules, least)
}
