package h2

// An entry is a field in one of HPACK's tables (RFC 7541, section 2.3). What is to be
// known of it is found once, when it comes, and not for every message that it is in.
type entry struct {
	name, value string
	kind        fieldKind
	hash        uint32 // of both; the encoder's
}

func (e *entry) size() int { return len(e.name) + len(e.value) + entryOverhead }

const (
	entryOverhead = 32   // RFC 7541, section 4.1
	hpackTable    = 4096 // bytes, both ways: RFC 9113's first value
)

// A table is a dynamic table: a ring in which the newest entry has the number
// inserted.
type table struct {
	ring     []entry // its length is a power of two
	inserted uint64  // so many there have been
	count    int     // so many of them are still here
	size     int     // bytes, as entry.size counts
	most     int     // bytes
}

// at returns the i-th newest entry, from 1 on, or nil.
func (t *table) at(i uint64) *entry {
	if i == 0 || i > uint64(t.count) {
		return nil
	}
	return &t.ring[(t.inserted-i)&uint64(len(t.ring)-1)]
}

// live reports whether the entry of that number is still here.
func (t *table) live(number uint64) bool { return number+uint64(t.count) > t.inserted }

// resize changes how much t may hold.
func (t *table) resize(most int) {
	t.most = most
	t.evict(most)
}

// evict makes t hold no more than that.
func (t *table) evict(most int) {
	for t.size > most {
		oldest := t.at(uint64(t.count))
		t.size -= oldest.size()
		*oldest = entry{}
		t.count--
	}
}

// insert adds e, for which older ones give way. One that is too large empties t.
func (t *table) insert(e entry) {
	size := e.size()
	t.evict(max(0, t.most-size))
	if size > t.most {
		return
	}
	if t.count == len(t.ring) {
		t.grow()
	}
	t.ring[t.inserted&uint64(len(t.ring)-1)] = e
	t.inserted++
	t.count++
	t.size += size
}

func (t *table) grow() {
	ring := make([]entry, max(8, 2*len(t.ring)))
	for n := t.inserted - uint64(t.count); n < t.inserted; n++ {
		ring[n&uint64(len(ring)-1)] = t.ring[n&uint64(len(t.ring)-1)]
	}
	t.ring = ring
}
