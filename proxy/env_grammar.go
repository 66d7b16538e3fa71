package proxy

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The reasons for which a plain value is refused. They complete the sentence
// that begins with the variable.
var (
	errBool         = errors.New("it is neither true nor false")
	errDuration     = errors.New("it is not a duration, as 500ms, 10s, 5m, 1h or 1d")
	errDurationUnit = errors.New("a duration needs one of the units ms, s, m, h and d right after its number")
	errDurationLong = errors.New("it is too long a time to be counted")
	errInteger      = errors.New("it is not a whole number")
	errFloat        = errors.New("it is not a number")
	errEmpty        = errors.New("it is empty")
	errDisabled     = errors.New("identity can no longer be disabled; " + unmeshed + "=true does without it")
)

// parseDuration reads one whole number and its unit. Only zero needs no unit.
func parseDuration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	if digits == 0 {
		return 0, errDuration
	}
	n, err := strconv.ParseUint(s[:digits], 10, 63)
	if err != nil {
		return 0, errDurationLong
	}
	unit := durationUnit(s[digits:])
	switch {
	case unit == 0 && (n != 0 || s[digits:] != ""):
		return 0, errDurationUnit
	case unit == 0:
		return 0, nil
	case n > uint64(math.MaxInt64)/uint64(unit):
		return 0, errDurationLong
	}
	return time.Duration(n) * unit, nil
}

// hoursPerDay is the unit d; daylight saving does not come into it.
const hoursPerDay = 24

// durationUnit returns zero for what is no unit.
func durationUnit(s string) time.Duration {
	switch s {
	case "ms":
		return time.Millisecond
	case "s":
		return time.Second
	case "m":
		return time.Minute
	case "h":
		return time.Hour
	case "d":
		return hoursPerDay * time.Hour
	default:
		return 0
	}
}

// parseOptDuration reads a duration, or zero from the empty string.
func parseOptDuration(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	return parseDuration(s)
}

func parseBool(s string) (bool, error) {
	if s != "true" && s != "false" {
		return false, errBool
	}
	return s == "true", nil
}

// parseUnsigned reads decimal digits, before which one plus sign may stand.
func parseUnsigned(s string, bits int) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "+"), 10, bits)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("it is over %d", uint64(math.MaxUint64)>>(64-bits))
	case err != nil:
		return 0, errInteger
	}
	return n, nil
}

// parseCount reads a number of things. More than an int holds are as good as
// any number.
func parseCount(s string) (int, error) {
	n, err := parseUnsigned(s, 64)
	return int(min(n, math.MaxInt)), err
}

// parseWorkers reads a number of CPUs.
func parseWorkers(s string) (int, error) {
	n, err := parseCount(s)
	if err == nil && n < 1 {
		err = errors.New("it is under 1")
	}
	return n, err
}

func parseUint32(s string) (uint32, error) {
	n, err := parseUnsigned(s, 32)
	return uint32(n), err
}

// parseBacklog reads an unsigned number of 32 bits, which an int always holds.
func parseBacklog(s string) (int, error) {
	n, err := parseUint32(s)
	return int(min(n, math.MaxInt32)), err
}

// between narrows parse to what lies in [low, high].
func between[T int | uint32](parse func(string) (T, error), low, high T) func(string) (T, error) {
	return func(s string) (T, error) {
		n, err := parse(s)
		if err == nil && (n < low || n > high) {
			err = fmt.Errorf("it is not between %d and %d", low, high)
		}
		return n, err
	}
}

// parseFloat reads a number as Rust does, which knows no hexadecimal ones.
func parseFloat(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || strings.ContainsAny(s, "xX_") {
		return 0, errFloat
	}
	return f, nil
}

// parseJitter reads a share that is from 0 to 100.
func parseJitter(s string) (float64, error) {
	f, err := parseFloat(s)
	if err == nil && !(f >= 0 && f <= 100) {
		return 0, errors.New("it is not between 0 and 100")
	}
	return f, err
}

// parseRatio reads a share that is over 0 and at most 1.
func parseRatio(s string) (float64, error) {
	f, err := parseFloat(s)
	if err == nil && !(f > 0 && f <= 1) {
		return 0, errors.New("it is not over 0 and at most 1")
	}
	return f, err
}

func parseText(s string) (string, error) { return s, nil }

// parseFull reads any text but none.
func parseFull(s string) (string, error) {
	if strings.TrimSpace(s) == "" {
		return "", errEmpty
	}
	return s, nil
}

// oneOf reads one of the words given, exactly.
func oneOf(words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !slices.Contains(words, s) {
			return "", fmt.Errorf("it is not one of %s", strings.Join(words, ", "))
		}
		return s, nil
	}
}

// parseUnsafe reads the word "unsafe", or nothing.
func parseUnsafe(s string) (bool, error) {
	if s != "" && !strings.EqualFold(s, "unsafe") {
		return false, errors.New(`it is neither empty nor "unsafe"`)
	}
	return s != "", nil
}

// parseJSONFormat takes everything but "json" for plain, as linkerd2-proxy does.
func parseJSONFormat(s string) (bool, error) { return strings.EqualFold(s, "json"), nil }

// parseNothing refuses whatever there is.
func parseNothing(s string) (string, error) {
	if s != "" {
		return "", errDisabled
	}
	return s, nil
}
