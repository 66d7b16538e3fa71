package h1

// class sorts bytes: which may stand in a token, a value, a target or a host.
var class = makeClass() //nolint:gochecknoglobals // a constant table

const (
	tokenByte  = 1 << iota // RFC 9110, section 5.6.2
	valueByte              // field-content: visible, space, tab, and over 0x7f
	targetByte             // visible ASCII but for "#", which ends a target, and "\"
	hostByte               // of a reg-name (RFC 3986), but for ",", which makes lists
	digitByte
)

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

func makeClass() (t [256]byte) {
	mark := func(kind byte, members string) {
		for i := range len(members) {
			t[members[i]] |= kind
		}
	}
	mark(digitByte, digits)
	mark(tokenByte, digits+letters+"!#$%&'*+-.^_`|~")
	mark(hostByte, digits+letters+"-._~%!$&'()*+;=")
	for c := range 256 {
		visible := c > ' ' && c < 0x7f
		if visible || c == ' ' || c == '\t' || c > 0x7f {
			t[c] |= valueByte
		}
		if visible && c != '#' && c != '\\' {
			t[c] |= targetByte
		}
	}
	return t
}

// all reports whether every byte of s is of that kind.
func all(s string, kind byte) bool {
	for i := range len(s) {
		if class[s[i]]&kind == 0 {
			return false
		}
	}
	return true
}
