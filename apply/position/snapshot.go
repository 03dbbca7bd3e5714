package position

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// xidSnapshot is the parsed form of pg_current_snapshot(): xmin:xmax:xip,xip….
type xidSnapshot struct {
	xmin, xmax uint64
	running    []uint64 // sorted
}

func parseSnapshot(text string) (xidSnapshot, error) {
	var s xidSnapshot
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return s, fmt.Errorf("snapshot %q: expected xmin:xmax:xip,…", text)
	}
	var err error
	if s.xmin, err = strconv.ParseUint(parts[0], 10, 64); err != nil {
		return s, fmt.Errorf("snapshot %q: xmin: %w", text, err)
	}
	if s.xmax, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return s, fmt.Errorf("snapshot %q: xmax: %w", text, err)
	}
	if parts[2] == "" {
		return s, nil
	}
	for _, p := range strings.Split(parts[2], ",") {
		xid, err := strconv.ParseUint(p, 10, 64)
		if err != nil {
			return s, fmt.Errorf("snapshot %q: xip: %w", text, err)
		}
		s.running = append(s.running, xid)
	}
	slices.Sort(s.running)
	return s, nil
}

func (s xidSnapshot) notVisible(xid uint64) bool {
	if xid < s.xmin {
		return false
	}
	if xid >= s.xmax {
		return true
	}
	_, found := slices.BinarySearch(s.running, xid)
	return found
}
