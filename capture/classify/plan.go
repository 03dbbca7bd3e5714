package classify

import (
	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
)

// Kind says what a session has to do with a statement.
type Kind uint8

// The kinds of statements.
const (
	// Pass: forward, publish nothing (reads, session commands, temporary tables).
	Pass Kind = iota
	// Draw: like Pass, but wrapped; it publishes sequence marks (nextval) or, with
	// Barrier, an operation of its own (setval).
	Draw
	Begin
	Commit
	Rollback
	Savepoint
	RollbackTo
	Release
	// CommitPrepared and RollbackPrepared end the prepared transaction of a GID.
	CommitPrepared
	RollbackPrepared
	// Write: a statement that changes rows, to be wrapped.
	Write
	// Copy: COPY … FROM STDIN, to be wrapped.
	Copy
	// DDL: transactional, to be wrapped, travels as text with a barrier.
	DDL
	// Standalone: runs outside of transaction blocks only.
	Standalone
	// Maintenance: forward, publish nothing, never wrap (VACUUM).
	Maintenance
	// Prepare, Execute and Deallocate are the SQL commands of those names.
	Prepare
	Execute
	Deallocate
	// Refused: do not run it (policy reject), see Refusal.
	Refused
	// MustFail: it names something that does not exist. Forward it, wrapped; the
	// server's error is expected, and success means that the catalogue moved.
	MustFail
)

var kindNames = [...]string{
	"pass", "draw", "begin", "commit", "rollback", "savepoint", "rollback to", "release", "commit prepared", "rollback prepared", "write", "copy",
	"ddl", "standalone", "maintenance", "prepare", "execute", "deallocate", "refused", "must fail",
}

// String names the kind.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Plan says how one statement travels. Plans are shared between sessions: read
// them only.
type Plan struct {
	Kind   Kind
	Class  event.Class
	Reason string
	// Tables are the tables written, cascades included, as schema.table unquoted.
	Tables []string
	// Construct names the statement, or the part of it that decided ("UPDATE",
	// "SELECT calling a volatile function").
	Construct string
	// SQL is what goes upstream: the client's text, or with RETURNING added.
	SQL string
	// ClientColumns is -1 where the client's statement returns no rows (Describe
	// must answer NoData and rows are swallowed). Otherwise it does: their number
	// is that of the row description less Hidden.
	ClientColumns int
	// Hidden is the number of columns appended behind the client's, wanted in
	// text format.
	Hidden int
	// HiddenTypes are their types: a statement that was prepared with columns of other
	// types has to be prepared again.
	HiddenTypes string
	// InHex says that their values come as catalog.Hex gives them.
	InHex bool
	// Name is of the savepoint, prepared statement or cursor, or of the index that a
	// Standalone makes or drops, empty where it is not known.
	Name string
	// Chain is AND CHAIN of COMMIT and ROLLBACK.
	Chain bool
	// Prepares says that a Commit only prepares the transaction, under the name GID.
	Prepares bool
	GID      string
	// ContextChanges says that the statement may change session settings.
	ContextChanges bool
	// DiscardsStatements says that all prepared statements of the session go.
	DiscardsStatements bool
	// Deferrable says that constraints may wait for the commit: SET CONSTRAINTS
	// ALL IMMEDIATE before the ticket.
	Deferrable bool
	// Barrier asks for event.Transaction.Barrier.
	Barrier bool
	// CopyTypes are the types of the fields of a COPY's binary stream, nil for other formats.
	CopyTypes []uint32
	// CopyIn says that the server will ask for a COPY stream, whatever the kind.
	CopyIn bool
	// CopyDraw says how a COPY goes that leaves out columns whose defaults are drawn,
	// nil for every other statement.
	CopyDraw *CopyDraw
	// Restarts says that sequences begin anew, which their transaction holds until its end.
	Restarts bool
	// CatalogChanges says that the statement changes the catalogue (temporary
	// objects included): read Catalog.Version after it, before the next Classify.
	CatalogChanges bool
	CatalogVersion int64
	// TableRefs are the tables that the plan relies on; compare Fingerprint.
	TableRefs []*catalog.Table
	// Rebuilds is set where the statement, unseen by the backups, makes invalid
	// indexes valid, or passes over one: it may run where there are none such.
	Rebuilds *Rebuilds
	// Runs names the prepared statement that the statement runs as its query.
	Runs string
	// Makes is set where the statement makes a table of a query's rows.
	Makes *Makes
	// Fills is set where the statement gives the rows of a table values of their own.
	Fills *Fills
	// Offsets says of DDL that it has constants which may be times with time zone that took
	// the offset of the day: what the server has made of it tells.
	Offsets bool
	// Recomputes says of DDL that it has generated columns of its table computed for the rows
	// that are there: see ReadsElsewhere.
	Recomputes bool
	// Apart are the tables that DDL adds indexes, constraints and partitions to, these
	// partitions, and the tables that it drops by themselves; nil: it may change others, or
	// change them in other ways.
	Apart []string
	// Evaluates says of DDL that values come of expressions in it, here and on each server.
	Evaluates bool
	// Renames says of DDL that it changes what names and values stand for in tables that it
	// does not lock, Replaces that it does so of functions, children and keys: others must not
	// be carried by what they stood for before.
	Renames, Replaces bool
	// Computes is set where each server computes a materialized view by itself.
	Computes *Computes
	// Lock is run before the statement, in its transaction, which must be READ
	// COMMITTED: the rows that it hits are then those that its place in the order says.
	Lock string
	// Sequences may have been drawn from: read their values at record time.
	Sequences []SequenceRef
	Refusal   *Refusal
	// Diverged lists what is lost to targets when a refused statement runs under
	// policy flag; "*" where the tables cannot be told, nothing where it changes no
	// rows (GRANT).
	Diverged []string
	// ByTriggers says that what it changes is kept by the capture triggers, which are
	// to be switched on before it and asked behind it.
	ByTriggers bool
	// Explains says so of EXPLAIN ANALYZE, whose rows list the triggers.
	Explains bool
	// Awake is how the statement goes in a transaction in which the capture triggers have
	// carried another: it runs what that left to be run, so they carry it, too.
	Awake *Plan
	// ListsPrepared says that it reads the session's prepared statements, the agent's among them.
	ListsPrepared bool
	// Holds says that DECLARE leaves its query to the COMMIT (WITH HOLD).
	Holds bool
	// Defines and Alone are about refused statements that run under policy flag. One
	// that defines objects finds the catalogue changed by itself at its commit. One
	// that is Alone must not be wrapped: it runs outside of blocks only, or commits
	// by itself.
	Defines, Alone bool
	// Whole says that Operations needs all rows of an execution in one call; their
	// number is bounded by the statement's own text.
	Whole bool
	// Undivided says that its rows cannot be carried in several pieces: see undivided.
	Undivided bool
	// Unnamed says that it takes away rows that no key names: its transaction is to
	// follow all before it (event.BehindAll), and a target has no rows to hash.
	Unnamed bool
	// Parts are the statements of one that writes in WITH, in the order in which they are to be published;
	// a row is of one of them, see PartOf. All rows of an execution are needed in one call
	// of Operations; TagOf is what the client is told.
	Parts []Part
	// Inner is the plan of the statement that PREPARE names, or that Runs does.
	Inner *Plan
	// Args are the arguments of EXECUTE as constants, ArgsConstant whether all of
	// them are: see BindArgs.
	Args         []event.Param
	ArgsConstant bool

	// sqlLevel says that the plan is of a statement inside of PREPARE; paramOIDs are
	// the types that are declared there.
	sqlLevel  bool
	paramOIDs []uint32
	// copyColumns are, by place in a COPY stream, whether a field may be read as a
	// moment of the clock; copyFormat is how to read it.
	copyColumns []dateField
	copyFormat  copyFormat

	// asleep: triggers of targets must not act on its rows.
	asleep bool
	// hidden are the expressions of the hidden columns. edits is what SQL has in place of
	// the text edited, tag what begins the command tag.
	hidden []string
	edits  []edit
	edited string
	tag    string

	frozen frozen
	// in is what the plan was made of, for Recheck.
	in Input
}

// Rebuilds names the index, or the table whose indexes, or with both empty all
// indexes.
type Rebuilds struct {
	Index, Table string
	// Copies says that the new index is another table's (LIKE … INCLUDING INDEXES), by no
	// lock that keeps a command outside of transactions from going on beside.
	Copies bool
}

// SequenceRef names a sequence that a statement may draw from.
type SequenceRef struct{ Schema, Name string }

// Refusal says why a statement cannot be carried, and the way out.
type Refusal struct { //nolint:errname // a part of a plan first, an error second
	Construct, Reason, Hint string
	// Position is the 1-based character of the construct in the statement, 0 for none.
	Position int
	// Always: policy flag does not lift it, since what comes after could not be
	// followed either.
	Always bool
	// reach is what a statement that runs nevertheless takes from the backups.
	reach reach
	// unseen: capture triggers would not see all that it does.
	unseen bool
}

// reach is which tables a refused statement may change unseen.
type reach uint8

const (
	// reachNamed: the plan's tables, or where there are none, any.
	reachNamed reach = iota
	// reachAll: any table, since functions of the user's run.
	reachAll
	// reachNone: no table's rows.
	reachNone
	// reachGiven: the plan's tables, as they stand.
	reachGiven
)

// at puts the place, a byte offset in the statement, on a refusal; -1 for none.
func (r *Refusal) at(location int32) *Refusal {
	r.Position = int(location) + 1
	return r
}

// all says that it may change any table.
func (r *Refusal) all() *Refusal { r.reach = reachAll; return r }

// none says that it changes no table's rows.
func (r *Refusal) none() *Refusal { r.reach = reachNone; return r }

// given says that what it changes are the plan's tables, and no others.
func (r *Refusal) given() *Refusal { r.reach = reachGiven; return r }

// beyond says that capture triggers would not see all that it does.
func (r *Refusal) beyond() *Refusal { r.unseen = true; return r }

// Error is the message for the client, beginning "opmux: ".
func (r *Refusal) Error() string {
	return "opmux: " + r.Construct + " cannot be carried to the backups: " + r.Reason
}

// Execution is what came of running a plan's SQL once, or of a part of it.
type Execution struct {
	Params []event.Param
	// TxTime is now() of the transaction in microseconds since the Unix epoch.
	TxTime int64
	// Rows are the hidden columns of each row of this part, Parts those of Plan.Parts.
	Rows     [][]event.Value
	Parts    []PartRows
	Affected int64
	Tag      string
	// First and More tell the parts of a long result or COPY stream.
	First, More bool
	// Data is a piece of a COPY stream.
	Data []byte
	// Sequences are the values of Plan.Sequences as read at record time; only
	// setval needs them here.
	Sequences []event.SequenceMark
}
