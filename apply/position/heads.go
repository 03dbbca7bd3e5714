package position

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"unicode/utf16"

	"github.com/opmux/opmux/event"
)

// Head is the end of one epoch's chain of records.
type Head struct {
	N    int64
	Hash []byte // of record N's value, which record N+1 names
	// Ended is the offset of the record that closed or ended the epoch, 0 while
	// it is open. Records may still land behind it.
	Ended int64
}

// Heads are the chain heads by epoch.
type Heads map[event.EpochRef]Head

type headJSON struct {
	Agent string `json:"a"`
	Epoch int64  `json:"e"`
	N     int64  `json:"n"`
	Hash  []byte `json:"h,omitempty"`
	Ended int64  `json:"x,omitempty"`
}

// Encode returns the text form, in a fixed order.
func (h Heads) Encode() string {
	if len(h) == 0 {
		return ""
	}
	list := make([]headJSON, 0, len(h))
	for ref, head := range h {
		list = append(list, headJSON{ref.Agent, ref.Epoch, head.N, head.Hash, head.Ended})
	}
	sort.Slice(list, func(i, j int) bool {
		if list[i].Epoch != list[j].Epoch {
			return list[i].Epoch < list[j].Epoch
		}
		return list[i].Agent < list[j].Agent
	})
	text, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings, integers and bytes always have a JSON form
	}
	return ascii(string(text))
}

// ascii escapes what is not ASCII, so that the text means the same under any
// client_encoding that a lane's session has at the time.
func ascii(text string) string {
	var b strings.Builder
	for _, c := range text {
		switch {
		case c < 0x80:
			b.WriteRune(c)
		case c > 0xffff:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, c)
		}
	}
	return b.String()
}

// ParseHeads reads the text form.
func ParseHeads(text string) (Heads, error) {
	h := Heads{}
	if text == "" {
		return h, nil
	}
	var list []headJSON
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("chain heads: %w", err)
	}
	for _, e := range list {
		h[event.EpochRef{Agent: e.Agent, Epoch: e.Epoch}] = Head{e.N, e.Hash, e.Ended}
	}
	return h, nil
}

// Clone returns a copy whose entries can be changed without touching the other's.
func (h Heads) Clone() Heads {
	c := make(Heads, len(h))
	for k, v := range h {
		c[k] = v
	}
	return c
}
