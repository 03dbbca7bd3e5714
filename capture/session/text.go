package session

import (
	"encoding/json"
	"slices"
	"sort"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/opmux/opmux/event"
)

func zapError(err error) zap.Field { return zap.Error(err) }

func jsonStrings(b []byte) ([]string, error) {
	var out []string
	return out, json.Unmarshal(b, &out)
}

// inline puts text literals in the place of $1, $2, … of one of the agent's own
// questions, for the simple protocol.
func inline(sql string, args []string) string {
	var pairs []string
	for i := len(args); i > 0; i-- {
		literal := "E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(args[i-1]) + "'"
		pairs = append(pairs, "$"+strconv.Itoa(i), literal)
	}
	return strings.NewReplacer(pairs...).Replace(sql) // in one pass: a name may hold a $1
}

// leveled are settings with an isolation level.
type leveled struct {
	level    string
	settings []event.Setting
}

// withIsolation returns the settings with the transaction's isolation level, which
// callers must not alter: one transaction after the other has the same.
func (c *sessionContext) withIsolation(level string) []event.Setting {
	if l := c.last.Load(); l != nil && l.level == level {
		return l.settings
	}
	l := &leveled{level, c.atLevel(level)}
	c.last.Store(l)
	return l.settings
}

func (c *sessionContext) atLevel(level string) []event.Setting {
	out := make([]event.Setting, 0, len(c.settings)+1)
	for _, s := range c.settings {
		if s.Name != abbreviations || s.Value != defaultAbbreviations {
			out = append(out, s)
		}
	}
	out = append(out, event.Setting{Name: "transaction_isolation", Value: level})
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return slices.Clip(out)
}
