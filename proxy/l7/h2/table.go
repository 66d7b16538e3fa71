package h2

import "iter"

// A streamTable finds the streams of one connection. Their numbers grow, and most
// are over soon: so a stream's place is its number's remainder, and only those that
// would fall on an older one that lives on are kept aside.
type streamTable struct {
	places []*stream // its length is a power of two
	others map[uint32]*stream
	count  int
}

func (t *streamTable) place(id uint32) **stream { return &t.places[int(id>>1)&(len(t.places)-1)] }

// get returns the stream of that number, or nil.
func (t *streamTable) get(id uint32) *stream {
	if len(t.places) == 0 {
		return nil
	}
	if st := *t.place(id); st != nil && st.id == id {
		return st
	}
	if len(t.others) == 0 {
		return nil
	}
	return t.others[id]
}

func (t *streamTable) put(st *stream) {
	if t.count >= len(t.places)/2 {
		t.grow()
	}
	t.count++
	t.set(st)
}

func (t *streamTable) set(st *stream) {
	if p := t.place(st.id); *p == nil {
		*p = st
		return
	}
	if t.others == nil {
		t.others = make(map[uint32]*stream)
	}
	t.others[st.id] = st
}

func (t *streamTable) remove(id uint32) {
	t.count--
	if p := t.place(id); *p != nil && (*p).id == id {
		*p = nil
		return
	}
	delete(t.others, id)
}

// maxPlaces bounds what a connection with many streams holds for ever.
const maxPlaces = 2048

func (t *streamTable) grow() {
	if len(t.places) >= maxPlaces {
		return
	}
	all := make([]*stream, 0, t.count)
	for st := range t.all() {
		all = append(all, st)
	}
	t.places, t.others = make([]*stream, max(4, 2*len(t.places))), nil
	for _, st := range all {
		t.set(st)
	}
}

// all yields every stream. Those that are yielded may be removed meanwhile.
func (t *streamTable) all() iter.Seq[*stream] {
	return func(yield func(*stream) bool) {
		for _, st := range t.places {
			if st != nil && !yield(st) {
				return
			}
		}
		for _, st := range t.others {
			if !yield(st) {
				return
			}
		}
	}
}
