package catalog

import (
	"strings"
	"testing"

	"github.com/opmux/opmux/event"
)

// A list that cannot be read is no empty one, by which an index would pass for untouched.
func TestListsOfNamesAreReadOrRefused(t *testing.T) {
	if list, err := names(event.Value{Null: true}); err != nil || list != nil {
		t.Errorf("NULL is %v, %v", list, err)
	}
	if list, err := names(event.Value{Text: []byte(`["a", "b c"]`)}); err != nil || strings.Join(list, ",") != "a,b c" {
		t.Errorf("a list is %v, %v", list, err)
	}
	for _, text := range []string{"", `["a"`, `{"a": 1}`} {
		if list, err := names(event.Value{Text: []byte(text)}); err == nil {
			t.Errorf("%q was read as %v", text, list)
		}
	}
}
