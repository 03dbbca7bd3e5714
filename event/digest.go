package event

// Level says how much of a response a digest covers.
type Level string

// The digest levels; each includes the ones before it.
const (
	LevelCode  Level = "code"  // success or error class
	LevelCount Level = "count" // affected rows
	LevelFull  Level = "full"  // returned rows
)

// Rank orders levels: code 0, count 1, full 2; -1 for anything else.
func (l Level) Rank() int {
	switch l {
	case LevelCode:
		return 0
	case LevelCount:
		return 1
	case LevelFull:
		return 2
	}
	return -1
}

// Digest is what is compared of one operation's response. It does not depend on
// the make of the server.
type Digest struct {
	SQLState string // "00000" for success
	Affected int64  // rows; -1 where the operation has no count
	Hash     []byte // of the returned rows (package digest); empty below level full
}

// DigestRecord is one record of a digests topic: one side's responses to one
// transaction.
type DigestRecord struct {
	Source string
	Tx     TxID
	Offset int64  // of the transaction in the ops topic
	Target string // empty: the primary's side
	Level  Level
	Time   int64 // microseconds since the Unix epoch
	// Skipped, when not empty, says why this side has no digests to compare
	// ("take-over", "diverged: public.t").
	Skipped    string
	Operations []OpDigest
	// Count is the number of operations of the transaction, also where Skipped
	// is set and Operations is empty.
	Count int32
}

// OpDigest is the digest of the operation at Index (parts of one operation
// count once, at the index of the last part among all operations of the
// transaction, chunks included, counted from 0 over whole operations).
type OpDigest struct {
	Index     int32
	Statement string // normalised, cut at MaxInfoText; primary's side only
	Skipped   string
	Digest
}

// Verdict is what the verifier says of one operation.
type Verdict string

// The verdicts.
const (
	VerdictMatch    Verdict = "match"
	VerdictMismatch Verdict = "mismatch"
	VerdictMissing  Verdict = "missing"
	VerdictSkipped  Verdict = "skipped"
)

// VerdictRecord is one record of the verdicts topic: one transaction on one target.
type VerdictRecord struct {
	Source, Target string
	Tx             TxID
	Offset         int64
	Time           int64 // microseconds since the Unix epoch
	// Counts of operations by verdict.
	Match, Mismatch, Missing, Skipped int32
	// Findings details every operation that is not a match.
	Findings []Finding
}

// Finding is one operation that is not a match.
type Finding struct {
	Index           int32
	Verdict         Verdict
	Level           Level
	Reason          string
	Statement       string
	Primary, Backup Digest
}
