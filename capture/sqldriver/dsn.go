package sqldriver

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"unicode"
)

// dsn is a connection string in either of libpq's forms, taken apart so far that
// its host can be replaced. Everything else stays as the application wrote it.
type dsn struct {
	// start is what stands before the parameters of a URL ("postgres://u:p@",
	// "/db?"), "" for the other form.
	start string
	pairs []pair
	// host and port are those of a URL's authority.
	host, port string
}

// pair is a parameter; raw is how it was written in a URL.
type pair struct{ key, value, raw string }

// parseDSN reads a connection string. Its errors hold nothing of it: there may be
// a password in it.
func parseDSN(text string) (*dsn, error) {
	if strings.ContainsRune(text, 0) {
		return nil, errors.New("there is a NUL byte in it")
	}
	if strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://") {
		return parseURL(text)
	}
	return parseKeywords(text)
}

func parseURL(text string) (*dsn, error) {
	if strings.Contains(text, "#") {
		return nil, errors.New("drivers disagree about what # means in it; write %23 for the character")
	}
	scheme, rest, _ := strings.Cut(text, "://")
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority, tail := rest[:end], rest[end:]
	user := ""
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, authority = authority[:at+1], authority[at+1:]
	}
	path, query, _ := strings.Cut(tail, "?")
	if strings.Contains(path, "@") {
		return nil, errUnescaped
	}
	d := &dsn{start: scheme + "://" + user + path + "?"}
	var err error
	if d.host, d.port, err = parseAuthority(authority); err != nil {
		return nil, err
	}
	for raw := range strings.SplitSeq(query, "&") {
		if raw == "" {
			continue
		}
		key, value, _ := strings.Cut(raw, "=")
		key, err1 := url.PathUnescape(key)
		value, err2 := url.PathUnescape(value)
		if err := errors.Join(err1, err2); err != nil {
			return nil, errors.New("a parameter behind the question mark has a % that two hexadecimal digits do not follow")
		}
		if strings.Contains(key, "@") {
			return nil, errUnescaped
		}
		d.pairs = append(d.pairs, pair{key, value, raw})
	}
	return d, nil
}

func parseAuthority(text string) (host, port string, err error) {
	if strings.Contains(text, ",") {
		return text, "", nil // refused as several hosts
	}
	host = text
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, ']') {
		host, port = text[:i], text[i+1:]
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
		if net.ParseIP(host) == nil {
			return "", "", errors.New("expected an IPv6 address in the brackets")
		}
	}
	if host, err = url.PathUnescape(host); err != nil {
		return "", "", errors.New("the host has a % that two hexadecimal digits do not follow")
	}
	if strings.Trim(port, "0123456789") != "" {
		return "", "", errors.New("its port is no number; a / in a user or password is written %2F")
	}
	return host, port, nil
}

// errUnescaped says that what stands where a host does may be the beginning of a
// password, which must not be told.
var errUnescaped = errors.New("there is an @ behind the first / or ?; in a user or password / is written %2F and ? %3F, and elsewhere @ is %40")

// parseKeywords reads "key = value" pairs as libpq does.
func parseKeywords(text string) (*dsn, error) {
	d := &dsn{}
	s := []rune(text)
	i := 0
	spaces := func() {
		for i < len(s) && unicode.IsSpace(s[i]) {
			i++
		}
	}
	for spaces(); i < len(s); spaces() {
		start := i
		for i < len(s) && s[i] != '=' && !unicode.IsSpace(s[i]) {
			i++
		}
		key := string(s[start:i])
		if spaces(); i == len(s) || s[i] != '=' || key == "" {
			return nil, errors.New(`expected "postgres://user@host:5432/database" or pairs of keyword=value; a configuration that the driver knows by a name cannot be wrapped: give it the agent's DialContext`)
		}
		i++
		spaces()
		value, next, err := keywordValue(s, i)
		if err != nil {
			return nil, err
		}
		i = next
		d.pairs = append(d.pairs, pair{key: key, value: value})
	}
	return d, nil
}

// keywordValue reads the value that begins at i, and tells where it ends.
func keywordValue(s []rune, i int) (value string, end int, err error) {
	quoted := i < len(s) && s[i] == '\''
	if quoted {
		i++
	}
	var out []rune
	for ; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\'':
			return string(out), i + 1, nil
		case !quoted && unicode.IsSpace(s[i]):
			return string(out), i, nil
		case s[i] == '\\':
			if i++; i == len(s) {
				return "", i, errors.New("there is nothing behind its last backslash")
			}
		}
		out = append(out, s[i])
	}
	if quoted {
		return "", i, errors.New("a quoted value does not end")
	}
	return string(out), i, nil
}

// get returns a parameter; given twice, drivers disagree about which one counts.
func (d *dsn) get(key string) (string, error) {
	value, n := "", 0
	for _, p := range d.pairs {
		if p.key == key {
			value, n = p.value, n+1
		}
	}
	if n > 1 {
		return "", fmt.Errorf("the parameter %s is given twice; keep one", key)
	}
	return value, nil
}

// through is the connection string with another place to connect to. What says
// where and how to connect is left out, TLS included: it has no place on this way.
func (d *dsn) through(dir, port string) string {
	var parts []string
	for _, p := range d.pairs {
		if p.key != "host" && p.key != "port" && !strings.HasPrefix(p.key, "ssl") {
			parts = append(parts, d.write(p))
		}
	}
	for _, p := range []pair{{key: "host", value: dir}, {key: "port", value: port}, {key: "sslmode", value: "disable"}} {
		parts = append(parts, d.write(p))
	}
	if d.start != "" {
		return d.start + strings.Join(parts, "&")
	}
	return strings.Join(parts, " ")
}

// write writes a parameter in the form that the string has.
func (d *dsn) write(p pair) string {
	switch {
	case p.raw != "":
		return p.raw
	case d.start != "":
		return p.key + "=" + strings.ReplaceAll(url.QueryEscape(p.value), "+", "%20")
	}
	return fmt.Sprintf("%s='%s'", p.key, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(p.value))
}
