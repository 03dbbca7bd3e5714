package session

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// abbreviations tells what names such as IST mean as time zones. It travels where it
// is not the server's default, which a worker's session has too.
const (
	abbreviations        = catalog.Abbreviations
	defaultAbbreviations = "Default"
)

// probeColumns precede the settings in the probe's row. The context begins at
// contextColumn.
const (
	probeColumns  = 9
	contextColumn = 6
)

const readCommitted = "read committed"

const encodingSetting = "client_encoding"

// encodingColumn is its place in the probe's row, stringsColumn that of stringsSetting.
var (
	encodingColumn = probeColumns + slices.Index(catalog.ContextSettings, encodingSetting)
	stringsColumn  = probeColumns + slices.Index(catalog.ContextSettings, stringsSetting)
)

// probeSQL asks for everything that the agent must know of the session and its
// transaction, in one row. Operators and functions are qualified, since the
// session's search_path is the client's.
var probeSQL = func() string {
	var b strings.Builder
	b.WriteString(`SELECT pg_catalog.pg_current_xact_id_if_assigned(), pg_catalog.pg_backend_pid(), ` +
		`pg_catalog.int8(EXTRACT(epoch FROM pg_catalog.now()) OPERATOR(pg_catalog.*) 1000000), ` +
		`CASE WHEN pg_catalog.pg_is_in_recovery() THEN 0 ELSE pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0') END, ` +
		`pg_catalog.current_setting('synchronous_commit'), pg_catalog.current_setting('transaction_isolation'), current_user, ` +
		`pg_catalog.array_to_json(pg_catalog.current_schemas(true)), pg_catalog.array_to_json(pg_catalog.current_schemas(false))`)
	for _, name := range catalog.ContextSettings {
		fmt.Fprintf(&b, ", pg_catalog.current_setting('%s')", name)
	}
	return b.String()
}()

// identitySQL asks whose session this is and which server it is on.
const identitySQL = `SELECT session_user, pg_catalog.current_setting('application_name'), ` +
	`pg_catalog.int8(EXTRACT(epoch FROM (SELECT a.backend_start FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a)) OPERATOR(pg_catalog.*) 1000000), ` +
	`(SELECT system_identifier FROM pg_catalog.pg_control_system()), ` +
	`pg_catalog.int8(EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time()) OPERATOR(pg_catalog.*) 1000000), ` +
	`pg_catalog.pg_is_in_recovery()`

// probe is one row of probeSQL.
type probe struct {
	xid       uint64
	pid       int32
	now       int64 // transaction time, microseconds since the Unix epoch
	lsn       uint64
	isolation string
	context   *sessionContext
}

// sessionContext is the part of the probe that classification relies on. It is
// shared between transactions and never altered.
type sessionContext struct {
	raw   string // for comparison
	async bool   // synchronous_commit is off, which changes no statement's meaning
	// encoding is the client's own; the settings say UTF8, as what is published is.
	encoding string
	// lenient: standard_conforming_strings is off. The settings say on, as it holds for what is published.
	lenient bool
	// garbled says that names in it are in an encoding that is not converted.
	garbled  bool
	user     string
	schemas  []string // current_schemas(true): the order in which names resolve
	settings []event.Setting
	last     atomic.Pointer[leveled] // what withIsolation returned last
}

func (c *sessionContext) setting(name string) string {
	for _, s := range c.settings {
		if s.Name == name {
			return s.Value
		}
	}
	return ""
}

// identity is the row of identitySQL.
type identity struct {
	user, application string
	pid               int32
	backendStart      int64
	systemID          string
	started           int64
	recovery          bool
}

// parseProbe reads a row of probeSQL; known is returned again as its context
// where nothing changed, so that the common case allocates little. Callers hold s.mu.
func (s *Session) parseProbe(row []pgwire.DataRowValue, known *sessionContext) (*probe, error) {
	if len(row) != probeColumns+len(catalog.ContextSettings) {
		return nil, fmt.Errorf("probe returned %d columns, expected %d", len(row), probeColumns+len(catalog.ContextSettings))
	}
	p := &probe{isolation: isolationName(row[5].Value)}
	async := string(row[4].Value) == "off"
	var err error
	if !row[0].Null {
		if p.xid, err = strconv.ParseUint(string(row[0].Value), 10, 64); err != nil {
			return nil, fmt.Errorf("probe: transaction id: %w", err)
		}
	}
	pid, err := strconv.ParseInt(string(row[1].Value), 10, 32)
	if err != nil {
		return nil, fmt.Errorf("probe: backend pid: %w", err)
	}
	p.pid = int32(pid)
	if p.now, err = strconv.ParseInt(string(row[2].Value), 10, 64); err != nil {
		return nil, fmt.Errorf("probe: transaction time: %w", err)
	}
	if p.lsn, err = strconv.ParseUint(string(row[3].Value), 10, 64); err != nil {
		return nil, fmt.Errorf("probe: WAL position: %w", err)
	}
	s.clientEncoding, s.lenient = string(row[encodingColumn].Value), string(row[stringsColumn].Value) == stringsLenient
	row, readable := s.charset().row(row)
	if known != nil && known.async == async && known.tells(row) {
		p.context = known
		return p, nil
	}
	key := contextKey{rawContext(row), s.serverEncoding, async, !readable}
	if p.context, err = newContext(row, key.raw, s.serverEncoding); err != nil {
		return nil, err
	}
	p.context.async, p.context.garbled = async, !readable
	p.context = s.contexts.same(key, p.context)
	return p, nil
}

// tells says whether rawContext of a row is the context's, without making it.
func (c *sessionContext) tells(row []pgwire.DataRowValue) bool {
	raw := c.raw
	for _, v := range row[contextColumn:] {
		n := len(v.Value)
		if len(raw) <= n || raw[:n] != string(v.Value) || raw[n] != 0 {
			return false
		}
		raw = raw[n+1:]
	}
	return raw == ""
}

// rawContext is what contexts are compared by.
func rawContext(row []pgwire.DataRowValue) string {
	var raw strings.Builder
	for _, v := range row[contextColumn:] {
		raw.Write(v.Value)
		raw.WriteByte(0)
	}
	return raw.String()
}

func newContext(row []pgwire.DataRowValue, raw, database string) (*sessionContext, error) {
	c := &sessionContext{raw: raw, user: string(row[6].Value)}
	var err error
	if c.schemas, err = jsonStrings(row[7].Value); err != nil {
		return nil, fmt.Errorf("probe: schemas: %w", err)
	}
	path, err := jsonStrings(row[8].Value)
	if err != nil {
		return nil, fmt.Errorf("probe: search path: %w", err)
	}
	for i, name := range catalog.ContextSettings {
		value := string(row[probeColumns+i].Value)
		if name == "search_path" {
			// "$user" means another schema for the user that a target is written
			// by, so the path travels as it resolved here.
			value = quotePath(path)
		}
		switch name {
		case encodingSetting:
			c.encoding, value = value, utf8Name
		case stringsSetting:
			c.lenient, value = value == stringsLenient, stringsStandard
		}
		c.settings = append(c.settings, event.Setting{Name: name, Value: value})
	}
	if database != utf8Name && database != "" {
		c.settings = append(c.settings, event.Setting{Name: event.ServerEncoding, Value: database})
	}
	sort.Slice(c.settings, func(i, j int) bool { return c.settings[i].Name < c.settings[j].Name })
	return c, nil
}

// isolationName is the name of an isolation level; the usual one takes no memory.
func isolationName(value []byte) string {
	if string(value) == readCommitted {
		return readCommitted
	}
	return string(value)
}

func quotePath(path []string) string {
	quoted := make([]string, len(path))
	for i, p := range path {
		quoted[i] = `"` + strings.ReplaceAll(p, `"`, `""`) + `"`
	}
	return strings.Join(quoted, ", ")
}
