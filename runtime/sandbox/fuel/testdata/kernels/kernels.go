// The loop kernels of kernels.c in Go, written as one writes them in Go.
package main

import "math/bits"

var (
	data    [1 << 16]byte
	words   [1 << 14]uint32
	a, b, c [64][64]float32
)

func main() {}

//go:wasmexport sum
func sum(n uint32) uint32 {
	var s uint32
	for k := range n {
		for _, w := range words {
			s += w ^ k
		}
	}
	return s
}

//go:wasmexport fnv
func fnv(n uint32) uint32 {
	h := uint32(2166136261)
	for range n {
		for _, x := range data[:1<<14] {
			h = (h ^ uint32(x)) * 16777619
		}
	}
	return h
}

//go:wasmexport sieve
func sieve(n uint32) uint32 {
	var count uint32
	for range n {
		for i := range data {
			data[i] = 1
		}
		for i := 2; i*i < len(data); i++ {
			if data[i] == 0 {
				continue
			}
			for j := i * i; j < len(data); j += i {
				data[j] = 0
			}
		}
		for _, x := range data[2:] {
			count += uint32(x)
		}
	}
	return count
}

//go:wasmexport matrix
func matrix(n uint32) uint32 {
	for i := range a {
		for j := range a[i] {
			a[i][j], b[i][j] = float32(i+j), float32(i-j)
		}
	}
	for k := range n {
		for i := range a {
			for j := range b {
				var s float32
				for l := range a[i] {
					s += a[i][l] * b[l][j]
				}
				c[i][j] = s + float32(k)
			}
		}
	}
	return uint32(int32(c[17][42]))
}

//go:wasmexport crc
func crc(n uint32) uint32 {
	r := ^uint32(0)
	for range n {
		for _, x := range data[:1<<12] {
			r ^= uint32(x)
			for range 8 {
				low := r & 1
				r >>= 1
				if low != 0 {
					r ^= 0xedb88320
				}
			}
		}
	}
	return ^r
}

func insertionSort(w []uint32) {
	for i := 1; i < len(w); i++ {
		v, j := w[i], i
		for ; j > 0 && w[j-1] > v; j-- {
			w[j] = w[j-1]
		}
		w[j] = v
	}
}

//go:wasmexport sort
func sort(n uint32) uint32 {
	x := uint32(1)
	for range n {
		w := words[:1<<10]
		for i := range w {
			x = x*1664525 + 1013904223
			w[i] = x
		}
		insertionSort(w)
	}
	return words[511]
}

//go:wasmexport collatz
func collatz(n uint32) uint32 {
	var steps uint32
	for i := uint32(1); i < n; i++ {
		for x := uint64(i); x != 1; steps++ {
			if x&1 != 0 {
				x = 3*x + 1
			} else {
				x /= 2
			}
		}
	}
	return steps
}

// Like a scanner of JSON: a branch or two for each byte.
//
//go:wasmexport scan
func scan(n uint32) uint32 {
	var strings, depth, deepest uint32
	for i := range data {
		data[i] = byte((uint32(i) * 2654435761) >> 25)
	}
	for range n {
		in := false
		for i := 0; i < len(data); i++ {
			ch := data[i]
			if in {
				switch ch {
				case '"':
					in = false
				case '\\':
					i++
				}
				continue
			}
			switch ch {
			case '"':
				in = true
				strings++
			case '{', '[':
				depth++
				deepest = max(deepest, depth)
			case '}', ']':
				if depth > 0 {
					depth--
				}
			}
		}
	}
	return strings + deepest
}

func fibonacci(n uint32) uint32 {
	if n < 2 {
		return n
	}
	return fibonacci(n-1) + fibonacci(n-2)
}

//go:wasmexport calls
func calls(n uint32) uint32 { return fibonacci(n) }

// Copies as a program does them: mostly short.
//
//go:wasmexport copy
func copies(n uint32) uint32 {
	var s uint32
	for k := range n {
		from, to := 0x8000+k&0xfff, k&0x3fff
		copy(data[to:], data[from:from+(k*2654435761)>>26])
		s += uint32(data[to])
	}
	return s
}

//go:noinline
func rare(x uint32) uint32 { return bits.RotateLeft32(x*2654435761, 15) }

// Inner loops as in sort, in a function that calls another now and then.
//
//go:wasmexport visit
func visit(n uint32) uint32 {
	x := uint32(1)
	for range n {
		w := words[:1<<10]
		for i := range w {
			x = rare(x + uint32(i))
			w[i] = x
		}
		for i := 1; i < len(w); i++ {
			v, j := w[i], i
			for ; j > 0 && w[j-1] > v; j-- {
				w[j] = w[j-1]
			}
			w[j] = v
		}
	}
	return words[511]
}
