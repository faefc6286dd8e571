package fuel

import (
	"regexp"
	"strings"
	"testing"
)

// signature is what an instruction takes and gives; of one that isn't control,
// whose types depend on no index. ok is false for the others.
func signature(name string) (params, result string, ok bool) {
	letter := map[string]string{"i32": "i", "i64": "l", "f32": "f", "f64": "d", "v128": "v"}
	prefix, op, dotted := strings.Cut(name, ".")
	if !dotted {
		return "", "", false
	}
	scalar := letter[prefix]
	if scalar == "" {
		return vectorSignature(prefix, op)
	}
	if prefix == "v128" {
		return wideSignature(op)
	}
	switch {
	case op == "const":
		return "", scalar, true
	case strings.HasPrefix(op, "load"):
		return "i", scalar, true
	case strings.HasPrefix(op, "store"):
		return "i" + scalar, "", true
	case op == "eqz":
		return scalar, "i", true
	case isComparison(op):
		return scalar + scalar, "i", true
	}
	if m := regexp.MustCompile(`^(?:wrap|trunc|trunc_sat|extend|convert|demote|promote|reinterpret)_([if](?:32|64))u?(?:_[su])?$`).FindStringSubmatch(op); m != nil {
		return letter[m[1]], scalar, true
	}
	switch op {
	case "clz", "ctz", "popcnt", "abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt", "extend8_s", "extend16_s", "extend32_s":
		return scalar, scalar, true
	}
	return scalar + scalar, scalar, true
}

func isComparison(op string) bool {
	word, _, _ := strings.Cut(op, "_")
	return strings.Contains(" eq ne lt gt le ge ", " "+word+" ")
}

// wideSignature is of v128.…
func wideSignature(op string) (params, result string, ok bool) {
	switch {
	case op == "const":
		return "", "v", true
	case strings.HasSuffix(op, "_lane") && strings.HasPrefix(op, "load"):
		return "iv", "v", true
	case strings.HasSuffix(op, "_lane"):
		return "iv", "", true
	case strings.HasPrefix(op, "load"):
		return "i", "v", true
	case op == "store":
		return "iv", "", true
	case op == "not":
		return "v", "v", true
	case op == "any_true":
		return "v", "i", true
	case op == "bitselect":
		return "vvv", "v", true
	}
	return "vv", "v", true
}

// vectorSignature is of i8x16.… and its like.
func vectorSignature(shape, op string) (params, result string, ok bool) {
	lane := map[string]string{"i8x16": "i", "i16x8": "i", "i32x4": "i", "i64x2": "l", "f32x4": "f", "f64x2": "d"}[shape]
	switch {
	case lane == "":
		return "", "", false
	case op == "splat":
		return lane, "v", true
	case strings.HasPrefix(op, "extract_lane"):
		return "v", lane, true
	case op == "replace_lane":
		return "v" + lane, "v", true
	case op == "all_true", op == "bitmask":
		return "v", "i", true
	case op == "shl", strings.HasPrefix(op, "shr_"):
		return "vi", "v", true
	case regexp.MustCompile(`^(abs|neg|popcnt|ceil|floor|trunc|nearest|sqrt|(extend|extadd|convert|demote|promote|trunc_sat)_.*)$`).MatchString(op):
		return "v", "v", true
	}
	return "vv", "v", true
}

// operation is a row of the tables that signature knows.
type operation struct {
	code   uint16
	row    *instruction
	params []byte
	result byte // 0 without one
}

var letterTypes = map[rune]byte{'i': typeI32, 'l': typeI64, 'f': typeF32, 'd': typeF64, 'v': typeV128}

// operations are all that signature knows, by the type of their result.
func operations() map[byte][]operation {
	all := map[byte][]operation{}
	for code := range 0x10000 {
		if hi := code >> 8; hi != 0 && hi != prefixMisc && hi != prefixVector {
			continue
		}
		row := lookUp(uint16(code))
		params, result, ok := signature(row.name)
		if row.imm == immRefused || !ok || strings.HasPrefix(row.name, "table.") || strings.HasPrefix(row.name, "memory.") ||
			row.imm == immLocal || row.imm == immGlobal || row.imm == immElem || row.imm == immData || strings.HasPrefix(row.name, "ref.") {
			continue
		}
		o := operation{code: uint16(code), row: row}
		for _, p := range params {
			o.params = append(o.params, letterTypes[p])
		}
		for _, r := range result {
			o.result = letterTypes[r]
		}
		all[o.result] = append(all[o.result], o)
	}
	return all
}

// TestStackColumn: the table says by how much each of these changes the stack.
func TestStackColumn(t *testing.T) {
	count := 0
	for _, list := range operations() {
		for _, o := range list {
			count++
			results := 0
			if o.result != 0 {
				results = 1
			}
			if want := results - len(o.params); int(o.row.stack) != want {
				t.Errorf("%s: %d, want %d", o.row.name, o.row.stack, want)
			}
		}
	}
	t.Logf("%d instructions", count)
}
