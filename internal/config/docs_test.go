package config

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestEveryKeyIsDocumented keeps docs/configuration.md complete.
func TestEveryKeyIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	common, rest, _ := strings.Cut(string(page), "## capture-agent")
	agent, rest, _ := strings.Cut(rest, "## apply-worker")
	worker, verifier, _ := strings.Cut(rest, "## verify-worker")
	for _, c := range []struct {
		of   any
		text string
	}{{Agent{}, agent}, {Worker{}, worker}, {Verifier{}, verifier}} {
		for _, key := range leaves(reflect.TypeOf(c.of), "") {
			if !strings.Contains(c.text, "`"+key+"`") && !strings.Contains(common, "`"+key+"`") {
				t.Errorf("docs/configuration.md does not have `%s`", key)
			}
		}
	}
}

func leaves(t reflect.Type, path string) []string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return leaves(t.Elem(), path+"[]")
		}
	case reflect.Struct:
		var list []string
		for i := range t.NumField() {
			if key := t.Field(i).Tag.Get("yaml"); key != "" && key != "-" {
				list = append(list, leaves(t.Field(i).Type, join(path, key))...)
			}
		}
		return list
	}
	return []string{path}
}
