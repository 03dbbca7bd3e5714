package event

// Operation is one statement with its parameters and the digest of its
// response, or its frozen form.
type Operation struct {
	Kind   OpKind
	Class  Class
	Reason string
	// Text is what a target executes for Kind statement and copy (frozen: pinned
	// values are among Params). For rows it is the client's statement, cut at
	// MaxInfoText bytes, for people. For savepoint kinds it is the name.
	Text   string
	Params []Param
	// Tables are the tables written, as schema.table, unquoted.
	Tables []string
	// Rows is set for Kind rows.
	Rows *RowImages
	// Data is a piece of the COPY stream for Kind copy.
	Data []byte
	// More says that the next operation continues this one (large row sets and
	// COPY streams). The digest is on the last part. Continuations of copy have
	// an empty Text.
	More bool
	// Sequences are high-water marks that this operation moved on the primary.
	Sequences []SequenceMark
	// Diverged lists tables, or indexes, that no target can follow from here on (Class
	// refused, policy flag); "*" where the tables cannot be told.
	Diverged []string
	// Settings is set for Kind set: the session context changed in mid-transaction.
	Settings []Setting
	// Digest is of the primary's response.
	Digest Digest
}

// MaxInfoText bounds Operation.Text where it is information only.
const MaxInfoText = 1024

// OpKind says how an operation is executed on a target.
type OpKind string

// The kinds of operations.
const (
	OpStatement  OpKind = "statement"  // execute Text with Params
	OpRows       OpKind = "rows"       // apply Rows
	OpCopy       OpKind = "copy"       // COPY … FROM STDIN: Text, then Data of all parts
	OpSequence   OpKind = "sequence"   // nothing but Sequences
	OpSavepoint  OpKind = "savepoint"  // SAVEPOINT Text (chunked transactions only)
	OpRollbackTo OpKind = "rollbackto" // ROLLBACK TO Text
	OpRelease    OpKind = "release"    // RELEASE Text
	OpFlagged    OpKind = "flagged"    // nothing to execute: Diverged says what is lost
	OpSet        OpKind = "set"        // SET LOCAL of Settings for what follows in the transaction
)

// Class is the safety class of an operation: how it may travel.
type Class string

// The safety classes, from SQL-SAFETY. ClassNone is of operations that are not
// published at all and occurs only in plans and metrics.
const (
	ClassText    Class = "text"
	ClassPinned  Class = "pinned"
	ClassRows    Class = "rows"
	ClassRefused Class = "refused"
	ClassNone    Class = "none"
)

// Param is one parameter of a statement, as the client bound it, or pinned.
type Param struct {
	OID uint32 // type; 0: let the server infer it
	// Type is the type's name (schema.name) where OID is not a built-in one,
	// since such OIDs differ between servers.
	Type   string
	Binary bool
	Null   bool
	Value  []byte
}

// Action says what was done to rows.
type Action string

// The actions of row images.
const (
	ActionInsert Action = "insert"
	ActionUpdate Action = "update"
	ActionDelete Action = "delete"
	// ActionUpsert inserts the row or, where Key exists, makes it so.
	ActionUpsert Action = "upsert"
)

// RowImages are rows as the primary has them after (delete: before) an operation.
// Values are in the server's text form under the transaction's Context.
type RowImages struct {
	Action  Action
	Schema  string
	Table   string
	Key     []string // columns that identify a row; none for insert
	Columns []string // columns that are set; none for delete
	// KeyTypes and ColumnTypes are format_type names beside Key and Columns.
	KeyTypes, ColumnTypes []string
	// Returning lists the columns whose resulting values the digest's hash
	// covers, in this order; empty below level full.
	Returning []string
	Rows      []RowImage
}

// RowImage is one row: the values of RowImages.Key and of RowImages.Columns.
type RowImage struct {
	Key    []Value
	Values []Value
}

// Value is a column's value in text form, or NULL.
type Value struct {
	Null bool
	Text []byte
}

// SequenceMark says that a sequence has handed out values up to Value.
type SequenceMark struct {
	Schema, Name string
	Value        int64
	// Ascending is false for a sequence with a negative increment.
	Ascending bool
}
