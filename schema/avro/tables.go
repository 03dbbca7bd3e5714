package avro

import (
	"encoding/json"
	"fmt"
	"strings"
)

// tables are the published tables of a record schema, which are attributes of
// its file: what a record names by number instead of in words. Like the rest of
// the file they never change; more of them come with the next version.
type tables struct {
	// Baselines are lists of settings, by number: of each its name, the value
	// that it usually has, and others that it may have.
	Baselines []baseline `json:"baselines"`
	// Reasons are the reasons of operations, by code. {} in one stands for a name.
	Reasons []string `json:"reasons"`

	// Phrases are what single bytes of a packed text stand for.
	Phrases []string `json:"phrases"`

	codes    map[string]int
	patterns []pattern
	phrases  *phrases
}

type baseline [][]string

// pattern is a reason with a name in it.
type pattern struct {
	code          int
	before, after string
}

const placeholder = "{}"

// published are the tables of the newest record schema. Never written to.
var published = loadTables("record.4.avsc")

func loadTables(file string) *tables {
	text, err := files.ReadFile(file)
	t := &tables{codes: map[string]int{}}
	if err == nil {
		err = json.Unmarshal(text, t)
	}
	if err != nil {
		panic(fmt.Sprintf("avro: tables of embedded schema %s: %v", file, err)) // cannot be: it is part of the program
	}
	for code, reason := range t.Reasons {
		if before, after, ok := strings.Cut(reason, placeholder); ok {
			t.patterns = append(t.patterns, pattern{code, before, after})
			continue
		}
		t.codes[reason] = code
	}
	t.phrases = newPhrases(t.Phrases)
	return t
}

// code returns the code of a reason and the name that stands in it, if any.
func (t *tables) code(reason string) (code int, name string, ok bool) {
	if code, ok = t.codes[reason]; ok {
		return code, "", true
	}
	for _, p := range t.patterns {
		if len(reason) > len(p.before)+len(p.after) && strings.HasPrefix(reason, p.before) && strings.HasSuffix(reason, p.after) {
			return p.code, reason[len(p.before) : len(reason)-len(p.after)], true
		}
	}
	return 0, "", false
}

// reason is the inverse of code; name is not empty where there is one.
func (t *tables) reason(code int, name string) (string, error) {
	if code < 0 || code >= len(t.Reasons) {
		return "", fmt.Errorf("reason %d is none of the %d that the schema has", code, len(t.Reasons))
	}
	text := t.Reasons[code]
	before, after, patterned := strings.Cut(text, placeholder)
	if patterned != (name != "") {
		return "", fmt.Errorf("reason %d (%s) has a name or none where it should not: %q", code, text, name)
	}
	if !patterned {
		return text, nil
	}
	return before + name + after, nil
}

func (t *tables) baseline(number int) (baseline, error) {
	if number < 0 || number >= len(t.Baselines) {
		return nil, fmt.Errorf("baseline %d is none of the %d that the schema has", number, len(t.Baselines))
	}
	return t.Baselines[number], nil
}

// Coded says whether a reason is one of those that records name by a code.
func Coded(reason string) bool {
	_, _, ok := published.code(reason)
	return ok
}
