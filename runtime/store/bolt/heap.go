package bolt

// heap is a binary heap: the first of items is the least.
type heap[T any] struct {
	items []T
	less  func(a, b T) bool
	moved func(x T, i int) // tells x where it stands now; nil: nobody asks
}

func (h *heap[T]) len() int { return len(h.items) }

func (h *heap[T]) first() T { return h.items[0] }

func (h *heap[T]) push(x T) {
	h.items = append(h.items, x)
	h.up(len(h.items) - 1)
}

// pop removes and returns the least.
func (h *heap[T]) pop() T { return h.remove(0) }

// remove removes and returns the item at i.
func (h *heap[T]) remove(i int) T {
	last := len(h.items) - 1
	x := h.items[i]
	h.items[i] = h.items[last]
	clear(h.items[last:])
	h.items = h.items[:last]
	if i < last {
		h.fix(i)
	}
	return x
}

// fix puts the item at i, which may have changed, where it belongs.
func (h *heap[T]) fix(i int) {
	if !h.down(i) {
		h.up(i)
	}
}

func (h *heap[T]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(h.items[i], h.items[parent]) {
			break
		}
		h.swap(i, parent)
		i = parent
	}
	h.tell(i)
}

// down says whether the item moved.
func (h *heap[T]) down(i int) bool {
	from := i
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			break
		}
		if right := child + 1; right < len(h.items) && h.less(h.items[right], h.items[child]) {
			child = right
		}
		if !h.less(h.items[child], h.items[i]) {
			break
		}
		h.swap(i, child)
		i = child
	}
	h.tell(i)
	return i > from
}

func (h *heap[T]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.tell(i)
	h.tell(j)
}

func (h *heap[T]) tell(i int) {
	if h.moved != nil {
		h.moved(h.items[i], i)
	}
}
