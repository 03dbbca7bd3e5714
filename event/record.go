// Package event holds the words that opmux's stages share: what a record of an
// ops topic can be, what a transaction carries, and what its operations look
// like. It depends on the standard library alone, so that every stage can speak
// it without knowing another; schema/avro gives it its bytes.
package event

// ReaderVersion is the version of the record schema that this build writes, and
// the newest that it reads. A FENCE names the lowest reader version that
// understands what follows it.
const ReaderVersion = 4

// Record is one record of an ops topic: who wrote it, its place in the writer's
// chain, and one body.
type Record struct {
	Agent string
	// Epoch is the offset of the FENCE that opened the writer's epoch. A FENCE
	// that opens an epoch cannot know its own offset and carries 0.
	Epoch int64
	// N numbers every record of an epoch without gaps; the opening FENCE is 0.
	// The N of a transaction is its ticket.
	N int64
	// Prev is the Hash of the value of record N-1 of the same epoch; empty on
	// the opening FENCE.
	Prev []byte
	Body Body
}

// Body is one of *Transaction, *Outcomes, *Chunk, *Fence, *Mark or *Void.
type Body interface{ Kind() Kind }

// Kind names what a record's body is.
type Kind string

// The kinds of records of an ops topic.
const (
	KindTransaction Kind = "transaction"
	KindOutcomes    Kind = "outcomes"
	KindChunk       Kind = "chunk"
	KindFence       Kind = "fence"
	KindMark        Kind = "mark"
	KindVoid        Kind = "void"
)

// Kind implements Body.
func (*Transaction) Kind() Kind { return KindTransaction }

// Kind implements Body.
func (*Outcomes) Kind() Kind { return KindOutcomes }

// Kind implements Body.
func (*Chunk) Kind() Kind { return KindChunk }

// Kind implements Body.
func (*Fence) Kind() Kind { return KindFence }

// Kind implements Body.
func (*Mark) Kind() Kind { return KindMark }

// Kind implements Body.
func (*Void) Kind() Kind { return KindVoid }

// TxID identifies a transaction over its whole way (UUIDv7, RFC 9562).
type TxID [16]byte

// Ref points at a record of an ops topic by its writer's numbering.
type Ref struct {
	Agent string
	Epoch int64
	N     int64
}

// EpochRef names one epoch of one agent.
type EpochRef struct {
	Agent string
	Epoch int64
}

// Outcomes tells how transactions that were recorded before their COMMIT ended.
type Outcomes struct {
	List []Outcome
}

// Outcome is the end of one intent.
type Outcome struct {
	Ref
	Committed bool
	// Time is when the end was known, in microseconds since the Unix epoch.
	Time int64
	// By says who found out: empty for the agent that ran the transaction, else
	// how it was settled ("xid status", "end of recovery", "operator").
	By string
}

// Chunk carries a part of a transaction that is too large for one record. It is
// valid only once the transaction that names it is there.
type Chunk struct {
	Tx TxID
	// Index counts the chunks of a transaction from 0.
	Index      int32
	Operations []Operation
}

// Fence opens or (Clean) closes an epoch.
type Fence struct {
	// Instance is new for each process, so that an agent recognises its own FENCE.
	Instance [16]byte
	// Clean closes the writer's epoch: everything it ticketed is recorded.
	Clean bool
	// Gate is the gate mode of the epoch ("none", "recorded"), or "failover": an
	// operator accepts Primary, on a new timeline, as the stream's from here on.
	Gate string
	// Ended lists the epochs that this FENCE ends.
	Ended []EpochRef
	// Suspect lists ended epochs whose tail may be lost: to the stream under gate
	// none, to the primary after a failover or a crash.
	Suspect []EpochRef
	// LowestReader is the lowest ReaderVersion that understands what follows.
	LowestReader int32
	// Primary is zero in the epochs of operators who only settle.
	Primary Primary
	// RecoveryLSN is the end of the crash recovery that the primary's start went
	// through, as a WAL position; 0 where it is not known. In an acceptance it is
	// where the former timeline ended.
	RecoveryLSN uint64
}

// Primary identifies the primary server that an epoch's transactions ran on.
type Primary struct {
	Make     string // "postgres"
	Version  string
	SystemID string
	Timeline int32
	Database string
	// Started is the server's start time in microseconds since the Unix epoch.
	Started int64
}

// Mark is a point in the stream that somebody asked for.
type Mark struct {
	ID [16]byte
	// Phase is ask (anybody asks the live agents of gate none to answer behind
	// their own records), answer (an agent did), or snapshot.
	Phase MarkPhase
	// Target and the rest are set for snapshot: a target was filled with what
	// Snapshot (pg_current_snapshot text) shows; it reads on from offset Start
	// and skips transactions that the snapshot shows.
	Target   string
	Snapshot string
	Start    int64
}

// MarkPhase is the role of a Mark.
type MarkPhase string

// The phases of a Mark.
const (
	MarkAsk      MarkPhase = "ask"
	MarkAnswer   MarkPhase = "answer"
	MarkSnapshot MarkPhase = "snapshot"
)

// Void fills the place of a ticket whose transaction did not commit (gate none).
type Void struct{}
