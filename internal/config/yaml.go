package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// document is one configuration file: its tree, and the line of every key, so
// that a rule broken later can still name its place.
type document struct {
	file  string
	root  *yaml.Node
	lines map[string]int
}

// maxFile bounds what is read: a configuration is small, and a wrong --config
// may name anything.
const maxFile = 1 << 20

func parse(file string) (*document, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, err
	}
	return parseText(file, data)
}

func parseText(file string, data []byte) (*document, error) {
	var tree yaml.Node
	if err := yaml.Unmarshal(mark(data), &tree); err != nil {
		return nil, &Error{File: file, Message: "not valid YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	if len(tree.Content) == 0 || tree.Content[0].Kind != yaml.MappingNode {
		return nil, &Error{File: file, Message: "expected keys and values (for example \"source: orders\") at the top"}
	}
	return &document{file: file, root: tree.Content[0], lines: map[string]int{}}, nil
}

func readFile(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		var pathErr *os.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return nil, &Error{File: file, Message: "cannot read the configuration: " + err.Error()}
	}
	if info.IsDir() || info.Size() > maxFile {
		return nil, &Error{File: file, Message: fmt.Sprintf("not a configuration: expected a file of at most %d bytes", maxFile)}
	}
	data, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, &Error{File: file, Message: "cannot read the configuration: " + err.Error()}
	}
	return data, nil
}

// has says whether the top of the document has the key.
func (d *document) has(key string) bool {
	for i := 0; i+1 < len(d.root.Content); i += 2 {
		if d.root.Content[i].Value == key {
			return true
		}
	}
	return false
}

// errorf makes an error at a key's path; the line is that of the nearest key
// that is in the file.
func (d *document) errorf(path, format string, args ...any) *Error {
	line := 0
	for p := path; p != "" && line == 0; {
		line = d.lines[p]
		cut := strings.LastIndexAny(p, ".[")
		if cut < 0 {
			break
		}
		p = p[:cut]
	}
	return &Error{File: d.file, Line: line, Path: path, Message: fmt.Sprintf(format, args...)}
}

// decode fills the struct that v points to, which holds the defaults. All
// mistakes are reported at once.
func (d *document) decode(v any) error {
	var errs []error
	d.fill(d.root, "", reflect.ValueOf(v).Elem(), &errs)
	return errors.Join(errs...)
}

func (d *document) fill(node *yaml.Node, path string, v reflect.Value, errs *[]error) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if path != "" {
		d.lines[path] = node.Line
	}
	if node.Tag == "!!null" {
		return // "kafka:" with nothing behind it keeps the default
	}
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.fill(node, path, v.Elem(), errs)
	case v.Kind() == reflect.Struct:
		d.fillStruct(node, path, v, errs)
	case v.Kind() == reflect.Slice:
		d.fillSlice(node, path, v, errs)
	default:
		if err := d.fillScalar(node, path, v); err != nil {
			*errs = append(*errs, err)
		}
	}
}

func (d *document) fillStruct(node *yaml.Node, path string, v reflect.Value, errs *[]error) {
	if node.Kind != yaml.MappingNode {
		*errs = append(*errs, d.errorf(path, "expected keys (%s), got %s", strings.Join(keysOf(v.Type()), ", "), describe(node)))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		at := join(path, key.Value)
		d.lines[at] = key.Line
		if seen[key.Value] {
			*errs = append(*errs, d.errorf(at, "the key is given twice; keep one"))
			continue
		}
		seen[key.Value] = true
		field, ok := fieldOf(v, key.Value)
		if !ok {
			*errs = append(*errs, d.errorf(at, "unknown key; %s", suggest(key.Value, keysOf(v.Type()))))
			continue
		}
		d.fill(value, at, field, errs)
	}
}

func (d *document) fillSlice(node *yaml.Node, path string, v reflect.Value, errs *[]error) {
	if node.Kind != yaml.SequenceNode {
		*errs = append(*errs, d.errorf(path, "expected a list in brackets or of lines that begin with \"- \", got %s", describe(node)))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(node.Content), len(node.Content))
	for i, item := range node.Content {
		d.fill(item, fmt.Sprintf("%s[%d]", path, i), list.Index(i), errs)
	}
	v.Set(list)
}

func (d *document) fillScalar(node *yaml.Node, path string, v reflect.Value) error {
	if node.Kind != yaml.ScalarNode {
		return d.errorf(path, "expected one value, got %s", describe(node))
	}
	text, err := expand(node.Value)
	if err != nil {
		return d.errorf(path, "%v", err)
	}
	switch p := v.Addr().Interface().(type) {
	case *string:
		*p = text
	case *bool:
		b, err := strconv.ParseBool(text)
		if text == "on" || text == "off" {
			b, err = text == "on", nil
		}
		if err != nil {
			return d.errorf(path, "expected true or false (or on, off), got %q", text)
		}
		*p = b
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return d.errorf(path, "expected a whole number, got %q", text)
		}
		*p = n
	case *time.Duration:
		t, err := time.ParseDuration(text)
		if err != nil {
			return d.errorf(path, "expected a duration such as 500ms, 5s or 2m, got %q", text)
		}
		*p = t
	case *Size:
		n, err := ParseSize(text)
		if err != nil {
			return d.errorf(path, "%v", err)
		}
		*p = n
	case *Retention:
		r, err := parseRetention(text)
		if err != nil {
			return d.errorf(path, "%v", err)
		}
		*p = r
	default:
		return d.errorf(path, "opmux cannot read a value of type %s here; please report it", v.Type())
	}
	return nil
}

// References to the environment are marked before YAML is parsed, since braces
// mean something to YAML, and replaced in the values afterwards, so that no value
// can bring keys of its own. The marks are runes of private use.
const (
	markOpen    = "\uE000"
	markClose   = "\uE001"
	markLiteral = "\uE002"
)

var (
	reference = regexp.MustCompile(`\$\$\{|\$\{[^}\n]*\}`)
	marked    = regexp.MustCompile(markOpen + "[^" + markClose + "]*" + markClose)
	variable  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// mark replaces ${NAME} by marks around NAME. "$${" stands for a literal "${";
// any other $ is itself.
func mark(text []byte) []byte {
	return reference.ReplaceAllFunc(text, func(m []byte) []byte {
		if string(m) == "$${" {
			return []byte(markLiteral)
		}
		return []byte(markOpen + string(m[2:len(m)-1]) + markClose)
	})
}

// expand puts the environment's values where mark left its marks.
func expand(text string) (string, error) {
	var failure error
	out := marked.ReplaceAllStringFunc(text, func(m string) string {
		name := strings.TrimSuffix(strings.TrimPrefix(m, markOpen), markClose)
		if !variable.MatchString(name) {
			failure = fmt.Errorf("expected ${NAME} with letters, digits and _, got ${%s}; write $${ for a literal ${", name)
			return ""
		}
		value, ok := os.LookupEnv(name)
		if !ok {
			failure = fmt.Errorf("the environment variable %s is not set; set it, or write $${%s} for the literal text", name, name)
		}
		return value
	})
	return strings.ReplaceAll(out, markLiteral, "${"), failure
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "keys"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}

func keysOf(t reflect.Type) []string {
	keys := make([]string, 0, t.NumField())
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("yaml"); key != "" && key != "-" {
			keys = append(keys, key)
		}
	}
	return keys
}

func fieldOf(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if key != "-" && v.Type().Field(i).Tag.Get("yaml") == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// suggest names the closest known key, and all of them.
func suggest(key string, known []string) string {
	known = slices.Clone(known)
	slices.Sort(known)
	best, distance := "", 3
	for _, k := range known {
		if d := editDistance(key, k); d < distance {
			best, distance = k, d
		}
	}
	all := "the keys here are " + strings.Join(known, ", ")
	if best == "" {
		return all
	}
	return fmt.Sprintf("did you mean %q? %s", best, all)
}

// editDistance is Levenshtein's, over bytes: keys are ASCII.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
