package event

import "math"

// BehindAll is the DependsOn of a transaction that has no number yet and may run
// beside none that gets its number before it.
const BehindAll = math.MaxInt64

// Transaction is the unit of capture, of records and of apply: the operations
// of one commit, in the order in which they ran.
type Transaction struct {
	ID TxID
	// Intent is true for a transaction recorded before its COMMIT was forwarded:
	// it takes effect only once an Outcome says that it committed. False: it has
	// committed already (gate none), or it carries sequence marks alone.
	Intent bool
	// DependsOn is the writer's highest N when the transaction's last response
	// had arrived. Records of the same epoch above it cannot conflict with it
	// (DESIGN §4.1); of other epochs, every record at a lower offset may.
	DependsOn int64
	// Standalone marks a command that ran outside of any transaction block
	// (CREATE INDEX CONCURRENTLY); nothing may run beside it.
	Standalone bool
	// Barrier asks that nothing else is under way while it is applied (DDL, setval).
	Barrier bool
	// Hops are the sources that the transaction came through, the first one first.
	Hops []string
	// Begin is the transaction's own time (now()), Commit the agent's clock at the
	// ticket, both in microseconds since the Unix epoch.
	Begin, Commit int64
	// CatalogVersion is the DDL counter that the classification relied on.
	CatalogVersion int64
	Context        Context
	Postgres       PostgresTx
	// FirstChunk is the offset of the transaction's first Chunk, -1 without any.
	// Chunks is their number. Operations of chunks come before Operations.
	FirstChunk int64
	Chunks     int32
	Operations []Operation
	// Shapes are of tables that the transaction writes: those whose shape the agent
	// has not published since it started, or which have another now.
	Shapes []TableShape
}

// TableShape is what columns a table has on the primary. A target that lacks one
// must not go on: what the primary puts there, a default say, it would not have.
type TableShape struct {
	Schema, Table string
	Columns       []string // in the table's order
	// Definition is what else decides what a statement does to its rows, and to those of
	// others; none from agents that did not say so (record schemas 1 to 3).
	Definition []DefinitionPart
}

// DefinitionPart is a part of a table's definition in short, as the package definition
// reads it: equal on servers on which it does the same.
type DefinitionPart struct {
	Name string // "column a", "trigger b", "rule c", "foreign key d of e"
	Text string // "numeric(10,4) default 0"
}

// PostgresTx is what settles a transaction's fate on PostgreSQL.
type PostgresTx struct {
	XID          uint64 // pg_current_xact_id, with epoch; 0: none assigned
	BackendPID   int32
	BackendStart int64  // microseconds since the Unix epoch
	ProbeLSN     uint64 // pg_current_wal_insert_lsn at the probe
}

// ServerEncoding is among a context's settings where the primary's database is not in
// UTF8: what functions make of a text's bytes (md5, octet_length) is the same in databases
// of one encoding alone.
const ServerEncoding = "server_encoding"

// Context is the session context of a transaction: whose it is and every
// setting that changes what its statements mean.
type Context struct {
	User        string
	Application string
	// Settings are sorted by name and complete: every setting of the make that
	// changes what a statement means.
	Settings []Setting
}

// Setting is one session setting.
type Setting struct{ Name, Value string }

// Get returns the value of the setting with that name, or "".
func (c Context) Get(name string) string {
	for _, s := range c.Settings {
		if s.Name == name {
			return s.Value
		}
	}
	return ""
}
