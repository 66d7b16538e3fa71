package proxy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A PortSet is a set of ports: ranges in ascending order that do not touch.
type PortSet []PortRange

// A PortRange is the ports from Low to High, both included.
type PortRange struct{ Low, High uint16 }

// Contains reports whether port is in s.
func (s PortSet) Contains(port uint16) bool {
	_, found := slices.BinarySearchFunc(s, port, func(r PortRange, port uint16) int {
		switch {
		case r.High < port:
			return -1
		case r.Low > port:
			return 1
		default:
			return 0
		}
	})
	return found
}

// String returns s as the environment has it.
func (s PortSet) String() string {
	parts := make([]string, len(s))
	for i, r := range s {
		parts[i] = strconv.Itoa(int(r.Low))
		if r.High != r.Low {
			parts[i] += "-" + strconv.Itoa(int(r.High))
		}
	}
	return strings.Join(parts, ",")
}

// parsePorts reads a list of ports and of ranges of them.
func parsePorts(s string) (PortSet, error) {
	var ranges PortSet
	for part := range listed(s) {
		r, err := parsePortRange(part)
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, r)
	}
	return joinPorts(ranges), nil
}

func parsePortRange(s string) (PortRange, error) {
	first, last, isRange := strings.Cut(s, "-")
	low, err := parsePort(strings.TrimSpace(first))
	if err != nil || !isRange {
		return PortRange{low, low}, err
	}
	high, err := parsePort(strings.TrimSpace(last))
	if err == nil && high < low {
		err = fmt.Errorf("%q is not a range: %d is under %d", s, high, low)
	}
	return PortRange{low, high}, err
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "+"), 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is not a port, which is a number up to 65535", s)
	}
	return uint16(n), nil
}

// joinPorts sorts ranges and joins those that overlap or touch.
func joinPorts(ranges PortSet) PortSet {
	slices.SortFunc(ranges, func(a, b PortRange) int { return cmp.Compare(a.Low, b.Low) })
	var joined PortSet
	for _, r := range ranges {
		last := len(joined) - 1
		if last < 0 || int(r.Low) > int(joined[last].High)+1 {
			joined = append(joined, r)
			continue
		}
		joined[last].High = max(joined[last].High, r.High)
	}
	return joined
}
