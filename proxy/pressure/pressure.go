// Package pressure says how much of what the process may have is in use: of its
// descriptors, and of the memory that its control group allows. It refuses
// nothing: what is done about it is said in package proxy. Read Level first.
package pressure

// A Level is how near the process is to the end of its memory.
type Level uint8

// The levels.
const (
	Calm  Level = iota
	High        // requests are shed
	Acute       // and connections are refused
)

// Marks are shares of a limit, in per cent, at which levels begin.
type Marks struct{ High, Acute int }

// ease is how many per cent below its mark a level ends, so that it does not come
// and go.
const ease = 5

// Next returns the level that follows l when that much of limit is used.
func (m Marks) Next(l Level, used, limit int64) Level {
	from := func(mark int, level Level) int64 {
		if l >= level {
			mark -= ease
		}
		return m.bytes(mark, limit)
	}
	switch {
	case used >= from(m.Acute, Acute):
		return Acute
	case used >= from(m.High, High):
		return High
	default:
		return Calm
	}
}

// Room is how many bytes there are until each mark, or none.
func (m Marks) Room(used, limit int64) (high, acute int64) {
	return max(m.bytes(m.High, limit)-used, 0), max(m.bytes(m.Acute, limit)-used, 0)
}

func (m Marks) bytes(mark int, limit int64) int64 { return limit / 100 * int64(mark) }
