package simulation

import "testing"

// Rule is a rule of the protocol that a run breaks on purpose, in what is simulated
// or in the order of calls.
type Rule string

// The rules, by what is done instead.
const (
	None                Rule = ""
	NoHoldPoint         Rule = "the ticket is taken before the last response (rule 1)"
	NoDependsOn         Rule = "depends_on is left out"
	FirstResponse       Rule = "depends_on is taken at the first response"
	GateSkipped         Rule = "COMMIT is forwarded before the record is acknowledged"
	RefusalIgnored      Rule = "COMMIT is forwarded although the gate refused"
	OutcomeFirst        Rule = "the outcome is told before COMMIT is answered"
	UnknownIsAborted    Rule = "a connection lost during COMMIT counts as aborted"
	SavepointsIgnored   Rule = "what was rolled back to a savepoint is recorded"
	ReadsNotFrozen      Rule = "reads inside writes are repeated instead of frozen (rule 5)"
	AnyServer           Rule = "sessions write on a later start of the primary than their epoch's"
	DuplicatesAccepted  Rule = "the broker appends a batch twice"
	RecordsOvertake     Rule = "records of one producer overtake each other"
	AcknowledgedIsLost  Rule = "acknowledged records are lost (acks=1)"
	BackendLives        Rule = "settling does not end the backend"
	InProgressIsAborted Rule = "in progress counts as aborted"
	RecoveryIgnored     Rule = "a status is trusted across a crash of the primary"
	FenceIgnored        Rule = "the target takes the commits of a worker that was replaced"
	RetriedBlindly      Rule = "a target commit without an answer is tried again unasked"
	PositionApart       Rule = "the position is stored behind the target's commit"
	PositionFirst       Rule = "the position is stored before the target's commit"
	LanesForgotten      Rule = "a take-over reads the keeper's position alone"
)

// rules are all of them, with the fault that it takes to tell, where it takes one.
var rules = []struct {
	rule Rule
	only string
}{
	{NoHoldPoint, ""}, {NoDependsOn, ""}, {FirstResponse, ""}, {SavepointsIgnored, ""}, {ReadsNotFrozen, ""},
	{GateSkipped, ""}, {RefusalIgnored, ""}, {OutcomeFirst, ""}, {UnknownIsAborted, ""},
	{AnyServer, "primary crashed"}, {RecoveryIgnored, "primary crashed"},
	{DuplicatesAccepted, ""}, {RecordsOvertake, ""}, {AcknowledgedIsLost, ""},
	{BackendLives, "agent's host gone"}, {InProgressIsAborted, "agent killed at a step"},
	{FenceIgnored, ""}, {RetriedBlindly, ""}, {PositionApart, ""}, {PositionFirst, ""}, {LanesForgotten, ""},
}

// ruleRuns is in how many runs a broken rule has to be noticed.
const ruleRuns = 1500

// A rule that can be broken unnoticed is not tested: each is, and has to be noticed.
func TestEveryBrokenRuleIsCaught(t *testing.T) {
	for _, b := range rules {
		t.Run(string(b.rule), func(t *testing.T) {
			for seed := uint64(1); seed <= ruleRuns; seed++ {
				s := scenario(seed, b.rule)
				if s.Only = b.only; s.Only != "" {
					s.Faults += 2
				}
				if r := simulate(t, s); len(r.violations) > 0 {
					t.Logf("run %d: %s", seed, r.violations[0])
					return
				}
			}
			t.Errorf("not noticed in %d runs", ruleRuns)
		})
	}
}
