package avro

import (
	"strings"

	"github.com/opmux/opmux/event"
)

func recordFromNative(n native) *event.Record {
	r := &event.Record{Agent: n.str("agent"), Epoch: n.long("epoch", 0), N: n.long("n", 0), Prev: n.bytes("prev")}
	name, v := branch(n.m["body"])
	m, _ := v.(map[string]any)
	b := native{m: m, first: n.first, version: n.version}
	long := b.version == 1 || b.version == 2 // their transactions say everything at length
	switch strings.TrimPrefix(name, "opmux.") {
	case "Transaction":
		if long {
			r.Body = transactionAtLength(b)
		} else {
			r.Body = transactionFromNative(b, r.N)
		}
	case "Outcomes":
		if long {
			r.Body = &event.Outcomes{List: list(b, "list", outcomeAtLength)}
		} else {
			r.Body = outcomesFromNative(b, r)
		}
	case "Chunk":
		c := &event.Chunk{Index: b.int("index", 0)}
		b.fixed("tx", c.Tx[:])
		if long {
			c.Operations = list(b, "operations", operationAtLength)
		} else {
			c.Operations = operationsFromNative(b, originOf(c.Tx))
		}
		r.Body = c
	case "Fence":
		r.Body = fenceFromNative(b)
	case "Mark":
		k := &event.Mark{Phase: event.MarkPhase(b.enum("phase")), Target: b.str("target"), Snapshot: b.str("snapshot"), Start: b.long("start", 0)}
		b.fixed("id", k.ID[:])
		r.Body = k
	case "Void":
		r.Body = &event.Void{}
	default:
		n.wrong("body ("+name+")", v)
	}
	return r
}

func epochFromNative(n native) event.EpochRef {
	return event.EpochRef{Agent: n.str("agent"), Epoch: n.long("epoch", 0)}
}

func fenceFromNative(n native) *event.Fence {
	p := n.record("primary")
	f := &event.Fence{Clean: n.bool("clean", false), Gate: n.str("gate"),
		Ended: list(n, "ended", epochFromNative), Suspect: list(n, "suspect", epochFromNative),
		LowestReader: n.int("lowest_reader", 1), RecoveryLSN: uint64(n.long("recovery_lsn", 0)),
		Primary: event.Primary{Make: p.str("make"), Version: p.str("version"), SystemID: p.str("system_id"),
			Timeline: p.int("timeline", 0), Database: p.str("database"), Started: p.long("started", 0)}}
	n.fixed("instance", f.Instance[:])
	return f
}

func settingFromNative(n native) event.Setting {
	return event.Setting{Name: n.str("name"), Value: n.str("value")}
}
