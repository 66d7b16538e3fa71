package codec

import (
	"sync/atomic"
	"time"
)

// A Date is the date field's value, made anew once a second.
type Date struct{ now atomic.Pointer[date] }

type date struct {
	second int64
	text   string
}

// At returns the value for a second of Unix time.
func (d *Date) At(second int64) string {
	now := d.now.Load()
	if now == nil || now.second != second {
		now = &date{second, time.Unix(second, 0).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")}
		d.now.Store(now)
	}
	return now.text
}
