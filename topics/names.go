package topics

// Names are the names of topics and consumer groups.
type Names struct{ Prefix string }

// Ops is the topic of a source's records: one partition, one order.
func (n Names) Ops(source string) string { return n.Prefix + "." + source + ".ops" }

// Digests is the topic of the responses to a source's transactions.
func (n Names) Digests(source string) string { return n.Prefix + "." + source + ".digests" }

// Acks is the topic of gates that wait for targets.
func (n Names) Acks(source string) string { return n.Prefix + "." + source + ".acks" }

// Verdicts is the topic of the verifier's verdicts.
func (n Names) Verdicts() string { return n.Prefix + ".verdicts" }

// Dead is the dead-letter topic of a target.
func (n Names) Dead(target string) string { return n.Prefix + "." + target + ".dead" }

// Status is the compacted topic of heartbeats.
func (n Names) Status() string { return n.Prefix + ".status" }

// ApplyGroup is the consumer group of a target's apply workers.
func (n Names) ApplyGroup(target string) string { return n.Prefix + ".apply." + target }

// VerifyGroup is the consumer group of the verify workers.
func (n Names) VerifyGroup() string { return n.Prefix + ".verify" }
