package execute

import (
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"

	"github.com/opmux/opmux/apply/schedule"
	"github.com/opmux/opmux/event"
)

// notApplied are settings that a transaction carries and that a lane has its own
// values of: lanes run at READ COMMITTED, triggers fire as on the primary, and xml is
// read as content, which documents are as well: rows may hold what the session that
// writes them would not read.
var notApplied = map[string]bool{
	"application_name":                    true,
	"check_function_bodies":               true,
	"default_transaction_deferrable":      true,
	"default_transaction_isolation":       true,
	"default_transaction_read_only":       true,
	"idle_in_transaction_session_timeout": true,
	"idle_session_timeout":                true,
	"is_superuser":                        true,
	"lock_timeout":                        true,
	"row_security":                        true,
	"session_authorization":               true,
	event.ServerEncoding:                  true,
	"session_replication_role":            true,
	"statement_timeout":                   true,
	"synchronous_commit":                  true,
	"transaction_deferrable":              true,
	"transaction_isolation":               true,
	"transaction_read_only":               true,
	"transaction_timeout":                 true,
	"xmloption":                           true,
}

// settings follows which settings a target transaction has made so far.
type settings struct {
	current map[string]string
	// of is the context that current was last brought to, to see cheaply that
	// nothing changes.
	of *event.Context
	// id tells contexts apart, for what was read under one of them.
	id   string
	seed maphash.Seed
	lost int
	// taken is the application's role while triggers sleep, "" where it is not known.
	taken string
}

// role is the setting that has to be set back before opmux's own tables are
// written.
const (
	role   = "role"
	noRole = "none"
)

// replicationRole is a setting that a lane has its own value of.
const (
	replicationRole    = "session_replication_role"
	ownReplicationRole = "origin"
)

func (s *settings) reset() { s.current, s.of, s.id = map[string]string{}, nil, "" }

// forget notes that settings may have been undone with a savepoint.
func (s *settings) forget() {
	s.current, s.of = map[string]string{}, nil
	s.lost++
	s.id = "?" + strconv.Itoa(s.lost)
}

func (s *settings) identify() {
	var sum uint64
	for name, value := range s.current {
		sum ^= maphash.String(s.seed, name+"\x00"+value)
	}
	s.id = strconv.FormatUint(sum, 36)
}

// changes returns what has to be set so that the session has a transaction's
// context, as pairs of name and value.
func (s *settings) changes(c *event.Context) []event.Setting {
	same := s.of != nil && sameContext(s.of, c)
	s.of = c
	if same {
		return nil
	}
	list := s.differ(c.Settings, c.User)
	names := make(map[string]bool, len(c.Settings))
	for _, set := range c.Settings {
		names[set.Name] = true
	}
	for name := range s.current {
		if !names[name] {
			delete(s.current, name)
			value := valueReset
			if name == role {
				value = noRole
			}
			list = append(list, event.Setting{Name: name, Value: value})
		}
	}
	if len(list) > 0 {
		s.identify()
	}
	return list
}

// sameEncoding stops where the primary's database is in another encoding than the
// target's, though the texts would fit: what functions make of their bytes would differ.
func (a *attempt) sameEncoding(tx *schedule.Tx) error {
	want, own := tx.Transaction.Context.Get(event.ServerEncoding), a.conn.ParameterStatus(event.ServerEncoding)
	if want == "" {
		want = "UTF8" // only others are said
	}
	if own == want || len(tx.Transaction.Context.Settings) == 0 { // nothing of a session's: marks of sequences
		return nil
	}
	return fmt.Errorf("transaction at offset %d of source %s: the primary's database is in %s and the target's in %s, where functions of a text's bytes (md5, octet_length) give other values; "+
		"CREATE DATABASE the target with ENCODING '%s' and fill it again by opmux snapshot", tx.Offset, a.cfg.Source, want, own, want)
}

// sameContext says whether two contexts are one: decoded records share their settings,
// which nobody writes to.
func sameContext(a, b *event.Context) bool {
	if a == b {
		return true
	}
	return a.User == b.User && len(a.Settings) > 0 && len(a.Settings) == len(b.Settings) && &a.Settings[0] == &b.Settings[0]
}

// These stand for values that only the session knows: its own one of a setting, and
// the role that it had before it became the worker's own again.
const (
	valueReset = "\x00reset"
	valueRole  = "\x00role"
	valueKept  = "\x00kept"
	// keptRole is a setting of opmux's that holds the role meanwhile.
	keptRole = "opmux.role"
)

// apply returns what has to be set to bring single settings about. Of those that a
// lane has its own values of, one may be set so: row images that say all that
// triggers and foreign keys did on the primary run with those asleep.
func (s *settings) apply(list []event.Setting, user string) []event.Setting {
	s.of = nil
	out := s.differ(list, user)
	for _, set := range list {
		if set.Name != replicationRole {
			continue
		}
		if _, there := s.current[set.Name]; there == (set.Value == ownReplicationRole) {
			out = append(out, s.withRole(set)...)
		}
		if s.current[set.Name] = set.Value; set.Value == ownReplicationRole {
			delete(s.current, set.Name)
		}
	}
	s.identify()
	return out
}

// withRole puts triggers to sleep, and wakes them, as the worker's own login: the
// application's role may not, and need not have been the one that wrote the rows
// which functions and triggers wrote.
func (s *settings) withRole(set event.Setting) []event.Setting {
	switch {
	case set.Value != ownReplicationRole:
		if s.taken = s.current[role]; s.taken == noRole {
			return []event.Setting{set}
		}
		s.current[role] = noRole
		return []event.Setting{{Name: keptRole, Value: valueRole}, {Name: role, Value: noRole}, set}
	case s.taken == noRole:
		return []event.Setting{set}
	case s.taken == "":
		delete(s.current, role)
	default:
		s.current[role] = s.taken
	}
	return []event.Setting{set, {Name: role, Value: valueKept}}
}

func (s *settings) differ(list []event.Setting, user string) []event.Setting {
	var out []event.Setting
	for _, set := range list {
		if notApplied[set.Name] {
			continue
		}
		if set.Name == "search_path" {
			set.Value = resolveUser(set.Value, user)
		}
		if have, ok := s.current[set.Name]; ok && have == set.Value {
			continue
		}
		s.current[set.Name] = set.Value
		out = append(out, set)
	}
	return out
}

// resolveUser puts the user that ran the transaction in the place of "$user",
// which on the target would be the worker's own.
func resolveUser(path, user string) string {
	if !strings.Contains(path, "$user") || user == "" {
		return path
	}
	name := quoteIdent(user)
	path = strings.ReplaceAll(path, `"$user"`, name)
	return strings.ReplaceAll(path, "$user", name)
}

// setSQL is the statement that makes settings, for the rest of the transaction
// or of the session.
func setSQL(list []event.Setting, local bool) (sql string, params [][]byte) {
	var b strings.Builder
	b.WriteString("SELECT ")
	for i, set := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		name := placeholder(len(params) + 1)
		params = append(params, []byte(set.Name))
		var value string
		switch set.Value {
		case valueReset:
			value = "coalesce((SELECT reset_val FROM pg_catalog.pg_settings WHERE name = " + name + "), '')"
		case valueRole:
			value = "pg_catalog.current_setting('" + role + "')"
		case valueKept:
			value = "pg_catalog.current_setting('" + keptRole + "')"
		default:
			params = append(params, []byte(set.Value))
			value = placeholder(len(params))
		}
		b.WriteString("pg_catalog.set_config(" + name + ", " + value + ", " + strconv.FormatBool(local) + ")")
	}
	return b.String(), params
}
