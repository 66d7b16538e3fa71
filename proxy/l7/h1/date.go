package h1

import "time"

// A dateLine is the date field's value, made anew once a second.
type dateLine struct {
	second int64
	text   string
}

func (d *dateLine) now(t time.Time) string {
	if s := t.Unix(); s != d.second {
		d.second, d.text = s, t.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
	}
	return d.text
}
