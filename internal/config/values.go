package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written as 64MiB, 1GiB, 512KiB or a plain number.
type Size int64

var sizeUnits = []struct {
	suffix string
	factor int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// ParseSize reads a Size.
func ParseSize(text string) (Size, error) {
	number, factor := strings.TrimSpace(text), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("expected a size such as 64MiB, 512KiB or 1000000, got %q", text)
	}
	return Size(n * factor), nil
}

// String writes a Size with the largest binary unit that divides it.
func (s Size) String() string {
	for i := 3; i >= 0; i-- {
		if u := sizeUnits[i]; s > 0 && int64(s)%u.factor == 0 {
			return strconv.FormatInt(int64(s)/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Retention says how long Kafka keeps records: Unlimited, or a duration.
type Retention time.Duration

// Unlimited keeps records for ever; it is the default.
const Unlimited Retention = 0

// parseRetention reads "unlimited" or a duration; days are written 7d.
func parseRetention(text string) (Retention, error) {
	if text == "unlimited" {
		return Unlimited, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err == nil && n > 0 && n <= 36500 {
			return Retention(time.Duration(n) * 24 * time.Hour), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second {
		return 0, fmt.Errorf("expected unlimited, or a duration of at least a second such as 90d or 72h, got %q", text)
	}
	return Retention(d), nil
}

// String writes a Retention as it is read.
func (r Retention) String() string {
	if r == Unlimited {
		return "unlimited"
	}
	return time.Duration(r).String()
}
